"""Objectives: maximise the reward alone, or reward and regularizer together.

With r the reward, w(s) the regularization of the policy at s (its entropy H, or minus its KL
divergence from a prior), alpha the coefficient, and g the discount:

    bonus            maximise E[sum_t g^t r_t], and push along alpha * grad w(s_t) at each step
    soft_return      maximise E[sum_t g^t (r_t + alpha * w(s_t))]
    entropy_critic   maximise E[sum_t g^t r_t] + alpha * E[sum_t h^t w(s_t)], with h of its own

The gradient of the last two has two parts at each step: through the probability of the sampled
action, which the advantage weighs, and through w(s_t) itself, which the loss holds as an explicit
term. A bonus has the explicit term alone. So where a policy can stay in places in which it is
undecided, the last two do so and the first does not.

Sources: bonus, Williams & Peng 1991; Mnih et al. 2016 (arXiv:1602.01783). soft_return, Schulman,
Chen & Abbeel 2017 (arXiv:1704.06440), with the exact w(s_t) in place of the sampled -ln p(a_t).
entropy_critic, Choe & Kim 2024 (arXiv:2407.18143).

Shapes: T steps, B columns; V value streams, in the order of the critic's outputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from entrain.algorithms.returns import cut_at_horizon, generalized_advantage
from entrain.config.policy import EntropyConfig
from entrain.experience import Estimate, Rollout
from entrain.policy.critic import ENTROPY_STREAM, REWARD_STREAM

Regularization: TypeAlias = Callable[[], Tensor]
"""Evaluates the regularizer on the policy that acted: [T, B], anything in padding."""


@dataclass(frozen=True)
class ValueStream:
    """One discounted sum that the critic estimates."""

    name: str

    discount: float
    """Per step."""

    gae_lambda: float
    """0 trusts the critic, 1 trusts the sampled sums."""


def value_streams(
    names: Sequence[str], entropy: EntropyConfig, *, discount: float, gae_lambda: float
) -> tuple[ValueStream, ...]:
    """The table of value streams, in the order of the critic's outputs.

    Args:
        names: of the critic's outputs.
        entropy: its discount and lambda are those of the entropy stream.
        discount: of rewards.
        gae_lambda: of rewards.
    """
    table = [
        ValueStream(REWARD_STREAM, discount, gae_lambda),
        ValueStream(ENTROPY_STREAM, entropy.discount, entropy.gae_lambda),
    ]
    by_name = {stream.name: stream for stream in table}
    return tuple(by_name[name] for name in names)


@dataclass(frozen=True)
class Signal:
    """The signal of one value stream, and how much its advantage counts."""

    reward: Tensor
    """[T, B] the summand of each step."""

    weight: float = 1.0
    """Of the stream's advantage in the policy's."""


class Objective(ABC):
    """Turns a rollout into advantages and targets."""

    is_soft: bool
    """Whether advantages include the regularizer. If they are divided by their spread, the explicit
    term has to be too, or the two parts of one gradient would have different scales."""

    def __init__(self, streams: Sequence[ValueStream], *, horizon: int = 0) -> None:
        """Estimate the value streams of a critic.

        Args:
            streams: in the order of the critic's outputs.
            horizon: steps after which the critic's value stands for what follows; 0 never cuts.
        """
        self._streams = streams
        self._horizon = horizon

    @abstractmethod
    def signals(
        self, rollout: Rollout, regularization: Regularization, coefficient: float
    ) -> Mapping[str, Signal]:
        """The signal of each value stream, by name; arguments as of `estimate`."""

    def estimate(
        self, rollout: Rollout, regularization: Regularization, coefficient: float
    ) -> Estimate:
        """Estimate the advantages of a rollout's actions, and the critic's targets.

            A = sum over streams of weight * GAE(signal)

        Args:
            rollout: as collected.
            regularization: called only if it is needed, as it costs a forward pass.
            coefficient: alpha, at least 0.
        """
        signals = self.signals(rollout, regularization, coefficient)
        boundary = cut_at_horizon(rollout.boundary, self._horizon)
        advantages = [
            generalized_advantage(
                signals[stream.name].reward,
                rollout.value[..., index],
                rollout.next_value[..., index],
                boundary,
                discount=stream.discount,
                gae_lambda=stream.gae_lambda,
            )
            for index, stream in enumerate(self._streams)
        ]
        weights = [signals[stream.name].weight for stream in self._streams]
        advantage = weights[0] * advantages[0]
        for weight, of_stream in zip(weights[1:], advantages[1:], strict=True):
            advantage = advantage + weight * of_stream
        return Estimate(advantage, torch.stack(advantages, dim=-1) + rollout.value)


class Bonus(Objective):
    """The return is that of rewards; the regularizer counts in the explicit term only."""

    is_soft = False

    def signals(
        self, rollout: Rollout, regularization: Regularization, coefficient: float
    ) -> Mapping[str, Signal]:
        """r_t."""
        del regularization, coefficient
        return {REWARD_STREAM: Signal(rollout.reward)}


class SoftReturn(Objective):
    """The regularizer counts as reward: the critic learns the soft value."""

    is_soft = True

    def signals(
        self, rollout: Rollout, regularization: Regularization, coefficient: float
    ) -> Mapping[str, Signal]:
        """r_t + alpha * w(s_t); with alpha = 0 it is the bonus's, bit for bit."""
        reward = rollout.reward
        if coefficient > 0.0:
            reward = reward + coefficient * regularization()
        return {REWARD_STREAM: Signal(reward)}


class EntropyCritic(Objective):
    """Future reward and future entropy are estimated by two streams; their advantages are added.

        A_t = A_t of r_t + alpha * (A_t of (1 - h) * w(s_t)) / (1 - h)

    The entropy stream holds (1 - h) * sum_t h^t w(s_t), a mean over the steps ahead: it stays in
    the range of w, where the sum for h = 0.99 would be a hundred times as large and dominate the
    critic's loss. (h = 1 has no such mean, and takes the sum.)
    """

    is_soft = True

    def __init__(self, streams: Sequence[ValueStream], *, horizon: int = 0) -> None:
        super().__init__(streams, horizon=horizon)
        discount = {stream.name: stream.discount for stream in streams}[ENTROPY_STREAM]
        self._unit = 1.0 - discount if discount < 1.0 else 1.0

    def signals(
        self, rollout: Rollout, regularization: Regularization, coefficient: float
    ) -> Mapping[str, Signal]:
        """Both streams are learned, also while alpha is 0."""
        return {
            REWARD_STREAM: Signal(rollout.reward),
            ENTROPY_STREAM: Signal(self._unit * regularization(), coefficient / self._unit),
        }


_OBJECTIVES: Mapping[str, type[Objective]] = {
    "bonus": Bonus,
    "soft_return": SoftReturn,
    "entropy_critic": EntropyCritic,
}


def make_objective(
    entropy: EntropyConfig, streams: Sequence[ValueStream], *, horizon: int = 0
) -> Objective:
    """The objective that the options name, over the value streams of a critic; see `Objective`."""
    return _OBJECTIVES[entropy.objective](streams, horizon=horizon)
