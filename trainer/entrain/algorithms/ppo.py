"""Proximal policy optimization: several epochs of clipped steps on each rollout.

What this implementation does, and where it comes from. [S17] Schulman et al. 2017, "Proximal
policy optimization algorithms" (arXiv:1707.06347). [H22] Huang et al. 2022, "The 37 implementation
details of PPO" (ICLR blog track), by its numbers among the 13 core details, or the 9 of continuous
actions (c). [A21] Andrychowicz et al. 2021, "What matters in on-policy RL?" (arXiv:2006.05990).
[E20] Engstrom et al. 2020, "Implementation matters" (arXiv:2005.12729). [H16] van Hasselt et al.
2016, "Learning values across many orders of magnitude" (arXiv:1602.07714). [P18] Pardo et al. 2018,
"Time limits in RL" (arXiv:1712.00378). [H21] Hilton, Cobbe & Schulman 2021, "Batch size-invariance
for policy gradient methods" (arXiv:2110.00641).

    in this file, in `gradient_steps`, and in `ppo_loss` (`fast` is the same by hand)
    - clipped surrogate on the probability ratio of the joint action, or on
      that of each dimension and branch                           surrogates  [S17 eq. 7; H22 8]
    - advantages and returns estimated once per rollout, by GAE               [S17 eq. 11; H22 5]
    - advantages normalised over a minibatch, a rollout, or not               [H22 7; A21 3.3]
    - critic's squared error, no factor 1/2; optionally the larger of that
      and the error of a clipped value                                        [S17 eq. 9; H22 9]
    - both in units of the returns' running deviation; values stay what they
      are while it changes                                                    [H16; A21 3.3]
    - one loss for policy and critic: policy + c_v * value - alpha * w,       [S17 eq. 9; H22 10]
      w being the regularizer: entropy, or minus a divergence from a prior
    - the sampled action is a constant: gradients reach the distribution's
      parameters only through its log-probability and the regularizer
    - an update ends after an epoch over which KL(old || new), estimated by
      k3 before each gradient step, has a mean above `target_kl`              [Spinning Up, 2018]
    - log-probabilities and values are those stored when acting, so the first minibatch's ratio
      is 1; observation statistics therefore move only after the epochs
    - with `policy_lag` log-probabilities are computed again when the update begins: the clip is
      around the policy that begins it, the one that acted weighs steps proximal, surrogates [H21]
    - steps whose action came too late teach the critic, not the policy        lateness
    - an update that is cancelled, or whose numbers are not finite, changes nothing
    - with several ranks all of this is over the steps of all of them: gradients, advantage and
      observation statistics, the early end, the entropy that the temperature follows

    elsewhere
    - how entropy enters the return: not, as reward, by a critic of its own   objective
    - learning rate, clip ranges constant or linear; entropy coefficient too,
      or adapted so that the entropy follows a target               coefficients [H22 4; E20 2]
    - minibatches: each valid step once per epoch, shuffled, equally large    minibatches  [H22 6]
    - Adam with epsilon 1e-5; gradient norm clipped, globally, or policy's
      and critic's each by itself                                             optimizer [H22 3, 11]
    - truncation bootstraps from the value of the true final observation      rollout      [P18]
    - orthogonal weights: sqrt 2, policy 0.01, value 1; biases zero           policy       [H22 2]
    - separate networks for policy and critic; tanh                           policy       [H22 c4]
    - independent dimensions; their spread state-independent, or, as an
      option, computed by the network                                         policy     [H22 c1-3]
    - actions are clipped when they are sent, not where they are stored       policy       [H22 c5]
    - observations normalised by running statistics and clipped               policy     [H22 c6-7]
    - rewards scaled by the running spread of their discounted sum, clipped   rollout    [H22 c8-9]
"""

import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace

import torch

