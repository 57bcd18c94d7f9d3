"""Convolutional encoders of images.

Shapes: R rows, G groups, [C, H, W] an image whose stacked frames are channels too. The activation
of convolutions is relu, as published, and their initial weights have the gain for it;
`network.activation` is that of the hidden layers only.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from entrain.errors import ConfigError
from entrain.policy.layers import HIDDEN_GAIN, GroupedLinear, keep_first_group
from entrain_envs.observation_kinds import image_layout
from entrain_envs.shapes import Float, Shaped
from entrain_envs.spec import WIDEST_BOUNDS, ObservationSpec

ImageEncoderName: TypeAlias = Literal[
    "small", "simple", "nature_cnn", "resnet", "match3", "fully_connected"
]

PLAIN_LAYERS: Mapping[ImageEncoderName, Sequence[tuple[int, int, int, int]]] = {
    "small": ((16, 3, 1, 1), (32, 3, 1, 1)),
    "simple": ((16, 8, 4, 0), (32, 4, 2, 0)),
    "nature_cnn": ((32, 8, 4, 0), (64, 4, 2, 0), (64, 3, 1, 0)),
    "match3": ((35, 3, 1, 0), (144, 3, 1, 0)),
    "fully_connected": (),
}
"""(channels, kernel, stride, padding) of each convolution. nature_cnn: Mnih et al. 2015,
"Human-level control through deep reinforcement learning". match3: as ML-Agents has it, for boards
of Match-3 games."""

RESNET_CHANNELS = (16, 32, 32)
"""Of IMPALA's three stages. (Espeholt et al. 2018, arXiv:1802.01561, figure 3)"""


class ImageEncoder(nn.Module):
    """G encoders of one image observation: convolutions, flatten, linear, relu."""

    def __init__(
        self,
        observation: ObservationSpec,
        encoder: ImageEncoderName,
        features: int,
        groups: int,
        generator: torch.Generator,
    ) -> None:
        """Draw the initial weights: orthogonal, biases zero.

        Args:
            observation: an image, see `image_layout`.
            encoder: which convolutions.
            features: how many.
            groups: G, each with weights of its own.
            generator: of the weights.

        Raises:
            ConfigError: the image is too small for the convolutions.
        """
        super().__init__()
        self.name = observation.name
        layout = image_layout(observation.shape)
        size = (layout.height, layout.width)
        channels = layout.frames * layout.channels
        _check_size(observation.name, encoder, size)
        self._shape = observation.shape
        self._order = layout.to_channels_first
        self._channels_first = (channels, *size)
        self._range = pixel_range(observation)
        self.towers = nn.ModuleList(_tower(encoder, channels, generator) for _ in range(groups))
        with torch.no_grad():
            flat = self.towers[0](torch.zeros(1, channels, *size)).numel()
        self.linear = GroupedLinear(groups, flat, features, gain=HIDDEN_GAIN, generator=generator)
        self.feature_size = features

    def forward(self, image: Shaped[Tensor, "*leading a b c"], rows: int) -> Float[Tensor, "G R F"]:
        """[..., *shape], `rows` of them, to [G, rows, feature_size]."""
        pixels = self._to_channels_first(image.reshape(rows, *self._shape))
        # Bytes become floats only here, on the device: a quarter of the data to transfer.
        pixels = pixels.to(self.linear.weight.dtype)
        if self._range is not None:
            low, high = self._range
            pixels = (pixels - low if low else pixels) / (high - low)
        flat = torch.stack([tower(pixels).flatten(1) for tower in self.towers])
        return functional.relu(self.linear(flat))

    def keep_first_group(self) -> None:
        """Drop all groups but the first."""
        self.towers = self.towers[:1]
        keep_first_group(self.linear)

    def _to_channels_first(self, image: Tensor) -> Tensor:
        order = (0, *(1 + axis for axis in self._order))
        return image.permute(order).reshape(image.shape[0], *self._channels_first)


class Convolution(nn.Module):
    """A convolution with orthogonal initial weights."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: int,
        stride: int,
        padding: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.padding = padding
        weight = torch.empty(outputs, inputs, kernel, kernel)
        nn.init.orthogonal_(weight, gain=HIDDEN_GAIN, generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[R, inputs, H, W] to [R, outputs, H', W']."""
        return functional.conv2d(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding
        )


class ResidualBlock(nn.Module):
    """x + convolution(relu(convolution(relu(x))))."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first = _same_size(channels, channels, generator)
        self.second = _same_size(channels, channels, generator)

    def forward(self, x: Tensor) -> Tensor:
        """[R, channels, H, W] to the same."""
        residual: Tensor = self.second(functional.relu(self.first(functional.relu(x))))
        return x + residual


def pixel_range(image: ObservationSpec) -> tuple[float, float] | None:
    """The numbers that become 0 and 1 in the encoder, or None to leave all as they are.

    Bytes are 0 to 255 unless the spec has other bounds. Floats stay as they are without bounds, or
    with bounds that lie within -1 and 1.
    """
    if image.low and image.low != image.high:
        low, high = min(image.low), max(image.high)
        if low >= -1.0 and high <= 1.0:
            return None
        if high - low < WIDEST_BOUNDS:
            return low, high
    return (0.0, 255.0) if image.dtype == "uint8" else None


def minimum_size(encoder: ImageEncoderName) -> int:
    """The smallest height and width that an image may have.

    Computed backwards from one number after the last convolution: for n numbers, a convolution
    needs (n - 1) * stride + kernel, less the padding on both sides.
    """
    size = 1
    for _, kernel, stride, padding in reversed(PLAIN_LAYERS.get(encoder, ())):
        size = (size - 1) * stride + kernel - 2 * padding
    return size


def _check_size(name: str, encoder: ImageEncoderName, size: Sequence[int]) -> None:
    least = minimum_size(encoder)
    if min(size) < least:
        height, width = size
        raise ConfigError(
            f"image '{name}' is {height} x {width} (height x width); image_encoder {encoder} "
            f"needs at least {least} x {least}: set network.image_encoder to auto, small or "
            "resnet, which fit it, or let the simulator say that its kind is vector "
            f"(entrain-env --kind {name}=vector)"
        )


def _tower(encoder: ImageEncoderName, channels: int, generator: torch.Generator) -> nn.Sequential:
    parts: list[nn.Module] = []
    if encoder == "resnet":
        for outputs in RESNET_CHANNELS:
            parts += [
                _same_size(channels, outputs, generator),
                nn.MaxPool2d(kernel_size=3, stride=2, padding=1),
                ResidualBlock(outputs, generator),
                ResidualBlock(outputs, generator),
            ]
            channels = outputs
        return nn.Sequential(*parts, nn.ReLU())
    for outputs, kernel, stride, padding in PLAIN_LAYERS[encoder]:
        convolution = Convolution(
            channels, outputs, kernel=kernel, stride=stride, padding=padding, generator=generator
        )
        parts += [convolution, nn.ReLU()]
        channels = outputs
    return nn.Sequential(*parts)


def _same_size(inputs: int, outputs: int, generator: torch.Generator) -> Convolution:
    return Convolution(inputs, outputs, kernel=3, stride=1, padding=1, generator=generator)
