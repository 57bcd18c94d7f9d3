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
from entrain.policy.value_normalization import ValueNormalizer
from entrain.ranks import ALONE, Ranks
from entrain_envs.shapes import Bool, Float, Shaped
from entrain_envs.spec import BehaviourSpec

VALUE_GAIN = 1.0
"""Of the initial output weights. (Andrychowicz et al. 2021, arXiv:2006.05990)"""

LARGEST_LEAP = 100.0
"""By which a scale may fall at once for values to be kept."""

REWARD_STREAM = "reward"
ENTROPY_STREAM = "entropy"


def value_streams(config: PolicyConfig) -> tuple[str, ...]:
    """The names of what a policy's critic estimates, in the order of its outputs."""
    if config.entropy.objective == "entropy_critic":
        return REWARD_STREAM, ENTROPY_STREAM
    return (REWARD_STREAM,)


class ValueHead(Head):
    """One value per stream: a linear layer with normalised outputs, in units of the reward."""

    def __init__(
        self, streams: Sequence[str], inputs: int, *, normalize: bool, generator: torch.Generator
    ) -> None:
        """Draw the initial weights.

        Args:
            streams: names, in the order of the outputs.
            inputs: F.
            normalize: whether outputs are normalised; else they are values.
            generator: of the weights.
        """
        super().__init__(inputs, len(streams), gain=VALUE_GAIN, generator=generator)
        self.streams = tuple(streams)
        self.normalizer = ValueNormalizer(len(streams), normalize=normalize)

    def forward(self, features: Float[Tensor, "*rows F"]) -> Float[Tensor, "*rows V"]:
        """[..., F] to [..., V] values."""
        value: Tensor = self.normalizer(self.normalized(features))
        return value

    def normalized(self, features: Float[Tensor, "*rows F"]) -> Float[Tensor, "*rows V"]:
        """[..., F] to [..., V] outputs, whose targets have mean 0 and deviation 1."""
        return super().forward(features)

    @torch.no_grad()
    def follow(self, return_: Float[Tensor, "N V"], *, ranks: Ranks = ALONE) -> None:
        """Add the returns of a rollout to the statistics, and keep every value as it is.

            weight' = weight * scale / scale'
            bias'   = (scale * bias + shift - shift') / scale'

        A stream that had no scale yet has had no value but 0, which is not kept. Nor are values
        kept where the scale falls to a hundredth or less, as when rewards come in another unit:
        the errors of the old ones are larger than the new values.

        Source: van Hasselt et al. 2016, proposition 1 (arXiv:1602.07714).
        """
        normalizer = self.normalizer
        shift, scale = normalizer.shift.double(), normalizer.scale.double()
        normalizer.update(return_, ranks=ranks)
        new_shift, new_scale = normalizer.shift.double(), normalizer.scale.double()
        factor = scale / new_scale
        is_kept = (factor > 0.0) & (factor < LARGEST_LEAP)
        bias = (scale * self.bias + shift - new_shift) / new_scale
        self.weight.copy_(self.weight * torch.where(is_kept, factor, 1.0).unsqueeze(1))
        self.bias.copy_(torch.where(is_kept, bias, self.bias))

    @torch.no_grad()
    def stop_normalizing(self) -> None:
        """Make outputs values again, and keep every value: for a run that no longer normalises."""
        normalizer = self.normalizer
        shift, scale = normalizer.shift.double(), normalizer.scale.double()
        factor = torch.where(scale > 0.0, scale, 1.0)
        self.weight.copy_(self.weight * factor.unsqueeze(1))
        self.bias.copy_(self.bias * factor + shift)
        normalizer.shift.zero_()
        normalizer.scale.fill_(1.0)
        normalizer.forget()


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
        config: only `network` and the options of observations and values are used.
        streams: names of what is estimated.
        seed: of a generator of its own.
    """
    generator = torch.Generator().manual_seed(seed)
    backbone = make_backbone(inputs, config, 1, generator)
    head = ValueHead(
        streams,
        backbone.feature_size,
        normalize=config.normalize_values,
        generator=generator,
    )
    return CriticNetwork(backbone, head)
