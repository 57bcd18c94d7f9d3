"""Reads a Hello and checks what can be checked without knowing the run."""

from collections.abc import Sequence
from dataclasses import dataclass

from entrain.errors import BadHelloError, RefusedHelloError
from entrain.serving.admission import JoinRequest
from entrain_envs import codec
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.spec import BehaviourSpec
from entrain_envs.wire import trainer_pb2 as pb

MAX_NAME_LENGTH = 200
"""Characters in a simulator's name or instance id; they stand in logs and checkpoints."""


@dataclass(frozen=True)
class ParsedHello:
    """A Hello whose content is consistent."""

    join: JoinRequest
    resume_session_id: str
    """Empty: a new session."""


def read_hello(hello: pb.Hello, peer: str) -> ParsedHello:
    """Read a Hello; RefusedHelloError or BadHelloError if its content is wrong.

    Args:
        hello: as it came.
        peer: the host it came from, for messages.
    """
    who = f"{hello.simulator or 'a simulator'}@{peer}"
    check_version(hello, who)
    for field, value in (("simulator", hello.simulator), ("instance_id", hello.instance_id)):
        if not value or len(value) > MAX_NAME_LENGTH or not value.isprintable():
            raise BadHelloError(
                f"{who} sent a Hello whose {field} is {value[:MAX_NAME_LENGTH]!r}; expected 1 to "
                f"{MAX_NAME_LENGTH} printable characters"
            )
    join = JoinRequest(
        simulator=hello.simulator,
        instance_id=hello.instance_id,
        peer=peer,
        specs=_read_specs(hello.behaviours, who),
        max_agents=hello.max_agents,
    )
    return ParsedHello(join, hello.resume_session_id)


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


def _read_specs(messages: Sequence[pb.BehaviourSpec], who: str) -> tuple[BehaviourSpec, ...]:
    try:
        return tuple(codec.decode_spec(message) for message in messages)
    except EntrainEnvsError as error:
        raise BadHelloError(f"{who} declares a behaviour that cannot be: {error}") from None
