"""The frame of off-policy algorithms: all or nothing, the pace, state beside an update, ranks."""

import itertools
import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch

from entrain.algorithms.algorithm import UpdateCancelled
from entrain.algorithms.off_policy import OffPolicy
from entrain.algorithms.pace import Pace
from entrain.app.learning_parts import make_algorithm
from entrain.config.off_policy import SoftQConfig
from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError, TrainingDivergedError, UnlearnableRolloutError
from entrain.policy.actor_critic import make_policy
from entrain.ranks import ALONE, Ranks
from entrain.run.state_files import decode_state, encode_state
from made_rollouts import same_state
from off_policy_cases import CHOICES, made_transitions, soft_q_options
from ranks_in_threads import together

STREAMS = [0, 1, 2, 0, 1, 2, 3, 0]


def options_of(**algorithm: Any) -> PolicyConfig:
    small = {"batch_size": 16, "replay_size": 40, "updates_per_step": 0.5, **algorithm}
    return soft_q_options(
        network={"hidden_sizes": [4]},
        rollout_steps=8,
        entropy={"coefficient": 0.5},
        algorithm=small,
    )


def made(options: PolicyConfig | None = None, *, ranks: Ranks = ALONE) -> OffPolicy:
    options = options or options_of()
    algorithm = make_algorithm(make_policy(CHOICES, options, seed=1), seed=1, ranks=ranks)
    assert isinstance(algorithm, OffPolicy)
    return algorithm


def learned(algorithm: OffPolicy, *, updates: int = 3) -> OffPolicy:
    for seed in range(updates):
        algorithm.update(made_transitions(STREAMS, seed=seed), progress=0.0)
    return algorithm


# All or nothing


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_cancelled_update_leaves_no_trace(after: int) -> None:
    algorithm = learned(made())
    before = algorithm.state()
    asked = itertools.count(1)
    with pytest.raises(UpdateCancelled):
        algorithm.update(
            made_transitions(STREAMS, seed=9),
            progress=0.5,
            cancelled=lambda: next(asked) > after,
        )
    # It is asked before each of the four gradient steps.
    assert next(asked) == after + 2
    assert same_state(algorithm.state(), before)


def test_a_cancelled_update_done_again_is_the_update_never_cancelled() -> None:
    one, other = learned(made()), learned(made())
    transitions = made_transitions(STREAMS, seed=9)
    with pytest.raises(UpdateCancelled):
        one.update(transitions, progress=0.5, cancelled=lambda: True)
    for algorithm in (one, other):
        algorithm.update(transitions, progress=0.5)
    assert same_state(one.state(), other.state())


def test_an_update_that_diverges_changes_nothing_and_says_what_helps() -> None:
    algorithm = learned(made(options_of(learning_rate=1e30, max_grad_norm=0.0)), updates=0)
    before = algorithm.state()
    with pytest.raises(TrainingDivergedError, match="a lower learning_rate") as caught:
        algorithm.update(made_transitions(STREAMS), progress=0.0)
    assert "update 1 of policy 'walker' diverged: loss/q is" in str(caught.value)
    assert "with max_grad_norm above 0 (it is 0)" in str(caught.value)
    assert not isinstance(caught.value, UnlearnableRolloutError)
    assert same_state(algorithm.state(), before)


def test_rewards_that_no_float_can_square_are_left_out() -> None:
    algorithm = learned(made())
    before = algorithm.state()
    huge = made_transitions(STREAMS, reward=torch.full((len(STREAMS),), 1e20))
    with pytest.raises(UnlearnableRolloutError, match="rewards reach 1e") as caught:
        algorithm.update(huge, progress=0.0)
    assert "leaves these 8 env steps out" in str(caught.value)
    assert same_state(algorithm.state(), before)
    algorithm.leave_out(huge)
    algorithm.update(made_transitions(STREAMS, continues=[True] * 8), progress=0.0)


@pytest.mark.parametrize("which", ["observation", "next_observation"])
def test_observations_that_no_network_can_square_are_refused_unless_they_are_normalised(
    which: str,
) -> None:
    seen: dict[str, Any] = {which: {"x": torch.full((len(STREAMS), 2), 1e20)}}
    huge = made_transitions(STREAMS, **seen)
    learned(made()).update(huge, progress=0.0)
    options = options_of().model_copy(update={"normalize_observations": False})
    with pytest.raises(UnlearnableRolloutError, match="observation 'x' reaches"):
        made(options).update(huge, progress=0.0)


