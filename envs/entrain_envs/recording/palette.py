"""The colours of a recording: one palette that all of its pictures share."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from entrain_envs.recording.frames import Frames, Picture

NUM_COLOURS, FEW_COLOURS = 255, 127
"""Of a palette, for photographs and for drawings. GIF needs one more, for what does not change."""

NUM_SAMPLES = 12
"""Pictures whose colours are counted, spread over the recording, and as many ends of episodes."""

FEW = 8192
"""Up to so many colours, rare ones count nearly as much as frequent ones."""

MOST = 500_000
"""About so many pixels are looked at to find the palette of pictures with many colours."""


def indexed(frames: Frames) -> Iterator[Image.Image]:
    """Yields each picture as an image with the palette of the whole recording."""
    palette = _palette(frames)
    for picture, _ in frames:
        yield Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)


def _palette(frames: Frames) -> Image.Image:
    every = max(1, -(-len(frames) // NUM_SAMPLES))
    spread = itertools.islice(frames.pictures(lambda index, _: index % every == 0), NUM_SAMPLES)
    ends = itertools.islice(frames.pictures(lambda _, moment: moment.is_last), NUM_SAMPLES)
    colours, counts = _counted([*spread, *ends])
    if len(colours) <= FEW:
        # A mark of few pixels, such as a green frame, must not take the colour of its surroundings.
        size, counts = FEW_COLOURS, 1 + np.log2(counts).astype(np.int64)
    else:
        size, counts = NUM_COLOURS, np.ceil(counts * (MOST / counts.sum())).astype(np.int64)
    together = np.repeat(colours, counts)
    parts = [(together >> shift) & 255 for shift in (16, 8, 0)]
    image = Image.fromarray(np.stack(parts, axis=-1).astype(np.uint8)[np.newaxis])
    return image.quantize(size)


def _counted(pictures: Sequence[Picture]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each colour in `pictures`, as one number, and in how many pixels it is."""
    colours, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for picture in pictures:
        wide = picture.astype(np.int64)
        packed = (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]
        own, own_counts = np.unique(packed, return_counts=True)
        colours, places = np.unique(np.concatenate([colours, own]), return_inverse=True)
        counts = np.bincount(
            places, weights=np.concatenate([counts, own_counts]), minlength=len(colours)
        ).astype(np.int64)
    return colours, counts
