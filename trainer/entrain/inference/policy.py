"""A policy as the actor uses it: arrays in, arrays out, one row per agent.

An `InferencePolicy` owns the weights that act. They are a copy: the weights that learn belong to
the algorithm, and reach this copy by `publish` only. There are two kinds, which compute the same
numbers up to rounding: in numpy, for plain networks on a processor, where a few rows cost a
fraction of what calls of torch cost; and by the policy's own forward, for all others.

Shapes: K rows; D continuous dimensions, N discrete branches, C choices; V values; S of state.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from entrain.inference.chunks import ChunkedTrunk
from entrain.inference.numpy_distributions import Action, ArrayDistribution, Noise, NumpyHead
from entrain.inference.numpy_network import NumpyNetwork, is_plain
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.distributions import ActionDistribution
from entrain.policy.encoders import MixedEncoder
from entrain.policy.trunk import Trunk
from entrain.policy.weights import PolicyWeights
from entrain_envs.timestep import Array, BoolArray, Float32Array

Float64Array: TypeAlias = npt.NDArray[np.float64]

Evaluated: TypeAlias = tuple[ArrayDistribution, Float32Array, Float32Array]
"""The distribution over the actions of K rows, not masked; [K, V] values; [K, S] state after."""


class InferencePolicy(ABC):
    """Evaluates rows of observations. Owned by one actor.

    `version` is how many updates the weights have seen; it goes with every action.
    """

    def __init__(self, policy: ActorNetwork) -> None:
        """Copy `policy`, with the weights that it has now, as version 0."""
        self.spec = policy.spec
        self.config = policy.config
        self.state_size = policy.state_size
        self.noise_size = policy.noise_size
        self.version = 0
        self._policy = copy.deepcopy(policy)
        self._parameters = _flattened(self._policy)
        self._buffers = dict(self._policy.named_buffers())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of '{self.spec.name}', version {self.version}>"

    def publish(self, weights: PolicyWeights, version: int) -> None:
        """Act by these weights from now on.

        Args:
            weights: of a policy of the same kind; they are copied.
            version: how many updates they have seen.
        """
        self._parameters.copy_(weights.parameters)
        for name, buffer in self._buffers.items():
            buffer.copy_(weights.buffers[name])
        self.version = version

    def twin(self) -> Self:
        """Another copy, which acts by the same weights until others are published to it."""
        twin = type(self)(self._policy)
        twin.version = self.version
        return twin

    @property
    def weights(self) -> PolicyWeights:
        """The weights that act."""
        return PolicyWeights(self._parameters, self._buffers)

    @abstractmethod
    def evaluate(
        self, observation: Mapping[str, Array], state: Float32Array, reset: BoolArray
    ) -> Evaluated:
        """One forward over one timestep of K agents.

        Args:
            observation: {name: [K, *shape]}.
            state: [K, S] before the step; it is not changed.
            reset: [K] true where the state is cleared before the step.
        """

    @abstractmethod
    def prepare_noise(self, uniform: Float64Array) -> Noise:
        """[K, D + N] in (0, 1) in the form that this policy's distributions are sampled with."""

    @abstractmethod
    def environment_action(self, action: Action) -> Action:
        """The action as the simulator gets it: in its units and within its bounds."""


def make_inference_policy(policy: ActorNetwork) -> InferencePolicy:
    """A copy of `policy` to act with, of the kind that is quickest for it."""
    return NumpyPolicy(policy) if is_plain(policy) else TorchPolicy(policy)


class NumpyPolicy(InferencePolicy):
    """Computes in numpy; for a policy that `is_plain`."""

    def __init__(self, policy: ActorNetwork) -> None:
        super().__init__(policy)
        # Both are views of the copy's weights, which `publish` changes in place.
        self._network = NumpyNetwork(self._policy)
        self._head = NumpyHead(self._policy.action_head, self._policy.bounds)

    def publish(self, weights: PolicyWeights, version: int) -> None:
        """See `InferencePolicy.publish`."""
        super().publish(weights, version)
        self._head.refresh()

    def evaluate(
        self, observation: Mapping[str, Array], state: Float32Array, reset: BoolArray
    ) -> Evaluated:
        """See `InferencePolicy.evaluate`."""
        outputs, value, state = self._network(observation, state, reset)
        return self._head.distribution(outputs), value, state

    def prepare_noise(self, uniform: Float64Array) -> Noise:
        """Normal numbers for dimensions, uniform ones for choices."""
        return self._head.prepare_noise(uniform)

    def environment_action(self, action: Action) -> Action:
        """See `InferencePolicy.environment_action`."""
        return self._head.environment_action(action)


