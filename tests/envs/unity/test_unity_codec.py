"""Messages of ML-Agents games: read as protobuf's own classes read them, and by hand."""

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain_envs.timestep import ActionBatch
from entrain_envs.unity import codec, game_codec
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.messages import (
    AgentRecords,
    BrainParameters,
    Capabilities,
    Initialization,
    Observation,
)
from entrain_envs.unity.varints import field, read_varints, varint
from entrain_envs.unity.wire import exchange_pb2 as wire
from support.drawn_messages import agrees, games_messages


@settings(max_examples=60)
@given(games_messages())
def test_any_message_is_read_as_protobuf_reads_it(message: wire.UnityMessageProto) -> None:
    agrees(codec.decode(message.SerializeToString()), message)


def test_a_message_written_byte_by_byte() -> None:
    floats = struct.pack("<2f", 1.5, -2.0)
    sensor = bytes([0x0A, 1, 2, 0x22, 10, 0x0A, 8, *floats, 0x42, 1]) + b"v"
    record = bytes([0x3D, *struct.pack("<f", 0.25), 0x40, 1, 0x50, 7, 0x6A, len(sensor), *sensor])
    records = bytes([0x0A, len(record), *record])
    entry = bytes([0x0A, 1]) + b"B" + bytes([0x12, len(records), *records])
    rl_output = bytes([0x12, len(entry), *entry])
    output = bytes([0x0A, len(rl_output), *rl_output])
    read = codec.decode(bytes([0x0A, 3, 0x08, 0xC8, 1, 0x12, len(output), *output]))
    assert read.status == 200
    (ball,) = read.agents.values()
    assert (ball.id.tolist(), ball.reward.tolist(), ball.done.tolist()) == ([7], [0.25], [True])
    assert ball.observations[0].name == "v"
    assert ball.observations[0].values is not None
    assert ball.observations[0].values.tolist() == [[1.5, -2.0]]
    # And the answer for another agent of it.
    action = ActionBatch(
        continuous=np.array([[0.5]], np.float32),
        discrete=np.array([[3]], np.int32),
        policy_version=0,
    )
    half, three = struct.pack("<f", 0.5), struct.pack("<f", 3.0)
    row = bytes([0x0A, 8, *half, *three, 0x32, 4, *half, 0x3A, 1, 3])
    rows = bytes([0x0A, len(row), *row])
    actions = bytes([0x0A, 1]) + b"B" + bytes([0x12, len(rows), *rows])
    order = bytes([0x0A, len(actions), *actions])
    answer = bytes([0x0A, 3, 0x08, 0xC8, 1, 0x1A, len(order) + 2, 0x0A, len(order), *order])
    assert codec.encode_actions({"B": action}) == answer


@given(
    st.integers(1, 5),
    st.integers(0, 3),
    st.lists(st.sampled_from([2, 128, 129, 70_000]), max_size=3),
    st.randoms(use_true_random=False),
)
def test_actions_are_read_by_protobuf_as_they_were_chosen(
    count: int, dimensions: int, branches: list[int], random: Any
) -> None:
    if not dimensions and not branches:
        return
    actions = ActionBatch(
        continuous=np.array(
            [[random.uniform(-1, 1) for _ in range(dimensions)] for _ in range(count)], np.float32
        ).reshape(count, dimensions),
        discrete=np.array(
            [[random.randrange(choices) for choices in branches] for _ in range(count)], np.int32
        ).reshape(count, len(branches)),
        policy_version=0,
    )
    message = codec.encode_actions({"A?team=0": actions, "B?team=0": actions}, b"side")
    parsed = wire.UnityMessageProto.FromString(message)
    assert parsed.header.status == 200
    orders = parsed.unity_input.rl_input
    assert (orders.command, orders.side_channel) == (wire.STEP, b"side")
    for key in ("A?team=0", "B?team=0"):
        for row, said in enumerate(orders.agent_actions[key].value):
            assert list(said.continuous_actions) == actions.continuous[row].tolist()
            assert list(said.discrete_actions) == actions.discrete[row].tolist()
            both = [*actions.continuous[row].tolist(), *map(float, actions.discrete[row])]
            assert list(said.vector_actions_deprecated) == both
        assert len(orders.agent_actions[key].value) == count
    read = game_codec.decode_reply(message).actions["B?team=0"]
    assert read.continuous.tolist() == actions.continuous.tolist()
    assert read.discrete.tolist() == actions.discrete.tolist()


def test_nothing_is_due_for_a_message_of_ends_only() -> None:
    nobody = ActionBatch(
        continuous=np.empty((0, 2), np.float32),
        discrete=np.empty((0, 0), np.int32),
        policy_version=0,
    )
    reply = game_codec.decode_reply(codec.encode_actions({"Ball?team=0": nobody}))
    assert reply.has_orders
    assert not reply.is_reset
    assert reply.actions == {}


