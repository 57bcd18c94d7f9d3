"""Reads a Hello and checks what can be checked without knowing the run."""

from collections.abc import Sequence
from dataclasses import dataclass

from entrain.errors import BadHelloError, LimitError, RefusedHelloError
from entrain.quoting import shortened
from entrain.serving.admission import JoinRequest
from entrain_envs import codec
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import decode_spec
from entrain_envs.wire import trainer_pb2 as pb

MAX_NAME_LENGTH = 200
"""Characters in a name or an instance id; they stand in logs, files and checkpoints."""

MAX_HELLO_BYTES = 4 * 2**20
"""Of the first message of a stream: read, it takes many times the memory and some time."""

MOST_OBSERVATIONS = 1000
"""Of one behaviour. Each is an array of its own in every batch."""

MOST_BRANCHES = 1000
"""Of one behaviour."""


@dataclass(frozen=True)
class ParsedHello:
    """A Hello whose content is consistent."""

    join: JoinRequest
    resume_session_id: str
    """Empty: a new session."""

    wanted_unanswered_steps: int
    """How many Steps it would like to have without an Act at a time, at least 1."""

    is_for_evaluation: bool = False
    """Whether nothing is to be learned from it."""


def read_hello(hello: pb.Hello, peer: str, *, max_behaviours: int) -> ParsedHello:
    """Read a Hello; RefusedHelloError, BadHelloError or LimitError if its content is wrong.

    Args:
        hello: as it came.
        peer: the host it came from, for messages.
        max_behaviours: that a run may have.
    """
    who = f"{shortened(hello.simulator) or 'a simulator'}@{peer}"
    check_version(hello, who)
    _check_role(hello, who)
    for field, value in (("simulator", hello.simulator), ("instance_id", hello.instance_id)):
        if not value or len(value) > MAX_NAME_LENGTH or not value.isprintable():
            raise BadHelloError(
                f"{who} sent a Hello whose {field} is {shortened(value)!r}; expected 1 to "
                f"{MAX_NAME_LENGTH} printable characters"
            )
    join = JoinRequest(
        simulator=hello.simulator,
        instance_id=hello.instance_id,
        peer=peer,
        specs=read_behaviours(hello.behaviours, who, most=max_behaviours),
        max_agents=hello.max_agents,
    )
    wanted = max(1, hello.max_unanswered_steps)
    return ParsedHello(
        join,
        hello.resume_session_id,
        wanted_unanswered_steps=wanted,
        is_for_evaluation=hello.role == pb.ROLE_EVALUATION,
    )


def _check_role(hello: pb.Hello, who: str) -> None:
    """Raise RefusedHelloError if what it is for is not known here."""
    if hello.role not in pb.Role.values():
        raise RefusedHelloError(
            f"{who} asks for role {hello.role}, and this trainer knows 0 (training) and 1 "
            "(evaluation); upgrade entrain, the trainer's package, or join without a role"
        )


def check_version(hello: pb.Hello, who: str) -> None:
    """Raise RefusedHelloError if both sides have no protocol version in common."""
    ours = codec.PROTOCOL_VERSION
    low, high = hello.min_version, hello.max_version
    if low <= ours <= high:
        return
    spoken = f"protocol {low}" if low == high else f"protocols {low} to {high}"
    if low > high:
        remedy = "its Hello must give min_version no higher than max_version"
    elif high < ours:
        remedy = f"install entrain-envs {ours}.x in the simulator"
    else:
        remedy = f"upgrade entrain, the trainer's package, to a version that speaks protocol {low}"
    raise RefusedHelloError(f"{who} speaks {spoken}, this trainer speaks {ours}; {remedy}")


def read_behaviours(
    messages: Sequence[pb.BehaviourSpec], who: str, *, most: int
) -> tuple[BehaviourSpec, ...]:
    """Read specs, of a Hello or a Step; BadHelloError or LimitError if their content is wrong.

    Args:
        messages: as they came.
        who: sent them, for messages.
        most: that a run may have.
    """
    if len(messages) > most:
        raise LimitError(
            f"{who} declares {len(messages):,} behaviours, and this trainer allows {most:,} in a "
            "run; raise server.max_behaviours of the trainer, or give agents that are alike one "
            "behaviour"
        )
    size = sum(message.ByteSize() for message in messages)
    if size > MAX_HELLO_BYTES:
        raise LimitError(
            f"{who} declares behaviours in {size:,} bytes; expected at most {MAX_HELLO_BYTES:,}: "
            "declare fewer behaviours, observations and actions"
        )
    for message in messages:
        _check_counts(message, who)
    try:
        specs = tuple(decode_spec(message) for message in messages)
    except EntrainEnvsError as error:
        raise BadHelloError(f"{who} declares a behaviour that cannot be: {error}") from None
    for spec in specs:
        for name in (spec.name, *spec.observation_names):
            _check_name(name, spec, who)
    return specs


def _check_counts(message: pb.BehaviourSpec, who: str) -> None:
    """Raise BadHelloError if there is more of something than any network is made for."""
    for count, most, what in (
        (len(message.observations), MOST_OBSERVATIONS, "observations"),
        (len(message.action.branches), MOST_BRANCHES, "branches of choices"),
    ):
        if count > most:
            raise BadHelloError(
                f"{who} declares behaviour '{shortened(message.name)}' with {count:,} {what}; "
                f"expected at most {most:,}: put numbers of one kind into one array"
            )


def _check_name(name: str, spec: BehaviourSpec, who: str) -> None:
    """Names stand in logs, metrics and files."""
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        raise BadHelloError(
            f"{who} declares behaviour {shortened(spec.name)!r} with the name {shortened(name)!r}; "
            f"expected at most {MAX_NAME_LENGTH} printable characters in each name"
        )
