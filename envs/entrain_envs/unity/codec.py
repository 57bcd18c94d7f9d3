"""Converts ML-Agents messages between bytes and arrays over all agents.

The schema declares packed arrays as byte strings, so that Python reads a few attributes per agent
and none of its numbers. `sensors` reads the observations. Long arrays bypass protobuf's parser
(`long_parts`).
"""

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from entrain_envs.timestep import ActionBatch, BoolArray
from entrain_envs.unity.bounds import require_bounded
from entrain_envs.unity.errors import unreadable
from entrain_envs.unity.long_parts import NOTHING_LONG, LongParts
from entrain_envs.unity.messages import (
    API_VERSION,
    STATUS_CLOSING,
    STATUS_OK,
    AgentRecords,
    BrainParameters,
    Capabilities,
    GameMessage,
    Initialization,
)
from entrain_envs.unity.sensors import read_sensors
from entrain_envs.unity.varints import field, head, varint
from entrain_envs.unity.wire import packed_pb2 as pb

EVERYTHING = Capabilities()
"""The capabilities of this package."""

_CONTINUOUS_SPACE = 1
_RESET = 1
_ONE_BYTE = 128
_OK_HEADER = field(1, field(1, STATUS_OK))


def decode(message: bytes) -> GameMessage:
    """Parse a game's message. Its arrays may be views of the parsed bytes: do not write to them.

    Raises:
        UnityMessageError: the message is malformed or too large, or its records contradict
            each other.
    """
    parts = LongParts(message) if require_bounded(message) else NOTHING_LONG
    parsed = pb.Message()
    try:
        parsed.ParseFromString(parts.message or message)
    except DecodeError as error:
        raise unreadable(message, f" ({error})") from None
    output = parsed.unity_output
    return GameMessage(
        status=parsed.header.status,
        text=parsed.header.message,
        initialization=_initialization(output) if _introduces(output) else None,
        behaviours=tuple(_brain(each) for each in output.rl_initialization_output.brain_parameters),
        agents={
            key: _records(key, list(records.value), parts)
            for key, records in output.rl_output.agents.items()
            if records.value
        },
        side_channel=output.rl_output.side_channel,
        has_output=parsed.HasField("unity_output")
        and (output.HasField("rl_output") or output.HasField("rl_initialization_output")),
    )


def _introduces(output: pb.Output) -> bool:
    """True if the message introduces the game, rather than only new behaviours."""
    said = output.rl_initialization_output
    return output.HasField("rl_initialization_output") and bool(
        said.name or said.communication_version or said.package_version
    )


def _initialization(output: pb.Output) -> Initialization:
    said = output.rl_initialization_output
    return Initialization(
        name=said.name,
        communication_version=said.communication_version,
        package_version=said.package_version,
        capabilities=Capabilities(
            base=said.capabilities.base,
            concatenated_png=said.capabilities.concatenated_png,
            channel_mapping=said.capabilities.channel_mapping,
            hybrid_actions=said.capabilities.hybrid_actions,
            training_analytics=said.capabilities.training_analytics,
            variable_length=said.capabilities.variable_length,
            groups=said.capabilities.groups,
        ),
    )


def _brain(said: pb.BrainParameters) -> BrainParameters:
    """The actions of a behaviour; games before API 1.3 describe them in other fields."""
    if said.HasField("action_spec"):
        action = said.action_spec
        return BrainParameters(said.brain_name, action.num_continuous, tuple(action.branches))
    sizes = tuple(said.deprecated_size)
    if said.deprecated_space_type == _CONTINUOUS_SPACE:
        return BrainParameters(said.brain_name, sizes[0] if sizes else 0)
    return BrainParameters(said.brain_name, branches=sizes)


def _records(key: str, records: list[pb.Record], parts: LongParts) -> AgentRecords:
    count = len(records)
    return AgentRecords(
        id=np.array([each.id for each in records], np.int64),
        reward=np.array([each.reward for each in records], np.float32),
        done=np.array([each.done for each in records], np.bool_),
        interrupted=np.array([each.max_step_reached for each in records], np.bool_),
        group_id=np.array([each.group_id for each in records], np.int64),
        group_reward=np.array([each.group_reward for each in records], np.float32),
        observations=read_sensors(key, [each.observations for each in records], parts),
        mask=_mask([each.action_mask for each in records], count),
    )


