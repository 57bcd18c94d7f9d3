"""An actor, alone or with a critic: one forward pass for acting, for learning and for export.

    observation -> backbone -> action head -> distribution
                            -> value head  -> value

Shapes: T steps, B columns, time first; acting is T = 1. R = T * B rows, F features, S numbers of
recurrent state per column, D continuous action dimensions, N discrete branches, V value streams.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from entrain.config.algorithm import PPOConfig
from entrain.config.policy import PolicyConfig
from entrain.policy.action_bounds import ActionBounds, SquashedActionBounds
from entrain.policy.action_head import ActionHead
from entrain.policy.critic import ValueHead, value_streams
from entrain.policy.distributions import ActionDistribution
from entrain.policy.inputs import policy_inputs
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.spread import NetworkSpread
from entrain.policy.trunk import Backbone, make_backbone
from entrain_envs.shapes import Bool, Float, Shaped
from entrain_envs.spec import BehaviourSpec

GROUP_LISTS = frozenset({"networks", "towers"})
"""Names of module lists with one module for each group: see `CustomTrunk`, `ImageEncoder`."""


@dataclass(frozen=True)
class PolicyOutput:
    """The result of one forward pass over T steps of B columns."""

    distribution: ActionDistribution
    """Over the actions of [T, B] steps; nothing is masked yet."""

    value: Float[Tensor, "T B V"]
    """[T, B, V] float32, the critic's estimates in units of the reward; V = 0 without a critic. See
    `value_streams`."""

    normalized_value: Float[Tensor, "T B V"]
    """[T, B, V] float32, the same as the critic learns them. See `ValueHead`."""

    state: Float[Tensor, "B S"]
    """[B, S] recurrent state after the last step."""

    features: Float[Tensor, "G R F"]
    """[G, R, F] what the heads read: the first group the action head, the last one the value head.
    Row t * B + b is step t of column b."""


class ActorNetwork(nn.Module):
    """Chooses the actions of one behaviour. `ActorCritic` adds a critic to it."""

    def __init__(
        self, spec: BehaviourSpec, config: PolicyConfig, backbone: Backbone, action_head: ActionHead
    ) -> None:
        """Combine the parts; `make_actor_network` draws new ones.

        Args:
            spec: the behaviour's observations and actions.
            config: of the policy; its algorithm's options are not used.
            backbone: its first group is the actor's.
            action_head: for its features.
        """
        super().__init__()
        self.spec = spec
        self.inputs = policy_inputs(spec, config.network)
        self.config = config
        self.backbone = backbone
        self.action_head = action_head
        is_squashed = config.action.distribution == "squashed_gaussian"
        self.bounds = (
            SquashedActionBounds(spec.action)
            if is_squashed
            else ActionBounds(spec.action, clip=config.action.clip)
        )

    def forward(
        self,
        observation: Mapping[str, Shaped[Tensor, "T B ..."]],
        state: Float[Tensor, "B S"],
        reset: Bool[Tensor, "T B"],
    ) -> PolicyOutput:
        """Evaluate T steps of B columns.

        Args:
            observation: {name: [T, B, *shape]} of `inputs`: those of the simulator as they came
                over the wire.
            state: [B, S] recurrent state before the first step.
            reset: [T, B] bool, true where the state is cleared before the step.
        """
        features, state = self.backbone(observation, state, reset)
        groups = features.unbind()
        value, normalized_value = self._values(groups[-1], reset.shape)
        return PolicyOutput(
            distribution=self.action_head.distribution(groups[0], reset.shape),
            value=value,
            normalized_value=normalized_value,
            state=state,
            features=features,
        )

    def _values(
        self, features: Float[Tensor, "R F"], leading: torch.Size
    ) -> tuple[Float[Tensor, "T B V"], Float[Tensor, "T B V"]]:
        """[*leading, V] values and normalised ones from [R, F] features of the last group."""
        nothing = features.new_empty(*leading, 0)
        return nothing, nothing

    def without_critic(self) -> "ActorNetwork":
        """A copy of the actor alone: a critic's layers and its part of the state are left out."""
        backbone = copy.deepcopy(self.backbone)
        backbone.keep_first_group()
        return ActorNetwork(self.spec, self.config, backbone, copy.deepcopy(self.action_head))

    def initial_state(self, batch_size: int) -> Float[Tensor, "B S"]:
        """[batch_size, S] recurrent state at the beginning of an episode."""
        return self.backbone.initial_state(batch_size)

    def environment_action(
        self, action: Mapping[str, Shaped[Tensor, "*rows _"]]
    ) -> Mapping[str, Shaped[Tensor, "*rows _"]]:
        """A sampled action in the environment's units, within its bounds.

        Args:
            action: {"continuous": [..., D], "discrete": [..., N]}, the keys the behaviour has.
        """
        bounded: Mapping[str, Tensor] = self.bounds(action)
        return bounded

    @property
    def num_values(self) -> int:
        """V, the value streams that a critic estimates; 0 without one."""
        return 0

    @property
    def normalizer(self) -> ObservationNormalizer:
        """The running statistics of vectors and goals."""
        return self.backbone.normalizer

    @property
    def state_size(self) -> int:
        """Numbers of recurrent state per column, S."""
        return self.backbone.state_size

    @property
    def noise_size(self) -> int:
        """D + N, the uniform numbers that one action is sampled from."""
        return self.spec.action.continuous_size + len(self.spec.action.branches)

    @property
    def has_plain_spread(self) -> bool:
        """Whether no log-variance depends on the observation; true without any."""
        return not isinstance(self.action_head.spread, NetworkSpread)