# State


def test_it_goes_on_bit_for_bit_where_its_state_was_taken() -> None:
    one = learned(made())
    other = made()
    other.load_state(decode_state(*encode_state(one.state())))
    for algorithm in (one, other):
        metrics = algorithm.update(made_transitions(STREAMS, seed=7), progress=0.5)
        assert all(math.isfinite(value) for value in metrics.values())
    assert same_state(one.state(), other.state())
    assert torch.equal(one.weights.parameters, other.weights.parameters)


def test_the_state_before_an_update_can_be_taken_at_any_moment_of_it() -> None:
    algorithm = learned(made())
    before = algorithm.state()
    state = algorithm.kept_state()
    seen: list[Mapping[str, Any]] = [state()]

    def cancelled() -> bool:
        seen.append(state())
        return False

    algorithm.update(made_transitions(STREAMS, seed=9), progress=0.5, cancelled=cancelled)
    seen.append(state())
    assert len(seen) == 1 + 4 + 1
    assert all(same_state(each, before) for each in seen)
    assert not same_state(algorithm.state(), before)


def test_the_state_before_a_cancelled_update_is_that_after_it() -> None:
    algorithm = learned(made())
    state = algorithm.kept_state()
    with pytest.raises(UpdateCancelled):
        algorithm.update(made_transitions(STREAMS), progress=0.5, cancelled=lambda: True)
    assert same_state(state(), algorithm.state())


@pytest.mark.parametrize("name", ["replay", "pace", "policy", "version"])
def test_a_state_of_another_algorithm_is_refused(name: str) -> None:
    state = dict(made().state())
    del state[name]
    with pytest.raises(CheckpointError, match=f"has no '{name}'.*of another algorithm.kind"):
        made().load_state(state)


def test_steps_of_the_optimizer_may_be_taken_over() -> None:
    one, other = learned(made()), made()
    other.load_moments(one.state()["optimizer"])
    assert same_state(other.state()["optimizer"], one.state()["optimizer"])


# Pace


@pytest.mark.parametrize(
    ("ratio", "starts", "collected", "expected"),
    [
        # 0.3 * 4 = 1.2, 2.4, 3.6: one step each, and the rest counts later.
        (0.3, 0, [4, 4, 4], [1, 1, 1]),
        (2.0, 5, [4, 4, 4], [0, 6, 8]),
        (0.1, 0, [1] * 10, [0] * 9 + [1]),
    ],
)
def test_gradient_steps_are_due_by_the_steps_that_were_collected(
    ratio: float, starts: int, collected: list[int], expected: list[int]
) -> None:
    pace = Pace(SoftQConfig(updates_per_step=ratio, learning_starts=starts))
    due = []
    for env_steps in collected:
        due.append(pace.due(env_steps, can_learn=True))
        again = Pace(SoftQConfig(updates_per_step=ratio, learning_starts=starts))
        again.load_state(pace.state())
        pace = again
    assert due == expected
    counted = sum(collected) - starts
    assert pace.ratio == sum(expected) / counted
    assert repr(pace).startswith(f"<Pace: {sum(expected)} gradient steps for {counted} of ")


def test_what_cannot_be_learned_from_is_not_made_up_for() -> None:
    pace = Pace(SoftQConfig(updates_per_step=1.0, learning_starts=0))
    assert [pace.due(5, can_learn=False), pace.due(3, can_learn=True)] == [0, 3]


def test_the_ratio_holds_however_updates_are_cut() -> None:
    for sizes in ([8] * 12, [96], [1] * 96):
        algorithm = made(options_of(updates_per_step=0.25, learning_starts=16))
        total = 0.0
        for size in sizes:
            metrics = algorithm.update(made_transitions([0] * size), progress=0.0)
            total += metrics["update/gradient_steps"]
        # (96 - 16) / 4
        assert total == 20
        assert metrics["update/steps_ratio"] == 0.25


