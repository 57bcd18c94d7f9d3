"""What an agent did and got a step ago: how it is written, when it is zero, who never sees it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from acting_and_collecting import ActingAndCollecting
from entrain.config.policy import NetworkConfig
from entrain.errors import CheckpointError
from entrain.requests import SlotTimesteps
from entrain.rollout.history import History
from entrain_envs.spec import ActionSpec
from entrain_envs.timestep import ActionBatch, StepType

FIRST, MID = StepType.FIRST, StepType.MID
TERMINATED, TRUNCATED = StepType.TERMINATED, StepType.TRUNCATED
Make = Callable[..., Any]
Batch = Callable[..., SlotTimesteps]
BOTH = NetworkConfig(previous_action=True, previous_reward=True)
HYBRID = ActionSpec((-1.0, -1.0), (1.0, 1.0), (3, 2))


def history_of(spec: ActionSpec = HYBRID, network: NetworkConfig = BOTH, slots: int = 3) -> History:
    history = History(spec, network)
    history.grow(slots)
    return history


def shown(
    history: History, slot: list[int], *, begins: list[bool] | None = None
) -> tuple[list[Any], list[Any]]:
    """(previous actions, previous rewards) of rows of these slots, whose rewards are slot + 0.5."""
    observation = history.beside(
        {"x": np.zeros(len(slot), np.float32)},
        slot=np.array(slot),
        begins=np.array(begins or [False] * len(slot)),
        reward=np.array(slot, np.float32) + np.float32(0.5),
    )
    assert list(observation) == ["x", "previous_action", "previous_reward"]
    action, reward = observation["previous_action"], observation["previous_reward"]
    assert action.dtype == reward.dtype == np.float32
    return action.tolist(), reward.tolist()


def test_dimensions_come_as_sampled_then_a_one_hot_for_each_branch() -> None:
    history = history_of()
    history.note(
        np.array([2, 0]),
        {
            "continuous": np.array([[0.25, -3.0], [1.5, 2.0]], np.float32),
            "discrete": np.array([[2, 0], [0, 1]]),
        },
        slice(None),
    )
    actions, rewards = shown(history, [0, 1, 2])
    assert actions == [
        [1.5, 2.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        [0.0] * 7,
        [0.25, -3.0, 0.0, 0.0, 1.0, 1.0, 0.0],
    ]
    assert rewards == [[0.5], [1.5], [2.5]]


def test_an_action_that_came_too_late_is_shown_as_none_and_its_reward_as_it_is() -> None:
    history = history_of(ActionSpec(branches=(3,)))
    history.note(np.array([0, 1]), {"discrete": np.array([[2], [2]])}, slice(None))
    observation = history.beside(
        {},
        slot=np.array([0, 1]),
        begins=np.zeros(2, np.bool_),
        reward=np.array([1.0, 2.0], np.float32),
        late=np.array([True, False]),
    )
    assert observation["previous_action"].tolist() == [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert observation["previous_reward"].tolist() == [[1.0], [2.0]]


def test_only_the_last_action_is_remembered() -> None:
    history = history_of(ActionSpec(branches=(3,)))
    for choice in (2, 0, 1):
        history.note(np.array([1]), {"discrete": np.array([[choice]])}, slice(None))
    assert shown(history, [1])[0] == [[0.0, 1.0, 0.0]]


def test_a_gaussians_rare_far_actions_are_cut() -> None:
    history = history_of(ActionSpec((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)))
    history.note(
        np.array([0]), {"continuous": np.array([[11.0, -1e6, 9.5]], np.float32)}, slice(None)
    )
    assert shown(history, [0])[0] == [[10.0, -10.0, 9.5]]


def test_where_an_episode_begins_both_are_zero_even_if_the_row_has_a_reward() -> None:
    history = history_of(ActionSpec(branches=(2,)))
    history.note(np.array([0, 1]), {"discrete": np.array([[1], [1]])}, slice(None))
    assert shown(history, [0, 1], begins=[True, False]) == (
        [[0.0, 0.0], [0.0, 1.0]],
        [[0.0], [1.5]],
    )


@pytest.mark.parametrize("name", ["previous_action", "previous_reward"])
def test_each_is_shown_without_the_other(name: str) -> None:
    history = history_of(network=NetworkConfig.model_validate({name: True}))
    history.note(
        np.array([0]),
        {"continuous": np.ones((1, 2), np.float32), "discrete": np.zeros((1, 2), np.int64)},
        slice(None),
    )
    observation = history.beside(
        {}, slot=np.array([0]), begins=np.array([False]), reward=np.array([2.0], np.float32)
    )
    assert list(observation) == [name]
    expected = {
        "previous_action": [[1.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0]],
        "previous_reward": [[2.0]],
    }
    assert observation[name].tolist() == expected[name]


def test_a_policy_that_wants_neither_gets_the_observation_itself_and_nothing_is_kept() -> None:
    history = history_of(network=NetworkConfig())
    observation = {"x": np.zeros(1, np.float32)}
    row = {"slot": np.array([0]), "begins": np.array([False]), "reward": np.ones(1, np.float32)}
    assert history.beside(observation, **row) is observation
    history.note(np.array([0]), {}, slice(None))
    assert history.state()["action"].size == 0


def test_history_comes_back_from_a_state_and_that_of_other_actions_is_refused() -> None:
    history, again = history_of(ActionSpec(branches=(2,))), history_of(ActionSpec(branches=(2,)))
    history.note(np.array([1]), {"discrete": np.array([[1]])}, slice(None))
    state = history.state()
    history.note(np.array([1]), {"discrete": np.array([[0]])}, slice(None))
    again.load_state(state)
    assert shown(again, [1])[0] == [[0.0, 1.0]]
    with pytest.raises(CheckpointError, match=r"action is float32\[3, 2\]"):
        history_of(ActionSpec(branches=(3,))).load_state(state)


def live(actor: ActingAndCollecting, batch: SlotTimesteps) -> ActionBatch:
    """Observe and act; the code policy's simulator is told twice what was sampled."""
    actor.observe(batch)
    return actor.act()


