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


def learner(seed: int = 1, **learned_by: Any) -> OffPolicy:
    policy = make_policy(WALKER, options(**learned_by), seed=seed)
    algorithm = make_algorithm(policy, seed=seed)
    assert isinstance(algorithm, OffPolicy)
    return algorithm


@pytest.mark.parametrize("algorithm", [{}, {"batch_norm": {"warmup_steps": 3}, "policy_every": 3}])
def test_a_run_that_is_resumed_learns_on_to_the_bit(algorithm: dict[str, Any]) -> None:
    one, other = learner(**algorithm), learner(seed=2, **algorithm)
    first, second = (made_transitions([0, 1, 0, 1], spec=WALKER, seed=seed) for seed in (3, 4))
    one.update(first, progress=0.0)
    other.load_state(copy.deepcopy(one.state()))
    metrics = [each.update(second, progress=0.5) for each in (one, other)]
    assert metrics[0] == metrics[1]
    assert same_state(one.state(), other.state())


def test_what_only_some_gradient_steps_find_is_the_mean_over_those() -> None:
    # Of four gradient steps the first and the fourth are the actor's, too.
    every, some = (learner(policy_every=every, learning_rate=1e-12) for every in (1, 3))
    found = [
        each.update(made_transitions([0, 1, 0, 1], spec=WALKER), progress=0.0)
        for each in (every, some)
    ]
    entropies = [metrics["policy/entropy"] for metrics in found]
    assert entropies[1] == pytest.approx(entropies[0], abs=0.3)
    assert found[0]["update/gradient_steps"] == found[1]["update/gradient_steps"] == 4
    # An update without one of the actor's says nothing of it.
    assert "policy/entropy" not in some.update(made_transitions([0], spec=WALKER), progress=0.1)


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
