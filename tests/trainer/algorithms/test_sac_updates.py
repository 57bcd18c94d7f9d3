"""Whole updates of soft actor-critic, with its replay: what a run with this kind does."""

import copy
import math
from typing import Any

import pytest

from entrain.algorithms.algorithm import UpdateCancelled
from entrain.algorithms.off_policy import OffPolicy
from entrain.app.learning_parts import make_algorithm
from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import make_policy
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from made_rollouts import same_state
from off_policy_cases import learn_in_process, made_transitions
from toy_environments import GaussianBandit

BOTH = ActionSpec(low=(-1.0,) * 2, high=(1.0,) * 2, branches=(3,))
WALKER = BehaviourSpec("walker", (ObservationSpec("x", (2,)),), BOTH)


def options(**algorithm: Any) -> PolicyConfig:
    return PolicyConfig.model_validate(
        {
            "network": {"hidden_sizes": (8,)},
            "algorithm": {"kind": "sac", "learning_starts": 0, "batch_size": 16, **algorithm},
        }
    )


def learner(seed: int = 1) -> OffPolicy:
    algorithm = make_algorithm(make_policy(WALKER, options(), seed=seed), seed=seed)
    assert isinstance(algorithm, OffPolicy)
    return algorithm


def test_a_run_that_is_resumed_learns_on_to_the_bit() -> None:
    one, other = learner(), learner(seed=2)
    first, second = (made_transitions([0, 1, 0, 1], spec=WALKER, seed=seed) for seed in (3, 4))
    one.update(first, progress=0.0)
    other.load_state(copy.deepcopy(one.state()))
    metrics = [each.update(second, progress=0.5) for each in (one, other)]
    assert metrics[0] == metrics[1]
    assert same_state(one.state(), other.state())


def test_an_update_that_is_cancelled_changes_nothing() -> None:
    one = learner()
    one.update(made_transitions([0, 1], spec=WALKER), progress=0.0)
    before, calls = copy.deepcopy(one.state()), iter([False, False, True])
    with pytest.raises(UpdateCancelled):
        one.update(
            made_transitions([0] * 4, spec=WALKER), progress=0.5, cancelled=lambda: next(calls)
        )
    assert same_state(before, one.state())


def test_a_policy_learns_a_bandit_from_its_own_actions() -> None:
    # alpha is fixed at 0.1. Reward -(a - 0.7)^2 / 2: the best action is 0.7, sigma 0.32.
    config = PolicyConfig.model_validate(
        {
            "total_steps": 480,
            "rollout_steps": 16,
            "network": {"hidden_sizes": (16,)},
            "action": {"distribution": "gaussian"},
            "entropy": {"coefficient": 0.1},
            "algorithm": {
                "kind": "sac",
                "learning_starts": 48,
                "batch_size": 64,
                "learning_rate": 0.01,
            },
        }
    )
    bandit = GaussianBandit(curvature=1.0, target=0.7, num_agents=16)
    sitting = learn_in_process(bandit, config)
    first, last = sitting.metrics[0], sitting.metrics[-1]
    assert first["update/gradient_steps"] == 0
    assert last["update/gradient_steps"] == 16
    assert last["rollout/episode_return_mean"] > -0.2 > first["rollout/episode_return_mean"]
    assert last["policy/sigma/0"] == pytest.approx(math.sqrt(0.1), abs=0.12)
