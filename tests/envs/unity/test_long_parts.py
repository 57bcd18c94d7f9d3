"""Long arrays of a message, which are read where they stand: as if protobuf had parsed them."""

import dataclasses
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain_envs.unity import bounds, codec, game_codec, long_parts
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.long_parts import LongParts
from entrain_envs.unity.messages import AgentRecords, GameMessage, Observation
from entrain_envs.unity.wire import exchange_pb2 as wire
from support.drawn_messages import agrees, games_messages

KEY = "Ball?team=0"


def decode_in_parts(message: bytes) -> GameMessage:
    """Decode a message of which every array of 4 bytes or more is long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "SHORT", 0)
        patch.setattr(long_parts, "LONG", 4)
        return codec.decode(message)


@settings(max_examples=20)
@given(games_messages())
def test_any_message_is_read_as_protobuf_reads_it(message: wire.UnityMessageProto) -> None:
    agrees(decode_in_parts(message.SerializeToString()), message)


def plain(value: Any) -> Any:
    """To be compared with `==`, NaN too."""
    if dataclasses.is_dataclass(value):
        return [plain(getattr(value, each.name)) for each in dataclasses.fields(value)]
    if isinstance(value, np.ndarray):
        return [value.shape, value.dtype.str, value.tobytes()]
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    return {key: plain(each) for key, each in value.items()} if isinstance(value, dict) else value


@settings(max_examples=40)
@given(games_messages(), st.data())
def test_a_damaged_message_is_read_alike_or_refused(
    message: wire.UnityMessageProto, data: st.DataObject
) -> None:
    damaged = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    read = []
    for decode in (codec.decode, decode_in_parts):
        try:
            read.append(plain(decode(bytes(damaged))))
        except UnityMessageError as error:
            assert len(str(error)) < 500
    assert len(read) < 2 or read[0] == read[1]


def cameras(count: int, *, side: int = 64, **changes: Any) -> AgentRecords:
    """Of so many agents that see floats and move."""
    random = np.random.default_rng(3)
    fields: dict[str, Any] = {
        "id": np.arange(count),
        "reward": random.normal(size=count).astype(np.float32),
        "done": np.zeros(count, np.bool_),
        "interrupted": np.zeros(count, np.bool_),
        "group_id": np.zeros(count, np.int64),
        "group_reward": np.zeros(count, np.float32),
        "observations": (
            Observation(
                "eye", (side, side, 3), values=random.random((count, side, side, 3), np.float32)
            ),
            Observation("speed", (2,), values=random.random((count, 2), np.float32)),
        ),
    }
    return AgentRecords(**{**fields, **changes})


def test_pixels_are_copied_once() -> None:
    said = cameras(8, side=128)
    message = game_codec.encode_records({KEY: said})
    tracemalloc.start()
    try:
        read = codec.decode(message).agents[KEY].observations
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(message) < peak < 1.1 * len(message)
    for seen, shown in zip(read, said.observations, strict=True):
        assert np.array_equal(seen.values, shown.values)  # type: ignore[arg-type]
        assert seen.values is not None
        assert seen.values.flags.aligned


def test_numbers_of_another_length_than_the_shape_are_refused() -> None:
    message = game_codec.encode_records({KEY: cameras(2)})
    shape = bytes([0x0A, 3, 64, 64, 3])
    assert message.count(shape) == 2
    with pytest.raises(UnityMessageError, match=r"takes 8,192 numbers, and 12,288 came"):
        codec.decode(message.replace(shape, bytes([0x0A, 3, 64, 64, 2])))
    with pytest.raises(UnityMessageError, match=r"\[64, 64, 3\] for one agent and \[64, 64, 2\]"):
        last = message.rindex(shape)
        codec.decode(message[: last + 4] + b"\x02" + message[last + 5 :])


def test_a_stand_in_of_another_message_stands_for_nothing() -> None:
    message = game_codec.encode_records({KEY: cameras(1)})
    parts = LongParts(message)
    infos = wire.UnityMessageProto.FromString(message).unity_output.rl_output.agentInfos
    pixels = np.array(infos[KEY].value[0].observations[0].float_data.data, "<f4").tobytes()
    at = parts.message.index(bytes([0x22, 15, 0x0A, 13])) + 4
    stand_in = parts.message[at : at + 13]
    assert parts.content(stand_in) == pixels
    assert LongParts(message).content(stand_in) == stand_in
