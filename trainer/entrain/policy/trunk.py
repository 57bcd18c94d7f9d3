"""From named observations to the features that the heads read: the trunk, then perhaps a memory.

    observation -> encoder -> hidden layers -> memory -> features
                   `--------- trunk ---------'
                   `-------------- backbone ---------'

Shapes: T steps, B columns, time first; R rows, one per timestep; G groups (policy and critic, or
both as one); F features; S numbers of recurrent state per column.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from entrain.config.policy import PolicyConfig
from entrain.config.sac import BatchNormConfig
from entrain.errors import ConfigError
from entrain.policy.auto_options import choose_activation
from entrain.policy.batch_renorm import BatchRenormalisedLayers
from entrain.policy.custom_network import CustomTrunk, load_class
from entrain.policy.encoders import MixedEncoder, goal_size, make_encoder
from entrain.policy.goals import GoalHiddenLayers
from entrain.policy.layers import HiddenLayers
from entrain.policy.normalization import ObservationNormalizer
from entrain.policy.recurrence import RecurrentMemory, make_memory
from entrain_envs.shapes import Bool, Float, Shaped
from entrain_envs.spec import BehaviourSpec


class Trunk(nn.Module):
    """An encoder, then hidden layers, of G networks that are computed together."""

    def __init__(
        self,
        inputs: BehaviourSpec,
        config: PolicyConfig,
        groups: int,
        generator: torch.Generator,
        *,
        batch_norm: BatchNormConfig | None = None,
    ) -> None:
        """Draw the initial weights.

        Raises:
            ConfigError: an image is too small, or a hypernetwork has no layer to generate, or is to
                be normalised by batches.
        """
        super().__init__()
        self.encoder = make_encoder(inputs, config, groups, generator)
        self.hidden_layers = _hidden_layers(
            self.encoder.feature_size, inputs, config, groups, generator, batch_norm=batch_norm
        )
        self.feature_size = self.hidden_layers.feature_size

    def forward(
        self, observation: Mapping[str, Shaped[Tensor, "..."]], rows: int
    ) -> Float[Tensor, "G R F"]:
        """{name: [..., *shape]}, `rows` of them, to [G, rows, F]; row t * B + b is step t of b."""
        features: Tensor = self.hidden_layers(self.encoder(observation, rows))
        return features

    @property
    def normalizer(self) -> ObservationNormalizer:
        """The running statistics of vectors and goals."""
        encoder = self.encoder
        return encoder.normalizer if isinstance(encoder, MixedEncoder) else encoder

    def keep_first_group(self) -> None:
        """Drop all groups but the first."""
        if isinstance(self.encoder, MixedEncoder):
            self.encoder.keep_first_group()
        self.hidden_layers.keep_first_group()


class Backbone(nn.Module):
    """Everything before the heads, of G networks that are computed together; without memory."""

    def __init__(self, trunk: Trunk | CustomTrunk) -> None:
        super().__init__()
        self.trunk = trunk
        self.feature_size = trunk.feature_size

    def forward(
        self,
        observation: Mapping[str, Shaped[Tensor, "T B ..."]],
        state: Float[Tensor, "B S"],
        reset: Bool[Tensor, "T B"],
    ) -> tuple[Float[Tensor, "G R F"], Float[Tensor, "B S"]]:
        """Compute the features of T steps of B columns.

        Args:
            observation: {name: [T, B, *shape]} as they came over the wire.
            state: [B, S] recurrent state before the first step.
            reset: [T, B] bool, true where the state is cleared before the step.

        Returns:
            features: [G, T * B, F], row t * B + b is step t of column b.
            state: [B, S] after the last step.
        """
        return self.trunk(observation, reset.numel()), state

    def initial_state(self, batch_size: int) -> Float[Tensor, "B S"]:
        """[batch_size, S] recurrent state at the beginning of an episode."""
        return self.normalizer.shift.new_zeros(batch_size, self.state_size)

    @property
    def state_size(self) -> int:
        """S; 0 without memory."""
        return 0

    @property
    def normalizer(self) -> ObservationNormalizer:
        """The running statistics of vectors and goals."""
        return self.trunk.normalizer

    def keep_first_group(self) -> None:
        """Drop all groups but the first."""
        self.trunk.keep_first_group()


class RecurrentBackbone(Backbone):
    """A backbone whose features also depend on earlier steps of the episode."""

    def __init__(self, trunk: Trunk | CustomTrunk, memory: RecurrentMemory) -> None:
        super().__init__(trunk)
        self.memory = memory
        self.feature_size = memory.feature_size

    def forward(
        self,
        observation: Mapping[str, Shaped[Tensor, "T B ..."]],
        state: Float[Tensor, "B S"],
        reset: Bool[Tensor, "T B"],
    ) -> tuple[Float[Tensor, "G R F"], Float[Tensor, "B S"]]:
        """See `Backbone.forward`."""
        hidden = self.trunk(observation, reset.numel())
        remembered: tuple[Tensor, Tensor] = self.memory(hidden, state, reset)
        return remembered

    @property
    def state_size(self) -> int:
        """S: see `RecurrentMemory`."""
        return self.memory.state_size

    def keep_first_group(self) -> None:
        """Drop all groups but the first, and their state."""
        super().keep_first_group()
        self.memory.keep_first_group()


def make_backbone(
    inputs: BehaviourSpec,
    config: PolicyConfig,
    groups: int,
    generator: torch.Generator,
    *,
    batch_norm: BatchNormConfig | None = None,
) -> Backbone:
    """The backbone that the options describe, with new weights: the trunk's are drawn first.

    Args:
        inputs: the observations that the networks read, see `policy_inputs`.
        config: only `network` and the options of observations are used.
        groups: G.
        generator: of the initial weights.
        batch_norm: how the hidden layers are normalised by batches; None does not.

    Raises:
        ConfigError: the networks do not fit the observations.
    """
    trunk = _make_trunk(inputs, config, groups, generator, batch_norm=batch_norm)
    memory = config.network.memory
    if memory.kind == "none":
        return Backbone(trunk)
    return RecurrentBackbone(
        trunk, make_memory(memory, groups, trunk.feature_size, generator=generator)
    )


def _make_trunk(
    inputs: BehaviourSpec,
    config: PolicyConfig,
    groups: int,
    generator: torch.Generator,
    *,
    batch_norm: BatchNormConfig | None,
) -> Trunk | CustomTrunk:
    if config.network.custom is None:
        return Trunk(inputs, config, groups, generator, batch_norm=batch_norm)
    return CustomTrunk(load_class(config.network.custom), inputs, config, groups, generator)


def _hidden_layers(
    features: int,
    inputs: BehaviourSpec,
    config: PolicyConfig,
    groups: int,
    generator: torch.Generator,
    *,
    batch_norm: BatchNormConfig | None,
) -> HiddenLayers | GoalHiddenLayers:
    network = config.network
    activation, goal = choose_activation(inputs, network), goal_size(inputs)
    if goal and network.goal_conditioning == "hypernetwork":
        if batch_norm is not None:
            raise ConfigError(
                "network.goal_conditioning is hypernetwork; with algorithm.batch_norm it must be "
                "concatenate: the layer that goals generate differs from row to row of a batch"
            )
        return GoalHiddenLayers(
            groups,
            features - goal,
            goal,
            network.hidden_sizes,
            activation=activation,
            layer_norm=network.layer_norm,
            generator=generator,
        )
    if batch_norm is not None:
        return BatchRenormalisedLayers(
            groups,
            features,
            network.hidden_sizes,
            batch_norm,
            activation=activation,
            layer_norm=network.layer_norm,
            generator=generator,
        )
    return HiddenLayers(
        groups,
        features,
        network.hidden_sizes,
        activation=activation,
        layer_norm=network.layer_norm,
        generator=generator,
    )
