"""A policy and its critic: one forward, used for acting, for learning and for export.

Shapes: T steps, B columns, time first; acting is T = 1. S is the size of the recurrent state.

    observation -> encoder -> hidden layers -> memory -> distribution
                                                      -> value
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from entrain.config import PolicyConfig
from entrain.policy.action_bounds import ActionBounds, SquashedActionBounds
from entrain.policy.action_head import ActionHead
from entrain.policy.distributions import ActionDistribution
from entrain.policy.encoders import ObservationEncoder
from entrain.policy.layers import Head, HiddenLayers
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.recurrence import NoMemory
from entrain_envs.spec import BehaviourSpec

VALUE_GAIN = 1.0
"""Of the critic's initial output weights. (Andrychowicz et al. 2021, arXiv:2006.05990)"""


@dataclass(frozen=True)
class PolicyOutput:
    """What one forward says about T steps of B columns."""

    distribution: ActionDistribution
    """Over the actions of [T, B] steps; nothing is masked yet."""

    value: Tensor
    """[T, B] float32, the critic's estimate of the discounted future reward."""

    state: Tensor
    """[B, S] recurrent state after the last step."""


class ActorCritic(nn.Module):
    """Chooses actions for one behaviour and estimates what its observations are worth."""

    def __init__(self, spec: BehaviourSpec, config: PolicyConfig, *, seed: int) -> None:
        """Build the networks, with initial weights that `seed` alone decides.

        Args:
            spec: what is observed and how one acts.
            config: of the policy; its algorithm's options are not looked at.
            seed: of a generator that nothing else draws from.
        """
        super().__init__()
        self.spec = spec
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        network = config.network
        self.encoder = ObservationEncoder(
            spec, normalize=config.normalize_observations, clip=config.observation_clip
        )
        # Group 0 is the policy's, the last one the critic's: the same group if they share.
        self.hidden_layers = HiddenLayers(
            1 if network.shared else 2,
            self.encoder.feature_size,
            network.hidden_sizes,
            activation=network.activation,
            generator=generator,
        )
        self.memory = NoMemory()
        features = self.hidden_layers.feature_size
        self.action_head = ActionHead(spec.action, config.action, features, generator=generator)
        self.value_head = Head(features, 1, gain=VALUE_GAIN, generator=generator)
        is_squashed = config.action.distribution == "squashed_gaussian"
        self.bounds = (SquashedActionBounds if is_squashed else ActionBounds)(spec.action)

    def forward(
        self, observation: Mapping[str, Tensor], state: Tensor, reset: Tensor
    ) -> PolicyOutput:
        """Look at T steps of B columns.

        Args:
            observation: {name: [T, B, *shape]} as it came over the wire.
            state: [B, S] recurrent state before the first step.
            reset: [T, B] bool, true where the state is cleared before the step.
        """
        features = self.encoder(observation, reset.numel())
        hidden, state = self.memory(self.hidden_layers(features), state, reset)
        groups = hidden.unbind()
        return PolicyOutput(
            distribution=self.action_head.distribution(groups[0], reset.shape),
            value=self.value_head(groups[-1]).view(reset.shape),
            state=state,
        )

    def initial_state(self, batch_size: int) -> Tensor:
        """[batch_size, S] recurrent state at the beginning of an episode."""
        return self.value_head.bias.new_zeros(batch_size, self.state_size)

    def environment_action(self, action: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """A sampled action in the environment's units, within its bounds.

        Args:
            action: {"continuous": [..., D], "discrete": [..., N]}, the keys the behaviour has.
        """
        bounded: Mapping[str, Tensor] = self.bounds(action)
        return bounded

    @property
    def normalizer(self) -> ObservationNormalizer:
        """The running statistics of vector observations."""
        return self.encoder.vectors

    @property
    def state_size(self) -> int:
        """Numbers of recurrent state per column, S."""
        return self.memory.state_size

    @property
    def noise_size(self) -> int:
        """Uniform numbers that one action is sampled from."""
        return self.spec.action.continuous_size + len(self.spec.action.branches)

    @property
    def log_sigma_sq(self) -> Tensor:
        """[D] the effective log-variance of each action dimension; [0] without one."""
        return self.action_head.log_sigma_sq
