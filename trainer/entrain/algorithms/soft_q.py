"""Soft Q-learning for discrete choices: the policy is the softmax of its own action values.

What this implementation does, and where it comes from. [H17] Haarnoja et al. 2017, "Reinforcement
learning with deep energy-based policies" (arXiv:1702.08165), here for choices, over which its
integrals are sums. [M15] Mnih et al. 2015, "Human-level control through deep reinforcement
learning" (Nature 518). [L16] Lillicrap et al. 2016, "Continuous control with deep reinforcement
learning" (arXiv:1509.02971).

    V(s)    = alpha ln sum_(a allowed) exp(Q(s, a) / alpha)                   [H17 eq. 4]
    pi(a|s) = exp((Q(s, a) - V(s)) / alpha), the softmax of Q / alpha         [H17 eq. 5]
    loss    = mean of (Q(s, a) - (reward + bootstrap * V_target(s')))^2       [H17 eq. 8, 11]

    - alpha is `entropy.coefficient`, fixed or on a schedule; as it goes to 0, V goes to the maximum
      and this to Q-learning
    - several branches: Q(s, a) = sum_b Q_b(s, a_b). Then the choices of different branches are
      independent, and V = sum_b alpha ln sum exp(Q_b / alpha) exactly
    - steps are sampled from a replay, each with the same chance              replay       [M15]
    - V_target is that of a second network, which follows the first one slowly, or is a copy of it
      every so often                                                          [L16; M15]
    - Q is learned in units of the reward. The policy that acts is the same network with the last
      layer divided by alpha: its outputs are logits, as those of every other policy. So a change of
      alpha changes what it prefers, and nothing of what was learned
    - observations are normalised by running statistics when they are sampled  policy
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from entrain import metrics, replay_metrics
from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.coefficients import make_temperature, scheduled
from entrain.algorithms.optimizer import Adam, Snapshot
from entrain.algorithms.weights import FlatWeights, load_weights, weights_of
from entrain.config.off_policy import SoftQConfig
from entrain.config.policy import PolicyConfig, algorithm_options
from entrain.errors import ConfigError
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.categorical import Branches, MultiCategorical
from entrain.policy.weights import PolicyWeights
from entrain.ranks import ALONE, Ranks
from entrain.state import State
from entrain.transitions import ReplayBatch
from entrain_envs.shapes import Bool, Float


def soft_value(
    q: Float[Tensor, "*rows C"],
    allowed: Bool[Tensor, "*rows C"],
    branches: Branches,
    *,
    alpha: float,
) -> Float[Tensor, "*rows"]:
    """The value of choosing with chances that weigh entropy by `alpha`.

        V = sum_b alpha ln sum_(a allowed in b) exp(Q_b(a) / alpha)

    Args:
        q: [..., C] values of the choices, branch after branch.
        allowed: [..., C] bool; at least one choice of each branch.
        branches: which choices belong together.
        alpha: above 0, in units of the reward.

    Source: Haarnoja et al. 2017, eq. 4 (arXiv:1702.08165).
    """
    scaled = torch.where(allowed, q / alpha, torch.finfo(q.dtype).min)
    padded = branches.pad(scaled, torch.finfo(q.dtype).min)
    return alpha * torch.logsumexp(padded, dim=-1).sum(dim=-1)


@dataclass(frozen=True)
class SoftQSnapshot:
    """Everything that an update changes, at one moment."""

    learned: Snapshot
    target: Tensor
    buffers: Mapping[str, Tensor]
    alpha: float
    num_steps: int


class SoftQ:
    """See the module; a `Method`. Owns the networks and the optimizer."""

    def __init__(self, policy: ActorNetwork, *, device: torch.device, ranks: Ranks = ALONE) -> None:
        """Take over `policy`, which from here on may be neither moved nor cast.

        Args:
            policy: acts; what its weights prefer now is where values begin, Q = alpha * logits.
            device: where to learn.
            ranks: that learn this policy together.

        Raises:
            ConfigError: it has continuous actions.
        """
        action = policy.spec.action
        if action.continuous_size:
            raise ConfigError(
                f"algorithm.kind soft_q is for discrete choices, and its actions have "
                f"{action.continuous_size} continuous dimensions; set algorithm.kind: sac"
            )
        options = policy.config
        self._config = algorithm_options(options, SoftQConfig)
        self._temperature = make_temperature(options.entropy, action)
        self._alpha = self._temperature.coefficient(0.0)
        self._learning_rate = self._config.learning_rate
        self._ranks = ranks
        self._policy = policy.to(device)
        self._q = copy.deepcopy(policy)
        self._target = copy.deepcopy(policy).requires_grad_(requires_grad=False)
        self._branches = Branches(action.branches).to(device)
        self._acting = FlatWeights(self._policy)
        self._optimizer = Adam(
            self._q,
            epsilon=self._config.adam_epsilon,
            max_grad_norm=self._config.max_grad_norm,
            ranks=ranks,
        )
        self._targets = FlatWeights(self._target)
        with torch.no_grad():
            self._q.action_head.weight.mul_(self._alpha)
            self._q.action_head.bias.mul_(self._alpha)
        self._targets.weights.copy_(self._optimizer.weights)
        self._num_steps = 0
        """Gradient steps so far."""

    def __repr__(self) -> str:
        return f"<SoftQ of {self._policy.spec.name!r}: {self._num_steps} gradient steps>"

    @property
    def policy(self) -> ActorNetwork:
        """See `Method.policy`."""
        return self._policy

    @property
    def weights(self) -> PolicyWeights:
        """See `Method.weights`."""
        return PolicyWeights(self._acting.weights, dict(self._policy.named_buffers()))

    @property
    def device(self) -> torch.device:
        """See `Method.device`."""
        return self._optimizer.weights.device

    @property
    def is_finite(self) -> bool:
        """See `Method.is_finite`."""
        return self._optimizer.is_finite

    def agree(self) -> None:
        """See `Method.agree`."""
        self._optimizer.agree()
        self._ranks.broadcast(self._targets.weights)

    def observe(self, observation: Mapping[str, Tensor]) -> None:
        """See `Method.observe`."""
        device = self.device
        rows = {name: values.to(device) for name, values in observation.items()}
        self._q.normalizer.update(rows, ranks=self._ranks)
        _copy_buffers(self._q, self._target)

    def begin(self, progress: float) -> None:
        """See `Method.begin`."""
        config = self._config
        self._alpha = self._temperature.coefficient(progress)
        self._learning_rate = scheduled(
            config.learning_rate,
            config.learning_rate_schedule,
            progress=progress,
            final=config.final_learning_rate,
        )

    def step(self, batch: ReplayBatch) -> Mapping[str, Tensor]:
        """See `Method.step`."""
        q = _values(self._q, batch.observation, batch.num_steps)
        chosen = self._of_chosen(q, batch)
        loss = (chosen - self.targets(batch)).square().mean()
        norm = self._optimizer.step(loss, learning_rate=self._learning_rate, weight=batch.num_steps)
        self._num_steps += 1
        if self._num_steps % self._config.target_every == 0:
            self._targets.weights.lerp_(self._optimizer.weights, self._config.target_rate)
        with torch.no_grad():
            preferred = MultiCategorical(q / self._alpha, self._branches)
            entropy = preferred.masked(batch.action_mask).entropy().mean()
        return {
            replay_metrics.LOSS_Q.name: loss.detach(),
            replay_metrics.Q_MEAN.name: chosen.detach().mean(),
            metrics.ENTROPY.name: entropy,
            metrics.GRADIENT_NORM.name: norm,
        }

    def _of_chosen(self, q: Float[Tensor, "R C"], batch: ReplayBatch) -> Float[Tensor, " R"]:
        """[R] the values of the actions that were taken."""
        padded = self._branches.pad(q, 0.0)
        return padded.gather(-1, batch.action["discrete"].unsqueeze(-1)).flatten(1).sum(dim=1)

    @torch.no_grad()
    def targets(self, batch: ReplayBatch) -> Float[Tensor, " R"]:
        """[R] what the values of the actions should be: reward + bootstrap * V_target(s')."""
        following = _values(self._target, batch.next_observation, batch.num_steps)
        value = soft_value(following, batch.next_action_mask, self._branches, alpha=self._alpha)
        # Where nothing of worth follows, whatever the network says there is selected away.
        return batch.reward + torch.where(batch.bootstrap > 0.0, batch.bootstrap * value, 0.0)

    @torch.no_grad()
    def finish(self) -> Metrics:
        """See `Method.finish`."""
        self._acting.weights.copy_(self._optimizer.weights)
        self._policy.action_head.weight.div_(self._alpha)
        self._policy.action_head.bias.div_(self._alpha)
        _copy_buffers(self._q, self._policy)
        return {
            metrics.ENTROPY_COEFFICIENT.name: self._alpha,
            metrics.LEARNING_RATE.name: self._learning_rate,
        }

    def snapshot(self) -> SoftQSnapshot:
        """See `Method.snapshot`."""
        return SoftQSnapshot(
            learned=self._optimizer.snapshot(),
            target=self._targets.weights.clone(),
            buffers={name: buffer.clone() for name, buffer in self._q.named_buffers()},
            alpha=self._alpha,
            num_steps=self._num_steps,
        )

    def restore(self, snapshot: SoftQSnapshot) -> None:
        """See `Method.restore`."""
        self._optimizer.restore(snapshot.learned)
        self._targets.weights.copy_(snapshot.target)
        for name, buffer in self._q.named_buffers():
            buffer.copy_(snapshot.buffers[name])
        _copy_buffers(self._q, self._target)
        self._alpha, self._num_steps = snapshot.alpha, snapshot.num_steps

    def change(self, options: PolicyConfig) -> None:
        """See `Method.change`."""
        self._config = algorithm_options(options, SoftQConfig)
        self._temperature = make_temperature(options.entropy, self._policy.spec.action)

    def load_moments(self, state: State) -> None:
        """See `Method.load_moments`."""
        self._optimizer.load_state(state)

    def take_over(self, learned: State) -> str:
        """See `Method.take_over`. What fits the policy fits here."""
        load_weights(self._q, learned["q"])
        load_weights(self._target, learned["target"])
        return "its values are taken over, too"

    def state(self) -> State:
        """See `Method.state`."""
        return {
            "policy": weights_of(self._policy),
            "q": weights_of(self._q),
            "target": weights_of(self._target),
            "optimizer": self._optimizer.state(),
            "num_steps": self._num_steps,
        }

    def load_state(self, state: State) -> None:
        """See `Method.load_state`."""
        load_weights(self._policy, state["policy"])
        load_weights(self._q, state["q"])
        load_weights(self._target, state["target"])
        self._optimizer.load_state(state["optimizer"])
        self._num_steps = int(state["num_steps"])


def _values(
    network: ActorNetwork, observation: Mapping[str, Tensor], rows: int
) -> Float[Tensor, "R C"]:
    """[R, C] what the network's last layer says of `rows` observations."""
    shown = {name: values.unsqueeze(0) for name, values in observation.items()}
    reset = torch.ones(1, rows, dtype=torch.bool, device=network.action_head.weight.device)
    features, _ = network.backbone(shown, network.initial_state(rows), reset)
    outputs: Tensor = network.action_head(features[0])
    return outputs


def _copy_buffers(source: ActorNetwork, to: ActorNetwork) -> None:
    """Let `to` see observations as `source` does."""
    for buffer, other in zip(source.buffers(), to.buffers(), strict=True):
        other.copy_(buffer)
