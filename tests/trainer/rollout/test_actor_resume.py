"""A run that stops and goes on elsewhere does the same, bit for bit, as one that never stopped."""

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from entrain.errors import CheckpointError
from entrain.requests import SlotTimesteps
from entrain.rollout.ledger import Ledger
from entrain.run.state_files import decode_state, encode_state
from entrain.state import State
from entrain_envs.timestep import StepType

FIRST, MID = StepType.FIRST, StepType.MID
TERMINATED, TRUNCATED = StepType.TERMINATED, StepType.TRUNCATED
Make = Callable[..., Any]
Row = tuple[int, StepType, float, float]


@pytest.fixture(scope="module")
def story(batch: Make) -> list[SlotTimesteps]:
    """Agents that end, begin, leave and are replaced; slots that appear late."""
    return [
        batch((0, FIRST, 0.0, 1.0), (1, FIRST, 0.0, 2.0)),
        batch((1, MID, 1.0, 3.0), (0, MID, 2.0, 4.0)),
        batch((0, TERMINATED, 3.0, 5.0), (2, FIRST, 0.0, 6.0), (0, FIRST, 0.0, 7.0), num_slots=3),
        batch((1, MID, 4.0, 8.0), num_slots=3),
        batch((2, TRUNCATED, 5.0, 9.0), (0, MID, 6.0, 10.0), num_slots=3),
        batch((1, FIRST, 0.0, 11.0), (0, MID, 7.0, 12.0), released=[1], num_slots=3),
        batch((0, MID, 8.0, 13.0), (2, FIRST, 0.0, 14.0), (1, MID, 9.0, 15.0)),
        batch((2, MID, 10.0, 16.0), (1, TRUNCATED, 11.0, 17.0), (1, FIRST, 0.0, 18.0)),
        batch((0, MID, 12.0, 19.0), (4, FIRST, 0.0, 20.0)),
        batch((4, MID, 13.0, 21.0), (1, MID, 14.0, 22.0), (2, MID, 15.0, 23.0)),
    ]


class Life:
    """A policy that learns at every cut, its actor, and everything they said."""

    def __init__(self, make_policy: Make, make_actor: Make) -> None:
        self.policy = make_policy(
            state_size=2, num_values=2, sequence_length=2, burn_in=1, history=True
        )
        self.actor = make_actor(self.policy, rollout_steps=5, normalize_rewards=True, discount=0.9)
        self.said: list[Any] = []

    def observe(self, batch: SlotTimesteps) -> None:
        rollout = self.actor.observe(batch)
        if rollout is not None:
            self.said.append(copy.deepcopy(rollout.state()))
            self.policy.learn()
            self.actor.publish(self.actor.actor.policy.version + 1)

    def act(self) -> None:
        actions = self.actor.act()
        self.said.append((actions.continuous, actions.discrete, actions.policy_version))

    def state(self) -> tuple[State, float]:
        return self.actor.state(), self.policy.weight.item()

    def load(self, state: State, weight: float) -> None:
        self.policy.weight.data.fill_(weight)
        self.actor.load_state(state)

    def end(self) -> list[Any]:
        """All it said, the log and the counts, with the last open and closed steps."""
        returns, lengths = self.actor.episodes.take()
        return [*self.said, returns, lengths, self.actor.ledger, visible(self.actor.state())]


def visible(state: State) -> State:
    """Without cells that hold no step: what lies there may differ and decides nothing."""
    buffer = dict(state["collector"]["buffer"])
    height = buffer["length"] + buffer["is_open"]
    columns = buffer.pop("columns")
    rows = np.arange(int(height.max(initial=0)))[:, None] < height
    closed = np.arange(int(height.max(initial=0)))[:, None] < buffer["length"]
    del buffer["states"]
    return {
        **state,
        "collector": {**state["collector"], "buffer": buffer},
        "opened": [columns[name][rows] for name in ("log_prob", "value", "reset", "action_mask")],
        "closed": [columns[name][closed] for name in ("reward", "next_value", "boundary")],
    }


@pytest.fixture
def uninterrupted(story: list[SlotTimesteps], make_policy: Make, make_actor: Make) -> list[Any]:
    life = Life(make_policy, make_actor)
    for batch in story:
        life.observe(batch)
        life.act()
    assert sum(isinstance(word, dict) for word in life.said) == 2, "the story has two rollouts"
    return life.end()


def test_it_is_all_one_whether_steps_are_recorded_at_once_or_when_they_are_needed(
    story: list[SlotTimesteps],
    uninterrupted: list[Any],
    make_policy: Make,
    make_actor: Make,
) -> None:
    life = Life(make_policy, make_actor)
    for batch in story:
        life.observe(batch)
        life.act()
        life.actor.record()
        life.actor.record()
    np.testing.assert_equal(life.end(), uninterrupted)


def test_an_agent_that_leaves_before_its_step_is_recorded_costs_that_step(
    story: list[SlotTimesteps], make_policy: Make, make_actor: Make
) -> None:
    life = Life(make_policy, make_actor)
    life.observe(story[0])
    life.act()
    life.actor.release(np.array([1]))
    assert life.actor.ledger.dropped == 1
    assert life.actor.ledger.open == 1


def test_what_was_not_yet_recorded_is_forgotten_with_the_rest_when_a_state_is_loaded(
    story: list[SlotTimesteps], make_policy: Make, make_actor: Make
) -> None:
    fresh, used = Life(make_policy, make_actor), Life(make_policy, make_actor)
    for batch in story[:2]:
        used.observe(batch)
        used.act()
    used.load(*fresh.state())
    assert used.actor.env_steps == 0
    assert used.actor.ledger == Ledger()