from entrain import metrics
from entrain.algorithms.algorithm import Metrics, never
from entrain.algorithms.all_or_nothing import all_or_nothing
from entrain.algorithms.coefficients import Coefficients, coefficients_at, make_temperature
from entrain.algorithms.entropy import Regularizer, entropy_of, regularize
from entrain.algorithms.fast.epochs import PlainGradientSteps, is_plain
from entrain.algorithms.finiteness import FiniteGuard, left_out
from entrain.algorithms.gradient_steps import GradientSteps, TorchSteps
from entrain.algorithms.greatest_entropy import withheld_by_masks
from entrain.algorithms.lateness import late_steps, lateness_of
from entrain.algorithms.losses import normalized
from entrain.algorithms.minibatches import Minibatches, make_minibatches
from entrain.algorithms.objective import Objective, make_objective, value_streams
from entrain.algorithms.optimizer import Adam
from entrain.algorithms.ppo_loss import PPOLoss
from entrain.algorithms.proximal import Renewal
from entrain.algorithms.reward_unit import RewardUnit
from entrain.algorithms.telemetry import mean_over_epochs, rollout_metrics
from entrain.algorithms.weights import load_weights, weights_of
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import PolicyConfig, algorithm_options
from entrain.errors import CheckpointError, TrainingDivergedError
from entrain.experience import Estimate, Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.value_normalization import completed
from entrain.policy.weights import PolicyWeights
from entrain.quoting import shortened
from entrain.ranks import ALONE, Ranks
from entrain.state import State

logger = logging.getLogger(__name__)

