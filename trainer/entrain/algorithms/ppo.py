"""Proximal policy optimization: several epochs of clipped steps on each rollout.

What this implementation does, and where it comes from. [S17] Schulman et al. 2017, "Proximal
policy optimization algorithms" (arXiv:1707.06347). [H22] Huang et al. 2022, "The 37 implementation
details of PPO" (ICLR blog track), by its numbers among the 13 core details, or the 9 of continuous
actions (c). [A21] Andrychowicz et al. 2021, "What matters in on-policy RL?" (arXiv:2006.05990).
[E20] Engstrom et al. 2020, "Implementation matters" (arXiv:2005.12729). [P18] Pardo et al. 2018,
"Time limits in RL" (arXiv:1712.00378).

    in this file
    - clipped surrogate on the probability ratio of the joint action          [S17 eq. 7; H22 8]
    - advantages and returns estimated once per rollout, by GAE               [S17 eq. 11; H22 5]
    - advantages normalised over a minibatch, a rollout, or not               [H22 7; A21 3.3]
    - critic's squared error, no factor 1/2; optionally the larger of that
      and the error of a clipped value                                        [S17 eq. 9; H22 9]
    - one loss for policy and critic: policy + c_v * value - alpha * w,       [S17 eq. 9; H22 10]
      w being the regularizer: entropy, or minus a divergence from a prior
    - the sampled action is a constant: gradients reach the distribution's
      parameters only through its log-probability and the regularizer
    - an update ends after an epoch over which KL(old || new), estimated by
      k3 before each gradient step, has a mean above `target_kl`              [Spinning Up, 2018]
    - log-probabilities and values are those stored when acting, so without `policy_lag` the
      first minibatch's ratio is 1; observation statistics therefore move only after the epochs
    - an update that is cancelled, or whose numbers are not finite, changes nothing
    - with several ranks all of this is over the steps of all of them: gradients, advantage and
      observation statistics, the early end, the entropy that the temperature follows

    elsewhere
    - how entropy enters the return: not, as reward, by a critic of its own   objective
    - learning rate, clip range constant or linear; entropy coefficient too,
      or adapted so that the entropy follows a target               coefficients [H22 4; E20 2]
    - minibatches: each valid step once per epoch, shuffled, equally large    minibatches  [H22 6]
    - Adam with epsilon 1e-5; global gradient norm clipped                    optimizer [H22 3, 11]
    - truncation bootstraps from the value of the true final observation      rollout      [P18]
    - orthogonal weights: sqrt 2, policy 0.01, value 1; biases zero           policy       [H22 2]
    - separate networks for policy and critic; tanh                           policy       [H22 c4]
    - state-independent spread, independent dimensions                        policy     [H22 c1-3]
    - actions are clipped when they are sent, not where they are stored       policy       [H22 c5]
    - observations normalised by running statistics and clipped               policy     [H22 c6-7]
    - rewards scaled by the running spread of their discounted sum, clipped   rollout    [H22 c8-9]
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from entrain import metrics
from entrain.algorithms.algorithm import Metrics, UpdateCancelled, never
from entrain.algorithms.coefficients import Coefficients, coefficients_at, make_temperature
from entrain.algorithms.entropy import Entropy, Regularizer, regularize
from entrain.algorithms.losses import (
    clipped_surrogate,
    clipped_value_error,
    masked_mean,
    normalized,
    value_error,
)
from entrain.algorithms.minibatches import Minibatches, make_minibatches
from entrain.algorithms.objective import make_objective, value_streams
from entrain.algorithms.optimizer import Adam
from entrain.algorithms.telemetry import (
    EpochLog,
    LossTerms,
    explained_variances,
    exploration_metrics,
    mean_over_epochs,
    non_finite,
)
from entrain.algorithms.unrolling import run_burn_in
from entrain.algorithms.weights import load_weights, weights_of
from entrain.config.algorithm import PPOConfig
from entrain.errors import CheckpointError, TrainingDivergedError
from entrain.experience import Estimate, Minibatch, Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.distributions import ActionDistribution
from entrain.policy.weights import PolicyWeights
from entrain.ranks import ALONE, Ranks
from entrain.state import State

ONE = torch.ones(())
_ENTROPY_REGULARIZER = Entropy()


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
        self._policy = policy
        self._config = config
        self._regularizer = regularizer
        self._is_soft = is_soft
        self._ranks = ranks

    def terms(self, minibatch: Minibatch, coefficients: Coefficients) -> LossTerms:
        """The parts of the loss at each step, with the present weights."""
        minibatch = minibatch.cleaned()
        steps = minibatch.steps
        advantage, scale = self.scaled_advantage(minibatch)
        state = minibatch.initial_state
        if minibatch.has_burn_in:
            state = run_burn_in(self._policy, minibatch)
        output = self._policy(steps.observation, state, steps.reset)
        distribution = output.distribution.masked(steps.action_mask)
        log_ratio = distribution.log_prob(steps.action) - steps.log_prob
        if minibatch.is_padded:
            # 0 in padding: exp of another number might be infinite, and zero times that is NaN.
            log_ratio = torch.where(minibatch.mask, log_ratio, 0.0)
        regularization, entropy = self._regularization_and_entropy(
            distribution, steps, is_weighted=coefficients.entropy_coefficient > 0.0
        )
        return LossTerms(
            policy=clipped_surrogate(
                log_ratio.exp(), advantage, clip_range=coefficients.clip_range
            ),
            value=self._value_error(output.value, minibatch),
            regularization=regularization,
            scale=scale,
            entropy=entropy,
            log_ratio=log_ratio,
        )

    def __call__(self, terms: LossTerms, mask: Tensor | None, coefficients: Coefficients) -> Tensor:
        """[] L = mean over steps of (policy + c_v * value - alpha * w), padding left out."""
        loss = torch.add(terms.policy, terms.value, alpha=self._config.value_coefficient)
        if coefficients.entropy_coefficient > 0.0:
            regularization = terms.regularization / terms.scale
            loss = torch.sub(loss, regularization, alpha=coefficients.entropy_coefficient)
        return masked_mean(loss, mask)

    def scaled_advantage(self, minibatch: Minibatch) -> tuple[Tensor, Tensor]:
        """[L, M] as the loss takes it, and the [] scale by which the explicit term is divided."""
        advantage = minibatch.estimate.advantage
        if self._config.advantage_normalization != "minibatch":
            return advantage, ONE
        advantage, scale = normalized(advantage, minibatch.padding_mask, ranks=self._ranks)
        return advantage, scale if self._is_soft else ONE

    def _value_error(self, value: Tensor, minibatch: Minibatch) -> Tensor:
        """[L, M] of all value streams together."""
        return_ = minibatch.estimate.return_
        if self._config.value_clip_range == 0.0:
            return value_error(value, return_).sum(dim=-1)
        return clipped_value_error(
            value, minibatch.steps.value, return_, clip_range=self._config.value_clip_range
        ).sum(dim=-1)

    def _regularization_and_entropy(
        self, distribution: ActionDistribution, steps: Rollout, *, is_weighted: bool
    ) -> tuple[Tensor, Tensor]:
        """[L, M] the regularizer, and [L, M] the entropy, which is only reported.

        Without weight both are the entropy; where it has no closed form, as it was sampled.
        """
        observation, action_mask = steps.observation, steps.action_mask
        if is_weighted and isinstance(self._regularizer, Entropy):
            regularization = self._regularizer(distribution, observation, action_mask)
            return regularization, regularization.detach()
        with torch.no_grad():
            is_squashed = self._policy.config.action.distribution == "squashed_gaussian"
            entropy = -steps.log_prob if is_squashed else distribution.entropy()
        if not is_weighted:
            return entropy, entropy
        return self._regularizer(distribution, observation, action_mask), entropy


class PPO:
    """Owns the weights, optimizer and normalizer of one policy, and improves it."""

    def __init__(
        self,
        policy: ActorCritic,
        config: PPOConfig,
        *,
        discount: float,
        seed: int,
        device: torch.device,
        regularizer: Regularizer = _ENTROPY_REGULARIZER,
        ranks: Ranks = ALONE,
    ) -> None:
        """Take over `policy`, which from here on may be neither moved nor cast.

        Args:
            policy: moved to `device`; its own options name the entropy objective.
            config: of the algorithm.
            discount: of rewards, per step.
            seed: decides the order of minibatches.
            device: where to learn.
            regularizer: what the objective counts beside reward.
            ranks: that learn this policy together. All start from the weights of the first.
        """
        entropy = policy.config.entropy
        self._policy = policy.to(device)
        self._config = config
        self._device = device
        self._ranks = ranks
        self._generator = torch.Generator().manual_seed(seed)
        self._optimizer = Adam(
            policy, epsilon=config.adam_epsilon, max_grad_norm=config.max_grad_norm, ranks=ranks
        )
        self._regularizer = regularizer
        self._objective = make_objective(
            entropy,
            value_streams(
                policy.value_head.streams,
                entropy,
                discount=discount,
                gae_lambda=config.gae_lambda,
            ),
        )
        self._temperature = make_temperature(entropy, policy.spec.action)
        self.loss = PPOLoss(
            policy, config, regularizer, is_soft=self._objective.is_soft, ranks=ranks
        )
        """Of a minibatch."""
        self._version = 0

    def __repr__(self) -> str:
        return f"<PPO: {self._version} updates of {self._policy.spec.name!r} on {self._device}>"

    @property
    def version(self) -> int:
        """Updates done."""
        return self._version

    @property
    def weights(self) -> PolicyWeights:
        """See `Algorithm.weights`."""
        return PolicyWeights(self._optimizer.weights, dict(self._policy.named_buffers()))

    def update(
        self, rollout: Rollout, *, progress: float, cancelled: Callable[[], bool] = never
    ) -> Metrics:
        """One PPO iteration: estimate advantages once, then several epochs of minibatches.

        See `Algorithm.update` for the arguments, and for the outcome if it does not succeed.
        """
        progress = self._ranks.least(progress)
        coefficients = coefficients_at(progress, self._config, self._temperature)
        alpha = coefficients.entropy_coefficient
        minibatches = self.minibatches(rollout, entropy_coefficient=alpha)
        explicit = alpha / minibatches.all_steps.estimate.scale
        with self._all_or_nothing():
            epochs = self._learn(
                minibatches, replace(coefficients, entropy_coefficient=explicit), cancelled
            )
        steps = minibatches.all_steps.steps
        # Only now: until here the normalizer must be the one that produced the stored
        # log-probabilities.
        self._policy.normalizer.update(
            {name: rows.squeeze(0) for name, rows in steps.observation.items()}, ranks=self._ranks
        )
        self._version += 1
        return {
            **mean_over_epochs(epochs),
            metrics.KL.name: epochs[-1][metrics.KL.name],
            metrics.LEARNING_RATE.name: coefficients.learning_rate,
            metrics.CLIP_RANGE.name: coefficients.clip_range,
            metrics.ENTROPY_COEFFICIENT.name: alpha,
            **self._temperature.follow(epochs[-1][metrics.ENTROPY.name], progress),
            **exploration_metrics(self._policy, steps),
            **explained_variances(
                self._policy.value_head.streams,
                steps.value,
                minibatches.all_steps.estimate.return_,
            ),
            metrics.EPOCHS.name: float(len(epochs)),
            metrics.MINIBATCHES.name: float(len(epochs) * len(minibatches)),
        }

    def estimate(self, rollout: Rollout, *, entropy_coefficient: float) -> Estimate:
        """Estimate advantages and targets; the weights must still be those that acted.

        Args:
            rollout: as collected.
            entropy_coefficient: of the regularizer in the return, if the objective counts it.
        """
        estimate = self._objective.estimate(
            rollout,
            lambda: regularize(self._policy, rollout, self._regularizer),
            entropy_coefficient,
        )
        if self._config.advantage_normalization != "rollout":
            return estimate
        advantage, scale = normalized(estimate.advantage, rollout.valid, ranks=self._ranks)
        return replace(
            estimate,
            advantage=advantage,
            scale=float(scale) if self._objective.is_soft else 1.0,
        )

    def minibatches(self, rollout: Rollout, *, entropy_coefficient: float = 0.0) -> Minibatches:
        """The minibatches of a rollout: its valid steps, with their advantages and returns."""
        return make_minibatches(
            rollout,
            self.estimate(rollout, entropy_coefficient=entropy_coefficient),
            self._policy,
            size=self._config.minibatch_size,
            device=self._device,
            ranks=self._ranks,
        )

    def _learn(
        self,
        minibatches: Minibatches,
        coefficients: Coefficients,
        cancelled: Callable[[], bool],
    ) -> list[Metrics]:
        epochs: list[Metrics] = []
        for _ in range(self._config.num_epochs):
            log = EpochLog()
            for minibatch in minibatches.epoch(self._generator):
                if self._ranks.any(cancelled()):
                    raise UpdateCancelled
                self._descend(minibatch, coefficients, log)
            epochs.append(log.metrics(clip_range=coefficients.clip_range, ranks=self._ranks))
            self._require_finite(epochs)
            if 0.0 < self._config.target_kl < epochs[-1][metrics.KL.name]:
                break
        return epochs

    def _descend(self, minibatch: Minibatch, coefficients: Coefficients, log: EpochLog) -> None:
        """One gradient step. A rank whose part is empty takes part in it without a gradient."""
        rate, num_steps = coefficients.learning_rate, minibatch.num_steps
        if num_steps == 0:
            self.loss.scaled_advantage(minibatch)
            nothing = torch.zeros((), device=self._device, requires_grad=True)
            log.add_empty(self._optimizer.step(nothing, learning_rate=rate, weight=0))
            return
        terms = self.loss.terms(minibatch, coefficients)
        loss = self.loss(terms, minibatch.padding_mask, coefficients)
        norm = self._optimizer.step(loss, learning_rate=rate, weight=num_steps)
        log.add(terms, minibatch.mask, norm)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Restore weights, moments and generator if the block ends early, whatever the reason."""
        optimizer, generator = self._optimizer.snapshot(), self._generator.get_state()
        try:
            yield
        except BaseException:
            self._optimizer.restore(optimizer)
            self._generator.set_state(generator)
            raise

    def _require_finite(self, epochs: list[Metrics]) -> None:
        found = non_finite(epochs[-1])
        if self._ranks.any(bool(found) or not self._optimizer.is_finite):
            raise TrainingDivergedError(
                f"update {self._version + 1} of policy '{self._policy.spec.name}' diverged in "
                f"epoch {len(epochs)}: {found or 'weights are not finite'}. The "
                "weights are still those before this update; resume with a lower learning_rate "
                f"(it is {self._config.learning_rate:g}) or with "
                f"max_grad_norm above 0 (it is {self._config.max_grad_norm:g})"
            )

    def state(self) -> State:
        """Weights and normalizer ("policy"), Adam's moments, generator, temperature, version."""
        return {
            "version": self._version,
            "policy": weights_of(self._policy),
            "optimizer": self._optimizer.state(),
            "generator": self._generator.get_state().numpy().copy(),
            "temperature": self._temperature.state(),
        }

    def load_state(self, state: State) -> None:
        """Continue exactly from `state`; CheckpointError if it is of another network."""
        for name in self.state():
            if name not in state:
                raise CheckpointError(
                    f"the checkpoint's algorithm has no '{name}' (it has: "
                    f"{', '.join(sorted(state))}); it was written by another version of entrain"
                )
        load_weights(self._policy, state["policy"])
        self._optimizer.load_state(state["optimizer"])
        self._generator.set_state(torch.from_numpy(state["generator"].copy()))
        self._temperature.load_state(state["temperature"])
        self._version = int(state["version"])
