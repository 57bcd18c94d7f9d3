"""Gradient steps of a soft actor-critic whose networks are plain, with gradients by hand.

What is learned is what `sac` and `soft_critics` say. There each gradient step is some four hundred
calls of torch, which cost as much as the arithmetic of layers of 256, and several times that of
layers of 64.

Shapes: G critics, R rows, F features, U units, D continuous dimensions.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from entrain.algorithms.fast.arrays import quiet
from entrain.algorithms.fast.soft_gaussian import SoftGaussian
from entrain.algorithms.fast.stack import BACKWARD, Memory, Stack, hidden_layers_of
from entrain.algorithms.optimizer import Adam
from entrain.algorithms.soft_found import ActorStep, CriticStep
from entrain.algorithms.weights import FlatWeights
from entrain.inference.arrays import FloatArray, view
from entrain.policy.action_bounds import ActionBounds
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.inputs import ACTION_TAKEN
from entrain.policy.layers import HiddenLayers
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.q_critic import ActionCritics
from entrain.policy.spread import NetworkSpread
from entrain.policy.trunk import Backbone, RecurrentBackbone, Trunk
from entrain.transitions import ReplayBatch
from entrain_envs.shapes import Float, Shaped

Observation = Mapping[str, Shaped[Tensor, "R ..."]]


def is_plain(policy: ActorNetwork, critics: ActionCritics) -> bool:
    """Whether `SoftSteps` can take the gradient steps of this policy and of its critics."""
    action = policy.spec.action
    return (
        policy.action_head.weight.device.type == "cpu"
        and action.continuous_size > 0
        and not action.branches
        and _is_plain(policy.backbone)
        and _is_plain(critics.backbone)
        and not policy.config.network.layer_norm
    )


def _is_plain(backbone: Backbone) -> bool:
    trunk = backbone.trunk
    if isinstance(backbone, RecurrentBackbone) or not isinstance(trunk, Trunk):
        return False
    layers = trunk.hidden_layers
    return (
        isinstance(trunk.encoder, ObservationNormalizer)
        and isinstance(layers, HiddenLayers)
        and len(layers.layers) > 0
        and layers.activation in BACKWARD
    )


class PlainCritics:
    """G critics of actions, and their gradient. Owned by what learns."""

    def __init__(
        self,
        critics: ActionCritics,
        weights: Mapping[str, Tensor],
        gradient: Mapping[str, Tensor],
        memory: Memory,
    ) -> None:
        """Take views.

        Args:
            critics: plain ones.
            weights: {name of a parameter: its memory}.
            gradient: {name of a parameter: where its gradient goes}; {} if they do not learn.
            memory: see `Stack`.
        """
        trunk = critics.backbone.trunk
        assert isinstance(trunk, Trunk)
        self._stack = Stack(hidden_layers_of(trunk), weights, gradient, memory)
        self._weight, self._bias = weights["head.weight"], weights["head.bias"]
        self._gradient = (gradient["head.weight"], gradient["head.bias"]) if gradient else None
        sizes = critics.normalizer.size_by_name
        before = list(sizes)[: list(sizes).index(ACTION_TAKEN)]
        self._first = sum(sizes[name] for name in before)
        """Features that are read before the action: goals are read after it."""
        self._size = sizes[ACTION_TAKEN]
        self._hidden = self._weight

    def forward(
        self, features: Float[Tensor, "R F"], action: Float[Tensor, "R D"]
    ) -> Float[Tensor, "G R"]:
        """[G, R] the values of actions.

        Args:
            features: [R, F] the observations, as the actor reads them.
            action: [R, D] as the environment gets it, see `ActionBounds.relative`.
        """
        read = [features[:, : self._first], action, features[:, self._first :]]
        self._hidden = self._stack.forward(torch.cat(read, dim=1))
        return torch.baddbmm(self._bias, self._hidden, self._weight).squeeze(-1)

    def backward(self, along: Float[Tensor, "G R"]) -> None:
        """The gradient of all weights, from that of the values."""
        assert self._gradient is not None
        of_weight, of_bias = self._gradient
        column = along.unsqueeze(-1)
        torch.bmm(self._hidden.transpose(1, 2), column, out=of_weight)
        torch.sum(column, dim=1, keepdim=True, out=of_bias)
        self._stack.backward(self._of_hidden(column))

    def of_action(self, along: Float[Tensor, "G R"]) -> FloatArray:
        """[R, D] the gradient of the actions, from that of the values."""
        of_read = self._stack.of_read(self._of_hidden(along.unsqueeze(-1)))
        return view(of_read[:, self._first : self._first + self._size])

    def _of_hidden(self, column: Float[Tensor, "G R 1"]) -> Float[Tensor, "G R U"]:
        into = self._stack.scratch(column.shape[1])
        return torch.bmm(column, self._weight.transpose(1, 2), out=into)


class PlainActor:
    """A Gaussian actor, and its gradient. Owned by what learns."""

    def __init__(self, policy: ActorNetwork, optimizer: Adam, memory: Memory) -> None:
        """Take views of a policy that `is_plain`, and of the gradient that `optimizer` descends."""
        weights, gradient = optimizer.named_weights, optimizer.named_gradient
        trunk, spread = policy.backbone.trunk, policy.action_head.spread
        assert isinstance(trunk, Trunk)
        assert spread is not None
        self._encoder = trunk.encoder
        self._stack = Stack(hidden_layers_of(trunk), weights, gradient, memory)
        names = ["action_head.weight", "action_head.bias"]
        self._reads_features = isinstance(spread, NetworkSpread)
        parts = ("weight", "bias") if self._reads_features else ("parameter",)
        names += [f"action_head.spread.{part}" for part in parts]
        self._weights = [weights[name] for name in names]
        self._gradients = [gradient[name] for name in names]
        self.gaussian = _gaussian_of(policy)
        self._hidden = self._weights[0]

    def features(self, observation: Observation, rows: int) -> Float[Tensor, "R F"]:
        """[R, F] what actor and critics read of R = `rows` observations."""
        read: Tensor = self._encoder(observation, rows)
        return read

    def sample(
        self, features: Float[Tensor, "R F"], normal: Float[Tensor, "R D"]
    ) -> tuple[Tensor, Float[Tensor, " R"]]:
        """[R, D] actions as critics read them, and [R] their log-probabilities."""
        weight, bias, *spread = self._weights
        hidden = self._stack.forward(features)[0]
        self._hidden = hidden
        mean = torch.addmm(bias, hidden, weight.t())
        free = torch.addmm(spread[1], hidden, spread[0].t()) if self._reads_features else spread[0]
        action, log_prob = self.gaussian.sample(view(mean), view(free), view(normal))
        return torch.from_numpy(action), torch.from_numpy(log_prob)

    def backward(self, of_action: FloatArray, *, alpha: float) -> None:
        """The gradient of all weights; see `SoftGaussian.backward`."""
        of_mean, of_free = map(torch.from_numpy, self.gaussian.backward(of_action, alpha=alpha))
        of_weight, of_bias, *of_spread = self._gradients
        weight, _, *spread = self._weights
        into = self._stack.scratch(len(of_mean))
        torch.mm(of_mean.t(), self._hidden, out=of_weight)
        torch.sum(of_mean, dim=0, out=of_bias)
        torch.mm(of_mean, weight, out=into[0])
        if self._reads_features:
            torch.mm(of_free.t(), self._hidden, out=of_spread[0])
            torch.sum(of_free, dim=0, out=of_spread[1])
            into[0].addmm_(of_free, spread[0])
        else:
            of_spread[0].copy_(of_free)
        self._stack.backward(into)


def _gaussian_of(policy: ActorNetwork) -> SoftGaussian:
    head = policy.action_head
    assert head.spread is not None
    is_squashed = policy.config.action.distribution == "squashed_gaussian"
    squashed = head.squashed if is_squashed else torch.zeros_like(head.squashed)
    return SoftGaussian(head.spread, policy.bounds, view(squashed.to(head.weight.dtype)))


class SoftSteps:
    """Steps of critics and actor, beside those by torch. Owned by what learns."""

    def __init__(
        self,
        policy: ActorNetwork,
        optimizer: Adam,
        critics: ActionCritics,
        critics_optimizer: Adam,
        targets: FlatWeights,
    ) -> None:
        """Take views.

        Args:
            policy: the actor, which `is_plain`.
            optimizer: of the actor.
            critics: of its actions.
            critics_optimizer: theirs.
            targets: weights of the target critics.
        """
        memory = Memory()
        named = critics_optimizer.named_weights, critics_optimizer.named_gradient
        self._critics = PlainCritics(critics, *named, memory)
        self._targets = PlainCritics(critics, targets.named(targets.weights), {}, memory)
        self._actor = PlainActor(policy, optimizer, Memory())
        self._bounds: ActionBounds = policy.bounds
        self._optimizer, self._critics_optimizer = optimizer, critics_optimizer

    @quiet
    @torch.no_grad()
    def step_critics(
        self,
        batch: ReplayBatch,
        normal: Float[Tensor, "R D"],
        *,
        alpha: float,
        learning_rate: float,
    ) -> CriticStep:
        """Take a gradient step towards the targets; see `soft_critics`.

        Args:
            batch: one step at least.
            normal: [R, D] standard normal, of the actions that follow.
            alpha: the temperature.
            learning_rate: of this step.
        """
        rows = batch.num_steps
        later = self._actor.features(batch.next_observation, rows)
        following, log_prob = self._actor.sample(later, normal)
        least = self._targets.forward(later, following).amin(dim=0)
        value = least - alpha * log_prob
        target = batch.reward + torch.where(batch.bootstrap > 0.0, batch.bootstrap * value, 0.0)
        taken = self._bounds.relative(batch.action["continuous"])
        chosen = self._critics.forward(self._actor.features(batch.observation, rows), taken)
        error = chosen - target
        self._critics.backward(error / rows)
        norm = self._critics_optimizer.descend(learning_rate=learning_rate, weight=rows)
        return CriticStep(error, chosen, norm)

    @quiet
    @torch.no_grad()
    def step_actor(
        self,
        batch: ReplayBatch,
        normal: Float[Tensor, "R D"],
        *,
        alpha: float,
        learning_rate: float,
    ) -> ActorStep:
        """Take a gradient step of the actor; see `SAC.actor_loss`. Arguments as above."""
        features = self._actor.features(batch.observation, batch.num_steps)
        action, log_prob = self._actor.sample(features, normal)
        values = self._critics.forward(features, action)
        least = values.amin(dim=0)
        is_least = (values == least).to(values.dtype)
        # Critics that agree share the gradient, as that of torch.amin is shared.
        is_least /= is_least.sum(dim=0)
        of_action = self._critics.of_action(is_least)
        self._actor.backward(of_action, alpha=alpha)
        loss = (alpha * log_prob - least).mean()
        self._optimizer.descend(learning_rate=learning_rate, weight=batch.num_steps)
        continuous = torch.from_numpy(self._actor.gaussian.continuous)
        log_sigma_sq = torch.from_numpy(self._actor.gaussian.log_sigma_sq).expand_as(continuous)
        return ActorStep(loss, log_prob, log_sigma_sq, continuous)
