"""A replay against a list of transitions: what it keeps, what it samples, what it makes way for.

Every field of a transition is a code of its stream and of how many the stream had before, so that a
row of a batch that is not of one transition is seen at once. Unused cells hold 1e9.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.algorithms.replay import Appended, Replay
from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError
from entrain.policy.replay_size import replay_row_bytes
from entrain.run.state_files import decode_state, encode_state
from entrain.transitions import ReplayBatch, Transitions
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from made_rollouts import same_state

SPEC = BehaviourSpec(
    "coded",
    (ObservationSpec("seen", (2,)), ObservationSpec("image", (2, 2, 1), dtype="uint8")),
    ActionSpec((-1.0,), (1.0,), (3, 2)),
)
STREAMS = 4
DISCOUNT = 0.5


@dataclass
class Step:
    """One transition of the twin: numbers of its rows, and what they must say."""

    row: int
    next_row: int
    code: int
    stream: int
    terminated: bool
    late: bool
    ended: bool


@dataclass
class Twin:
    """A slow replay: a list, one transition at a time."""

    capacity: int
    steps: list[Step] = field(default_factory=list)
    end: int = 0
    latest: dict[int, int] = field(default_factory=dict)

    def append(self, lives: Sequence["Lived"]) -> None:
        """In parts of half the capacity: a stream whose row a part overwrites begins anew."""
        size = self.capacity // 2
        for begin in range(0, len(lives), size):
            self._append(lives[begin : begin + size])
            oldest = self.end - self.capacity
            self.steps = [step for step in self.steps if step.row >= oldest]

    def _append(self, part: Sequence["Lived"]) -> None:
        anew: set[int] = set()
        while True:
            steps, latest, end = self._numbered(part, anew)
            lost = {
                index
                for index, step in enumerate(steps)
                if step.row < end - self.capacity and index not in anew
            }
            if not lost:
                break
            anew |= lost
        self.steps += steps
        self.latest, self.end = latest, end

    def _numbered(
        self, part: Sequence["Lived"], anew: set[int]
    ) -> tuple[list[Step], dict[int, int], int]:
        latest, end, steps = dict(self.latest), self.end, []
        for index, life in enumerate(part):
            row = latest.get(life.stream, -1)
            if not life.continues or row < 0 or index in anew:
                row, end = end, end + 1
            next_row, end = end, end + 1
            latest[life.stream] = next_row
            steps.append(
                Step(row, next_row, life.code, life.stream, life.terminated, life.late, life.ended)
            )
        return steps, latest, end

    def sampled(self, n_step: int) -> dict[int, tuple[float, int, float]]:
        """{code: (reward, code of what followed, bootstrap)} of every step to learn from."""
        by_row = {step.row: step for step in self.steps if not step.late}
        found = {}
        for step in by_row.values():
            reward, factor, last = reward_of(step.code), DISCOUNT, step
            for _ in range(n_step - 1):
                following = by_row.get(last.next_row)
                if following is None:
                    break
                reward += factor * reward_of(following.code)
                factor *= DISCOUNT
                last = following
            found[step.code] = (reward, last.code, 0.0 if last.terminated else factor)
        return found


@dataclass
class Lived:
    """What the collector says of one step."""

    stream: int
    code: int
    continues: bool
    terminated: bool = False
    late: bool = False
    ended: bool = False


def reward_of(code: int) -> float:
    return float(code % 17)


def seen_at(codes: np.ndarray) -> dict[str, torch.Tensor]:
    """What was seen before the step of a code; the next of its stream sees what followed."""
    seen = np.stack([codes, -codes], axis=1).astype(np.float32)
    image = np.repeat((codes % 251).astype(np.uint8), 4).reshape(-1, 2, 2, 1)
    return {"seen": torch.from_numpy(seen), "image": torch.from_numpy(image)}


def mask_at(codes: np.ndarray) -> torch.Tensor:
    """Two choices of the first branch are allowed or not, by the code's bits."""
    mask = np.ones((len(codes), 5), np.bool_)
    mask[:, 1], mask[:, 2] = codes & 1, codes & 2
    return torch.from_numpy(mask)


