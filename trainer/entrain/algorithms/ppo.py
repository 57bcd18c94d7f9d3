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
    - one loss for policy and critic: policy + c_v * value - alpha * worth,   [S17 eq. 9; H22 10]
      worth being what the regularizer says: entropy, or minus a divergence
    - the sampled action is a constant: gradients reach the distribution's
      parameters only through its log-probability and what it is worth
    - an update ends after an epoch over which KL(old || new), estimated by
      k3 before each gradient step, has a mean above `target_kl`              [Spinning Up, 2018]
    - learning rate, clip range constant or linear                            [H22 4; E20 2]
    - log-probabilities and values are those stored when acting, so the first
      minibatch's ratio is 1; observation statistics therefore move only after the epochs
    - an update that is cancelled, or whose numbers are not finite, leaves no trace

    elsewhere
    - what entropy is to the return: nothing, reward, or a second critic's    objective
    - what a nat of it is worth: given, or so that it follows a target        temperature
    - minibatches: each valid step once per epoch, shuffled, equally large    minibatch  [H22 6]
    - Adam with epsilon 1e-5; global gradient norm clipped                    optimizer  [H22 3, 11]
    - truncation bootstraps from the value of the true final observation      rollout    [P18]
    - orthogonal weights: sqrt 2, policy 0.01, value 1; biases zero           policy     [H22 2]
    - separate networks for policy and critic; tanh                           policy     [H22 c4]
    - state-independent spread, independent dimensions                        policy     [H22 c1-3]
    - actions are clipped only on their way out, not where they are stored    policy     [H22 c5]
    - observations normalised by running statistics and clipped               policy     [H22 c6-7]
    - rewards scaled by the running spread of their discounted sum, clipped   rollout    [H22 c8-9]
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from entrain.algorithms.algorithm import Metrics, UpdateCancelled, never
from entrain.algorithms.entropy import Entropy, Regularizer, regularization_of
from entrain.algorithms.losses import (
    clipped_surrogate,
    clipped_value_error,
    masked_mean,
    normalized,
    spread,
    value_error,
)
from entrain.algorithms.minibatches import Minibatches, make_minibatches
from entrain.algorithms.objective import make_objective
from entrain.algorithms.optimizer import Adam
from entrain.algorithms.schedules import scheduled
from entrain.algorithms.telemetry import (
    EpochLog,
    LossTerms,
    explained_variances,
    mean_over_epochs,
    non_finite,
    spread_of,
)
from entrain.algorithms.temperature import make_temperature
from entrain.algorithms.unrolling import burnt_in
from entrain.algorithms.weights import load_weights, weights_of
from entrain.config.algorithm import PPOConfig
from entrain.errors import CheckpointError, TrainingDivergedError
from entrain.experience import Estimate, Minibatch, Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.distributions import ActionDistribution
from entrain.policy.weights import PolicyWeights
from entrain.state import State

ENTROPY = Entropy()
ONE = torch.ones(())


