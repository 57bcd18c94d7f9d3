"""A policy and its critic: one forward, used for acting, for learning and for export.

Shapes: T steps, B columns, time first; acting is T = 1. S is the size of the recurrent state, V
the number of value heads.

    observation -> trunk -> memory -> distribution
                                  -> values
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from entrain.config.policy import PolicyConfig
from entrain.policy.action_bounds import ActionBounds, SquashedActionBounds
from entrain.policy.action_head import ActionHead
from entrain.policy.distributions import ActionDistribution
from entrain.policy.inputs import policy_inputs
from entrain.policy.layers import Head
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.recurrence import make_memory
from entrain.policy.trunk import make_trunk
from entrain_envs.spec import BehaviourSpec

VALUE_GAIN = 1.0
"""Of the critic's initial output weights. (Andrychowicz et al. 2021, arXiv:2006.05990)"""


@dataclass(frozen=True)
class PolicyOutput:
    """What one forward says about T steps of B columns."""

    distribution: ActionDistribution
    """Over the actions of [T, B] steps; nothing is masked yet."""

    value: Tensor
    """[T, B, V] float32, the critic's estimates of the discounted future reward, and of the
    discounted future entropy if the objective has a critic for that."""

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
        self.inputs = policy_inputs(spec, config.network)
        self.config = config
        generator = torch.Generator().manual_seed(seed)
        # Group 0 is the policy's, the last one the critic's: the same group if they share.
        groups = 1 if config.network.shared else 2
        self.trunk = make_trunk(self.inputs, config, groups, generator)
        self.memory = make_memory(
            config.network.memory, groups, self.trunk.feature_size, generator=generator
        )
        features = self.memory.feature_size
        self.num_values = 2 if config.entropy.objective == "entropy_critic" else 1
        self.action_head = ActionHead(spec.action, config.action, features, generator=generator)
        self.value_head = Head(features, self.num_values, gain=VALUE_GAIN, generator=generator)
        is_squashed = config.action.distribution == "squashed_gaussian"
        self.bounds = (SquashedActionBounds if is_squashed else ActionBounds)(spec.action)

    def forward(
        self, observation: Mapping[str, Tensor], state: Tensor, reset: Tensor
    ) -> PolicyOutput:
        """Look at T steps of B columns.

        Args:
            observation: {name: [T, B, *shape]} of `inputs`: those of the simulator as they came
                over the wire.
            state: [B, S] recurrent state before the first step.
            reset: [T, B] bool, true where the state is cleared before the step.
        """
        hidden, state = self.memory(self.trunk(observation, reset.numel()), state, reset)
        groups = hidden.unbind()
        return PolicyOutput(
            distribution=self.action_head.distribution(groups[0], reset.shape),
            value=self.value_head(groups[-1]).view(*reset.shape, self.num_values),
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

    def keep_actor(self) -> None:
        """Forget the critic's layers, where they are its own; for who only wants actions."""
        self.trunk.keep_first_group()
        self.memory.keep_first_group()

    @property
    def normalizer(self) -> ObservationNormalizer:
        """The running statistics of vectors and goals."""
        return self.trunk.normalizer

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