def transitions_of(lives: Sequence[Lived]) -> Transitions:
    codes = np.array([life.code for life in lives], np.int64)
    ended = np.array([life.ended for life in lives], np.bool_)
    following = mask_at(codes + 1) | torch.from_numpy(ended)[:, None]
    return Transitions(
        observation=seen_at(codes),
        action={
            "continuous": torch.from_numpy(codes.astype(np.float32))[:, None],
            "discrete": torch.from_numpy(np.stack([codes % 3, codes % 2], axis=1)),
        },
        action_mask=mask_at(codes),
        reward=torch.tensor([reward_of(life.code) for life in lives], dtype=torch.float32),
        next_observation=seen_at(codes + 1),
        next_action_mask=following,
        terminated=torch.tensor([life.terminated for life in lives], dtype=torch.bool),
        late=torch.tensor([life.late for life in lives], dtype=torch.bool),
        stream=torch.tensor([life.stream for life in lives], dtype=torch.int64),
        continues=torch.tensor([life.continues for life in lives], dtype=torch.bool),
        policy_version=torch.from_numpy(codes),
    )


class World:
    """Agents whose steps are coded: 100,000 a stream, and one for each step or end."""

    def __init__(self) -> None:
        self.code = [100_000 * (stream + 1) for stream in range(STREAMS)]
        self.continues = [False] * STREAMS

    def live(self, stream: int, event: str) -> list[Lived]:
        """One step, or a release, after which the next step continues nothing."""
        if event == "release":
            self.continues[stream] = False
            self.code[stream] += 1
            return []
        ended = event in {"terminate", "truncate"}
        life = Lived(
            stream,
            self.code[stream],
            self.continues[stream],
            terminated=event == "terminate",
            late=event == "late",
            ended=ended,
        )
        # What followed an end is seen by no step: the next one has another code.
        self.code[stream] += 2 if ended else 1
        self.continues[stream] = not ended
        return [life]


EVENTS = st.lists(
    st.tuples(
        st.integers(0, STREAMS - 1),
        st.sampled_from(["go", "go", "go", "go", "late", "terminate", "truncate", "release"]),
    ),
    max_size=40,
)


def poisoned(capacity: int, seed: int = 0) -> Replay:
    """A replay whose unused cells are loud."""
    replay = Replay(SPEC, capacity=capacity, seed=seed)
    for name, array in replay._rows.arrays.items():
        if array.dtype == np.float32:
            array[:] = 1e9
        elif name == "observation/image":
            array[:] = 255
        elif name == "next_place":
            array[:] = 0
    return replay


def rows_of(batch: ReplayBatch, n_step: int) -> dict[int, tuple[float, int, float]]:
    """What a batch says, after a check that each row is of one transition."""
    codes = batch.observation["seen"][:, 0].long().numpy()
    following = batch.next_observation["seen"][:, 0].long().numpy()
    last = following - 1
    for name, expected in seen_at(codes).items():
        assert torch.equal(batch.observation[name], expected)
    for name, expected in seen_at(following).items():
        assert torch.equal(batch.next_observation[name], expected)
    assert torch.equal(batch.action["continuous"][:, 0].long(), torch.from_numpy(codes))
    assert batch.action["discrete"].dtype == torch.int64
    assert batch.action["discrete"].tolist() == [[code % 3, code % 2] for code in codes.tolist()]
    assert torch.equal(batch.action_mask, mask_at(codes))
    assert (batch.next_action_mask | ~mask_at(following)).all()
    if n_step == 1:
        assert (last == codes).all()
    triples = zip(batch.reward.tolist(), last.tolist(), batch.bootstrap.tolist(), strict=True)
    return dict(zip(codes.tolist(), triples, strict=True))


