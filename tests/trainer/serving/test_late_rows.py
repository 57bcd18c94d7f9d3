"""Rows whose action came too late: the byte a row, and the deadline that a behaviour declares."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from entrain.requests import SlotTimesteps
from entrain.run.state_files import decode_state, encode_state
from entrain.serving.slots import NO_SLOTS
from entrain.serving.step_order import StepOrder
from entrain_envs.codec import BehaviourCodec, decode_timesteps, encode_timesteps
from entrain_envs.errors import SpecError, WireError
from entrain_envs.joined_batches import joined
from entrain_envs.spec_codec import decode_spec, encode_spec
from entrain_envs.timestep import StepType, TimestepBatch
from support.world import WALKER

FIRST, MID, TERMINATED = StepType.FIRST, StepType.MID, StepType.TERMINATED
Make = Callable[..., Any]
Rows = Callable[..., TimestepBatch]


def marked(timesteps: TimestepBatch, late: list[bool]) -> TimestepBatch:
    return replace(timesteps, late=np.array(late))


@pytest.mark.parametrize(
    "read", [partial(decode_timesteps, WALKER), BehaviourCodec(WALKER).decode_timesteps]
)
def test_they_are_read_as_they_were_written(rows: Rows, read: Any) -> None:
    message = encode_timesteps(WALKER, marked(rows((1, MID), (2, MID)), [True, False]))
    assert message.late == b"\1\0"
    timesteps = read(message)
    assert timesteps.late is not None
    assert timesteps.late.tolist() == [True, False]


def test_without_a_late_row_nothing_is_sent_or_kept(rows: Rows) -> None:
    assert encode_timesteps(WALKER, rows((1, MID))).late == b""
    none_late = encode_timesteps(WALKER, marked(rows((1, MID)), [False]))
    assert BehaviourCodec(WALKER).decode_timesteps(none_late).late is None


def test_what_does_not_fit_is_refused_in_words(rows: Rows) -> None:
    codec, message = BehaviourCodec(WALKER), encode_timesteps(WALKER, rows((1, MID), (2, MID)))
    message.late = b"\1"
    with pytest.raises(WireError, match=r"late has 1 bytes; expected 2: uint8\[2\]"):
        codec.decode_timesteps(message)
    message.late = b"\1\7"
    with pytest.raises(WireError, match="late holds 7; expected 1 where the fallback"):
        codec.decode_timesteps(message)
    first = marked(rows((7, FIRST)), [True])
    with pytest.raises(SpecError, match=r"late row 0 \(agent 7\) is 1 and the row is FIRST"):
        first.check(WALKER)


def test_rows_with_and_without_share_a_batch(rows: Rows) -> None:
    batch = joined([rows((1, MID)), marked(rows((2, MID), (3, MID)), [True, False])])
    assert batch.late is not None
    assert batch.late.tolist() == [False, True, False]


def test_a_batch_of_a_checkpoint_has_them(rows: Rows) -> None:
    batch = SlotTimesteps(np.array([0]), marked(rows((1, MID)), [True]), NO_SLOTS, 1)
    restored = SlotTimesteps.from_state(decode_state(*encode_state(batch.state())))
    assert restored.timesteps.late is not None
    assert restored.timesteps.late.tolist() == [True]
    old = dict(batch.state())
    del old["late"]
    assert SlotTimesteps.from_state(old).timesteps.late is None


def test_an_agent_that_was_forgotten_begins_anew_and_is_not_late(rows: Rows) -> None:
    lost = marked(rows((1, MID, 1.0), (2, TERMINATED, 1.0)), [True, True])
    kept = StepOrder().welcome_strays(lost)
    assert kept.late is not None
    assert kept.late.tolist() == [False]
    kept.check(WALKER)


def test_a_behaviour_declares_its_deadline_and_fallback() -> None:
    spec = replace(WALKER, deadline_ms=50, fallback="last")
    message = encode_spec(spec)
    assert (message.deadline_ms, message.fallback) == (50, 1)
    read = decode_spec(message)
    assert (read.deadline_ms, read.fallback) == (50, "last")
    assert read == WALKER, "simulators of a run need not agree on it"


@pytest.mark.parametrize(
    ("deadline_ms", "fallback", "words"),
    [
        (50, "", "give both, or neither"),
        (0, "last", "give both, or neither"),
        (50, "none", "it must be one of last, neutral, controller"),
        (10**9, "last", "must be between 0"),
    ],
)
def test_a_deadline_that_means_nothing_is_refused(
    deadline_ms: int, fallback: str, words: str
) -> None:
    with pytest.raises(SpecError, match=words):
        replace(WALKER, deadline_ms=deadline_ms, fallback=fallback)


def test_an_unknown_fallback_is_named() -> None:
    message = encode_spec(replace(WALKER, deadline_ms=50, fallback="last"))
    message.MergeFromString(b"\x28\x09")  # field 5
    with pytest.raises(WireError, match=r"fallback number 9; expected one of 1 \(last\)"):
        decode_spec(message)