LATER_PARTS = ("normalizes_rewards", "num_mixed", "reward_scale", "surrogate")
"""Of its state; a checkpoint may be older."""


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
        regularizer: Regularizer | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """Take over `policy`, which from here on may be neither moved nor cast.

        Args:
            policy: moved to `device`; its own options name the entropy objective.
            config: of the algorithm.
            discount: of rewards, per step.
            seed: decides the order of minibatches.
            device: where to learn.
            regularizer: what the objective counts beside reward; without one the entropy, as the
                policy's options say.
            ranks: that learn this policy together. All learn from the weights of the first.
        """
        entropy = policy.config.entropy
        self._policy = policy.to(device)
        self._config = config
        self._device = device
        self._ranks = ranks
        self._generator = torch.Generator().manual_seed(seed)
        self._optimizer = Adam(
            policy,
            epsilon=config.adam_epsilon,
            max_grad_norm=config.max_grad_norm,
            apart=policy.critic_weights() if config.clip_gradients == "apart" else None,
            ranks=ranks,
        )
        self._regularizer = regularizer or entropy_of(entropy)
        self._objective = _objective(policy, config, discount=discount)
        self._temperature = make_temperature(entropy, policy.spec.action)
        self.loss = PPOLoss(
            policy, config, self._regularizer, is_soft=self._objective.is_soft, ranks=ranks
        )
        """Of a minibatch."""
        self._renewal = Renewal(self.loss, device=device, ranks=ranks)
        self._gradient_steps = _gradient_steps(self.loss, self._optimizer, ranks=ranks)
        self._guard = FiniteGuard(policy, config, ranks=ranks)
        self._version = 0
        self._is_agreed = False
        """Whether all ranks are known to have the same weights."""
        self._reward_unit = RewardUnit(policy.config, policy.value_head.normalizer)

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
        self, rollout: Rollout, /, *, progress: float, cancelled: Callable[[], bool] = never
    ) -> Metrics:
        """One PPO iteration: estimate advantages once, then several epochs of minibatches.

        See `Algorithm.update` for the arguments, and for the outcome if it does not succeed.
        """
        if not self._is_agreed:
            self._optimizer.agree()
            self._is_agreed = True
        progress = self._ranks.least(progress)
        coefficients = coefficients_at(progress, self._config, self._temperature)
        alpha = coefficients.entropy_coefficient
        renewed = self._renewal(rollout, self._version)
        estimate = replace(
            self.estimate(rollout, entropy_coefficient=alpha), log_prob=renewed.log_prob
        )
        self._guard.require_returns(rollout, estimate, update=self._version + 1)
        explicit = alpha / estimate.scale
        minibatches, epochs = self._learn_or_restore(
            rollout, estimate, replace(coefficients, entropy_coefficient=explicit), cancelled
        )
        steps = minibatches.all_steps.steps
        # Only now: until here the normalizer must be the one that produced the stored
        # log-probabilities.
        self._policy.normalizer.update(
            {name: rows.squeeze(0) for name, rows in steps.observation.items()}, ranks=self._ranks
        )
        self._version += 1
        self._reward_unit.note_update()
        return {
            **mean_over_epochs(epochs),
            metrics.KL.name: epochs[-1][metrics.KL.name],
            metrics.LEARNING_RATE.name: coefficients.learning_rate,
            metrics.CLIP_RANGE.name: coefficients.clip_range,
            metrics.ENTROPY_COEFFICIENT.name: alpha,
            **self._temperature.follow(
                epochs[-1][metrics.ENTROPY.name],
                progress,
                withheld_by_masks(self._policy, rollout, estimate, ranks=self._ranks),
            ),
            **renewed.metrics,
            **rollout_metrics(self._policy, rollout, minibatches.all_steps, ranks=self._ranks),
            **late_steps(estimate, self._policy.spec),
            metrics.EPOCHS.name: float(len(epochs)),
            metrics.MINIBATCHES.name: float(len(epochs) * len(minibatches)),
        }

    def estimate(self, rollout: Rollout, *, entropy_coefficient: float) -> Estimate:
        """Estimate advantages and targets; the weights must still be those that acted.

        Args:
            rollout: as collected.
            entropy_coefficient: of the regularizer in the return, if the objective counts it.
        """
        lateness = lateness_of(rollout, ranks=self._ranks)
        estimate = self._objective.estimate(
            rollout,
            lambda: lateness.earned(regularize(self._policy, rollout, self._regularizer)),
            entropy_coefficient,
        )
        estimate = replace(estimate, weight=lateness.weight, late_share=lateness.share)
        if self._config.advantage_normalization != "rollout":
            return estimate
        in_time = lateness.in_time(rollout.valid)
        advantage, scale = normalized(estimate.advantage, in_time, ranks=self._ranks)
        return replace(
            estimate,
            advantage=advantage,
            scale=float(scale) if self._objective.is_soft else 1.0,
        )

    def minibatches(self, rollout: Rollout, *, entropy_coefficient: float = 0.0) -> Minibatches:
        """The minibatches of a rollout: its valid steps, with their advantages and returns.

        Returns are normalised by the present statistics, to which these are not added.
        """
        renewed = self._renewal(rollout, self._version)
        estimate = self.estimate(rollout, entropy_coefficient=entropy_coefficient)
        return self._minibatches(rollout, replace(estimate, log_prob=renewed.log_prob))

    def _minibatches(self, rollout: Rollout, estimate: Estimate) -> Minibatches:
        normalizer = self._policy.value_head.normalizer
        return_ = normalizer.normalized(estimate.return_.to(self._device))
        return make_minibatches(
            rollout,
            replace(estimate, return_=return_),
            self._policy,
            size=self._config.minibatch_size,
            device=self._device,
            ranks=self._ranks,
        )

    def _learn_or_restore(
        self,
        rollout: Rollout,
        estimate: Estimate,
        coefficients: Coefficients,
        cancelled: Callable[[], bool],
    ) -> tuple[Minibatches, list[Metrics]]:
        """All epochs, or, if one raises, none of them."""
        try:
            with self._all_or_nothing():
                epochs = self._config.num_epochs
                return self._learn(rollout, estimate, coefficients, cancelled, num_epochs=epochs)
        except TrainingDivergedError as error:
            # Would it have come to that without a change of weights? Then no learning rate helps.
            standing = replace(coefficients, learning_rate=0.0)
            with self._all_or_nothing():
                try:
                    self._learn(rollout, estimate, standing, cancelled, num_epochs=1)
                except TrainingDivergedError as still:
                    raise left_out(still, rollout) from None
                raise error

    def _learn(
        self,
        rollout: Rollout,
        estimate: Estimate,
        coefficients: Coefficients,
        cancelled: Callable[[], bool],
        *,
        num_epochs: int,
    ) -> tuple[Minibatches, list[Metrics]]:
        self._policy.value_head.follow(
            estimate.return_[rollout.valid].to(self._device), ranks=self._ranks
        )
        self._reward_unit.forget_mixed()
        minibatches = self._minibatches(rollout, estimate)
        steps = self._gradient_steps.over(minibatches, coefficients)
        epochs: list[Metrics] = []
        for _ in range(num_epochs):
            log = steps.run(self._generator, cancelled)
            epochs.append(log.metrics(clip_range=coefficients.clip_range, ranks=self._ranks))
            self._guard.require_epoch(
                epochs,
                minibatches.all_steps.steps,
                has_finite_weights=self._optimizer.is_finite,
                update=self._version + 1,
            )
            if 0.0 < self._config.target_kl < epochs[-1][metrics.KL.name]:
                break
        return minibatches, epochs

    def leave_out(self, rollout: Rollout, /) -> None:
        """See `Algorithm.leave_out`: no rollout depends on the one before."""

    def kept_state(self) -> Callable[[], State]:
        """See `Algorithm.kept_state`."""
        state = self.state()
        return lambda: state

    def change(self, options: PolicyConfig) -> None:
        """See `Algorithm.change`."""
        self._config = algorithm_options(options, PPOConfig)
        self._guard = FiniteGuard(self._policy, self._config, ranks=self._ranks)
        temperature = make_temperature(options.entropy, self._policy.spec.action)
        temperature.load_state(self._temperature.state())
        self._temperature = temperature

    def _all_or_nothing(self) -> AbstractContextManager[None]:
        return all_or_nothing(self._optimizer, self._generator, self._policy.value_head.normalizer)

    def load_moments(self, state: State) -> None:
        """See `Algorithm.load_moments`: weights stay as they are."""
        self._optimizer.load_state(state)

    @property
    def reward_ratio(self) -> float:
        """See `Algorithm.reward_ratio`."""
        return self._reward_unit.ratio

    def take_over(self, learned: State) -> None:
        """See `AlgorithmOfRun.take_over`: the critic is part of the policy."""

    def state(self) -> State:
        """Weights and normalizer ("policy"), Adam's moments, generator, temperature, version."""
        return {
            "version": self._version,
            "policy": weights_of(self._policy),
            "optimizer": self._optimizer.state(),
            "generator": self._generator.get_state().numpy().copy(),
            "temperature": self._temperature.state(),
            **self._reward_unit.state(),
            "surrogate": self._config.surrogate,
        }

    def load_state(self, state: State) -> None:
        """Continue exactly from `state`; CheckpointError if it is of another network."""
        _require_parts(state, [name for name in self.state() if name not in LATER_PARTS])
        _require_surrogate(state, self._config)
        head = self._policy.value_head
        load_weights(self._policy, completed(state["policy"], len(head.streams)))
        if not head.normalizer.normalizes:
            head.stop_normalizing()
        self._reward_unit.load_state(state)
        self._optimizer.load_state(state["optimizer"])
        self._generator.set_state(torch.from_numpy(state["generator"].copy()))
        self._temperature.load_state(state["temperature"])
        self._version = int(state["version"])


