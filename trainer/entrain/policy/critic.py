"""The critic: estimates of discounted future sums, one per named value stream.

A `ValueHead` reads the features of any backbone: in `ActorCritic` one that it shares with the
actor, in `CriticNetwork` its own.

Shapes: T steps, B columns, time first; R rows, F features, S numbers of recurrent state per column;
V value streams.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from entrain.config.policy import PolicyConfig
from entrain.policy.layers import Head
from entrain.policy.trunk import Backbone, make_backbone
from entrain_envs.shapes import Bool, Float, Shaped
from entrain_envs.spec import BehaviourSpec

VALUE_GAIN = 1.0
"""Of the initial output weights. (Andrychowicz et al. 2021, arXiv:2006.05990)"""

REWARD_STREAM = "reward"
ENTROPY_STREAM = "entropy"


def value_streams(config: PolicyConfig) -> tuple[str, ...]:
    """The names of what a policy's critic estimates, in the order of its outputs."""
    if config.entropy.objective == "entropy_critic":
        return REWARD_STREAM, ENTROPY_STREAM
    return (REWARD_STREAM,)


class ValueHead(Head):
    """A linear layer with one output per value stream: [R, F] features to [R, V] values."""

    def __init__(self, streams: Sequence[str], inputs: int, *, generator: torch.Generator) -> None:
        """Draw the initial weights.

        Args:
            streams: names, in the order of the outputs.
            inputs: F.
            generator: of the weights.
        """
        super().__init__(inputs, len(streams), gain=VALUE_GAIN, generator=generator)
        self.streams = tuple(streams)


@dataclass(frozen=True)
class CriticOutput:
    """The result of one forward pass of a critic over T steps of B columns."""

    value: Float[Tensor, "T B V"]
    """[T, B, V] float32."""

    state: Float[Tensor, "B S"]
    """[B, S] recurrent state after the last step."""


class CriticNetwork(nn.Module):
    """A critic without an actor."""

    def __init__(self, backbone: Backbone, value_head: ValueHead) -> None:
        """Combine the parts; `make_critic_network` draws new ones.

        Args:
            backbone: of one group.
            value_head: for its features.
        """
        super().__init__()
        self.backbone = backbone
        self.value_head = value_head

    def forward(
        self,
        observation: Mapping[str, Shaped[Tensor, "T B ..."]],
        state: Float[Tensor, "B S"],
        reset: Bool[Tensor, "T B"],
    ) -> CriticOutput:
        """Estimate the values of T steps of B columns; arguments are those of `Backbone`."""
        features, state = self.backbone(observation, state, reset)
        value = self.value_head(features[0]).view(*reset.shape, len(self.value_head.streams))
        return CriticOutput(value, state)


def make_critic_network(
    inputs: BehaviourSpec, config: PolicyConfig, streams: Sequence[str], *, seed: int
) -> CriticNetwork:
    """A critic whose initial weights are decided by `seed` alone.

    Args:
        inputs: the observations that it reads. A critic of actions has them among these, as one
            more vector.
        config: only `network` and the options of observations are used.
        streams: names of what is estimated.
        seed: of a generator of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    backbone = make_backbone(inputs, config, 1, generator)
    return CriticNetwork(backbone, ValueHead(streams, backbone.feature_size, generator=generator))
