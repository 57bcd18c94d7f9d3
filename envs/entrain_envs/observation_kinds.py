"""Tells images from plain numbers by an observation's shape, dtype and bounds.

docs/networks.md states the rules. A simulator overrules them with the kind in its spec.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

KINDS = ("vector", "image", "entities", "goal")
"""The kinds of observation. vector: plain numbers of any shape. image: see
`image_layout`, encoded by convolutions. entities: [N, F], a set of at most N things with F numbers
each; a row of zeros means that the thing is absent. goal: what the agent should do."""

SINGLE_NAME = "observation"
"""Name of an observation that its environment does not name."""

IMAGE_DIMENSIONS = (2, 3, 4)
"""How many dimensions an image may have."""

LEAST_IMAGE_SIDE = 3
"""Fewest rows or columns of an image, unless the simulator declares the kind."""

LEAST_GREY_SIDE = 16
"""The same for [H, W]: smaller ones are mostly boards, tables and stacked vectors."""


@dataclass(frozen=True)
class ImageLayout:
    """Where an image's shape has its rows, columns, channels and stacked frames."""

    height: int
    width: int

    channels: int
    """Of one frame."""

    frames: int
    """Stacked in a dimension of their own; 1 if there is none."""

    to_channels_first: tuple[int, ...]
    """The order of the dimensions in which height and width come last."""

    def __str__(self) -> str:
        channels = f"{self.channels} channel{'s' if self.channels > 1 else ''}"
        of = f"{self.frames} frames of {channels}" if self.frames > 1 else channels
        return f"{self.height} x {self.width}, {of}"


def image_layout(shape: Sequence[int]) -> ImageLayout:
    """Read an image's shape of two, three or four dimensions.

    [H, W] is one channel; [H, W, C] or [C, H, W] see `is_channels_first`. [N, ...] is a stack of N
    such frames, and [H, W, C, N] too if both of its first dimensions are larger than both others.
    """
    if len(shape) == 2:
        return ImageLayout(shape[0], shape[1], channels=1, frames=1, to_channels_first=(0, 1))
    if len(shape) == 3:
        rows = 1 if is_channels_first(shape) else 0
        order = (1 - rows) * 2
        return ImageLayout(
            shape[rows],
            shape[rows + 1],
            channels=shape[order],
            frames=1,
            to_channels_first=(order, rows, rows + 1),
        )
    if min(shape[:2]) > max(shape[2:]):
        height, width, channels, frames = shape
        return ImageLayout(height, width, channels, frames, (3, 2, 0, 1))
    frame = image_layout(shape[1:])
    order_of_frame = (1 + axis for axis in frame.to_channels_first)
    return ImageLayout(frame.height, frame.width, frame.channels, shape[0], (0, *order_of_frame))


def is_channels_first(shape: Sequence[int]) -> bool:
    """Whether an image of three dimensions is [C, H, W]; otherwise it is [H, W, C].

    Two adjacent dimensions that are equal, and differ from the third, are height and width.
    Otherwise channels are the smaller of the first and the last dimension, the last if equal.
    """
    first, middle, last = shape
    if first == middle != last:
        return False
    if first != middle == last:
        return True
    return first < last


def default_kind(
    shape: Sequence[int], dtype: str, low: Sequence[float], high: Sequence[float]
) -> str:
    """The kind of an observation whose simulator declares none: "image" or "vector".

    Three dimensions are an image. Four are one if the numbers have bounds, and two if the bounds
    are 0 and 255, or 0 and 1; bytes without bounds count as 0 to 255. Height and width must be at
    least `LEAST_IMAGE_SIDE`; with two dimensions, `LEAST_GREY_SIDE`.

    Args:
        shape: of one agent's observation.
        dtype: on the wire.
        low: as in `ObservationSpec.low`.
        high: as in `ObservationSpec.high`.
    """
    if len(shape) not in IMAGE_DIMENSIONS:
        return "vector"
    if dtype == "uint8" and not low:
        low, high = (0.0,), (255.0,)
    layout = image_layout(shape)
    side = min(layout.height, layout.width)
    if len(shape) == 2:
        is_image = side >= LEAST_GREY_SIDE and _are_pixels(low, high)
    elif len(shape) == 3:
        is_image = side >= LEAST_IMAGE_SIDE
    else:
        is_bounded = len(low) > 0 and all(math.isfinite(bound) for bound in (*low, *high))
        is_image = side >= LEAST_IMAGE_SIDE and is_bounded
    return "image" if is_image else "vector"


def _are_pixels(low: Sequence[float], high: Sequence[float]) -> bool:
    return set(low) == {0.0} and set(high) in ({1.0}, {255.0})
