"""Pictures of a recording, kept in a file on disk, so that memory does not grow with them."""

import io
import math
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image

from entrain_envs.errors import OptionError

Picture = npt.NDArray[np.uint8]
"""[height, width, 3] red, green and blue."""

MAX_SIDE = 400
"""Longest side of a picture in a recording; larger ones are reduced."""

MIN_SIDE = 100
"""Pictures whose longer side is shorter than this are enlarged: one square for each pixel."""

HOLD_MS = 1000
"""How much longer the last picture of an episode is shown than others."""


@dataclass(frozen=True)
class Moment:
    """Where a picture stands in the recording."""

    episode: int
    """Counted from 1."""

    step: int
    """Of the episode; 0 is its beginning."""

    return_: float
    """Sum of the episode's rewards so far."""

    is_last: bool
    """Whether the episode ended here."""


class Frames:
    """A sequence of pictures of one size, each with its moment. Owned by one thread."""

    def __init__(self, folder: Path) -> None:
        """Keep nothing yet; the file will be made in `folder`, without a name."""
        self._folder = folder
        self._file: IO[bytes] = io.BytesIO()
        self._places: list[tuple[Moment, int, int]] = []
        self._size = (0, 0)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[tuple[Picture, Moment]]:
        for moment, start, length in self._places:
            yield self._read(start, length), moment

    @property
    def moments(self) -> Sequence[Moment]:
        """The moment of each picture, in order."""
        return [moment for moment, _, _ in self._places]

    def pictures(self, wanted: Callable[[int, Moment], bool]) -> Iterator[Picture]:
        """Yields the pictures whose number and moment `wanted` accepts."""
        for index, (moment, start, length) in enumerate(self._places):
            if wanted(index, moment):
                yield self._read(start, length)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of each picture."""
        return self._size

    def append(self, picture: Picture, moment: Moment) -> None:
        """Add a picture. The first decides the size of all."""
        image = Image.fromarray(picture)
        if not self._places:
            self._file.close()
            self._file = _nameless(self._folder)
            self._size = fitting_size(*image.size)
        if image.size != self._size:
            is_larger = self._size[0] > image.width
            method = Image.Resampling.NEAREST if is_larger else Image.Resampling.BOX
            image = image.resize(self._size, method)
        # Level 1: ten times as fast as the best, and half as large again.
        _put(self._file, self._places, zlib.compress(image.tobytes(), 1), moment)

    def thin(self, keep: Callable[[Moment], bool]) -> None:
        """Drop the pictures whose moment `keep` refuses, and free their space on the disk."""
        with self._file as old:
            self._file = _nameless(self._folder)
            places: list[tuple[Moment, int, int]] = []
            for moment, start, length in self._places:
                if keep(moment):
                    old.seek(start)
                    _put(self._file, places, old.read(length), moment)
            self._places = places

    def close(self) -> None:
        """Release the file."""
        self._file.close()
        self._places = []

    def _read(self, start: int, length: int) -> Picture:
        self._file.seek(start)
        width, height = self._size
        flat = np.frombuffer(zlib.decompress(self._file.read(length)), np.uint8)
        return flat.reshape(height, width, 3)


def _nameless(folder: Path) -> IO[bytes]:
    """A temporary file without a name on the disk of `folder`; closing it deletes it."""
    return tempfile.TemporaryFile(dir=folder)


def _put(
    file: IO[bytes], places: list[tuple[Moment, int, int]], data: bytes, moment: Moment
) -> None:
    start = file.seek(0, os.SEEK_END)
    file.write(data)
    places.append((moment, start, len(data)))


def fitting_size(width: int, height: int) -> tuple[int, int]:
    """The size in which pictures of `width` and `height` are kept."""
    longer = max(width, height)
    if longer < MIN_SIDE:
        factor = 2 * MIN_SIDE // longer
        return factor * width, factor * height
    if longer <= MAX_SIDE:
        return width, height
    return max(1, width * MAX_SIDE // longer), max(1, height * MAX_SIDE // longer)


def as_picture(rendered: object, *, where: str) -> Picture:
    """Convert what an environment rendered into a picture.

    Raises:
        OptionError: it is not an image.
    """
    array = np.asarray(rendered)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2:
        array = np.repeat(array[:, :, np.newaxis], 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in {3, 4} or array.dtype != np.uint8 or not array.size:
        found = "None" if rendered is None else f"{array.dtype}{list(array.shape)}"
        raise OptionError(
            f"{where} cannot be recorded: it rendered {found}, expected uint8[height, width, 3]"
        )
    return np.ascontiguousarray(array[:, :, :3])


def in_words(return_: float) -> str:
    """A sum of rewards, as a recording shows it."""
    if not math.isfinite(return_):
        return "not a number"
    is_plain = return_ == 0.0 or 0.1 <= abs(return_) < 1e6
    return f"{return_:,.1f}" if is_plain else f"{return_:.3g}"