def everything(replay: Replay, n_step: int) -> dict[int, tuple[float, int, float]]:
    """All that can be sampled: with 60 draws for each step, one is missed once in e^60.

    Rewards and discounts are binary fractions, so their sums are exact.
    """
    size = 60 * replay.num_steps
    return rows_of(replay.sample(size, n_step=n_step, discount=DISCOUNT), n_step)


@settings(max_examples=120, deadline=None)
@given(
    appends=st.lists(EVENTS, min_size=1, max_size=5),
    capacity=st.integers(2, 60),
    n_step=st.integers(1, 4),
)
def test_what_can_be_sampled_is_what_a_list_of_transitions_has(
    appends: Sequence[Sequence[tuple[int, str]]], capacity: int, n_step: int
) -> None:
    world, replay, twin = World(), poisoned(capacity), Twin(capacity)
    for events in appends:
        lives = [life for stream, event in events for life in world.live(stream, event)]
        replay.append(transitions_of(lives))
        twin.append(lives)
        expected = twin.sampled(n_step)
        assert replay.num_steps == len(expected)
        assert replay.num_rows == min(twin.end, capacity)
        assert everything(replay, n_step) == expected
        if expected:
            assert replay.mean_version == pytest.approx(np.mean(list(expected)))


@settings(max_examples=60, deadline=None)
@given(before=EVENTS, after=EVENTS, capacity=st.integers(2, 30))
def test_an_append_that_is_undone_leaves_no_trace(
    before: Sequence[tuple[int, str]], after: Sequence[tuple[int, str]], capacity: int
) -> None:
    world, replay = World(), poisoned(capacity)
    replay.append(
        transitions_of([life for stream, event in before for life in world.live(stream, event)])
    )
    # Read at once, or while the replay goes on, as a checkpoint beside an update is.
    state, later = copy.deepcopy(replay.state()), replay.state()
    appended = replay.append(
        transitions_of([life for stream, event in after for life in world.live(stream, event)])
    )
    assert same_state(later, state)
    replay.undo(appended)
    assert same_state(later, state)
    assert same_state(replay.state(), state)


@settings(max_examples=25, deadline=None)
@given(
    appends=st.lists(EVENTS, min_size=1, max_size=4),
    undone=st.integers(0, 4),
    capacity=st.integers(2, 30),
    row=st.integers(0, 5),
)
def test_a_state_is_what_it_was_however_much_is_overwritten_before_it_is_read(
    appends: Sequence[Sequence[tuple[int, str]]], undone: int, capacity: int, row: int
) -> None:
    world, replay = World(), poisoned(capacity)
    whole, later = [], []
    for number, events in enumerate(appends):
        whole.append(copy.deepcopy(replay.state()))
        later.append(replay.state())
        lives = [life for stream, event in events for life in world.live(stream, event)]
        appended = replay.append(transitions_of(lives))
        if number == undone:
            replay.undo(appended)
            replay.append(transitions_of(lives))
    replay.scale_rewards(3.0)
    replay.load_state(whole[0])
    assert all(same_state(one, other) for one, other in zip(whole, later, strict=True))
    for one, other in zip(whole, later, strict=True):
        for name, rows in other["rows"].items():
            some = rows.rows(min(row, len(one["rows"][name])), len(one["rows"][name]))
            assert np.array_equal(some, one["rows"][name][row:])


def test_a_replay_is_loaded_from_its_own_state() -> None:
    world, replay = World(), poisoned(8)
    replay.append(transitions_of([life for _ in range(7) for life in world.live(0, "go")]))
    before = copy.deepcopy(replay.state())
    state = replay.state()
    replay.append(transitions_of(world.live(0, "go")))
    replay.load_state(state)
    assert same_state(replay.state(), before)


