"""What an actor does with a batch, rule by rule, with numbers worked out by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from entrain.config.policy import ActionConfig, MemoryConfig, NetworkConfig, PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.requests import SlotTimesteps
from entrain.rollout import action_noise
from entrain.rollout.evaluation import Outcomes
from entrain.rollout.ledger import Ledger
from entrain.rollout.reward_scaling import RewardScaler
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch

FIRST, MID = StepType.FIRST, StepType.MID
TERMINATED, TRUNCATED = StepType.TERMINATED, StepType.TRUNCATED
Make = Callable[..., Any]
Batch = Callable[..., SlotTimesteps]


def test_an_action_opens_a_step_and_its_outcome_closes_it(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(), rollout_steps=1)
    assert actor.observe(batch((0, FIRST, 0.0, 5.0))) is None
    actions = actor.act()
    assert actor.ledger == Ledger(opened=1)
    rollout = actor.observe(batch((0, MID, 2.5, 6.0)))
    # The policy values what it sees at its code: 5 when it acted, 6 at what followed.
    assert rollout.observation["code"].tolist() == [[5.0]]
    assert rollout.value.tolist() == [[[5.0]]]
    assert rollout.next_value.tolist() == [[[6.0]]]
    assert rollout.reward.tolist() == [[2.5]]
    assert rollout.log_prob.tolist() == [[-5.0]]
    assert rollout.boundary.tolist() == [[True]]
    assert rollout.reset.tolist() == [[True]]
    # What is stored is the action as sampled; the simulator was told twice that.
    assert rollout.action["continuous"][0, 0].tolist() == (actions.continuous[0] / 2).tolist()
    assert rollout.action["discrete"][0, 0].tolist() == actions.discrete[0].tolist()
    assert rollout.action_mask.tolist() == [[[True, False, True]]]  # 5 = 0b101
    assert actor.ledger == Ledger(opened=1, closed=1)


def test_the_end_of_an_episode_and_the_next_first_row_may_share_a_batch_in_any_places(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(), rollout_steps=3)
    actor.observe(batch((0, FIRST, 0.0, 1.0), (1, FIRST, 0.0, 2.0)))
    actor.act()
    actor.observe(
        batch(
            (0, TERMINATED, 10.0, 3.0),
            (1, TRUNCATED, 20.0, 4.0),
            (1, FIRST, 0.0, 5.0),
            (0, FIRST, 0.0, 6.0),
        )
    )
    assert actor.act().continuous[:, 0].tolist() == [10.0, 12.0]  # twice 5, then twice 6
    rollout = actor.observe(batch((1, MID, 30.0, 7.0)))
    assert rollout.valid.tolist() == [[True, True], [False, True]]
    assert rollout.observation["code"][:, 1].tolist() == [2.0, 5.0]
    assert rollout.next_value[0].tolist() == [[0.0], [4.0]]
    assert rollout.reset[:, 1].tolist() == [True, True]
    assert rollout.boundary[:, 1].tolist() == [True, True]
    assert rollout.boundary[0, 0].item() is True


def test_after_a_cut_actions_come_from_the_policy_that_learned(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    policy = make_policy()
    actor = make_actor(policy, rollout_steps=1)
    actor.observe(batch((0, FIRST, 0.0, 1.0)))
    actor.act()
    rollout = actor.observe(batch((0, MID, 0.0, 2.0)))
    # The value of what followed is that of the critic before learning.
    assert rollout.next_value.item() == 2.0
    policy.learn()
    actor.publish(1)
    actions = actor.act()
    assert actions.policy_version == 1
    assert actions.continuous[0, 0] == 2 * 10_002.0
    rollout = actor.observe(batch((0, MID, 0.0, 3.0)))
    assert rollout.value.item() == 10_002.0
    assert rollout.log_prob.item() == -10_002.0
    assert rollout.policy_version.item() == 1


def test_the_policy_runs_once_a_batch_and_once_more_after_a_cut(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    policy = make_policy()
    actor = make_actor(policy, rollout_steps=2)
    forwards = []
    for step_type in (FIRST, MID, MID, MID):
        if actor.observe(batch((0, step_type, 0.0, 1.0))) is not None:
            actor.publish(1)
        actor.act()
        forwards.append(policy.notes.forwards)
    assert forwards == [1, 2, 4, 5]


def test_a_released_agent_costs_its_open_step_and_nothing_else(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(), rollout_steps=3)
    actor.observe(batch((0, FIRST, 0.0, 1.0), (1, FIRST, 0.0, 2.0)))
    actor.act()
    actor.observe(batch((0, MID, 1.0, 3.0)))
    actor.act()
    # The slot already stands for a new agent in the batch that tells of the release.
    actor.observe(batch((0, FIRST, 0.0, 4.0), released=[0], num_slots=2))
    actor.act()
    assert actor.ledger == Ledger(opened=4, closed=1, dropped=1)
    rollout = actor.observe(batch((0, MID, 1.0, 5.0), (1, MID, 1.0, 6.0)))
    assert rollout.observation["code"][:, 0].tolist() == [1.0, 4.0]
    assert rollout.next_value[:, 0, 0].tolist() == [3.0, 5.0]
    assert rollout.boundary[:, 0].tolist() == [True, True]
    assert rollout.reset[:, 0].tolist() == [True, True]
    assert len(actor.episodes.take()[0]) == 0


def test_releasing_a_slot_between_its_episodes_drops_nothing(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy())
    actor.observe(batch((0, FIRST, 0.0, 1.0)))
    actor.act()
    actor.observe(batch((0, TERMINATED, 1.0, 3.0)))
    actor.act()
    actor.observe(batch(released=[0]))
    actor.act()
    assert actor.ledger == Ledger(opened=1, closed=1)


def test_an_end_row_without_an_open_step_is_ignored(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(), rollout_steps=1)
    assert actor.observe(batch((0, TERMINATED, 9.0, 1.0))) is None
    assert len(actor.act()) == 0
    assert actor.ledger == Ledger()
    assert len(actor.episodes.take()[0]) == 0


def test_a_mid_row_without_an_open_step_begins_an_episode_and_its_reward_belongs_to_none(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(), rollout_steps=1)
    assert actor.observe(batch((0, MID, 9.0, 1.0))) is None
    actor.act()
    rollout = actor.observe(batch((0, TERMINATED, 2.0, 2.0)))
    assert rollout.reset.item() is True
    assert rollout.reward.item() == 2.0
    actor.act()
    returns, lengths = actor.episodes.take()
    assert (returns.tolist(), lengths.tolist()) == ([2.0], [1])


def test_batches_without_rows_and_batches_that_need_no_action_are_answered_with_none(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy())
    actor.observe(batch())
    nothing = actor.act()
    assert (nothing.continuous.shape, nothing.discrete.shape) == ((0, 2), (0, 1))
    actor.observe(batch((0, FIRST, 0.0, 1.0)))
    actor.act()
    actor.observe(batch((0, TRUNCATED, 0.0, 1.0)))
    assert len(actor.act()) == 0


def test_actions_are_arrays_that_can_be_sent_and_stay_as_they_are(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy())
    actor.observe(batch((1, FIRST, 0.0, 1.0), (0, FIRST, 0.0, 2.0)))
    actions = actor.act()
    assert actions.continuous.dtype == np.float32
    assert actions.discrete.dtype == np.int32
    assert actions.continuous.flags.c_contiguous
    assert actions.discrete.flags.c_contiguous
    assert actions.continuous[:, 0].tolist() == [2.0, 4.0]
    kept = actions.continuous.copy()
    for code in (5.0, 6.0):
        actor.observe(batch((0, MID, 0.0, code), (1, MID, 0.0, code)))
        actor.act()
    assert np.array_equal(actions.continuous, kept)


def test_an_agent_acts_the_same_whoever_shares_its_batches(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    def steps(slot: int) -> list[tuple[int, StepType, float, float]]:
        return [(slot, FIRST if t == 0 else MID, 0.0, 100.0 * slot + t) for t in range(5)]

    together = make_actor(make_policy())
    alone = {slot: make_actor(make_policy()) for slot in range(3)}
    for rows in zip(*(steps(slot) for slot in alone), strict=True):
        together.observe(batch(*rows[::-1]))
        shared = together.act()
        for slot, actor in alone.items():
            actor.observe(batch(rows[slot], num_slots=3))
            own = actor.act()
            np.testing.assert_array_equal(shared.continuous[2 - slot], own.continuous[0])
            np.testing.assert_array_equal(shared.discrete[2 - slot], own.discrete[0])


def test_noise_differs_between_steps_slots_and_seeds_and_never_repeats_for_a_slots_next_agent(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    def drawn(actor: Any) -> list[float]:
        noise = []
        for released in ((), (0, 1)):
            for step_type in (FIRST, MID):
                rows = [(slot, step_type, 0.0, 1.0) for slot in (0, 1)]
                actor.observe(batch(*rows, released=released if step_type is FIRST else ()))
                noise += actor.act().continuous[:, 1].tolist()
        return noise

    noise = drawn(make_actor(make_policy())) + drawn(make_actor(make_policy(), seed=8))
    assert len(set(noise)) == len(noise) == 16


def test_steps_closed_are_counted_before_they_are_written_down(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(), rollout_steps=9)
    actor.observe(batch((0, FIRST, 0.0, 1.0), (1, FIRST, 0.0, 1.0)))
    assert actor.env_steps == 0
    actor.act()
    actor.observe(batch((0, MID, 0.0, 1.0), (1, TERMINATED, 0.0, 1.0)))
    assert actor.env_steps == 2
    actor.act()
    assert actor.env_steps == 2
    actor.record()
    assert actor.env_steps == actor.ledger.closed == 2


def test_outcomes_that_are_not_collected_are_not_counted(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(), total_steps=0)
    actor.observe(batch((0, FIRST, 0.0, 1.0)))
    actor.act()
    actor.observe(batch((0, MID, 0.0, 1.0)))
    assert actor.env_steps == 0


def test_noise_is_drawn_while_simulators_compute(
    make_policy: Make, make_actor: Make, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[int]] = []

    def noise(_seed: int, slot: Any, counter: Any, size: int) -> Any:
        drawn.append(counter.tolist())
        return np.full((len(slot), size), 0.5)

    monkeypatch.setattr(action_noise, "uniform_noise", noise)
    monkeypatch.setattr(action_noise, "MOST_ACTIONS_AHEAD", 1)
    actor = make_actor(make_policy(), rollout_steps=9)
    actor.observe(batch((0, FIRST, 0.0, 1.0), (1, FIRST, 0.0, 1.0)))
    actor.act()
    assert drawn == [[0, 0]]
    actor.record()
    assert drawn == [[0, 0], [1, 1]]
    actor.observe(batch((0, MID, 0.0, 1.0), (1, MID, 0.0, 1.0)))
    actor.act()
    assert drawn == [[0, 0], [1, 1]]


def test_a_deterministic_actor_takes_the_mode_each_time(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(), deterministic=True, total_steps=0)
    for step_type in (FIRST, MID, MID):
        actor.observe(batch((0, step_type, 0.0, 1.0)))
        assert actor.act().continuous.tolist() == [[2.0, 1.0]]


def test_without_collecting_nothing_is_counted_but_episodes_are_logged(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(), rollout_steps=1, total_steps=0)
    for row in ((0, FIRST, 0.0, 1.0), (0, MID, 2.0, 1.0), (0, TRUNCATED, 3.0, 1.0)):
        assert actor.observe(batch(row)) is None
        actor.act()
    assert actor.ledger == Ledger()
    returns, lengths = actor.episodes.take()
    assert (returns.tolist(), lengths.tolist()) == ([5.0], [2])


@pytest.mark.parametrize("total_steps", [0, 100])
def test_what_is_remembered_is_carried_from_step_to_step_whether_or_not_steps_are_collected(
    total_steps: int, make_actor: Make
) -> None:
    spec = BehaviourSpec("walker", (ObservationSpec("x", (3,)),), ActionSpec((-1.0,), (1.0,)))
    memory = MemoryConfig(kind="gru", size=4)
    policy = ActorCritic(spec, PolicyConfig(network=NetworkConfig(memory=memory)), seed=3)
    with torch.no_grad():
        policy.action_head.weight.mul_(100)
    actor = make_actor(policy, rollout_steps=100, total_steps=total_steps, deterministic=True)
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    sent = []
    for step, rows in enumerate(x):
        step_type = np.full(2, MID if step else FIRST, np.uint8)
        zeros, mask = np.zeros(2, np.float32), np.zeros((2, 0), np.bool_)
        timesteps = TimestepBatch(np.arange(2), step_type, zeros, {"x": rows}, mask)
        actor.observe(SlotTimesteps(np.arange(2), timesteps, np.zeros(0, np.int64), 2))
        sent.append(actor.act().continuous)
    # The same as one look at the whole sequence, and not as if each step were a beginning.
    reset = torch.arange(6)[:, None].expand(6, 2) == 0
    expected, forgetful = (
        policy.environment_action(
            policy({"x": torch.from_numpy(x)}, policy.initial_state(2), each).distribution.mode()
        )["continuous"].detach()
        for each in (reset, torch.ones_like(reset))
    )
    np.testing.assert_allclose(np.stack(sent), expected, atol=1e-5)
    assert (expected - forgetful)[1:].abs().max() > 0.01


def test_when_collecting_ends_open_steps_are_dropped_and_episodes_go_on(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy())
    actor.observe(batch((0, FIRST, 0.0, 1.0)))
    actor.act()
    actor.end()
    assert actor.ledger == Ledger(opened=1, dropped=1)
    actor.observe(batch((0, MID, 1.0, 1.0)))
    actor.act()
    actor.observe(batch((0, TERMINATED, 1.0, 1.0)))
    actor.act()
    assert actor.ledger == Ledger(opened=1, dropped=1)
    assert actor.episodes.take()[0].tolist() == [2.0]


def test_when_collecting_begins_again_an_episode_on_its_way_begins_with_its_next_row(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    complete = make_actor(make_policy(), total_steps=0)
    complete.observe(batch((0, FIRST, 0.0, 1.0)))
    complete.act()
    actor = make_actor(make_policy(), rollout_steps=1)
    actor.load_state(complete.state())
    actor.begin_again()
    assert actor.observe(batch((0, MID, 1.0, 2.0))) is None
    actor.act()
    rollout = actor.observe(batch((0, MID, 1.0, 3.0)))
    assert rollout.observation["code"].tolist() == [[2.0]]
    assert rollout.reset.tolist() == [[True]]


def test_rewards_are_stored_scaled_and_logged_raw(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(), rollout_steps=1, normalize_rewards=True, reward_clip=0.25)
    actor.observe(batch((0, FIRST, 0.0, 1.0)))
    actor.act()
    rollout = actor.observe(batch((0, TERMINATED, 1000.0, 1.0)))
    assert rollout.reward.item() == 0.25
    actor.act()
    assert actor.episodes.take()[0].tolist() == [1000.0]


@pytest.mark.parametrize(("options", "expected"), [({}, 500.0), ({"normalize_rewards": True}, 0.5)])
def test_rewards_are_multiplied_last_of_all(
    make_policy: Make, make_actor: Make, batch: Batch, options: Any, expected: float
) -> None:
    # Normalised, a first reward is clipped: here to 1.
    scaled = {"rollout_steps": 1, "reward_clip": 1.0, "reward_scale": 0.5, **options}
    actor = make_actor(make_policy(), **scaled)
    actor.observe(batch((0, FIRST, 0.0, 1.0)))
    actor.act()
    rollout = actor.observe(batch((0, TERMINATED, 1000.0, 1.0)))
    assert rollout.reward.item() == expected
    actor.act()
    assert actor.episodes.take()[0].tolist() == [1000.0]


def test_the_scale_of_a_reward_takes_each_episode_by_itself(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(
        make_policy(), rollout_steps=1, normalize_rewards=True, discount=0.5, reward_clip=1e9
    )
    by_hand = RewardScaler(discount=0.5, clip=1e9)
    by_hand.grow(1)
    actor.observe(batch((0, FIRST, 0.0, 1.0)))
    actor.act()
    for reward in (3.0, 5.0, -4.0):
        rollout = actor.observe(batch((0, TERMINATED, reward, 1.0), (0, FIRST, 0.0, 1.0)))
        actor.act()
        by_hand.begin(np.array([0]))
        scaled = by_hand.scale(np.array([0]), np.array([reward], np.float32))
        assert rollout.reward.item() == scaled.item()


def test_a_policy_that_is_complete_cuts_nothing_even_if_it_is_resumed_with_shorter_rollouts(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(), rollout_steps=4, total_steps=2)
    for step_type in (FIRST, MID, MID):
        actor.observe(batch((0, step_type, 0.0, 1.0)))
        actor.act()
    assert actor.env_steps == 2
    resumed = make_actor(make_policy(), rollout_steps=2, total_steps=2)
    resumed.load_state(actor.state())
    assert resumed.observe(batch((0, MID, 0.0, 1.0))) is None
    assert resumed.ledger == Ledger(opened=3, closed=2, dropped=1)


def test_an_outcome_carries_what_was_observed_also_where_the_next_episode_has_begun(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy())
    actor.observe(batch((0, FIRST, 0.0, 1.0), (1, FIRST, 0.0, 2.0)))
    actor.act()
    actor.record()
    rows = batch((1, TRUNCATED, 1.0, 3.0), (1, FIRST, 0.0, 4.0), (0, MID, 1.0, 5.0))
    outcomes = Outcomes.of(actor.actor.evaluate(rows))
    assert outcomes.slot.tolist() == [1, 0]
    assert outcomes.observation["code"].tolist() == [3.0, 5.0]


def test_a_batch_is_received_once_and_recorded_before_the_next(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    both = make_actor(make_policy())
    evaluation = both.actor.evaluate(batch((0, FIRST, 0.0, 1.0)))
    both.collected.receive(evaluation)
    with pytest.raises(RuntimeError, match="was called twice"):
        both.collected.receive(evaluation)


def test_a_batch_may_be_evaluated_again_before_it_is_answered(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    actor = make_actor(make_policy(state_size=2, history=True)).actor
    actor.act(actor.evaluate(batch((0, FIRST, 0.0, 1.0), (1, FIRST, 0.0, 1.0))))
    rows = batch((0, TERMINATED, 1.0, 2.0), (0, FIRST, 0.0, 3.0), (1, MID, 1.0, 4.0), released=[1])
    first, again = actor.evaluate(rows), actor.evaluate(rows)
    assert first.begins.tolist() == again.begins.tolist() == [False, True, True]
    assert first.value.tolist() == again.value.tolist()
    assert first.next_recurrent_state.tolist() == again.next_recurrent_state.tolist()


def test_an_evaluation_is_refreshed_only_if_other_weights_were_published(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    policy = make_policy()
    both = make_actor(policy)
    evaluation = both.actor.evaluate(batch((0, FIRST, 0.0, 1.0)))
    policy.learn()
    assert both.actor.refreshed(evaluation) is evaluation
    both.publish(1)
    refreshed = both.actor.refreshed(evaluation)
    assert refreshed.policy_version == 1
    assert refreshed.value.tolist() == [[10_001.0]]


def test_the_learner_finds_the_log_probability_the_actor_stored(make_actor: Make) -> None:
    # The real policy, hybrid, masked, bounded: what was stored must be recomputable to 1e-6.
    spec = BehaviourSpec(
        "walker",
        (ObservationSpec("x", (3,)),),
        ActionSpec((-2.0, -1.0), (1.0, 1.0), (3, 4)),
    )
    policy = ActorCritic(
        spec, PolicyConfig(action=ActionConfig(distribution="squashed_gaussian")), seed=3
    )
    actor = make_actor(policy, rollout_steps=30)
    rng = np.random.default_rng(0)
    rollout = None
    for step in range(8):
        mask = rng.random((5, 7)) < 0.5
        mask[:, [0, 3]] = True
        step_type = np.full(5, MID if step else FIRST, np.uint8)
        observation = {"x": rng.normal(size=(5, 3)).astype(np.float32)}
        timesteps = TimestepBatch(
            np.arange(5), step_type, np.zeros(5, np.float32), observation, mask
        )
        rollout = actor.observe(SlotTimesteps(np.arange(5), timesteps, np.zeros(0, np.int64), 5))
        if rollout is not None:
            break
        actions = actor.act()
        assert (actions.continuous >= [-2.0, -1.0]).all()
        assert (actions.continuous <= [1.0, 1.0]).all()
        assert mask[np.arange(5), actions.discrete[:, 0]].all()
        assert mask[np.arange(5), 3 + actions.discrete[:, 1]].all()
    assert rollout is not None
    output = policy(rollout.observation, rollout.sequence_state[0], rollout.reset)
    distribution = output.distribution.masked(rollout.action_mask)
    torch.testing.assert_close(
        distribution.log_prob(rollout.action), rollout.log_prob, rtol=0, atol=1e-6
    )
    torch.testing.assert_close(output.value, rollout.value, rtol=0, atol=1e-6)