class ActorCritic(ActorNetwork):
    """An actor with a critic, which shares the actor's layers or has its own.

    Group 0 of the backbone is the actor's, the last one the critic's: the same group if they share.
    So both go through each layer in one call.
    """

    def __init__(self, spec: BehaviourSpec, config: PolicyConfig, *, seed: int) -> None:
        """Draw the initial weights, which `seed` alone decides.

        Args:
            spec: the behaviour's observations and actions.
            config: of the policy; its algorithm's options are not used.
            seed: of a generator of its own.
        """
        generator = torch.Generator().manual_seed(seed)
        groups = 1 if config.network.shared else 2
        backbone = make_backbone(policy_inputs(spec, config.network), config, groups, generator)
        features = backbone.feature_size
        action_head = ActionHead(spec.action, config.action, features, generator=generator)
        super().__init__(spec, config, backbone, action_head)
        self.value_head = ValueHead(
            value_streams(config),
            features,
            normalize=config.normalize_values,
            generator=generator,
        )

    def _values(
        self, features: Float[Tensor, "R F"], leading: torch.Size
    ) -> tuple[Float[Tensor, "T B V"], Float[Tensor, "T B V"]]:
        normalized = self.value_head.normalized(features).view(*leading, self.num_values)
        return self.value_head.normalizer(normalized), normalized

    def critic_weights(self) -> Mapping[str, Tensor] | None:
        """{name of a parameter: bool of its shape}, true where the value alone depends on it.

        None if policy and critic share layers.
        """
        if self.config.network.shared:
            return None
        return {
            name: of_critic(name, parameter.detach()) for name, parameter in self.named_parameters()
        }

    @property
    def num_values(self) -> int:
        """V, the value streams."""
        return len(self.value_head.streams)


def of_critic(name: str, parameter: Tensor) -> Tensor:
    """Bool of its shape: which of a parameter's numbers are those of a critic with layers apart."""
    is_critic = torch.zeros_like(parameter, dtype=torch.bool)
    path = name.split(".")
    head, lists = path[0], [part for part in path if part in GROUP_LISTS]
    if head == "backbone" and lists:
        # A list with a module for each group; else each group has a row of the parameter.
        is_critic.fill_(path[path.index(lists[0]) + 1] == "1")
    elif head == "backbone":
        is_critic[1] = True
    else:
        is_critic.fill_(head == "value_head")
    return is_critic


def make_actor_network(spec: BehaviourSpec, config: PolicyConfig, *, seed: int) -> ActorNetwork:
    """An actor without a critic, whose initial weights are decided by `seed` alone."""
    generator = torch.Generator().manual_seed(seed)
    backbone = make_backbone(policy_inputs(spec, config.network), config, 1, generator)
    head = ActionHead(spec.action, config.action, backbone.feature_size, generator=generator)
    return ActorNetwork(spec, config, backbone, head)


def make_policy(spec: BehaviourSpec, config: PolicyConfig, *, seed: int) -> ActorNetwork:
    """The policy that its algorithm learns, with weights that `seed` alone decides.

    An actor with a critic of its values, if the algorithm learns one beside the policy; an actor
    alone, if the algorithm's critics are no part of what is kept of a policy.
    """
    if isinstance(config.algorithm, PPOConfig):
        return ActorCritic(spec, config, seed=seed)
    return make_actor_network(spec, config, seed=seed)