@dataclass(frozen=True, kw_only=True)
class Coefficients:
    """What changes over a run, as it is during one update."""

    learning_rate: float

    clip_range: float

    entropy_coefficient: float
    """Of the explicit term in the loss."""


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
        regularizer: Regularizer = ENTROPY,
    ) -> None:
        """Take over `policy`, which from here on may be neither moved nor cast.

        Args:
            policy: moved to `device`; its own options name the entropy objective.
            config: of the algorithm.
            discount: of rewards, per step.
            seed: decides the order of minibatches.
            device: where to learn.
            regularizer: what the objective counts beside the reward.
        """
        self._policy = policy.to(device)
        self._config = config
        self._device = device
        self._generator = torch.Generator().manual_seed(seed)
        self._optimizer = Adam(
            policy, epsilon=config.adam_epsilon, max_grad_norm=config.max_grad_norm
        )
        self._regularizer = regularizer
        self._objective = make_objective(
            policy.config.entropy, discount=discount, gae_lambda=config.gae_lambda
        )
        self._temperature = make_temperature(policy.config.entropy, policy.spec.action)
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

        See `Algorithm.update` for the arguments, and for what is left if it does not succeed.
        """
        coefficients = self._coefficients(progress)
        estimate = self.estimate(rollout, entropy_coefficient=coefficients.entropy_coefficient)
        minibatches = self._make_minibatches(rollout, estimate)
        explicit = coefficients.entropy_coefficient / estimate.scale
        with self._all_or_nothing():
            epochs = self._learn(
                minibatches, replace(coefficients, entropy_coefficient=explicit), cancelled
            )
        all_steps = minibatches.all_steps
        steps = all_steps.steps
        # Not earlier: the stored log-probabilities are those of the statistics that acted.
        self._policy.normalizer.update(
            {name: rows.squeeze(0) for name, rows in steps.observation.items()}
        )
        self._version += 1
        return {
            **mean_over_epochs(epochs),
            "policy/kl": epochs[-1]["policy/kl"],
            "policy/learning_rate": coefficients.learning_rate,
            "policy/clip_range": coefficients.clip_range,
            "entropy/coefficient": coefficients.entropy_coefficient,
            **self._temperature.follow(epochs[-1]["policy/entropy"], progress),
            **spread_of(self._policy, steps),
            **explained_variances(steps.value, all_steps.estimate.return_),
            "update/epochs": float(len(epochs)),
            "update/minibatches": float(len(epochs) * len(minibatches)),
        }

    def estimate(self, rollout: Rollout, *, entropy_coefficient: float) -> Estimate:
        """Advantages as the loss takes them, and targets, while the weights are those that acted.

        Args:
            rollout: as collected.
            entropy_coefficient: what a nat is worth in the return, if the objective counts it.
        """
        estimate = self._objective.estimate(
            rollout,
            lambda: regularization_of(self._policy, rollout, self._regularizer),
            entropy_coefficient,
        )
        if self._config.advantage_normalization != "rollout":
            return estimate
        scale = spread(estimate.advantage, rollout.valid) if self._objective.is_soft else 1.0
        return replace(
            estimate,
            advantage=normalized(estimate.advantage, rollout.valid),
            scale=float(scale),
        )

    def minibatches(self, rollout: Rollout, *, entropy_coefficient: float = 0.0) -> Minibatches:
        """What each epoch draws from: the valid steps, with their advantages and returns."""
        estimate = self.estimate(rollout, entropy_coefficient=entropy_coefficient)
        return self._make_minibatches(rollout, estimate)

    def _make_minibatches(self, rollout: Rollout, estimate: Estimate) -> Minibatches:
        size = self._config.minibatch_size
        return make_minibatches(rollout, estimate, self._policy, size=size, device=self._device)

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
                if cancelled():
                    raise UpdateCancelled
                terms = self.loss_terms(minibatch, coefficients)
                loss = self.loss(terms, minibatch.padding_mask, coefficients)
                norm = self._optimizer.step(loss, learning_rate=coefficients.learning_rate)
                log.add(terms, minibatch.mask, norm)
            epochs.append(log.metrics(clip_range=coefficients.clip_range))
            self._require_finite(epochs)
            if 0.0 < self._config.target_kl < epochs[-1]["policy/kl"]:
                break
        return epochs

    def loss_terms(self, minibatch: Minibatch, coefficients: Coefficients) -> LossTerms:
        """What there is to minimise and maximise at each step, of the weights as they are."""
        minibatch = minibatch.cleaned()
        steps = minibatch.steps
        state = burnt_in(self._policy, minibatch)
        output = self._policy(steps.observation, state, steps.reset)
        distribution = output.distribution.masked(steps.action_mask)
        log_ratio = distribution.log_prob(steps.action) - steps.log_prob
        if minibatch.is_padded:
            # 0 in padding: exp of another number might be infinite, and zero times that is NaN.
            log_ratio = torch.where(minibatch.mask, log_ratio, 0.0)
        advantage, scale = minibatch.estimate.advantage, ONE
        if self._config.advantage_normalization == "minibatch":
            mask = minibatch.padding_mask
            scale = spread(advantage, mask) if self._objective.is_soft else ONE
            advantage = normalized(advantage, mask)
        worth, entropy = self._worth_and_entropy(
            distribution, steps, is_weighed=coefficients.entropy_coefficient > 0.0
        )
        return LossTerms(
            policy=clipped_surrogate(
                log_ratio.exp(), advantage, clip_range=coefficients.clip_range
            ),
            value=self._value_error(output.value, minibatch),
            worth=worth,
            scale=scale,
            entropy=entropy,
            log_ratio=log_ratio,
        )

    def loss(self, terms: LossTerms, mask: Tensor | None, coefficients: Coefficients) -> Tensor:
        """[] L = mean over steps of (policy + c_v * value - alpha * worth), padding left out."""
        loss = torch.add(terms.policy, terms.value, alpha=self._config.value_coefficient)
        if coefficients.entropy_coefficient > 0.0:
            worth = terms.worth / terms.scale
            loss = torch.sub(loss, worth, alpha=coefficients.entropy_coefficient)
        return masked_mean(loss, mask)

    def _value_error(self, value: Tensor, minibatch: Minibatch) -> Tensor:
        """[L, M] of all heads together."""
        return_ = minibatch.estimate.return_
        if self._config.value_clip_range == 0.0:
            return value_error(value, return_).sum(dim=-1)
        return clipped_value_error(
            value, minibatch.steps.value, return_, clip_range=self._config.value_clip_range
        ).sum(dim=-1)

    def _worth_and_entropy(
        self, distribution: ActionDistribution, steps: Rollout, *, is_weighed: bool
    ) -> tuple[Tensor, Tensor]:
        """[L, M] what the regularizer says, and [L, M] the entropy, which is only reported.

        Without weight both are the entropy, where no closed form is at hand as it was sampled.
        """
        observation, action_mask = steps.observation, steps.action_mask
        if is_weighed and isinstance(self._regularizer, Entropy):
            worth = self._regularizer(distribution, observation, action_mask)
            return worth, worth.detach()
        with torch.no_grad():
            is_squashed = self._policy.config.action.distribution == "squashed_gaussian"
            entropy = -steps.log_prob if is_squashed else distribution.entropy()
        if not is_weighed:
            return entropy, entropy
        return self._regularizer(distribution, observation, action_mask), entropy

    def _coefficients(self, progress: float) -> Coefficients:
        config = self._config
        return Coefficients(
            learning_rate=scheduled(
                config.learning_rate, config.learning_rate_schedule, progress=progress
            ),
            clip_range=scheduled(config.clip_range, config.clip_range_schedule, progress=progress),
            entropy_coefficient=self._temperature.coefficient(progress),
        )

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """Whatever ends the block early, weights, moments and generator are as they were."""
        optimizer, generator = self._optimizer.snapshot(), self._generator.get_state()
        try:
            yield
        except BaseException:
            self._optimizer.restore(optimizer)
            self._generator.set_state(generator)
            raise

    def _require_finite(self, epochs: list[Metrics]) -> None:
        strange = non_finite(epochs[-1])
        if strange or not self._optimizer.is_finite:
            raise TrainingDivergedError(
                f"update {self._version + 1} of policy '{self._policy.spec.name}' diverged in "
                f"epoch {len(epochs)}: {strange or 'weights are not finite'}. The "
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
        """Go on exactly where `state` was taken; CheckpointError if it is of another network."""
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
