"""The critics of a soft actor-critic: what they learn, from which targets, and what they say.

    loss   = sum over g of mean of 1/2 (Q_g(s, a) - y)^2
    y      = reward + bootstrap * V(s')
    V(s')  = min_g E_choices[Q_g(s', a')] - alpha log_prob(a'),  a' an action of the policy at s'

where Q in V(s') is that of target critics, which follow slowly. `cross_critics` has none.

Shapes: G critics, R rows, D continuous dimensions; Q outputs of a critic, see `ActionCritics`.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from entrain.algorithms.fast.soft_steps import SoftSteps, is_plain
from entrain.algorithms.optimizer import Adam, Snapshot
from entrain.algorithms.soft_actions import SoftActions, expected_values
from entrain.algorithms.soft_found import CriticStep, mean_over_rows
from entrain.algorithms.weights import FlatWeights, load_weights, take_weights, weights_of
from entrain.config.policy import algorithm_options
from entrain.config.sac import SACConfig
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.categorical import Branches
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.q_critic import ActionCritics
from entrain.ranks import ALONE, Ranks
from entrain.state import State
from entrain.transitions import ReplayBatch
from entrain_envs.shapes import Float, Shaped

Observation = Mapping[str, Shaped[Tensor, "R ..."]]


@dataclass(frozen=True)
class CriticsSnapshot:
    """Everything that an update changes of them, at one moment."""

    learned: Snapshot
    beside: Mapping[str, Tensor]


class SoftCritics:
    """Base of the critics of a soft actor-critic. Owns their weights and optimizer."""

    def __init__(
        self, policy: ActorNetwork, *, seed: int, device: torch.device, ranks: Ranks = ALONE
    ) -> None:
        """Draw initial weights.

        Args:
            policy: whose actions they judge; its options are theirs.
            seed: of the weights.
            device: where to learn.
            ranks: that learn together.
        """
        config = algorithm_options(policy.config, SACConfig)
        self._config = config
        self._ranks = ranks
        self._bounds = policy.bounds
        critics = ActionCritics(policy.spec, policy.config, groups=config.critics, seed=seed)
        self._critics = critics.to(device, policy.action_head.weight.dtype).eval()
        self._optimizer = Adam(
            self._critics,
            epsilon=config.adam_epsilon,
            max_grad_norm=config.max_grad_norm,
            beta_1=config.adam_beta_1,
            ranks=ranks,
        )
        self._num_steps = 0

    @property
    def num_steps(self) -> int:
        """Gradient steps that are over."""
        return self._num_steps

    @property
    def branches(self) -> Branches | None:
        """Which choices belong together; None without any."""
        return self._critics.branches

    def step(
        self,
        batch: ReplayBatch,
        following: SoftActions,
        *,
        alpha: Float[Tensor, ""],
        learning_rate: float,
    ) -> CriticStep:
        """Take a gradient step towards what the values should be."""
        chosen, target = self._compared(batch, following, alpha)
        error = chosen - target
        loss = mean_over_rows(0.5 * error.square().sum(dim=0))
        norm = self._optimizer.step(loss, learning_rate=learning_rate, weight=batch.num_steps)
        return CriticStep(error.detach(), chosen.detach(), norm)

    def by_hand(self, policy: ActorNetwork, optimizer: Adam) -> SoftSteps | None:  # noqa: ARG002
        """Gradient steps by hand of these critics and of their actor; None if there are none.

        Args:
            policy: the actor.
            optimizer: of the actor.
        """
        return None

    def _compared(
        self, batch: ReplayBatch, following: SoftActions, alpha: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, "G R"], Float[Tensor, " R"]]:
        """[G, R] what each critic says of the actions in the replay, and [R] what it should."""
        raise NotImplementedError

    def _of_taken(self, batch: ReplayBatch) -> Float[Tensor, "G R"]:
        """[G, R] what each critic says of the actions in the replay."""
        values = self._critics(batch.observation, self._taken(batch))
        return self._critics.of_chosen(values, batch.action.get("discrete"))

    def _taken(self, batch: ReplayBatch) -> Float[Tensor, "R D"]:
        """[R, D] the continuous actions in the replay, as critics read them."""
        nothing = batch.reward.new_zeros(batch.num_steps, 0)
        return self._as_read(batch.action.get("continuous", nothing))

    def least_value(self, observation: Observation, actions: SoftActions) -> Float[Tensor, " R"]:
        """[R] min_g Q_g(s, a), with gradients to the actions but not to the critics' weights."""
        self._critics.requires_grad_(requires_grad=False)
        least = self._least(self._critics, observation, actions)
        self._critics.requires_grad_(requires_grad=True)
        return least

    def _least(
        self, critics: ActionCritics, observation: Observation, actions: SoftActions
    ) -> Float[Tensor, " R"]:
        """[R] the least of the critics' expectations over the choices."""
        values = critics(observation, self._as_read(actions.continuous))
        return expected_values(values, actions.chances, self.branches).amin(dim=0)

    def _as_read(self, continuous: Float[Tensor, "R D"]) -> Float[Tensor, "R D"]:
        return self._bounds.relative(continuous) if continuous.shape[1] else continuous

    def finish_step(self) -> None:
        """A gradient step of critics and actor is over."""
        self._num_steps += 1

    def see_as(self, normalizer: ObservationNormalizer) -> None:
        """Be shown observations as the actor is."""
        self._critics.normalizer.follow(normalizer)

    @property
    def _beside(self) -> Mapping[str, Tensor]:
        """{name: tensor} what an update changes beside the learned weights, itself.

        How observations are shown is the actor's.
        """
        raise NotImplementedError

    def change(self, config: SACConfig) -> None:
        """Learn by other options from now on."""
        self._config = config

    def agree(self) -> None:
        """Take the weights of the first rank."""
        self._optimizer.agree()
        for tensor in self._beside.values():
            self._ranks.broadcast(tensor)

    @property
    def is_finite(self) -> bool:
        """Whether every weight is a finite number."""
        return self._optimizer.is_finite

    def snapshot(self) -> CriticsSnapshot:
        """A copy of weights and moments."""
        beside = {name: tensor.clone() for name, tensor in self._beside.items()}
        return CriticsSnapshot(self._optimizer.snapshot(), beside)

    def restore(self, snapshot: CriticsSnapshot) -> None:
        """Return to a snapshot, bit for bit."""
        self._optimizer.restore(snapshot.learned)
        for name, tensor in self._beside.items():
            tensor.copy_(snapshot.beside[name])
        self._num_steps = snapshot.learned.num_steps

    def state(self) -> State:
        """Weights and moments."""
        return {"critics": weights_of(self._critics), "optimizer": self._optimizer.state()}

    def load_state(self, state: State) -> None:
        """Go on there."""
        load_weights(self._critics, state["critics"])
        self._optimizer.load_state(state["optimizer"])
        self._num_steps = int(state["optimizer"]["num_steps"])

    def take_over(self, state: State) -> bool:
        """Begin with the weights in `state`, but for its moments; false if they do not fit."""
        return take_weights(self._critics, state["critics"])


