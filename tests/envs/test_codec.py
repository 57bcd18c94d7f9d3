"""What is written is what is read, and what cannot be read is told field by field."""

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from types import FrameType
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain_envs.codec import (
    BehaviourCodec,
    decode_actions,
    decode_timesteps,
    encode_actions,
    encode_timesteps,
)
from entrain_envs.errors import EntrainEnvsError, SpecError, WireError
from entrain_envs.observation_kinds import KINDS
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.spec_codec import decode_spec, encode_spec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb
from scripted_trainer import RowsOf, actions_for

FIRST, MID, TERMINATED, TRUNCATED = StepType
CHOOSER = BehaviourSpec("chooser", (ObservationSpec("place", (1,)),), ActionSpec(branches=(2, 3)))

float32s = st.floats(allow_nan=False, allow_infinity=False, width=32)
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@st.composite
def specs(draw: st.DrawFn) -> BehaviourSpec:
    names = draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3, unique=True))
    low = draw(st.lists(st.sampled_from([-1.0, -0.5, float("-inf")]), max_size=3))
    branches = draw(st.lists(st.integers(1, 4), min_size=0 if low else 1, max_size=3))
    return BehaviourSpec(
        draw(st.text(min_size=1, max_size=8)),
        tuple(
            ObservationSpec(
                name,
                draw(shapes),
                draw(st.sampled_from(["float32", "uint8"])),
                draw(st.sampled_from(["", "vector", "goal"])),
                *draw(st.sampled_from([((), ()), ((-0.1,), (float("inf"),))])),
            )
            for name in names
        ),
        ActionSpec(
            tuple(low), tuple(draw(st.sampled_from([0.5, 2.0])) for _ in low), tuple(branches)
        ),
    )