def test_the_conversation_begins_as_a_game_expects() -> None:
    able = Capabilities(groups=False)
    hello = Initialization("AcademySingleton", "1.4.0", "2.0.1", able)
    read = codec.decode(game_codec.encode_hello(hello))
    assert read.initialization == hello
    assert (read.behaviours, read.agents) == ((), {})
    assert not codec.decode(game_codec.encode_nothing()).has_output
    reply = game_codec.decode_reply(
        codec.encode_initialization(seed=-3, package_version="0.25.0", num_areas=2)
    )
    assert (reply.status, reply.seed, reply.num_areas) == (200, -3, 2)
    assert (reply.communication_version, reply.package_version) == ("1.5.0", "0.25.0")
    reset = game_codec.decode_reply(codec.encode_reset(b"xy"))
    assert (reset.is_reset, reset.has_orders, reset.side_channel) == (True, True, b"xy")
    assert game_codec.decode_reply(codec.encode_closing("done")).status == 400
    assert codec.decode(game_codec.encode_leaving("bye")).text == "bye"


def some_records(**changes: Any) -> AgentRecords:
    fields: dict[str, Any] = {
        "id": np.array([3, 3, 200], np.int64),
        "reward": np.array([1.0, 0.0, -0.5], np.float32),
        "done": np.array([True, False, False]),
        "interrupted": np.array([True, False, False]),
        "group_id": np.array([0, 0, 9], np.int64),
        "group_reward": np.array([0.0, 0.0, 2.0], np.float32),
        "observations": (
            Observation("", (2,), values=np.arange(6, dtype=np.float32).reshape(3, 2)),
            Observation("eye", (4, 4, 3), mapping=(0, -1, 1), png=(b"1", b"2", b"3")),
        ),
        "mask": np.array([[False, False], [True, False], [False, True]]),
    }
    return AgentRecords(**{**fields, **changes})


@pytest.mark.parametrize("is_old", [False, True])
def test_what_a_game_writes_is_read(is_old: bool) -> None:
    new = (BrainParameters("Ball?team=0", 2), BrainParameters("Door?team=1", branches=(3, 2)))
    message = game_codec.encode_records(
        {"Ball?team=0": some_records()}, behaviours=new, side_channel=b"s", is_old=is_old
    )
    read = codec.decode(message)
    assert read.behaviours == new
    assert read.initialization is None
    assert read.has_output
    said, ball = some_records(), read.agents["Ball?team=0"]
    for name in ("id", "reward", "done", "interrupted", "group_id", "group_reward", "mask"):
        assert getattr(ball, name).tolist() == getattr(said, name).tolist(), name
    assert ball.observations[1] == said.observations[1]
    assert np.array_equal(ball.observations[0].values, said.observations[0].values)  # type: ignore[arg-type]


def of(sensor: dict[str, Any], *others: dict[str, Any]) -> bytes:
    """A message with an agent for each of these sensors."""
    message = wire.UnityMessageProto(header=wire.HeaderProto(status=200))
    infos = message.unity_output.rl_output.agentInfos["Ball?team=0"].value
    for each in (sensor, *others):
        infos.append(wire.AgentInfoProto(observations=[wire.ObservationProto(**each)]))
    return message.SerializeToString()


def numbers(*values: float) -> wire.ObservationProto.FloatData:
    return wire.ObservationProto.FloatData(data=values)


def nested(*numbers: int, content: bytes) -> bytes:
    """`content` as field numbers[-1] of a message in field numbers[-2] of ..."""
    for number in reversed(numbers):
        content = field(number, content)
    return content


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"\xff\xff\xff", "3 bytes came that are no message of ML-Agents"),
        (
            of({"shape": [2], "name": "v", "float_data": numbers(1.0)}),
            r"'Ball\?team=0', observation 0 \('v'\) has shape \[2\], which takes 2 numbers, and 1",
        ),
        (of({"shape": [], "float_data": numbers()}), r"has shape \[\]"),
        (of({"shape": [1] * 100, "float_data": numbers(1.0)}), "has 100 dimensions; expected at m"),
        (of({"shape": [-1], "float_data": numbers()}), r"has shape \[-1\], which takes 0 numbers"),
        (
            of(
                {"shape": [1], "float_data": numbers(1.0)},
                {"shape": [1, 1], "float_data": numbers(1.0)},
            ),
            r"shape \[1\] for one agent and \[1, 1\] for another",
        ),
        (
            of({"shape": [1], "float_data": numbers(1.0)}, {"shape": [1], "compressed_data": b""}),
            "compressed for some agents and not for others",
        ),
        (
            nested(2, 1, 2, 2, 1, 13, content=b"\x0a\x01\x01\x7b\x7c"),
            r"5 bytes came that are no message of ML-Agents \(field 15 at byte 4\)",
        ),
    ],
    ids=[
        "garbage",
        "too few",
        "no shape",
        "dimensions",
        "negative",
        "two shapes",
        "two compressions",
        "group",
    ],
)
def test_what_contradicts_itself_is_refused_in_words(message: bytes, words: str) -> None:
    with pytest.raises(UnityMessageError, match=words):
        codec.decode(message)