class TargetCritics(SoftCritics):
    """Critics with target critics, which follow them slowly. (Haarnoja et al. 2018)"""

    def __init__(
        self, policy: ActorNetwork, *, seed: int, device: torch.device, ranks: Ranks = ALONE
    ) -> None:
        """See `SoftCritics`; targets begin with the same weights."""
        super().__init__(policy, seed=seed, device=device, ranks=ranks)
        self._target = copy.deepcopy(self._critics).requires_grad_(requires_grad=False)
        self._targets = FlatWeights(self._target)

    def _compared(
        self, batch: ReplayBatch, following: SoftActions, alpha: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, "G R"], Float[Tensor, " R"]]:
        return self._of_taken(batch), self.targets(batch, following, alpha=alpha)

    @torch.no_grad()
    def targets(
        self, batch: ReplayBatch, following: SoftActions, *, alpha: Float[Tensor, ""]
    ) -> Float[Tensor, " R"]:
        """[R] what the values of the actions should be: y of the module.

        Args:
            batch: steps.
            following: what the policy would do at `batch.next_observation`.
            alpha: [] the temperature.
        """
        least = self._least(self._target, batch.next_observation, following)
        value = least - alpha * following.log_prob
        # Where nothing of worth follows, whatever the networks say there is selected away.
        return batch.reward + torch.where(batch.bootstrap > 0.0, batch.bootstrap * value, 0.0)

    def by_hand(self, policy: ActorNetwork, optimizer: Adam) -> SoftSteps | None:
        """See `SoftCritics.by_hand`: where actor and critics are plain."""
        if not is_plain(policy, self._critics):
            return None
        return SoftSteps(policy, optimizer, self._critics, self._optimizer, self._targets)

    def finish_step(self) -> None:
        """Move the targets towards the critics.

        target += target_rate * (critic - target)
        """
        super().finish_step()
        if self._num_steps % self._config.target_every == 0:
            self._targets.weights.lerp_(self._optimizer.weights, self._config.target_rate)

    def see_as(self, normalizer: ObservationNormalizer) -> None:
        """See `SoftCritics.see_as`."""
        super().see_as(normalizer)
        self._target.normalizer.follow(normalizer)

    @property
    def _beside(self) -> Mapping[str, Tensor]:
        return {"target": self._targets.weights}

    def state(self) -> State:
        """See `SoftCritics.state`."""
        return {**super().state(), "target": weights_of(self._target)}

    def load_state(self, state: State) -> None:
        """See `SoftCritics.load_state`."""
        super().load_state(state)
        load_weights(self._target, state["target"])

    def take_over(self, state: State) -> bool:
        """See `SoftCritics.take_over`."""
        fits = super().take_over(state)
        if fits:
            load_weights(self._target, state["target"])
        return fits
