"""The game's side of the ML-Agents wire, for programs that stand in for games.

Fields with their default value are left out, as games do, so that measurements and tests with these
messages see the bytes that games send.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from google.protobuf.message import DecodeError

from entrain_envs.timestep import Float32Array, Int32Array
from entrain_envs.unity.codec import write_capabilities
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.messages import (
    STATUS_CLOSING,
    STATUS_OK,
    AgentRecords,
    BrainParameters,
    Initialization,
    Observation,
)
from entrain_envs.unity.varints import read_varints, varint
from entrain_envs.unity.wire import packed_pb2 as pb

_RESET = 1


@dataclass(frozen=True)
class AgentActions:
    """The actions of one behaviour's agents."""

    continuous: Float32Array
    """[A, n]"""

    discrete: Int32Array
    """[A, m]"""

    deprecated: Float32Array
    """[A, n + m] as games before API 1.3 read them."""


@dataclass(frozen=True)
class TrainerReply:
    """One reply of a trainer."""

    status: int
    text: str = ""
    seed: int | None = None
    """Given with the answer to the first message."""

    communication_version: str = ""
    package_version: str = ""
    num_areas: int = 0
    has_orders: bool = False
    """Whether it has actions or a reset; a game without them falls back to inference."""

    is_reset: bool = False
    actions: Mapping[str, AgentActions] = field(default_factory=dict)
    side_channel: bytes = b""


def encode_hello(said: Initialization) -> bytes:
    """A game's first message."""
    message = pb.Message(header=pb.Header(status=STATUS_OK))
    message.unity_output.rl_initialization_output.CopyFrom(
        pb.InitializationOutput(
            name=said.name,
            communication_version=said.communication_version,
            package_version=said.package_version,
            capabilities=write_capabilities(said.capabilities),
        )
    )
    return message.SerializeToString()


def encode_nothing() -> bytes:
    """A game's second message: a request for orders without content."""
    return pb.Message(header=pb.Header(status=STATUS_OK)).SerializeToString()


def encode_leaving(text: str = "") -> bytes:
    """A game's last message."""
    return pb.Message(header=pb.Header(status=STATUS_CLOSING, message=text)).SerializeToString()


def encode_records(
    agents: Mapping[str, AgentRecords],
    *,
    behaviours: Sequence[BrainParameters] = (),
    side_channel: bytes = b"",
    is_old: bool = False,
) -> bytes:
    """A game's message with its agents' records since the last actions.

    Args:
        agents: {key of a behaviour: its records}.
        behaviours: those that have agents for the first time.
        side_channel: for the trainer.
        is_old: whether to describe actions as games older than API 1.3 do.
    """
    message = pb.Message(header=pb.Header(status=STATUS_OK))
    output = message.unity_output.rl_output
    output.side_channel = side_channel
    for key, records in agents.items():
        output.agents[key].value.extend(_written(records))
    if behaviours:
        message.unity_output.rl_initialization_output.brain_parameters.extend(
            _brain(each, is_old=is_old) for each in behaviours
        )
    return message.SerializeToString()


def _brain(brain: BrainParameters, *, is_old: bool) -> pb.BrainParameters:
    if not is_old:
        action = pb.ActionSpec(
            num_continuous=brain.num_continuous,
            num_discrete=len(brain.branches),
            branches=brain.branches,
        )
        return pb.BrainParameters(brain_name=brain.key, action_spec=action)
    return pb.BrainParameters(
        brain_name=brain.key,
        deprecated_size=brain.branches or (brain.num_continuous,),
        deprecated_space_type=0 if brain.branches else 1,
    )


def _written(records: AgentRecords) -> list[pb.Record]:
    """A message for each record."""
    columns = [_sensor(each, len(records)) for each in records.observations]
    mask = records.mask
    return [
        pb.Record(
            id=int(records.id[row]),
            reward=float(records.reward[row]),
            done=bool(records.done[row]),
            max_step_reached=bool(records.interrupted[row]),
            group_id=int(records.group_id[row]),
            group_reward=float(records.group_reward[row]),
            action_mask=b"" if mask is None or records.done[row] else mask[row].tobytes(),
            observations=[column[row] for column in columns],
        )
        for row in range(len(records))
    ]


def _sensor(observation: Observation, count: int) -> list[bytes]:
    """The sensor's message of each of `count` agents."""
    said = pb.Observation(
        name=observation.name,
        shape=_packed(observation.shape),
        dimension_properties=_packed(observation.dimension_properties),
        compressed_channel_mapping=_packed(observation.mapping),
        compression_type=1 if observation.png else 0,
        observation_type=1 if observation.kind == "goal" else 0,
    )
    written = []
    for row in range(count):
        if observation.values is None:
            said.compressed_data = observation.png[row]
        else:
            said.float_data.data = observation.values[row].astype("<f4").tobytes()
        written.append(said.SerializeToString())
    return written


def _packed(values: Sequence[int]) -> bytes:
    return b"".join(map(varint, values))


def decode_reply(message: bytes) -> TrainerReply:
    """Parse a trainer's reply; UnityMessageError if it is malformed."""
    parsed = pb.Message()
    try:
        parsed.ParseFromString(message)
    except DecodeError as error:
        raise UnityMessageError(
            f"{len(message):,} bytes are no reply of a trainer: {error}"
        ) from None
    begins = parsed.unity_input.rl_initialization_input
    orders = parsed.unity_input.rl_input
    return TrainerReply(
        status=parsed.header.status,
        text=parsed.header.message,
        seed=begins.seed if parsed.unity_input.HasField("rl_initialization_input") else None,
        communication_version=begins.communication_version,
        package_version=begins.package_version,
        num_areas=begins.num_areas,
        has_orders=parsed.unity_input.HasField("rl_input"),
        is_reset=orders.command == _RESET,
        actions={key: _actions(list(each.value)) for key, each in orders.actions.items()},
        side_channel=orders.side_channel,
    )


def _actions(said: list[pb.Action]) -> AgentActions:
    return AgentActions(
        continuous=_floats([each.continuous for each in said]),
        discrete=np.array([read_varints(each.discrete) for each in said], np.int32),
        deprecated=_floats([each.deprecated for each in said]),
    )


def _floats(rows: list[bytes]) -> Float32Array:
    """[A, n] of A rows of n numbers."""
    numbers: Float32Array = np.frombuffer(b"".join(rows), "<f4").astype(np.float32)
    return numbers.reshape(len(rows), len(numbers) // max(1, len(rows)))