def previous(actions: ActionBatch, row: int) -> list[float]:
    """How these actions' row must be shown one step later."""
    sampled = np.clip(actions.continuous[row] / 2, -10.0, 10.0).tolist()
    return [*sampled, *(float(choice == actions.discrete[row, 0]) for choice in range(3))]


def test_each_row_of_a_rollout_shows_what_its_agent_did_and_got_before_it(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(history=True), rollout_steps=4)
    first = live(actor, batch((0, FIRST, 7.0, 1.0), (1, FIRST, 7.0, 2.0)))
    second = live(actor, batch((1, MID, 5.0, 3.0), (0, MID, 4.0, 4.0)))
    rollout = actor.observe(batch((0, MID, 1.0, 5.0), (1, MID, 1.0, 6.0)))
    assert rollout is not None
    action = rollout.observation["previous_action"]
    assert action[0].tolist() == [[0.0] * 5] * 2
    assert action[1].tolist() == [previous(first, 0), previous(first, 1)]
    assert rollout.observation["previous_reward"].tolist() == [[[0.0], [0.0]], [[4.0], [5.0]]]
    actor.act()
    rollout = None
    for _ in range(2):
        rollout = actor.observe(batch((0, MID, 1.0, 7.0), (1, MID, 1.0, 8.0)))
        actor.act()
    assert rollout is not None
    # The step that was open at the cut still shows what came before it.
    assert rollout.observation["previous_action"][0].tolist() == [
        previous(second, 1),
        previous(second, 0),
    ]
    assert rollout.observation["previous_reward"][0].tolist() == [[1.0], [1.0]]


def test_the_critic_is_shown_the_last_step_at_an_episodes_end_and_the_next_begins_with_zeros(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    # The second value of this policy is the previous reward plus the previous action's noise.
    actor = make_actor(make_policy(history=True, num_values=2), rollout_steps=1)
    actions = live(actor, batch((0, FIRST, 0.0, 1.0)))
    noise = actions.continuous[0, 1] / 2
    rollout = actor.observe(batch((0, TRUNCATED, 3.0, 2.0), (0, FIRST, 0.0, 3.0)))
    assert rollout is not None
    assert rollout.next_value[0, 0].tolist() == [2.0, float(np.float32(3.0) + noise)]
    actor.act()
    rollout = actor.observe(batch((0, MID, 1.0, 4.0)))
    assert rollout is not None
    assert rollout.value[0, 0].tolist() == [3.0, 0.0]
    assert not rollout.observation["previous_action"].any()


@pytest.mark.parametrize("step_type", [FIRST, MID])
def test_a_released_slots_history_does_not_reach_its_successor(
    step_type: StepType, make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(history=True, num_values=2), rollout_steps=2)
    live(actor, batch((0, FIRST, 0.0, 1.0)))
    live(actor, batch((0, MID, 9.0, 2.0)))
    live(actor, batch((0, step_type, 9.0, 3.0), released=[0]))
    rollout = actor.observe(batch((0, MID, 9.0, 4.0)))
    assert rollout is not None
    assert rollout.observation["previous_reward"][:, 0, 0].tolist() == [0.0, 0.0]
    assert rollout.observation["previous_action"][1, 0].tolist() == [0.0] * 5
    assert rollout.value[1, 0, 1].item() == 0.0


def test_a_batch_that_is_looked_at_again_after_learning_is_shown_the_same_history(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    policy = make_policy(history=True, num_values=2)
    actor = make_actor(policy, rollout_steps=1)
    actions = live(actor, batch((0, FIRST, 0.0, 1.0)))
    assert actor.observe(batch((0, MID, 6.0, 2.0))) is not None
    policy.learn()
    actor.publish(1)
    actor.act()
    rollout = actor.observe(batch((0, MID, 1.0, 3.0)))
    assert rollout is not None
    assert rollout.observation["previous_action"][0, 0].tolist() == previous(actions, 0)
    assert rollout.value[0, 0, 1].item() == np.float32(6.0) + actions.continuous[0, 1] / 2


def test_an_actor_that_only_acts_shows_history_too(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    policy = make_policy(history=True)
    actor = make_actor(policy, total_steps=0, deterministic=True)
    live(actor, batch((0, FIRST, 0.0, 1.0)))
    live(actor, batch((0, MID, 6.0, 2.0)))
    # The mode of the code policy is (what it saw, 0.5) and the middle allowed choice.
    looked_at = policy.notes.last_observation
    assert looked_at["previous_action"].tolist() == [[[1.0, 0.5, 1.0, 0.0, 0.0]]]
    assert looked_at["previous_reward"].tolist() == [[[6.0]]]