def test_before_learning_starts_only_the_replay_fills() -> None:
    algorithm = made(options_of(learning_starts=100))
    weights = algorithm.state()["q"]
    metrics = algorithm.update(made_transitions(STREAMS), progress=0.0)
    assert metrics["replay/steps"] == 8
    assert metrics["update/gradient_steps"] == 0
    assert "loss/q" not in metrics
    after = algorithm.state()["q"]
    assert np.array_equal(after["action_head.weight"], weights["action_head.weight"])
    # Statistics of observations are those of all that was seen.
    assert after["backbone.trunk.encoder.count"] == 8


def test_late_steps_are_told_and_never_sampled() -> None:
    late = torch.tensor([True] * 6 + [False] * 2)
    algorithm = made()
    metrics = algorithm.update(made_transitions(STREAMS, late=late), progress=0.0)
    assert metrics["rollout/late_steps"] == 0.75
    assert metrics["replay/steps"] == 2


def test_the_age_of_a_replay_is_that_of_its_steps() -> None:
    algorithm = made(options_of(learning_starts=10**6, replay_size=1000))
    for version in range(3):
        versions = torch.full((len(STREAMS),), version)
        metrics = algorithm.update(made_transitions(STREAMS, policy_version=versions), progress=0.0)
    # After the third update steps are 3, 2 and 1 updates old.
    assert metrics["replay/age"] == pytest.approx(2.0)
    assert repr(algorithm).startswith("<OffPolicy soft_q: 3 updates, <Replay: 24 steps in ")


def test_rates_change_while_the_run_goes_on() -> None:
    algorithm = learned(made())
    algorithm.change(options_of(learning_rate=1e-4, updates_per_step=1.0))
    metrics = algorithm.update(made_transitions(STREAMS), progress=0.0)
    assert metrics["policy/learning_rate"] == 1e-4
    assert metrics["update/gradient_steps"] == 8


@pytest.mark.parametrize(
    ("lag", "words"), [(0, "wait for each update"), (1, "go on during an update")]
)
def test_it_says_how_often_it_learns_and_who_waits(
    lag: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made(options_of(learning_starts=1000).model_copy(update={"policy_lag": lag}))
    assert caplog.messages == [
        "policy 'walker' learns by soft_q: 0.5 gradient steps for each env step, in updates of 8 "
        f"env steps after the first 1,000; simulators {words} (policy_lag {lag})"
    ]


# Ranks


def learn_as(rank: int, ranks: Ranks) -> Mapping[str, Any]:
    """Two updates, each rank with other steps and a replay of its own; rank 1 first has none."""
    algorithm = made(options_of(batch_size=8), ranks=ranks)
    for update in range(2):
        streams = [] if rank and not update else STREAMS
        metrics = algorithm.update(made_transitions(streams, seed=10 * update + rank), progress=0.0)
    return {
        "weights": algorithm.weights.parameters.tolist(),
        "metrics": metrics,
        "steps": algorithm.replay.num_steps,
    }


def test_ranks_learn_the_same_weights_from_replays_of_their_own() -> None:
    one, other = together(learn_as)
    assert one["weights"] == other["weights"]
    assert (one["steps"], other["steps"]) == (16, 8)
    assert one["metrics"] == other["metrics"]
    # 16 steps of both ranks in the last update, half a gradient step each.
    assert one["metrics"]["update/gradient_steps"] == 8
    assert one["metrics"]["replay/steps"] == 24


# The unit of rewards


def test_a_resume_with_another_reward_scale_brings_the_replay_to_it() -> None:
    # A power of two, so that nothing is rounded.
    rewards = learned(made()).replay.sample(64, n_step=1, discount=1.0).reward
    before = learned(made()).state()
    other = made(options_of().model_copy(update={"reward_scale": 0.25}))
    other.load_state(before)
    assert torch.equal(other.replay.sample(64, n_step=1, discount=1.0).reward, 0.25 * rewards)
    again = made()
    again.load_state(other.state())
    assert same_state(again.state()["replay"]["rows"], before["replay"]["rows"])
    # One that was written before the scale was: as if it were the present one.
    old = {name: each for name, each in before.items() if name != "reward_scale"}
    other.load_state(old)
    assert same_state(other.state()["replay"], before["replay"])


def test_rewards_that_were_multiplied_by_nothing_have_no_other_scale() -> None:
    nothing = made(options_of().model_copy(update={"reward_scale": 0.0}))
    with pytest.raises(CheckpointError, match="were multiplied by 0"):
        made().load_state(nothing.state())
