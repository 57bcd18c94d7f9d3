"""Soft actor-critic finds the soft-optimal policies that are known in closed form.

Each test says whether its temperature is fixed or adapted. Steps are all that there are, or samples
of an exact distribution: no simulator, no replay.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from entrain.algorithms.sac import SAC
from entrain.algorithms.soft_actions import SoftActions
from entrain.transitions import ReplayBatch
from entrain_envs.spec import ActionSpec
from exact_answers import DISCOUNT, FOLLOWING, REWARD, hard_chain, soft_chain
from made_batches import critics_of, made_batch, made_sac

THREE_ARMS = ActionSpec(branches=(3,))
LEFT_OR_RIGHT = ActionSpec(branches=(2,))
FREE = ActionSpec(low=(-math.inf,), high=(math.inf,))
QUICK = {"learning_rate": 0.03, "critic_learning_rate": 0.1, "target_rate": 0.2}


def every_step() -> ReplayBatch:
    """The six steps of the chain: each choice in each of the states 1, 2, 3."""
    where, choice = np.divmod(np.arange(6), 2)
    following = FOLLOWING[where, choice]
    ends = following == 3
    return made_batch(
        LEFT_OR_RIGHT,
        6,
        observation={"where": torch.eye(3)[torch.from_numpy(where)]},
        action={"discrete": torch.from_numpy(choice).unsqueeze(1)},
        reward=torch.from_numpy(REWARD[where, choice]).float(),
        next_observation={"where": torch.eye(3)[torch.from_numpy(np.where(ends, 0, following))]},
        bootstrap=torch.from_numpy(np.where(ends, 0.0, DISCOUNT)).float(),
    )


def learn(sac: SAC, batch: ReplayBatch, *, steps: int) -> None:
    for _ in range(steps):
        sac.step(batch)


def chances_of(sac: SAC, rows: int) -> Tensor:
    """[rows, C] in each one-hot situation."""
    shown = {"where": torch.eye(3)[:rows].unsqueeze(0)}
    reset = torch.zeros(1, rows, dtype=torch.bool)
    output = sac.policy(shown, sac.policy.initial_state(rows), reset)
    chances: Tensor = output.distribution.parameters()["logits"][0].detach().softmax(dim=-1)
    return chances


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.1, (0.993262, 0.006693, 0.000045)),
        (0.5, (0.665241, 0.244728, 0.090031)),
        (1.0, (0.506480, 0.307196, 0.186324)),
    ],
)
def test_three_arms_are_chosen_as_their_rewards_over_alpha_say(
    alpha: float, expected: tuple[float, ...]
) -> None:
    # alpha is fixed. Rewards 1, 1/2, 0.
    batch = made_batch(
        THREE_ARMS,
        3,
        observation={"where": torch.eye(3)[[0, 0, 0]]},
        action={"discrete": torch.arange(3).unsqueeze(1)},
        reward=torch.tensor([1.0, 0.5, 0.0]),
        bootstrap=torch.zeros(3),
    )
    quicker = {**QUICK, "learning_rate": 0.06}
    sac = made_sac(THREE_ARMS, algorithm=quicker, entropy={"coefficient": alpha})
    learn(sac, batch, steps=120)
    assert chances_of(sac, 1)[0].tolist() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("alpha", "steps"), [(0.1, 500), (0.5, 300)])
def test_the_chain_has_the_soft_optimal_values_and_policy(alpha: float, steps: int) -> None:
    # alpha is fixed. With 0.5 the policy loiters in state 3, next to the goal.
    sac = made_sac(LEFT_OR_RIGHT, algorithm=QUICK, entropy={"coefficient": alpha})
    learn(sac, every_step(), steps=steps)
    values, right = soft_chain(alpha)
    assert np.abs(chances_of(sac, 3)[:, 1].numpy() - right).max() < 0.02
    assert values_of(sac) == pytest.approx(values, abs=0.02)


def values_of(sac: SAC) -> list[float]:
    """V(s) in the three states: targets of steps that lead there and pay nothing."""
    leading = made_batch(
        LEFT_OR_RIGHT,
        3,
        reward=torch.zeros(3),
        next_observation={"where": torch.eye(3)},
        bootstrap=torch.ones(3),
    )
    following = sac._act(sac._at(leading.next_observation, leading.next_action_mask))
    found: list[float] = critics_of(sac).targets(leading, following, alpha=sac.alpha).tolist()
    return found


def test_critics_without_targets_find_the_same_values() -> None:
    # alpha is fixed, at 0.5. Running statistics follow the batch, which is always the same.
    algorithm = {
        "learning_rate": 0.03,
        "critic_learning_rate": 0.1,
        "batch_norm": {"momentum": 0.9},
    }
    sac = made_sac(LEFT_OR_RIGHT, algorithm=algorithm, entropy={"coefficient": 0.5})
    learn(sac, every_step(), steps=160)
    values, right = soft_chain(0.5)
    assert np.abs(chances_of(sac, 3)[:, 1].numpy() - right).max() < 0.02
    there = made_batch(LEFT_OR_RIGHT, 3, observation={"where": torch.eye(3)})
    actions = sac._act(sac._at(there.observation, there.action_mask))
    found = sac._critics.least_value(there.observation, actions) - sac.alpha * actions.log_prob
    assert found.tolist() == pytest.approx(values, abs=0.02)


def test_as_alpha_goes_to_zero_the_chain_has_the_hard_solution() -> None:
    # alpha is fixed, at 0.001.
    sac = made_sac(LEFT_OR_RIGHT, algorithm=QUICK, entropy={"coefficient": 0.001})
    learn(sac, every_step(), steps=300)
    values, right = hard_chain()
    assert np.abs(chances_of(sac, 3)[:, 1].numpy() - right).max() < 0.02
    assert values_of(sac) == pytest.approx(values, abs=0.02)


class Parabola:
    """Critics that know the reward -(c/2) (a - t)^2 exactly."""

    branches = None

    def __init__(self, sac: SAC, *, curvature: float, best: float) -> None:
        self._bounds = sac.policy.bounds
        self._curvature = curvature
        self._best = best

    def least_value(self, observation: object, actions: SoftActions) -> Tensor:
        del observation
        error = self._bounds.relative(actions.continuous)[:, 0] - self._best
        return -0.5 * self._curvature * error.square()


def parabola(
    monkeypatch: pytest.MonkeyPatch, *, curvature: float, best: float, **options: Any
) -> tuple[SAC, ReplayBatch]:
    """A policy for it whose noise are the middles of equal parts of (0, 1), not random numbers."""
    sac = made_sac(FREE, **options)
    rows = 256
    noise = ((torch.arange(rows, dtype=torch.float64) + 0.5) / rows).unsqueeze(1)
    monkeypatch.setattr(sac, "_noise", lambda rows: noise)
    monkeypatch.setattr(sac, "_critics", Parabola(sac, curvature=curvature, best=best))
    return sac, made_batch(FREE, rows, observation={"where": torch.eye(3)[[0] * rows]})


def gaussian_of(sac: SAC) -> tuple[float, float]:
    """Mean and sigma^2 in the first situation."""
    shown = {"where": torch.eye(3)[:1].unsqueeze(0)}
    output = sac.policy(shown, sac.policy.initial_state(1), torch.zeros(1, 1) > 0)
    parameters = output.distribution.parameters()
    return parameters["action_mean"].item(), parameters["log_sigma_sq"].exp().item()


@pytest.mark.parametrize(
    ("alpha", "curvature", "log_sigma_sq"), [(0.1, 1.0, "network"), (0.5, 2.0, "parameter")]
)
def test_a_gaussian_is_as_wide_as_alpha_over_the_curvature_of_the_reward(
    monkeypatch: pytest.MonkeyPatch, alpha: float, curvature: float, log_sigma_sq: str
) -> None:
    # alpha is fixed.
    sac, batch = parabola(
        monkeypatch,
        curvature=curvature,
        best=0.7,
        entropy={"coefficient": alpha},
        action={"distribution": "gaussian", "log_sigma_sq": log_sigma_sq},
        algorithm={"learning_rate": 0.05},
    )
    for _ in range(250):
        sac._step_actor(batch, sac.alpha)
    mean, sigma_sq = gaussian_of(sac)
    assert mean == pytest.approx(0.7, abs=0.005)
    assert sigma_sq == pytest.approx(alpha / curvature, rel=0.02)


def test_an_adapted_temperature_comes_to_rest_where_the_entropy_is_its_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # alpha is adapted. -1 nat is sigma = e^-1 / sqrt(2 pi e) = 0.08902; then alpha = c sigma^2.
    curvature = 3.0
    sac, batch = parabola(
        monkeypatch,
        curvature=curvature,
        best=0.7,
        entropy={"coefficient": 0.05, "target": {"per_dimension": -1.0}},
        action={"distribution": "gaussian", "initial_log_sigma_sq": -3.0},
        algorithm={"learning_rate": 0.1, "temperature_learning_rate": 0.02},
    )
    for _ in range(200):
        sac._step_actor(batch, sac.alpha)
    _, sigma_sq = gaussian_of(sac)
    assert math.sqrt(sigma_sq) == pytest.approx(0.08902, rel=0.01)
    assert sac.alpha.item() == pytest.approx(curvature * 0.007925, rel=0.01)