@pytest.mark.parametrize("is_recorded", [False, True])
def test_a_state_makes_an_actor_that_has_lived_as_good_as_a_fresh_one(
    is_recorded: bool,
    story: list[SlotTimesteps],
    uninterrupted: list[Any],
    make_policy: Make,
    make_actor: Make,
) -> None:
    fresh, used = Life(make_policy, make_actor), Life(make_policy, make_actor)
    begin = fresh.state()
    for batch in (*story[:5], story[0]):
        used.observe(batch)
        used.act()
        if is_recorded:
            used.actor.record()
    used.said.clear()
    used.actor.episodes.take()
    used.load(*begin)
    for batch in story:
        used.observe(batch)
        used.act()
    np.testing.assert_equal(used.end(), uninterrupted)


@pytest.mark.parametrize("stop", range(10))
def test_stopping_between_batches_changes_nothing(
    stop: int,
    story: list[SlotTimesteps],
    uninterrupted: list[Any],
    make_policy: Make,
    make_actor: Make,
) -> None:
    before, after = Life(make_policy, make_actor), Life(make_policy, make_actor)
    for batch in story[:stop]:
        before.observe(batch)
        before.act()
    after.load(*before.state())
    for batch in story[stop:]:
        after.observe(batch)
        after.act()
    after.said = before.said + after.said
    np.testing.assert_equal(after.end(), uninterrupted)


@pytest.mark.parametrize("stop", range(10))
def test_stopping_before_the_answer_and_answering_later_changes_nothing(
    stop: int,
    story: list[SlotTimesteps],
    uninterrupted: list[Any],
    make_policy: Make,
    make_actor: Make,
) -> None:
    before, after = Life(make_policy, make_actor), Life(make_policy, make_actor)
    for batch in story[:stop]:
        before.observe(batch)
        before.act()
    before.observe(story[stop])
    after.load(*before.state())
    after.act()
    for batch in story[stop + 1 :]:
        after.observe(batch)
        after.act()
    after.said = before.said + after.said
    np.testing.assert_equal(after.end(), uninterrupted)


def test_a_state_that_went_through_a_checkpoint_is_as_good(
    story: list[SlotTimesteps], uninterrupted: list[Any], make_policy: Make, make_actor: Make
) -> None:
    before, after = Life(make_policy, make_actor), Life(make_policy, make_actor)
    for batch in story[:6]:
        before.observe(batch)
        before.act()
    state, weight = before.state()
    after.load(decode_state(*encode_state(state)), weight)
    for batch in story[6:]:
        after.observe(batch)
        after.act()
    after.said = before.said + after.said
    np.testing.assert_equal(after.end(), uninterrupted)


def test_taking_a_state_disturbs_nothing_and_later_steps_do_not_change_it(
    story: list[SlotTimesteps], uninterrupted: list[Any], make_policy: Make, make_actor: Make
) -> None:
    life = Life(make_policy, make_actor)
    states = []
    for batch in story:
        life.observe(batch)
        states.append((life.actor.state(), copy.deepcopy(life.actor.state())))
        life.act()
        states.append((life.actor.state(), copy.deepcopy(life.actor.state())))
    np.testing.assert_equal(life.end(), uninterrupted)
    for state, at_its_time in states:
        np.testing.assert_equal(state, at_its_time)


def test_the_seed_of_the_state_counts_not_the_one_the_actor_was_made_with(
    make_policy: Make, make_actor: Make, batch: Make
) -> None:
    first, second = make_actor(make_policy(), seed=1), make_actor(make_policy(), seed=2)
    second.load_state(first.state())
    for actor in (first, second):
        actor.observe(batch((0, FIRST, 0.0, 1.0)))
    np.testing.assert_array_equal(first.act().continuous, second.act().continuous)


def test_a_state_of_a_policy_with_other_memory_is_refused(
    make_policy: Make, make_actor: Make, batch: Make
) -> None:
    actor = make_actor(make_policy(state_size=2))
    actor.observe(batch((0, FIRST, 0.0, 1.0)))
    actor.act()
    with pytest.raises(CheckpointError, match=r"recurrent_state is float32\[1, 2\]"):
        make_actor(make_policy(state_size=3)).load_state(actor.state())


@pytest.mark.parametrize("scaled_now", [True, False])
def test_a_run_may_be_resumed_with_rewards_treated_otherwise(
    scaled_now: bool, make_policy: Make, make_actor: Make, batch: Make
) -> None:
    then = make_actor(make_policy(), normalize_rewards=not scaled_now, rollout_steps=2)
    then.observe(batch((0, FIRST, 0.0, 1.0)))
    then.act()
    now = make_actor(make_policy(), normalize_rewards=scaled_now, rollout_steps=2)
    now.load_state(then.state())
    rollout = None
    for _ in range(2):
        rollout = now.observe(batch((0, MID, 8.0, 1.0)))
        now.act()
    assert rollout is not None
    # The sums are 8 and 0.5 * 8 + 8 = 12: mean 10, variance 4.
    second = 8.0 / math.sqrt(4.0 + 10.0**2 / 2) if scaled_now else 8.0
    assert rollout.reward[:, 0].tolist() == pytest.approx(
        [1.0 if scaled_now else 8.0, second], rel=1e-6
    )
