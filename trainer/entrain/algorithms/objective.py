"""What is maximised: reward alone, or reward and the regularizer together.

With r the reward, w(s) what the regularizer says of the policy at s (its entropy H, or minus its KL
divergence from a prior), alpha the coefficient, and g the discount:

    bonus            maximise E[sum_t g^t r_t], and push along alpha * grad w(s_t) at each step
    soft_return      maximise E[sum_t g^t (r_t + alpha * w(s_t))]
    entropy_critic   maximise E[sum_t g^t r_t] + alpha * E[sum_t h^t w(s_t)], with h of its own

The gradient of the last two has two parts at each step: through the probability of the sampled
action, which the advantage weighs, and through w(s_t) itself, which the loss holds as an explicit
term. A bonus has the explicit term alone. So where a policy can loiter undecided, the last two
loiter and the first does not.

Sources: bonus, Williams & Peng 1991; Mnih et al. 2016 (arXiv:1602.01783). soft_return, Schulman,
Chen & Abbeel 2017 (arXiv:1704.06440), with the exact w(s_t) in place of the sampled -ln p(a_t).
entropy_critic, Choe & Kim 2024 (arXiv:2407.18143).

Shapes: T steps, B columns; V value heads: 0 of future reward, 1 of future entropy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from entrain.algorithms.returns import generalized_advantage
from entrain.config.policy import EntropyConfig
from entrain.experience import Estimate, Rollout

Regularization: TypeAlias = Callable[[], Tensor]
"""Evaluates the regularizer on the policy that acted: [T, B], anything in padding."""


class Objective(Protocol):
    """Turns a rollout into advantages and targets."""

    is_soft: bool
    """Whether advantages hold the regularizer. Dividing them by their spread then has to divide the
    explicit term too, or the two parts of one gradient would be of different lengths."""

    def estimate(self, rollout: Rollout, worth: Regularization, coefficient: float) -> Estimate:
        """Look back over the rollout.

        Args:
            rollout: as collected.
            worth: asked only if it is needed, for it costs a forward pass.
            coefficient: alpha, at least 0.
        """
        ...


@dataclass(frozen=True)
class ValueStream:
    """How one value head looks ahead."""

    head: int
    discount: float
    gae_lambda: float

    def advantage(self, signal: Tensor, rollout: Rollout) -> Tensor:
        """[T, B] GAE of `signal`, [T, B], with the values of this head."""
        return generalized_advantage(
            signal,
            rollout.value[..., self.head],
            rollout.next_value[..., self.head],
            rollout.boundary,
            discount=self.discount,
            gae_lambda=self.gae_lambda,
        )


class Bonus:
    """The return is that of rewards; the regularizer counts here and now only."""

    is_soft = False

    def __init__(self, reward: ValueStream) -> None:
        self._reward = reward

    def estimate(self, rollout: Rollout, worth: Regularization, coefficient: float) -> Estimate:
        """A_t of r_t."""
        del worth, coefficient
        advantage = self._reward.advantage(rollout.reward, rollout)
        return Estimate(advantage, advantage.unsqueeze(-1) + rollout.value)


class SoftReturn:
    """Being undecided is paid for like a reward: the critic learns the soft value."""

    is_soft = True

    def __init__(self, reward: ValueStream) -> None:
        self._reward = reward

    def estimate(self, rollout: Rollout, worth: Regularization, coefficient: float) -> Estimate:
        """A_t of r_t + alpha * w(s_t); with alpha = 0 it is the bonus's, bit for bit."""
        reward = rollout.reward
        if coefficient > 0.0:
            reward = reward + coefficient * worth()
        advantage = self._reward.advantage(reward, rollout)
        return Estimate(advantage, advantage.unsqueeze(-1) + rollout.value)


class EntropyCritic:
    """Future reward and future entropy each have a critic; their advantages are added.

        A_t = A_t of r_t + alpha * (A_t of (1 - h) * w(s_t)) / (1 - h)

    The second head holds (1 - h) * sum_t h^t w(s_t), a mean over the steps ahead: it stays in the
    range of w, where the sum for h = 0.99 would be a hundred times as large and drown the rewards
    in the critic's loss. (h = 1 has no such mean, and takes the sum.)
    """

    is_soft = True

    def __init__(self, reward: ValueStream, entropy: ValueStream) -> None:
        self._reward = reward
        self._entropy = entropy
        self._unit = 1.0 - entropy.discount if entropy.discount < 1.0 else 1.0

    def estimate(self, rollout: Rollout, worth: Regularization, coefficient: float) -> Estimate:
        """Both critics learn, also while alpha is 0."""
        of_reward = self._reward.advantage(rollout.reward, rollout)
        of_entropy = self._entropy.advantage(self._unit * worth(), rollout)
        return Estimate(
            of_reward + (coefficient / self._unit) * of_entropy,
            torch.stack([of_reward, of_entropy], dim=-1) + rollout.value,
        )


def make_objective(entropy: EntropyConfig, *, discount: float, gae_lambda: float) -> Objective:
    """The objective that the options name.

    Args:
        entropy: its options.
        discount: of rewards.
        gae_lambda: of rewards.
    """
    reward = ValueStream(0, discount, gae_lambda)
    match entropy.objective:
        case "bonus":
            return Bonus(reward)
        case "soft_return":
            return SoftReturn(reward)
        case "entropy_critic":
            return EntropyCritic(reward, ValueStream(1, entropy.discount, entropy.gae_lambda))
