"""Judges Hellos: the first one of a process, and those that follow a broken stream."""

from entrain_envs.codec import PROTOCOL_VERSION
from entrain_envs.conformance.results import Results
from entrain_envs.conformance.steps import LONGEST_NAME, is_name
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.spec_codec import decode_spec
from entrain_envs.wire import trainer_pb2 as pb


def judge_hello(hello: pb.Hello, results: Results) -> bool:
    """Judge what a Hello says of itself; returns whether a Welcome can follow."""
    speaks = hello.min_version <= PROTOCOL_VERSION <= hello.max_version
    results.check(
        "version",
        speaks,
        f"min_version {hello.min_version}, max_version {hello.max_version}; expected that they "
        f"include {PROTOCOL_VERSION}",
        f"set both to {PROTOCOL_VERSION}; a field that is not set is 0",
    )
    named = [
        (name, value)
        for name, value in (("simulator", hello.simulator), ("instance_id", hello.instance_id))
        if not is_name(value)
    ]
    for name, value in named:
        results.failed(
            "identity",
            f"Hello's {name} is {value[:300]!r}; expected 1 to {LONGEST_NAME} printable characters",
            f"set {name}" + (" to random hexadecimal digits" if name == "instance_id" else ""),
        )
    if not named:
        results.passed("identity")
    return _have_specs(hello, results) and speaks


def _have_specs(hello: pb.Hello, results: Results) -> bool:
    names = [message.name for message in hello.behaviours]
    try:
        specs = [decode_spec(message) for message in hello.behaviours]
    except EntrainEnvsError as error:
        results.failed("behaviours", str(error), "correct what Hello declares")
        return False
    for spec in specs:
        for name in (spec.name, *spec.observation_names):
            if not is_name(name):
                results.failed(
                    "behaviours",
                    f"the name {name[:300]!r} in behaviour {spec.name[:300]!r}; expected at most "
                    f"{LONGEST_NAME} printable characters",
                    "rename it",
                )
                return False
    double = next((name for name in names if names.count(name) > 1), None)
    return results.check(
        "behaviours",
        double is None,
        f"behaviour '{double}' is declared twice",
        "give each kind of agent a name of its own",
    )


def judge_return(hello: pb.Hello, before: pb.Hello, session_id: str, results: Results) -> bool:
    """Judge the Hello after a broken stream; returns whether the session can go on.

    Args:
        hello: as it came.
        before: the first Hello of the process, with all behaviours that were declared since.
        session_id: of the last Welcome.
        results: where to note it.
    """
    resumes = hello.resume_session_id == session_id
    is_same = hello.instance_id == before.instance_id or not resumes
    results.check(
        "same-instance",
        is_same,
        f"instance_id {hello.instance_id[:LONGEST_NAME]!r} after a broken stream; it was "
        f"{before.instance_id!r}",
        "draw the instance_id once when the process starts, and keep it for every Hello",
    )
    results.check(
        "resume",
        resumes,
        f"after a broken stream, Hello's resume_session_id is "
        f"{hello.resume_session_id[:LONGEST_NAME]!r}; expected {session_id!r}",
        "keep session_id of the newest Welcome and send it as resume_session_id",
    )
    if not resumes:
        return False
    missing = {each.name for each in before.behaviours} - {each.name for each in hello.behaviours}
    results.check(
        "names-all",
        not missing,
        f"Hello after a broken stream leaves out behaviour {', '.join(sorted(missing))}",
        "name every behaviour that was declared so far, in Hello or in a Step",
    )
    return True