class TorchPolicy(InferencePolicy):
    """Computes by the policy's own forward, on the device where its weights are."""

    def __init__(self, policy: ActorNetwork) -> None:
        super().__init__(policy)
        device = self._parameters.device
        self._tensor = _converter(device)
        if device.type == "cpu":
            self._evaluate_in_chunks()

    def _evaluate_in_chunks(self) -> None:
        """If it sees images or entities; layers of vectors alone gain nothing in torch."""
        backbone = self._policy.backbone
        trunk = backbone.trunk
        if isinstance(trunk, Trunk) and isinstance(trunk.encoder, MixedEncoder):
            row_bytes = sum(each.num_bytes for each in self._policy.inputs.observations)
            backbone.trunk = ChunkedTrunk(trunk, row_bytes)

    def evaluate(
        self, observation: Mapping[str, Array], state: Float32Array, reset: BoolArray
    ) -> Evaluated:
        """See `InferencePolicy.evaluate`."""
        with torch.inference_mode():
            output = self._policy(
                {name: self._tensor(values[np.newaxis]) for name, values in observation.items()},
                self._tensor(state),
                self._tensor(reset[np.newaxis]),
            )
        distribution = TensorDistribution(output.distribution, self._tensor)
        return distribution, _array(output.value)[0], _array(output.state)

    def prepare_noise(self, uniform: Float64Array) -> Noise:
        """The uniform numbers themselves."""
        return uniform

    def environment_action(self, action: Action) -> Action:
        """See `InferencePolicy.environment_action`."""
        with torch.inference_mode():
            tensors = {name: self._tensor(values) for name, values in action.items()}
            bounded = self._policy.environment_action(tensors)
        return {name: _array(values) for name, values in bounded.items()}


class TensorDistribution:
    """An `ActionDistribution` over [1, K] actions that takes and gives arrays of K rows."""

    def __init__(self, distribution: ActionDistribution, tensor: Callable[[Array], Tensor]) -> None:
        self._distribution = distribution
        self._tensor = tensor

    def masked(self, action_mask: BoolArray) -> "TensorDistribution":
        """See `ArrayDistribution.masked`."""
        with torch.inference_mode():
            masked = self._distribution.masked(self._tensor(action_mask[np.newaxis]))
        return TensorDistribution(masked, self._tensor)

    def sample(self, noise: Noise) -> Action:
        """See `ArrayDistribution.sample`."""
        with torch.inference_mode():
            return _rows(self._distribution.sample(self._tensor(noise[np.newaxis])))

    def mode(self) -> Action:
        """See `ArrayDistribution.mode`."""
        with torch.inference_mode():
            return _rows(self._distribution.mode())

    def log_prob(self, action: Action) -> Float32Array:
        """See `ArrayDistribution.log_prob`."""
        return self._of(self._distribution.log_prob, action)

    def log_prob_per_dimension(self, action: Action) -> Float32Array:
        """See `ArrayDistribution.log_prob_per_dimension`."""
        return self._of(self._distribution.log_prob_per_dimension, action)

    def _of(
        self, function: Callable[[Mapping[str, Tensor]], Tensor], action: Action
    ) -> Float32Array:
        with torch.inference_mode():
            tensors = {name: self._tensor(values[np.newaxis]) for name, values in action.items()}
            values: Float32Array = _array(function(tensors))[0]
        return values


def _flattened(module: nn.Module) -> Tensor:
    """Move all parameters of `module` into one vector, [P], and return it."""
    vector = nn.utils.parameters_to_vector(module.parameters()).detach()
    nn.utils.vector_to_parameters(vector, module.parameters())
    return vector


def _converter(device: torch.device) -> Callable[[Array], Tensor]:
    # Asking torch to leave a tensor where it is costs as much as a small network's layer.
    if device.type == "cpu":
        return _to_processor
    return lambda array: _to_processor(array).to(device)


def _to_processor(array: Array) -> Tensor:
    # Arrays that lie in a received message are read-only, and torch wants none of those.
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _rows(action: Mapping[str, Tensor]) -> Action:
    return {name: _array(values)[0] for name, values in action.items()}


def _array(tensor: Tensor) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = tensor.cpu().numpy()
    return array