def _gradient_steps(loss: PPOLoss, optimizer: Adam, *, ranks: Ranks) -> GradientSteps:
    """By hand where that is quicker and wanted; the log says which."""
    is_by_hand = loss.config.update == "auto" and is_plain(loss.policy, loss.regularizer)
    name, by = shortened(loss.policy.spec.name), "hand (numpy)" if is_by_hand else "torch"
    logger.info("policy '%s' learns with gradients by %s", name, by)
    if is_by_hand:
        return PlainGradientSteps(loss, optimizer, ranks=ranks)
    return TorchSteps(loss, optimizer, ranks=ranks)


def _objective(policy: ActorCritic, config: PPOConfig, *, discount: float) -> Objective:
    entropy, names = policy.config.entropy, policy.value_head.streams
    streams = value_streams(names, entropy, discount=discount, gae_lambda=config.gae_lambda)
    return make_objective(entropy, streams, horizon=config.horizon)


def _require_surrogate(state: State, config: PPOConfig) -> None:
    """Steps that were collected for one surrogate have not what the other needs."""
    before = state.get("surrogate", config.surrogate)
    if before != config.surrogate:
        raise CheckpointError(
            f"the checkpoint's rollout was collected for algorithm.surrogate {before}, and the "
            f"option is {config.surrogate} now; resume with {before}, or start a new run"
        )


def _require_parts(state: State, names: Iterable[str]) -> None:
    for name in names:
        if name not in state:
            raise CheckpointError(
                f"the checkpoint's algorithm has no '{name}' (it has: "
                f"{', '.join(sorted(state))}); it was written by another version of entrain"
            )