def _mask(masks: list[bytes], count: int) -> BoolArray | None:
    """[K, choices] true = forbidden; a mask that is absent or of another length allows all."""
    longest = max(len(mask) for mask in masks)
    if not longest:
        return None
    flat = b"".join(mask if len(mask) == longest else bytes(longest) for mask in masks)
    forbidden: BoolArray = np.frombuffer(flat, np.uint8).reshape(count, longest) != np.uint8(0)
    return forbidden


def encode_initialization(
    *,
    seed: int,
    package_version: str,
    num_areas: int = 1,
    communication_version: str = API_VERSION,
    capabilities: Capabilities = EVERYTHING,
) -> bytes:
    """The reply to a game's first message.

    Args:
        seed: int32, of the game's randomness.
        package_version: of the trainer; games of package 1.0 refuse one above 0.25.
        num_areas: copies of the training area that the game shall make.
        communication_version: of the communicator.
        capabilities: what the trainer understands.
    """
    message = pb.Message(header=pb.Header(status=STATUS_OK))
    message.unity_input.rl_initialization_input.CopyFrom(
        pb.InitializationInput(
            seed=seed,
            communication_version=communication_version,
            package_version=package_version,
            capabilities=write_capabilities(capabilities),
            num_areas=num_areas,
        )
    )
    return message.SerializeToString()


def write_capabilities(said: Capabilities) -> pb.Capabilities:
    """Capabilities as a message."""
    return pb.Capabilities(
        base=said.base,
        concatenated_png=said.concatenated_png,
        channel_mapping=said.channel_mapping,
        hybrid_actions=said.hybrid_actions,
        training_analytics=said.training_analytics,
        variable_length=said.variable_length,
        groups=said.groups,
    )


def encode_reset(side_channel: bytes = b"") -> bytes:
    """The command to begin all episodes anew."""
    return _order(field(4, _RESET), side_channel)


def encode_closing(text: str = "") -> bytes:
    """The last message of a conversation. A player quits then, and the Editor stops playing."""
    header = field(1, STATUS_CLOSING) + (field(2, text.encode()) if text else b"")
    return field(1, header)


def encode_actions(actions: Mapping[str, ActionBatch], side_channel: bytes = b"") -> bytes:
    """The actions of a game's agents.

    Args:
        actions: {key of a behaviour: [A] actions for its records that are not done, in order};
            continuous ones in [-1, 1].
        side_channel: for the game.
    """
    entries = [
        field(1, field(1, key.encode()) + field(2, _action_rows(batch)))
        for key, batch in sorted(actions.items())
        if len(batch)
    ]
    return _order(b"".join(entries), side_channel)


def _order(fields: bytes, side_channel: bytes) -> bytes:
    side = field(5, side_channel) if side_channel else b""
    return _OK_HEADER + field(3, field(1, fields + side))


def _action_rows(batch: ActionBatch) -> bytes:
    """All agents' AgentActionProto, each as an entry of the list.

    Continuous numbers have a fixed length, and discrete ones below 128 too; so all agents' bytes
    are the rows of one array.
    """
    continuous = np.ascontiguousarray(batch.continuous, "<f4")
    discrete = np.ascontiguousarray(batch.discrete, np.int32)
    if discrete.size and (discrete.min() < 0 or discrete.max() >= _ONE_BYTE):
        return b"".join(map(_action_row, continuous, discrete))
    deprecated = np.concatenate([continuous, discrete.astype("<f4")], axis=1)
    parts = (
        (1, deprecated.view(np.uint8)),
        (6, continuous.view(np.uint8)),
        (7, discrete.astype(np.uint8)),
    )
    columns = [
        column
        for number, content in parts
        if content.shape[1]
        for column in (_repeated(head(number, content.shape[1]), len(batch)), content)
    ]
    length = sum(column.shape[1] for column in columns)
    return np.concatenate([_repeated(head(1, length), len(batch)), *columns], axis=1).tobytes()


def _repeated(content: bytes, count: int) -> npt.NDArray[np.uint8]:
    """[count, bytes] the same bytes in each row."""
    return np.broadcast_to(np.frombuffer(content, np.uint8), (count, len(content)))


def _action_row(continuous: Any, discrete: Any) -> bytes:
    """One agent's entry, whatever the size of its discrete actions."""
    action = pb.Action(
        deprecated=struct.pack(f"<{len(continuous) + len(discrete)}f", *continuous, *discrete),
        continuous=continuous.tobytes(),
        discrete=b"".join(varint(int(each)) for each in discrete),
    )
    return field(1, action.SerializeToString())
