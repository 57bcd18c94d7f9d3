"""Decodes compressed image observations: PNGs to pixels, checked before they are unpacked.

A PNG has up to four channels, so an observation with more takes several PNGs. The mapping gives
each decoded channel its channel in the image: -1 drops it, and decoded channels with the same
target are averaged. Without a mapping, an image of one channel is the mean of red, green and blue;
other images take the decoded channels in order, and surplus ones are dropped. Pixels are uint8, or
float32 in 0..1 where channels are averaged.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from entrain_envs.timestep import Int64Array, UInt8Array
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.messages import Observation
from entrain_envs.unity.png import Png, split_pngs

MOST_BYTES = 1 << 28
"""Memory that the unpacked images of one message may take."""

_COLOURS = 3
_LARGEST = np.float32(255)

Pixels = npt.NDArray[np.uint8 | np.float32]


def check_pixels(observations: Iterable[Observation], *, most_bytes: int = MOST_BYTES) -> None:
    """Raise UnityMessageError if the images of a message take more than that unpacked.

    A file of some kilobytes may unpack to many megabytes, and a message has room for many files.
    """
    needed = 0
    for each in observations:
        if not each.png or len(each.shape) != 3 or min(each.shape) < 1:
            continue
        # Of one channel, and of channels that are averaged, pixels become float32.
        size = 4 if each.mapping or 1 in each.shape else 1
        needed += len(each.png) * math.prod(each.shape) * size
        if needed > most_bytes:
            raise UnityMessageError(
                f"the images of a message, the last of them {len(each.png):,} of "
                f"{list(each.shape)}, take {needed:,} bytes; expected at most {most_bytes:,} at "
                "once: make the images smaller, or let fewer agents decide at once"
            )


def read_images(
    observation: Observation,
    *,
    channels_first: bool,
    where: str,
    agents: Int64Array | Sequence[int] = (),
) -> Pixels:
    """[K, H, W, C] images of K agents.

    Args:
        observation: with PNGs, and a shape of three dimensions.
        channels_first: whether that shape is [C, H, W], and not [H, W, C].
        where: names the sensor in errors.
        agents: [K] ids, for errors.

    Raises:
        UnityMessageError: a PNG is damaged, or its size or channels are not the declared ones. A
            PNG whose header does not fit is never unpacked.
        MissingExtraError: Pillow is not installed.
    """
    form = _form(observation, channels_first=channels_first, where=where)
    check_pixels([observation])
    shape = len(observation.png), form.height, form.width, form.channels
    images: Pixels = np.empty(shape, form.dtype)
    for row, content in enumerate(observation.png):
        try:
            images[row] = form.image(content)
        except UnityMessageError as error:
            agent = f"agent {agents[row]}" if len(agents) else f"record {row}"
            raise UnityMessageError(
                f"{where}, {agent}, a PNG of {len(content):,} bytes: {error}"
            ) from None
    return images


@dataclass(frozen=True)
class _Form:
    """How the channels of PNGs become an image."""

    height: int
    width: int
    channels: int

    sources: tuple[tuple[int, ...], ...]
    """For each channel of the image, its decoded channels; empty without a mapping."""

    num_mapped: int
    """Decoded channels that the mapping names."""

    @property
    def is_averaged(self) -> bool:
        """Whether a channel is the mean of several."""
        if self.sources:
            return any(len(each) > 1 for each in self.sources)
        return self.channels == 1

    @property
    def dtype(self) -> type[np.uint8] | type[np.float32]:
        """Of the pixels."""
        return np.float32 if self.is_averaged else np.uint8

    def image(self, content: bytes) -> Pixels:
        """[H, W, C] of one agent's PNGs."""
        pngs = self._checked(content)
        decoded = [png.pixels() for png in pngs]
        channels = decoded[0] if len(decoded) == 1 else np.concatenate(decoded, axis=2)
        if not self.is_averaged:
            if self.sources:
                return channels[:, :, [source for (source,) in self.sources]]
            return channels[:, :, : self.channels]
        is_coloured = decoded[0].shape[2] >= _COLOURS
        sources = self.sources or (tuple(range(_COLOURS if is_coloured else 1)),)
        return np.stack([_mean(channels, each) for each in sources], axis=2)

    def _checked(self, content: bytes) -> list[Png]:
        """The PNGs, after all headers were found to fit."""
        pngs: list[Png] = []
        num_channels = 0
        for png in split_pngs(content):
            if (png.height, png.width) != (self.height, self.width):
                raise UnityMessageError(
                    f"it declares {png.height} x {png.width} pixels; expected the sensor's "
                    f"{self.height} x {self.width}"
                )
            pngs.append(png)
            num_channels += png.channels
            if num_channels > max(self.num_mapped, self.channels) + _COLOURS:
                break
        if num_channels != self.num_mapped if self.num_mapped else num_channels < self.channels:
            raise UnityMessageError(
                f"its {len(pngs)} files have {num_channels} channels; expected "
                f"{self.num_mapped or self.channels}, as the sensor's "
                f"{'mapping' if self.num_mapped else 'shape'} says"
            )
        return pngs


def _mean(channels: UInt8Array, sources: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """[H, W] in 0..1."""
    mean: npt.NDArray[np.float32] = channels[:, :, sources].mean(axis=2, dtype=np.float32)
    return mean / _LARGEST


def _form(observation: Observation, *, channels_first: bool, where: str) -> _Form:
    shape, mapping = observation.shape, observation.mapping
    if len(shape) != 3 or min(shape) < 1:
        raise UnityMessageError(
            f"{where} sends PNGs and declares the shape {list(shape)}; expected three dimensions, "
            "each at least 1: height, width and channels in the game's order"
        )
    height, width, channels = (*shape[1:], shape[0]) if channels_first else shape
    sources: dict[int, list[int]] = {}
    for source, channel in enumerate(mapping):
        if channel != -1:
            sources.setdefault(channel, []).append(source)
    if mapping and (
        len(sources) != channels or any(each not in sources for each in range(channels))
    ):
        raise UnityMessageError(
            f"{where} maps the channels of its PNGs to {list(mapping[:20])}; expected each of 0 to "
            f"{channels - 1} at least once, and -1 for those that are dropped"
        )
    ordered = tuple(tuple(sources[channel]) for channel in range(channels)) if mapping else ()
    return _Form(height, width, channels, ordered, len(mapping))
