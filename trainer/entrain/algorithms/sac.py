"""Soft actor-critic: an actor that follows its critics and keeps as random as its temperature says.

What this implementation does, and where it comes from. [H18] Haarnoja et al. 2018, "Soft
actor-critic algorithms and applications" (arXiv:1812.05905), the second version, without a network
of its own for V. [C19] Christodoulou 2019, "Soft actor-critic for discrete action settings"
(arXiv:1910.07207). [D19] Delalleau et al. 2019, "Discrete and continuous action representation for
practical RL in video games" (arXiv:1912.11077). [B24] Bhatt et al. 2024, "CrossQ"
(arXiv:1902.05605).

    V(s)   = E_(a ~ pi) [min_g Q_g(s, a) - alpha ln pi(a|s)]                       [H18 eq. 3]
    critic : mean of 1/2 (Q_g(s, a) - (reward + bootstrap * V_target(s')))^2       [H18 eq. 5, 6]
    actor  : mean of alpha ln pi(a|s) - min_g Q_g(s, a)                            [H18 eq. 9]
    alpha  : fixed, or adapted so that the entropy follows a target                [H18 eq. 18]

    in this file, in `soft_critics`, `soft_actions` and `soft_temperature`
    - a continuous action is mean + sigma * noise, so that the gradient of Q reaches the policy
      through the action                                                           [H18 eq. 8]
    - discrete choices are not sampled: V and the actor's loss are exact expectations over all
      allowed ones                                                                 [C19 eq. 10-12]
    - both together: the critics read the continuous action and say a value for each choice [D19]
    - several branches: Q_g(s, a) = sum_b Q_g,b(s, a_b). What one branch alone is worth is known up
      to a constant, so the least is taken of the critics' expectations over the choices, not of
      single values as in [C19]
    - the least of several critics' values counts, against overestimation          [H18 section 4.2]
    - target critics follow slowly [H18 algorithm 1]; with `batch_norm` there are none [B24], see
      `cross_critics`
    - with `policy_every`, actor and temperature take a step with every so many of the critics
    - critics read actions as the environment gets them: tanh(u), or clipped, from -1 to 1
    - Adam for critics, actor and temperature, in this order, then the targets move

    elsewhere
    - steps are sampled from a replay, each with the same chance                   off_policy
    - observations are normalised by running statistics when they are sampled, for the actor and
      its critics alike                                                            policy
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from entrain import metrics
from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.coefficients import scheduled
from entrain.algorithms.cross_critics import make_critics
from entrain.algorithms.fast.soft_steps import SoftSteps
from entrain.algorithms.optimizer import Adam, Snapshot
from entrain.algorithms.soft_actions import SoftActions, log_num_allowed, soft_actions
from entrain.algorithms.soft_critics import CriticsSnapshot, Observation
from entrain.algorithms.soft_found import ActorStep, mean_over_rows
from entrain.algorithms.soft_temperature import (
    AdaptiveTemperature,
    FixedTemperature,
    SoftTemperature,
)
from entrain.algorithms.telemetry import exploration_metrics
from entrain.algorithms.weights import load_weights, weights_of
from entrain.config.policy import PolicyConfig, algorithm_options
from entrain.config.sac import SACConfig
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.distributions import ActionDistribution
from entrain.policy.weights import PolicyWeights
from entrain.ranks import ALONE, Ranks
from entrain.state import State
from entrain.transitions import ReplayBatch
from entrain_envs.shapes import Bool, Float

LEAST_NOISE = 2.0**-54
"""In place of 0, whose quantile is infinite."""


@dataclass(frozen=True)
class SACSnapshot:
    """Everything that an update changes, at one moment."""

    actor: Snapshot
    critics: CriticsSnapshot
    temperature: Any
    statistics: Mapping[str, Tensor]
    noise: Tensor


class SAC:
    """See the module; a `Method`. Owns the actor, its critics and the temperature."""

    def __init__(
        self, policy: ActorNetwork, *, seed: int, device: torch.device, ranks: Ranks = ALONE
    ) -> None:
        """Take over `policy`, which from here on may be neither moved nor cast.

        Args:
            policy: the actor; its options are those of the algorithm, too.
            seed: of the critics' initial weights, and of the noise of actions.
            device: where to learn.
            ranks: that learn this policy together.
        """
        config = algorithm_options(policy.config, SACConfig)
        self._config = config
        self._ranks = ranks
        self._policy = policy.to(device)
        self._critics = make_critics(policy, seed=seed, device=device, ranks=ranks)
        self._optimizer = Adam(
            policy,
            epsilon=config.adam_epsilon,
            max_grad_norm=config.max_grad_norm,
            beta_1=config.adam_beta_1,
            ranks=ranks,
        )
        self._temperature = self._make_temperature(policy.config)
        self._generator = torch.Generator().manual_seed(seed)
        self._rate = 1.0
        """Share of their first values that learning rates have now."""
        self._newest: ActorStep | None = None
        """The actor's newest gradient step, for metrics."""
        self._by_hand = self._critics.by_hand(policy, self._optimizer)
        self._critics.see_as(policy.normalizer)

    def __repr__(self) -> str:
        return f"<SAC of {self._policy.spec.name!r}: alpha {self.alpha.item():.4g}>"

    # The gradient step

    def step(self, batch: ReplayBatch) -> Mapping[str, Tensor]:
        """See `Method.step`."""
        alpha = self.alpha
        found = self._step_critics(batch, alpha)
        if self._critics.num_steps % self._config.policy_every == 0:
            found = {**found, **self._step_actor(batch, alpha)}
        self._critics.finish_step()
        return found

    def _step_critics(self, batch: ReplayBatch, alpha: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        rate = self._rate * (self._config.critic_learning_rate or self._config.learning_rate)
        if (by_hand := self._by_hand_for(batch)) is not None:
            normal = self._normal(batch.num_steps)
            step = by_hand.step_critics(batch, normal, alpha=float(alpha), learning_rate=rate)
            return step.metrics()
        with torch.no_grad():
            following = self._act(self._at(batch.next_observation, batch.next_action_mask))
        return self._critics.step(batch, following, alpha=alpha, learning_rate=rate).metrics()

    def _step_actor(self, batch: ReplayBatch, alpha: Float[Tensor, ""]) -> Mapping[str, Tensor]:
        rate = self._rate * self._config.learning_rate
        if (by_hand := self._by_hand_for(batch)) is not None:
            normal = self._normal(batch.num_steps)
            step = by_hand.step_actor(batch, normal, alpha=float(alpha), learning_rate=rate)
        else:
            step = self._descend(batch, alpha, rate)
        greatest = log_num_allowed(batch.action_mask, self._critics.branches)
        self._temperature.step(step.log_prob, greatest)
        self._newest = step
        return {
            metrics.LOSS_POLICY.name: step.loss,
            metrics.ENTROPY.name: -mean_over_rows(step.log_prob),
        }

    def _descend(self, batch: ReplayBatch, alpha: Float[Tensor, ""], rate: float) -> ActorStep:
        """A gradient step of the actor by torch."""
        distribution = self._at(batch.observation, batch.action_mask)
        actions = self._act(distribution)
        loss = self.actor_loss(batch, actions, alpha)
        self._optimizer.step(loss, learning_rate=rate, weight=batch.num_steps)
        spread = distribution.parameters().get("log_sigma_sq")
        return ActorStep(
            loss.detach(),
            actions.log_prob.detach(),
            None if spread is None else spread.detach(),
            actions.continuous.detach(),
        )

    def _by_hand_for(self, batch: ReplayBatch) -> SoftSteps | None:
        """The steps by hand, if there are any and something to learn from."""
        return self._by_hand if batch.num_steps and self._config.update == "auto" else None

    def actor_loss(
        self, batch: ReplayBatch, actions: SoftActions, alpha: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        """[] mean of alpha ln pi(a|s) - min_g Q_g(s, a), actions being those of the actor."""
        least = self._critics.least_value(batch.observation, actions)
        return mean_over_rows(alpha * actions.log_prob - least)

    def _at(self, observation: Observation, action_mask: Bool[Tensor, "R C"]) -> ActionDistribution:
        """The policy in R situations, masked."""
        rows = len(action_mask)
        shown = {name: values.unsqueeze(0) for name, values in observation.items()}
        reset = torch.ones(1, rows, dtype=torch.bool, device=self.device)
        features, _ = self._policy.backbone(shown, self._policy.initial_state(rows), reset)
        head = self._policy.action_head
        return head.distribution(features[0], torch.Size([rows])).masked(action_mask)

    def _act(self, distribution: ActionDistribution) -> SoftActions:
        rows = next(iter(distribution.parameters().values())).shape[0]
        return soft_actions(distribution, self._noise(rows))

    def _noise(self, rows: int) -> Float[Tensor, "R D"]:
        """[rows, D] float64 in (0, 1)."""
        shape = (rows, self._policy.spec.action.continuous_size)
        uniform = torch.rand(shape, dtype=torch.float64, generator=self._generator)
        return uniform.clamp_(min=LEAST_NOISE).to(self.device)

    def _normal(self, rows: int) -> Float[Tensor, "R D"]:
        """[rows, D] standard normal, as `DiagonalGaussian.rsample` makes it of the same noise."""
        normal: Tensor = torch.special.ndtri(self._noise(rows))
        return normal.to(self._policy.action_head.weight.dtype)

    @property
    def alpha(self) -> Float[Tensor, ""]:
        """[] the temperature now."""
        return self._temperature.alpha

    # The life of an update: see `Method`

    @property
    def policy(self) -> ActorNetwork:
        """See `Method.policy`."""
        return self._policy

    @property
    def weights(self) -> PolicyWeights:
        """See `Method.weights`."""
        return PolicyWeights(self._optimizer.weights, dict(self._policy.named_buffers()))

    @property
    def device(self) -> torch.device:
        """See `Method.device`."""
        return self._optimizer.weights.device

    @property
    def is_finite(self) -> bool:
        """See `Method.is_finite`."""
        return self._optimizer.is_finite and self._critics.is_finite

    def agree(self) -> None:
        """See `Method.agree`."""
        self._optimizer.agree()
        self._critics.agree()
        self._temperature.agree()

    def observe(self, observation: Mapping[str, Tensor]) -> None:
        """See `Method.observe`."""
        rows = {name: values.to(self.device) for name, values in observation.items()}
        self._policy.normalizer.update(rows, ranks=self._ranks)
        self._critics.see_as(self._policy.normalizer)

    def begin(self, progress: float) -> None:
        """See `Method.begin`."""
        config = self._config
        present = scheduled(
            config.learning_rate,
            config.learning_rate_schedule,
            progress=progress,
            final=config.final_learning_rate,
        )
        self._rate = present / config.learning_rate
        self._temperature.begin(progress)

    def finish(self) -> Metrics:
        """See `Method.finish`."""
        explored: Metrics = {}
        if self._newest is not None and self._newest.log_sigma_sq is not None:
            action = {"continuous": self._newest.continuous}
            explored = exploration_metrics(
                self._policy, self._newest.log_sigma_sq, action, ranks=self._ranks
            )
        return {
            metrics.LEARNING_RATE.name: self._rate * self._config.learning_rate,
            **self._temperature.metrics(),
            **explored,
        }

    def change(self, options: PolicyConfig) -> None:
        """See `Method.change`."""
        self._config = algorithm_options(options, SACConfig)
        self._critics.change(self._config)
        temperature = self._make_temperature(options)
        temperature.load_state(self._temperature.state())
        self._temperature = temperature

    # What is kept

    def snapshot(self) -> SACSnapshot:
        """See `Method.snapshot`."""
        return SACSnapshot(
            actor=self._optimizer.snapshot(),
            critics=self._critics.snapshot(),
            temperature=self._temperature.snapshot(),
            statistics={name: it.clone() for name, it in self._policy.named_buffers()},
            noise=self._generator.get_state(),
        )

    def restore(self, snapshot: SACSnapshot) -> None:
        """See `Method.restore`."""
        self._optimizer.restore(snapshot.actor)
        self._critics.restore(snapshot.critics)
        self._temperature.restore(snapshot.temperature)
        for name, buffer in self._policy.named_buffers():
            buffer.copy_(snapshot.statistics[name])
        self._critics.see_as(self._policy.normalizer)
        self._generator.set_state(snapshot.noise)

    def load_moments(self, state: State) -> None:
        """See `Method.load_moments`."""
        self._optimizer.load_state(state)

    def take_over(self, learned: State) -> str:
        """See `Method.take_over`."""
        if not self._critics.take_over(learned["critics"]):
            return ""
        self._critics.see_as(self._policy.normalizer)
        self._temperature.take_over(learned["temperature"])
        return f"its critics are taken over, too, and its temperature begins at {self.alpha:.4g}"

    def state(self) -> State:
        """See `Method.state`."""
        return {
            "policy": weights_of(self._policy),
            "optimizer": self._optimizer.state(),
            "critics": self._critics.state(),
            "temperature": self._temperature.state(),
            "noise": self._generator.get_state().numpy().copy(),
        }

    def load_state(self, state: State) -> None:
        """See `Method.load_state`."""
        load_weights(self._policy, state["policy"])
        self._optimizer.load_state(state["optimizer"])
        self._critics.load_state(state["critics"])
        self._temperature.load_state(state["temperature"])
        self._generator.set_state(torch.from_numpy(state["noise"].copy()))

    def _make_temperature(self, options: PolicyConfig) -> SoftTemperature:
        entropy = options.entropy
        if entropy.target is None:
            return FixedTemperature(entropy, device=self.device)
        return AdaptiveTemperature(
            entropy,
            entropy.target,
            dimensions=self._policy.spec.action.continuous_size,
            learning_rate=self._config.temperature_learning_rate,
            device=self.device,
            ranks=self._ranks,
        )
