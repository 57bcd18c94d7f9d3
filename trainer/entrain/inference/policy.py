"""A policy as the actor sees it: arrays in, arrays out, one row per agent.

Two ways to the same numbers: by the policy's own forward, whatever it is made of and wherever its
weights are, or, for plain networks on a processor, in numpy, where a handful of rows costs a
fraction of what torch's calls do.

Shapes: K rows; D continuous dimensions, N discrete branches, C choices; V values; S of state.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from entrain.config.policy import PolicyConfig
from entrain.inference.numpy_distributions import Action, ArrayDistribution, Noise, NumpyHead
from entrain.inference.numpy_network import NumpyNetwork, is_plain
from entrain.policy.actor_critic import ActorNetwork, PolicyOutput
from entrain.policy.distributions import ActionDistribution
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Array, BoolArray, Float32Array

Float64Array: TypeAlias = npt.NDArray[np.float64]


class ActingPolicy(Protocol):
    """Looks at observations, and knows what it looks at."""

    def __call__(
        self, observation: Mapping[str, Tensor], state: Tensor, reset: Tensor
    ) -> PolicyOutput:
        """Distribution and value of {name: [T, B, *shape]}, state [B, S], reset [T, B]."""
        ...

    @property
    def spec(self) -> BehaviourSpec:
        """What the simulator sends, and how one acts."""
        ...

    @property
    def inputs(self) -> BehaviourSpec:
        """What the policy looks at: that, and what the actor adds."""
        ...

    @property
    def config(self) -> PolicyConfig:
        """Its network's options say what the actor adds, and how sequences are learned from."""
        ...

    @property
    def num_values(self) -> int:
        """V, value heads."""
        ...

    @property
    def noise_size(self) -> int:
        """Uniform numbers that one action takes."""
        ...

    @property
    def state_size(self) -> int:
        """S, numbers in one agent's recurrent state; 0 without memory."""
        ...

    def environment_action(self, action: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """What the simulator is told: sampled actions brought into the spec's bounds."""
        ...

    def parameters(self) -> Iterator[torch.nn.Parameter]:
        """The weights; the device they are on is where the actor computes."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """What a policy makes of K rows."""

    distribution: ArrayDistribution
    """Over the actions; nothing is masked yet."""

    value: Float32Array
    """[K, V] the critic's."""

    state: Float32Array
    """[K, S] recurrent state after these rows."""


class InferencePolicy(Protocol):
    """A policy, for who acts. It changes with the policy that it was made for."""

    def look(self, observation: Mapping[str, Array], state: Float32Array, reset: BoolArray) -> Look:
        """At one timestep: {name: [K, *shape]}, state [K, S] before it, reset [K]."""
        ...

    def prepared_noise(self, uniform: Float64Array) -> Noise:
        """[K, D + N] in (0, 1) in the form that this policy's distributions are sampled with."""
        ...

    def environment_action(self, action: Action) -> Action:
        """What the simulator is told: a sampled action in its units and within its bounds."""
        ...


def acting(policy: ActingPolicy) -> InferencePolicy:
    """The quickest way to act by this policy."""
    if isinstance(policy, ActorNetwork) and is_plain(policy):
        return NumpyPolicy(policy)
    return TorchPolicy(policy)


class TorchPolicy:
    """By the policy's own forward, on the device where its weights are."""

    def __init__(self, policy: ActingPolicy) -> None:
        self._policy = policy
        self._tensor = _converter(next(policy.parameters()).device)

    def look(self, observation: Mapping[str, Array], state: Float32Array, reset: BoolArray) -> Look:
        """See `InferencePolicy.look`."""
        with torch.inference_mode():
            output = self._policy(
                {name: self._tensor(values[np.newaxis]) for name, values in observation.items()},
                self._tensor(state),
                self._tensor(reset[np.newaxis]),
            )
        return Look(
            TensorDistribution(output.distribution, self._tensor),
            _array(output.value)[0],
            _array(output.state),
        )

    def prepared_noise(self, uniform: Float64Array) -> Noise:
        """As it is."""
        return uniform

    def environment_action(self, action: Action) -> Action:
        """See `InferencePolicy.environment_action`."""
        with torch.inference_mode():
            tensors = {name: self._tensor(values) for name, values in action.items()}
            bounded = self._policy.environment_action(tensors)
        return {name: _array(values) for name, values in bounded.items()}


class TensorDistribution:
    """An `ActionDistribution` over [1, K] actions, asked and answering in arrays."""

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
        with torch.inference_mode():
            tensors = {name: self._tensor(values[np.newaxis]) for name, values in action.items()}
            log_prob: Float32Array = _array(self._distribution.log_prob(tensors))[0]
        return log_prob


class NumpyPolicy:
    """In numpy, for a policy that `is_plain`."""

    def __init__(self, policy: ActorNetwork) -> None:
        self._policy = policy
        self._network = NumpyNetwork(policy)
        self._head = NumpyHead(policy.action_head, policy.bounds)
        self.prepared_noise = self._head.prepared_noise
        self.environment_action = self._head.environment_action

    def look(self, observation: Mapping[str, Array], state: Float32Array, reset: BoolArray) -> Look:
        """See `InferencePolicy.look`."""
        if not self._network.is_current:
            self._network = NumpyNetwork(self._policy)
        outputs, value, state = self._network(observation, state, reset)
        return Look(self._head.distribution(outputs), value, state)


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
