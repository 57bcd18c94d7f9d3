"""Exact solutions of toy tasks under each entropy objective.

The chain: states 0 to 4, choices left and right; reaching 0 pays 0.2, reaching 4 pays 1, both end.
States 1, 2, 3 are rows 0, 1, 2 of everything here.

The regularizer is w(s) = -KL(p || prior) everywhere. A prior
of 1 for every choice, which is no distribution, makes that the entropy.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
DISCOUNT = 0.9
REWARD = np.array([[0.2, 0.0], [0.0, 0.0], [0.0, 1.0]])
"""[3, 2] of going left, right."""

FOLLOWING = np.array([[3, 1], [0, 2], [1, 3]])
"""[3, 2] the row of the state reached; 3 is an end, which is worth nothing."""

ALIKE = np.ones((3, 2))
"""The prior that makes of a divergence the entropy."""


def boltzmann(
    rewards: Sequence[float], alpha: float, prior: Sequence[float] | None = None
) -> tuple[Floats, float]:
    """Choices [N] and soft value of a bandit: prior * exp(r / alpha), alpha ln of its sum."""
    weights = np.array(prior or [1.0] * len(rewards)) * np.exp(np.array(rewards) / alpha)
    return weights / weights.sum(), alpha * math.log(weights.sum())


def action_values(value: Floats, *, reward: Floats = REWARD, discount: float = DISCOUNT) -> Floats:
    """[3, 2] Q(s, a) = r + discount * V(s'), of values [3]."""
    q: Floats = reward + discount * np.append(value, 0.0)[FOLLOWING]
    return q


def hard_chain() -> tuple[Floats, Floats]:
    """Values [3] and P(right) [3] of the greedy policy: V = max_a Q, by value iteration."""
    value = np.zeros(3)
    for _ in range(500):
        value = action_values(value).max(axis=1)
    return value, action_values(value).argmax(axis=1).astype(np.float64)


def soft_chain(alpha: float, prior: Floats = ALIKE) -> tuple[Floats, Floats]:
    """Soft values [3] and P(right) [3]: V = alpha ln sum_a prior exp(Q / alpha), p its summands.

    Source: Haarnoja et al. 2017, theorem 1 (arXiv:1702.08165).
    """
    value = np.zeros(3)
    for _ in range(500):
        value = alpha * np.log((prior * np.exp(action_values(value) / alpha)).sum(axis=1))
    return value, (prior * np.exp((action_values(value) - value[:, None]) / alpha))[:, 1]


def bonus_chain(alpha: float, prior: Floats = ALIKE) -> tuple[Floats, Floats]:
    """Values [3] of rewards and P(right) [3] where the worth counts here and now only."""
    right = two_discounts_chain(alpha, 0.0, prior)
    return values_of(right), right


def two_discounts_chain(alpha: float, worth_discount: float, prior: Floats = ALIKE) -> Floats:
    """P(right) [3] at rest, where future worth has a discount h of its own.

        p = prior * exp((Q + alpha * h * V_w(s')) / alpha), normalised

    Q being p's own action values of rewards, V_w its values of w. There the gradients of both
    returns cancel in each state. h = 0 is the bonus; h = the discount of rewards, the soft return.
    """
    right = np.full(3, 0.5)
    for _ in range(2000):
        future = action_values(
            worths_of(right, prior, discount=worth_discount),
            reward=np.zeros((3, 2)),
            discount=worth_discount,
        )
        chosen = np.log(prior) + action_values(values_of(right)) / alpha + future
        right = 0.7 * right + 0.3 / (1.0 + np.exp(chosen[:, 0] - chosen[:, 1]))
    return right


def values_of(right: Floats) -> Floats:
    """[3] discounted sum of rewards of the policy that goes right so often."""
    return _discounted((_both(right) * REWARD).sum(axis=1), right, DISCOUNT)


def worths_of(right: Floats, prior: Floats = ALIKE, *, discount: float = DISCOUNT) -> Floats:
    """[3] discounted sum of w; w itself at a discount of 0."""
    chosen = _both(right)
    worth = (chosen * (np.log(prior) - np.log(np.clip(chosen, 1e-300, 1.0)))).sum(axis=1)
    return _discounted(worth, right, discount)


def _both(right: Floats) -> Floats:
    """[3, 2] P(left), P(right)."""
    return np.stack([1.0 - right, right], axis=1)


def transitions_of(right: Floats) -> Floats:
    """[3, 3] the chance of each state after each."""
    chances = np.zeros((3, 4))
    for state in range(3):
        for choice in range(2):
            chances[state, FOLLOWING[state, choice]] += _both(right)[state, choice]
    return chances[:, :3]


def _discounted(income: Floats, right: Floats, discount: float) -> Floats:
    """[3] V = income + discount * E V(s'), solved for."""
    solved = np.linalg.solve(np.eye(3) - discount * transitions_of(right), income)
    return solved.astype(np.float64)