def test_a_snapshot_holds_what_was_overwritten_and_nothing_else() -> None:
    world, replay = World(), poisoned(8)
    replay.append(transitions_of([life for _ in range(7) for life in world.live(0, "go")]))
    state = replay.state()
    # The row of the newest situation becomes a step, and the oldest row makes way.
    replay.append(transitions_of(world.live(0, "go")))
    assert [repr(each) for each in replay._snapshots] == [
        "<ReplaySnapshot: 8 rows, 2 of them kept>"
    ]
    replay.append(transitions_of(world.live(0, "go")))
    assert [repr(each) for each in replay._snapshots] == [
        "<ReplaySnapshot: 8 rows, 3 of them kept>"
    ]
    assert repr(state["rows"]["reward"]) == "<_SnapshotArray float32[8]>"
    # Nobody can read it any more.
    del state
    assert not replay._snapshots


@settings(max_examples=60, deadline=None)
@given(before=EVENTS, after=EVENTS, capacity=st.integers(2, 30), longer=st.booleans())
def test_a_replay_goes_on_where_its_state_was_taken(
    before: Sequence[tuple[int, str]],
    after: Sequence[tuple[int, str]],
    capacity: int,
    longer: bool,
) -> None:
    world, one = World(), poisoned(capacity)
    one.append(
        transitions_of([life for stream, event in before for life in world.live(stream, event)])
    )
    one.sample(5, n_step=1, discount=DISCOUNT)
    other = poisoned(capacity + 50 * longer, seed=99)
    other.load_state(decode_state(*encode_state(one.state())))
    lives = [life for stream, event in after for life in world.live(stream, event)]
    for replay in (one, other):
        replay.append(transitions_of(lives))
    if longer:
        # Nothing that the smaller one has is missing.
        assert everything(one, 1).items() <= everything(other, 1).items()
        return
    assert same_state(one.state(), other.state())
    draws = [each.sample(7, n_step=2, discount=DISCOUNT) for each in (one, other)]
    for (name, here), there in zip(vars(draws[0]).items(), vars(draws[1]).values(), strict=True):
        both = (
            [(here, there)]
            if isinstance(here, torch.Tensor)
            else [(here[key], there[key]) for key in here]
        )
        assert all(torch.equal(a, b) for a, b in both), name


def test_a_smaller_replay_keeps_the_newest() -> None:
    world, one = World(), poisoned(50)
    lives = [life for _ in range(20) for life in world.live(0, "go")]
    one.append(transitions_of(lives))
    small = Replay(SPEC, capacity=6, seed=0)
    small.load_state(one.state())
    # Six rows: the newest situation, and the five steps before it.
    assert sorted(everything(small, 1)) == [life.code for life in lives[-5:]]
    more = world.live(0, "go")
    small.append(transitions_of(more))
    assert sorted(everything(small, 1)) == [life.code for life in [*lives[-4:], *more]]


def test_a_replay_that_was_made_much_smaller_can_be_saved_again() -> None:
    world, one = World(), poisoned(50)
    events = ["go", "go", "terminate"] * 8
    one.append(transitions_of([life for event in events for life in world.live(0, event)]))
    small = Replay(SPEC, capacity=6, seed=0)
    small.load_state(one.state())
    again = Replay(SPEC, capacity=6, seed=0)
    again.load_state(small.state())
    assert everything(again, 2) == everything(small, 2)
    small.append(transitions_of(world.live(0, "go")))
    small.state()


def test_two_steps_by_hand() -> None:
    # Rewards 100,000 % 17 = 6, then 7, then 8, where the episode terminates; discount 1/2:
    #   2 steps: 6 + 7/2 = 9.5 and 1/4;  7 + 8/2 = 11 and 0;  8 and 0.
    world, replay = World(), poisoned(10)
    events = ["go", "go", "terminate"]
    lives = [life for event in events for life in world.live(0, event)]
    replay.append(transitions_of(lives))
    first = lives[0].code
    assert [reward_of(life.code) for life in lives] == [6.0, 7.0, 8.0]
    assert everything(replay, 2) == {
        first: (9.5, first + 1, 0.25),
        first + 1: (11.0, first + 2, 0.0),
        first + 2: (8.0, first + 2, 0.0),
    }


