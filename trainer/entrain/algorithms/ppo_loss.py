"""The loss of PPO at each step of a minibatch; `ppo` says where its parts come from."""

import torch
from torch import Tensor

from entrain.algorithms.coefficients import Coefficients
from entrain.algorithms.entropy import Entropy, Regularizer
from entrain.algorithms.losses import (
    clipped_value_error,
    masked_mean,
    normalized,
    value_error,
)
from entrain.algorithms.surrogates import make_surrogate
from entrain.algorithms.telemetry import LossTerms
from entrain.algorithms.unrolling import run_burn_in
from entrain.config.algorithm import PPOConfig
from entrain.experience import Minibatch, Rollout
from entrain.policy.actor_critic import ActorCritic, PolicyOutput
from entrain.policy.distributions import ActionDistribution
from entrain.ranks import Ranks

ONE = torch.ones(())


def _gradient(loss: Tensor, features: Tensor) -> Tensor:
    """Of a loss with respect to features; zeros where it does not depend on them."""
    if not features.requires_grad:
        return torch.zeros_like(features)
    (gradient,) = torch.autograd.grad(
        loss, features, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return gradient


class PPOLoss:
    """The loss of one minibatch, with the present weights of a policy."""

    def __init__(
        self,
        policy: ActorCritic,
        config: PPOConfig,
        regularizer: Regularizer,
        *,
        is_soft: bool,
        ranks: Ranks,
    ) -> None:
        """Take the parts of a `PPO`; `is_soft` is its objective's."""
        self.policy = policy
        self.config = config
        self.surrogate = make_surrogate(config)
        """What is clipped."""
        self.regularizer = regularizer
        self.is_soft = is_soft
        self._ranks = ranks

    def terms(self, minibatch: Minibatch, coefficients: Coefficients) -> LossTerms:
        """The parts of the loss at each step, with the present weights."""
        minibatch = minibatch.cleaned()
        steps = minibatch.steps
        advantage, scale = self.scaled_advantage(minibatch)
        output, distribution = self.evaluate(minibatch)
        log_ratio = self._log_ratio(distribution, minibatch)
        regularization, entropy = self._regularization_and_entropy(
            distribution, steps, is_weighted=coefficients.entropy_coefficient > 0.0
        )
        return LossTerms(
            policy=self.surrogate.loss(
                log_ratio,
                self.surrogate.weighted(advantage, minibatch),
                clip_range=coefficients.clip_range,
            ),
            value=self._value_error(
                output.normalized_value, minibatch, clip_range=coefficients.value_clip_range
            ),
            regularization=regularization,
            scale=scale,
            entropy=entropy,
            log_ratio=log_ratio,
            features=output.features,
            weight=minibatch.estimate.weight,
        )

    def evaluate(self, minibatch: Minibatch) -> tuple[PolicyOutput, ActionDistribution]:
        """Evaluate the policy on a minibatch. Padding is given harmless numbers and masked."""
        steps = minibatch.steps
        state = run_burn_in(self.policy, minibatch.burn_in, minibatch.initial_state)
        output = self.policy(steps.observation, state, steps.reset)
        return output, output.distribution.masked(steps.action_mask)

    def __call__(self, terms: LossTerms, mask: Tensor | None, coefficients: Coefficients) -> Tensor:
        """[] L = mean over steps of (m * (policy - alpha * w) + c_v * value), padding left out.

        m is the step's weight, 1 if no step is late.
        """
        if terms.weight is not None:
            loss = self._of_policy(terms, coefficients)
            loss = torch.add(loss, terms.value, alpha=self.config.value_coefficient)
            return masked_mean(loss, mask)
        loss = torch.add(terms.policy, terms.value, alpha=self.config.value_coefficient)
        return masked_mean(self._regularized(loss, terms, coefficients), mask)

    def _of_policy(self, terms: LossTerms, coefficients: Coefficients) -> Tensor:
        """[L, M] the policy's part, weighted."""
        loss = self._regularized(terms.policy, terms, coefficients)
        return loss if terms.weight is None else loss * terms.weight

    def head_squares(
        self, terms: LossTerms, mask: Tensor | None, coefficients: Coefficients
    ) -> Tensor:
        """[2] float64, squared lengths of the gradients of what both heads read.

            |g_v|^2, |g_p|^2, with g_v = d(c_v * value), g_p = d(policy - alpha * w)

        of sums over the minibatch's steps; see `critic_share`. The way back from the loss to the
        features is short.
        """
        of_policy = masked_mean(self._of_policy(terms, coefficients), mask)
        of_critic = masked_mean(terms.value, mask) * self.config.value_coefficient
        squares = [
            _gradient(part, terms.features).double().square().sum()
            for part in (of_critic, of_policy)
        ]
        num_steps = terms.value.numel() if mask is None else mask.sum()
        return torch.stack(squares) * num_steps**2

    @staticmethod
    def _regularized(loss: Tensor, terms: LossTerms, coefficients: Coefficients) -> Tensor:
        if coefficients.entropy_coefficient == 0.0:
            return loss
        regularization = terms.regularization / terms.scale
        return torch.sub(loss, regularization, alpha=coefficients.entropy_coefficient)

    def scaled_advantage(self, minibatch: Minibatch) -> tuple[Tensor, Tensor]:
        """[L, M] as the loss takes it, and the [] scale by which the explicit term is divided."""
        advantage = minibatch.estimate.advantage
        if self.config.advantage_normalization != "minibatch":
            return advantage, ONE
        advantage, scale = normalized(advantage, minibatch.policy_mask, ranks=self._ranks)
        return advantage, scale if self.is_soft else ONE

    def _log_ratio(self, distribution: ActionDistribution, minibatch: Minibatch) -> Tensor:
        """[L, M] or [L, M, A]; 0 in padding and where a step is late."""
        log_ratio = self.surrogate.log_ratio(distribution, minibatch)
        weight = minibatch.estimate.weight
        if weight is None:
            return log_ratio
        is_late = (weight == 0.0).view(*weight.shape, *[1] * (log_ratio.dim() - weight.dim()))
        return log_ratio.masked_fill(is_late, 0.0)

    def _value_error(self, value: Tensor, minibatch: Minibatch, *, clip_range: float) -> Tensor:
        """[L, M] of all value streams together, of normalised values."""
        return_ = minibatch.estimate.return_
        if clip_range == 0.0:
            return value_error(value, return_).sum(dim=-1)
        normalizer, said = self.policy.value_head.normalizer, minibatch.steps.value
        error = clipped_value_error(
            value, normalizer.normalized(said), return_, clip_range=clip_range
        )
        if normalizer.normalizes:
            # A critic that had seen no reward said 0, which is nothing to stay near.
            error = torch.where(said == 0.0, value_error(value, return_), error)
        return error.sum(dim=-1)

    def _regularization_and_entropy(
        self, distribution: ActionDistribution, steps: Rollout, *, is_weighted: bool
    ) -> tuple[Tensor, Tensor]:
        """[L, M] the regularizer, and [L, M] the entropy, which is only reported.

        Without weight both are the entropy; where it has no closed form, as it was sampled.
        """
        observation, action_mask = steps.observation, steps.action_mask
        if is_weighted and isinstance(self.regularizer, Entropy):
            regularization = self.regularizer(distribution, observation, action_mask)
            return regularization, regularization.detach()
        with torch.no_grad():
            is_squashed = self.policy.config.action.distribution == "squashed_gaussian"
            entropy = -steps.log_prob if is_squashed else distribution.entropy()
        if not is_weighted:
            return entropy, entropy
        return self.regularizer(distribution, observation, action_mask), entropy