@st.composite
def batches(draw: st.DrawFn) -> tuple[BehaviourSpec, TimestepBatch]:
    spec = draw(specs())
    rows = draw(st.integers(0, 5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = generator.random((rows, spec.action.num_choices)) < 0.5
    first_choices = np.cumsum((0, *spec.action.branches))[:-1]
    mask[:, first_choices] = True
    return spec, TimestepBatch(
        agent_id=generator.integers(-(2**63), 2**63 - 1, rows),
        step_type=generator.integers(1, 5, rows).astype(np.uint8),
        reward=generator.normal(size=rows).astype(np.float32),
        observation={
            observation.name: (100 * generator.random((rows, *observation.shape))).astype(
                observation.numpy_dtype
            )
            for observation in spec.observations
        },
        action_mask=mask,
    )


def assert_same(one: TimestepBatch, other: TimestepBatch) -> None:
    for name in ("agent_id", "step_type", "reward", "action_mask"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype
    assert one.observation.keys() == other.observation.keys()
    for name, values in one.observation.items():
        np.testing.assert_array_equal(values, other.observation[name])
        assert values.dtype == other.observation[name].dtype


def read(spec: BehaviourSpec, message: pb.BehaviourStep) -> TimestepBatch:
    """Both ways, which must agree, also in what they refuse."""
    codec = BehaviourCodec(spec)
    try:
        timesteps = decode_timesteps(spec, message)
    except EntrainEnvsError as error:
        with pytest.raises(type(error)) as refusal:
            codec.decode_timesteps(message)
        assert str(refusal.value) == str(error)
        raise
    for _ in range(2):
        assert_same(codec.decode_timesteps(message), timesteps)
    return codec.decode_timesteps(message)


def write(spec: BehaviourSpec, actions: ActionBatch) -> pb.BehaviourAct:
    """Both ways, as `read`."""
    codec = BehaviourCodec(spec)
    try:
        message = encode_actions(spec, actions)
    except EntrainEnvsError as error:
        with pytest.raises(type(error)) as refusal:
            codec.encode_actions(actions)
        assert str(refusal.value) == str(error)
        raise
    assert codec.encode_actions(actions) == message
    return message


@given(batches())
def test_a_message_without_a_mask_is_read_the_same_both_ways(
    spec_and_batch: tuple[BehaviourSpec, TimestepBatch],
) -> None:
    spec, timesteps = spec_and_batch
    allowing = replace(timesteps, action_mask=np.ones_like(timesteps.action_mask))
    assert_same(read(spec, encode_timesteps(spec, allowing)), allowing)


@given(specs())
def test_every_spec_comes_back_as_it_was_written(spec: BehaviourSpec) -> None:
    content = encode_spec(spec).SerializeToString()
    assert decode_spec(pb.BehaviourSpec.FromString(content)) == spec


@given(batches())
def test_every_batch_comes_back_as_it_was_written(
    case: tuple[BehaviourSpec, TimestepBatch],
) -> None:
    spec, timesteps = case
    content = encode_timesteps(spec, timesteps).SerializeToString()
    assert_same(read(spec, pb.BehaviourStep.FromString(content)), timesteps)


@given(specs(), st.integers(0, 5), st.integers(0, 2**63))
def test_all_actions_come_back_as_they_were_written(
    spec: BehaviourSpec, rows: int, policy_version: int
) -> None:
    actions = actions_for(spec, rows, policy_version=policy_version)
    content = write(spec, actions).SerializeToString()
    read = decode_actions(spec, pb.BehaviourAct.FromString(content), rows)
    np.testing.assert_array_equal(read.continuous, actions.continuous)
    np.testing.assert_array_equal(read.discrete, actions.discrete)
    assert read.policy_version == policy_version


def test_the_bytes_on_the_wire_by_hand() -> None:
    spec = BehaviourSpec("p", (ObservationSpec("x", (2,)),), ActionSpec(branches=(2,)))
    timesteps = TimestepBatch.of(
        spec,
        agent_id=[1, -2],
        step_type=[1, 4],
        reward=[0.0, -1.0],
        observation={"x": [[0.0, 1.0], [2.0, 0.5]]},
        action_mask=[[True, False], [True, True]],
    )
    message = encode_timesteps(spec, timesteps)
    assert message.agent_id == b"\x01" + 7 * b"\x00" + b"\xfe" + 7 * b"\xff"
    assert message.step_type == b"\x01\x04"
    assert message.reward == b"\x00\x00\x00\x00" + b"\x00\x00\x80\xbf"
    # 0.0, 1.0, 2.0, 0.5 as float32, row after row, lowest byte first.
    assert message.observations[0] == bytes.fromhex("00000000 0000803f 00000040 0000003f")
    assert message.action_mask == b"\x01\x00\x01\x01"


def test_a_mask_that_allows_everything_is_left_out(rows_of: RowsOf) -> None:
    assert encode_timesteps(CHOOSER, rows_of(CHOOSER, FIRST)).action_mask == b""


def test_an_empty_mask_allows_everything(rows_of: RowsOf) -> None:
    message = encode_timesteps(CHOOSER, rows_of(CHOOSER, FIRST, MID))
    assert read(CHOOSER, message).action_mask.tolist() == 2 * [5 * [True]]


def test_decoded_arrays_cannot_be_written_to(walker: BehaviourSpec, rows_of: RowsOf) -> None:
    message = encode_timesteps(walker, rows_of(walker, FIRST))
    with pytest.raises(ValueError, match="read-only"):
        read(walker, message).reward[0] = 1.0


def test_arrays_of_any_memory_order_are_written_row_by_row() -> None:
    spec = BehaviourSpec("p", (ObservationSpec("x", (2,)),), ActionSpec(branches=(2,)))
    by_column = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(3, 2))
    timesteps = TimestepBatch.of(
        spec, agent_id=[0, 1, 2], step_type=FIRST, reward=0.0, observation={"x": by_column}
    )
    timesteps = read(spec, encode_timesteps(spec, timesteps))
    assert timesteps.observation["x"].tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


def test_a_batch_that_does_not_fit_is_never_written(rows_of: RowsOf) -> None:
    reward = np.array([np.nan], np.float32)
    with pytest.raises(SpecError, match=r"reward, row 0 \(agent 0\) holds nan"):
        encode_timesteps(CHOOSER, replace(rows_of(CHOOSER, FIRST), reward=reward))


def broken(message: pb.BehaviourStep, field: str, content: bytes) -> pb.BehaviourStep:
    if field == "observations":
        message.observations[0] = content
    else:
        setattr(message, field, content)
    return message


@pytest.mark.parametrize(
    ("field", "content", "complaint"),
    [
        ("agent_id", bytes(17), "agent_id has 17 bytes; expected a multiple of 8"),
        ("step_type", bytes(3), r"step_type has 3 bytes; expected 2: uint8\[2\]"),
        ("reward", bytes(4), r"reward has 4 bytes; expected 8: float32\[2\]"),
        ("observations", bytes(23), r"'joints' has 23 bytes; expected 24: float32\[2, 3\]"),
        ("observations", b"", r"'joints' has 0 bytes; expected 24"),
        ("action_mask", bytes(9), r"action_mask has 9 bytes; expected 10: uint8\[2, 5\]"),
        ("action_mask", 9 * b"\x01" + b"\x02", "action_mask holds 2; expected 1"),
    ],
)
def test_a_field_that_cannot_be_read_is_named(
    field: str, content: bytes, complaint: str, walker: BehaviourSpec, rows_of: RowsOf
) -> None:
    message = broken(encode_timesteps(walker, rows_of(walker, FIRST, MID)), field, content)
    with pytest.raises(WireError, match=f"behaviour 'walker', .*{complaint}"):
        read(walker, message)


def test_agent_ids_decide_how_many_rows_there_are(walker: BehaviourSpec, rows_of: RowsOf) -> None:
    message = encode_timesteps(walker, rows_of(walker, FIRST, MID))
    message.agent_id = bytes(24)
    with pytest.raises(WireError, match="step_type has 2 bytes; expected 3"):
        read(walker, message)


def test_too_few_observations_are_refused_with_those_of_the_handshake(
    walker: BehaviourSpec, rows_of: RowsOf
) -> None:
    message = encode_timesteps(walker, rows_of(walker, FIRST))
    del message.observations[1]
    with pytest.raises(WireError, match=r"1 observations; expected 2, .*joints: .*, camera: "):
        read(walker, message)


@pytest.mark.parametrize(
    ("field", "content", "complaint"),
    [
        ("step_type", b"\x01\x09", "step_type holds"),
        (
            "reward",
            np.array([0.0, np.inf], "<f4").tobytes(),
            r"reward, row 1 \(agent 1\) holds inf",
        ),
        (
            "observations",
            np.full(6, np.nan, "<f4").tobytes(),
            r"'joints', row 0 \(agent 0\) holds nan",
        ),
        ("action_mask", bytes(10), "allows none of the 2 choices of branch 0"),
    ],
)
def test_numbers_that_are_not_allowed_are_refused_on_arrival(
    field: str, content: bytes, complaint: str, walker: BehaviourSpec, rows_of: RowsOf
) -> None:
    message = broken(encode_timesteps(walker, rows_of(walker, FIRST, MID)), field, content)
    with pytest.raises(SpecError, match=complaint):
        read(walker, message)


def test_an_unknown_dtype_number_is_refused_with_the_known_ones() -> None:
    message = pb.BehaviourSpec(
        name="walker", observations=[pb.ObservationSpec(name="joints", shape=[3])]
    )
    with pytest.raises(
        WireError, match=r"dtype number 0; expected one of 1 \(float32\), 2 \(uint8\)"
    ):
        decode_spec(message)


def test_each_kind_has_its_number_on_the_wire() -> None:
    number_by_spec = {
        ObservationSpec("o", (2,), kind="vector"): 1,
        ObservationSpec("o", (2, 2, 2), kind="image"): 2,
        ObservationSpec("o", (2, 2), kind="entities"): 3,
        ObservationSpec("o", (2,), kind="goal"): 4,
    }
    assert {spec.kind for spec in number_by_spec} == set(KINDS)
    for spec, number in number_by_spec.items():
        written = encode_spec(BehaviourSpec("b", (spec,), CHOOSER.action))
        assert written.observations[0].kind == number
        assert decode_spec(written).observations == (spec,)


@pytest.mark.parametrize(("shape", "kind"), [((8, 8, 3), "image"), ((8, 8), "vector")])
def test_a_simulator_that_says_no_kind_gets_the_usual_one(
    shape: tuple[int, ...], kind: str
) -> None:
    message = pb.BehaviourSpec(
        name="walker",
        observations=[pb.ObservationSpec(name="seen", shape=shape, dtype=pb.DTYPE_UINT8)],
        action=pb.ActionSpec(branches=[2]),
    )
    assert decode_spec(message).observation("seen").kind == kind


def test_an_unknown_kind_number_is_refused_with_the_known_ones() -> None:
    seen = pb.ObservationSpec(name="seen", shape=[3], dtype=pb.DTYPE_FLOAT32)
    seen.MergeFromString(b"\x20\x09")  # field 4, a varint: 9
    with pytest.raises(
        WireError, match=r"'seen' has kind number 9; expected one of 1 \(vector\), 2 \(image\), 3"
    ):
        decode_spec(pb.BehaviourSpec(name="walker", observations=[seen]))


def test_a_spec_that_contradicts_itself_is_refused_on_arrival() -> None:
    message = pb.BehaviourSpec(
        name="walker",
        observations=[pb.ObservationSpec(name="joints", shape=[3], dtype=pb.DTYPE_FLOAT32)],
        action=pb.ActionSpec(low=[1.0], high=[-1.0]),
    )
    with pytest.raises(SpecError, match="lower bound must be below"):
        decode_spec(message)


def test_actions_of_wrong_shape_are_never_written(walker: BehaviourSpec) -> None:
    actions = ActionBatch(np.zeros((2, 3), np.float32), np.zeros((2, 2), np.int32), 0)
    with pytest.raises(WireError, match=r"continuous .* float32\[2, 3\], expected float32\[2, 2\]"):
        write(walker, actions)


def test_actions_of_wrong_dtype_are_never_written(walker: BehaviourSpec) -> None:
    actions = ActionBatch(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.int64), 0)
    with pytest.raises(WireError, match=r"discrete .* int64\[2, 2\], expected int32\[2, 2\]"):
        write(walker, actions)


def test_actions_for_another_number_of_rows_are_refused(walker: BehaviourSpec) -> None:
    message = write(walker, actions_for(walker, 3))
    with pytest.raises(WireError, match=r"continuous actions has 24 bytes; expected 16"):
        decode_actions(walker, message, 2)


@pytest.mark.parametrize(
    ("row", "branch", "choice", "most"),
    [(0, 0, -1, 2), (1, 0, 3, 2), (1, 1, 2, 1), (0, 1, 10**8, 1)],
)
def test_choices_that_their_branch_does_not_have_are_refused(
    row: int, branch: int, choice: int, most: int
) -> None:
    spec = BehaviourSpec("b", (ObservationSpec("x", ()),), ActionSpec(branches=(3, 2)))
    choices = np.array([[2, 1], [0, 0]], np.int32)
    good = ActionBatch(np.zeros((2, 0), np.float32), choices, 0)
    assert decode_actions(spec, write(spec, good), 2).discrete.tolist() == [[2, 1], [0, 0]]
    choices[row, branch] = choice
    words = rf"'b', .* choice {choice} in row {row}, branch {branch}; expected 0 to {most}:"
    with pytest.raises(WireError, match=words):
        decode_actions(spec, write(spec, good), 2)


TraceFunction: TypeAlias = Callable[[FrameType, str, Any], Any]


def statements_run(rows: int) -> int:
    """Python lines executed by one round through the codec."""
    spec = BehaviourSpec(
        "b", (ObservationSpec("x", (8,)),), ActionSpec((-1.0,), (1.0,), branches=(2,))
    )
    timesteps = TimestepBatch.of(
        spec,
        agent_id=np.arange(rows),
        step_type=np.full(rows, MID),
        reward=0.0,
        observation={"x": np.zeros((rows, 8))},
        action_mask=np.tile([True, False], (rows, 1)),
    )
    actions = actions_for(spec, rows)
    lines = 0

    def count(frame: FrameType, event: str, argument: object) -> TraceFunction:
        nonlocal lines
        lines += event == "line"
        return count

    previous = sys.gettrace()
    # What earlier tests have left is not to be collected, with statements of its own, meanwhile.
    gc.collect()
    gc.disable()
    sys.settrace(count)
    try:
        read(spec, encode_timesteps(spec, timesteps))
        decode_actions(spec, write(spec, actions), rows)
    finally:
        sys.settrace(previous)
        gc.enable()
    return lines


def test_a_thousand_agents_cost_no_more_statements_than_one() -> None:
    statements_run(1)  # the first round also runs what happens once in a process
    assert statements_run(1024) == statements_run(1)