def test_a_truncated_episode_goes_on_in_its_value_and_no_step_crosses_its_end() -> None:
    world, replay = World(), poisoned(10)
    lives = [life for event in ("truncate", "go") for life in world.live(0, event)]
    replay.append(transitions_of(lives))
    assert everything(replay, 3) == {
        lives[0].code: (6.0, lives[0].code, 0.5),
        lives[1].code: (reward_of(lives[1].code), lives[1].code, 0.5),
    }


def test_what_a_left_out_collection_had_is_not_continued() -> None:
    world, replay = World(), poisoned(10)
    replay.append(transitions_of(world.live(0, "go")))
    world.live(0, "go")  # is left out
    replay.forget_streams()
    last = world.live(0, "go")
    replay.append(transitions_of(last))
    found = everything(replay, 3)
    assert found[last[0].code][1] == last[0].code
    assert len(found) == 2


def test_every_step_is_drawn_equally_often() -> None:
    world, replay = World(), poisoned(40)
    replay.append(transitions_of([life for _ in range(10) for life in world.live(1, "go")]))
    drawn = replay.sample(20_000, n_step=1, discount=DISCOUNT).observation["seen"][:, 0]
    _, counts = torch.unique(drawn, return_counts=True)
    # 2,000 expected; the deviation is sqrt(20,000 * 0.1 * 0.9) = 42.
    assert counts.tolist() == pytest.approx([2000] * 10, abs=5 * 42)


def test_the_few_steps_among_late_ones_are_drawn_equally_often_and_alike_after_a_resume() -> None:
    world, replay = World(), poisoned(64)
    for _ in range(40):
        events = ["late"] * 9 + ["go"]
        replay.append(transitions_of([life for event in events for life in world.live(0, event)]))
    assert replay.num_steps in {6, 7}
    copy = poisoned(64)
    copy.load_state(replay.state())
    batches = [it.sample(100, n_step=1, discount=DISCOUNT) for it in (replay, copy)]
    assert torch.equal(batches[0].reward, batches[1].reward)


def test_nothing_is_drawn_from_an_empty_replay() -> None:
    assert poisoned(5).sample(8, n_step=1, discount=DISCOUNT).num_steps == 0
    replay = poisoned(5)
    replay.append(transitions_of(World().live(0, "late")))
    assert replay.num_steps == 0
    assert replay.sample(8, n_step=3, discount=DISCOUNT).num_steps == 0


def test_its_memory_is_what_was_reckoned_beforehand() -> None:
    options = PolicyConfig.model_validate({"algorithm": {"kind": "soft_q"}})
    assert Replay(SPEC, capacity=100, seed=0).num_bytes == 100 * replay_row_bytes(SPEC, options)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("latest"), "replay has no 'latest'"),
        (lambda state: state["rows"].pop("observation/image"), "replay has action/continuous"),
        (
            lambda state: state["rows"].update(reward=np.zeros(2, np.float64)),
            "as float64",
        ),
    ],
)
def test_a_state_of_another_kind_is_refused(change: Any, said: str) -> None:
    replay = poisoned(10)
    replay.append(transitions_of(World().live(0, "go")))
    state = {**replay.state()}
    state["rows"] = dict(state["rows"])
    change(state)
    with pytest.raises(CheckpointError, match=said):
        poisoned(10).load_state(state)


def test_it_says_how_full_it_is() -> None:
    replay = poisoned(10)
    appended: list[Appended] = replay.append(transitions_of(World().live(0, "go")))
    assert len(appended) == 1
    assert repr(replay) == "<Replay: 1 steps in 2 of 10 rows>"