def test_names_of_any_length_are_said_in_one_short_line() -> None:
    name = "a\n" * 50_000 + "\u202e"
    with pytest.raises(UnityMessageError) as refusal:
        codec.decode(of({"shape": [2], "name": name, "float_data": numbers(1.0)}))
    words = str(refusal.value)
    assert words.startswith("'Ball?team=0', observation 0 ('a\\na\\n")
    assert words.endswith("write as many numbers as the sensor declares")
    assert "characters left out" in words
    assert len(words) < 2000
    assert words.isprintable()


def test_agents_of_one_behaviour_have_the_same_sensors() -> None:
    message = wire.UnityMessageProto(header=wire.HeaderProto(status=200))
    infos = message.unity_output.rl_output.agentInfos["Ball?team=0"].value
    one = wire.ObservationProto(shape=[1], float_data=numbers(1.0))
    infos.append(wire.AgentInfoProto(observations=[one]))
    infos.append(wire.AgentInfoProto(observations=[one, one]))
    with pytest.raises(UnityMessageError, match="with 1 and with 2 observations"):
        codec.decode(message.SerializeToString())
    del infos[:]
    infos.append(wire.AgentInfoProto(observations=[one] * 1_001))
    with pytest.raises(UnityMessageError, match="1,001 observations, and 1,000 are allowed"):
        codec.decode(message.SerializeToString())


@given(st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_varints_there_and_back(values: list[int]) -> None:
    packed = b"".join(map(varint, values))
    assert read_varints(packed) == tuple(values)
    if values:
        with pytest.raises(UnityMessageError, match="middle of a number"):
            read_varints(packed + b"\x80")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    for read in (codec.decode, game_codec.decode_reply):
        try:
            read(message)
        except UnityMessageError as error:
            assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (nested(2, 1, 2, 2, content=b"\x0a\x00" * 1_000_000), "more than 65,536 records"),
        (nested(2, 1, 2, 2, 1, content=b"\x6a\x00" * 20_000), "more than 10,000 fields in one"),
        (nested(2, 1, content=b"\x12\x00" * 20_000), "more than 10,000 fields"),
        (nested(2, 2, content=b"\x2a\x00" * 20_000), "more than 10,000 fields"),
        (
            nested(2, 2, content=nested(5, content=bytes(2**20))),
            "bytes of behaviours. descriptions",
        ),
        (nested(2, 1, 3, content=bytes(17 * 2**20)), "17,825,792 bytes of side channels; expected"),
        (nested(3, content=bytes(20_000)), "20,000 bytes of fields that a game has no use for"),
        (b"\x0b" * 20_000, "no message of ML-Agents"),
        (b"\xff" * 2_000_000, r"no message of ML-Agents \(no number at byte 10\)"),
        (
            nested(2, 1, 2, 2, content=field(1, b"\x6a\x00" * 9_000) * 30),
            "more than 200,000 fields in its records",
        ),
        (
            nested(2, 1, 2, 2, content=field(1, bytes(16_000)) * 4_500),
            "more than 67,108,864 bytes in its short records",
        ),
    ],
    ids=[
        "records",
        "sensors",
        "behaviours",
        "descriptions",
        "a long one",
        "side channels",
        "another part",
        "groups",
        "an endless number",
        "sensors of many",
        "many short ones",
    ],
)
def test_a_message_that_would_fill_memory_is_refused_unparsed(
    message: bytes, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(*_: object) -> None:
        pytest.fail("it was parsed")

    monkeypatch.setattr("entrain_envs.unity.codec.pb.Message", parse)
    with pytest.raises(UnityMessageError, match=words):
        codec.decode(message)


def test_a_large_message_of_a_game_is_within_the_bounds() -> None:
    count = 2_000
    many = some_records(
        id=np.arange(count),
        reward=np.ones(count, np.float32),
        done=np.zeros(count, np.bool_),
        interrupted=np.zeros(count, np.bool_),
        group_id=np.ones(count, np.int64),
        group_reward=np.ones(count, np.float32),
        observations=(Observation("v", (300,), values=np.ones((count, 300), np.float32)),),
        mask=None,
    )
    message = game_codec.encode_records({"Ball?team=0": many})
    assert len(message) > 2_000_000
    assert codec.decode(message).agents["Ball?team=0"].id.tolist() == list(range(count))
