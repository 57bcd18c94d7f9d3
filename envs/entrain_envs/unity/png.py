"""Reads PNGs of strangers: what they declare is known, and bounded, before anything is unpacked.

An agent's image may be several PNGs, one after another. Only the chunks that make the picture are
given to Pillow, so that no other part of a file is unpacked either.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from entrain_envs.errors import MissingExtraError
from entrain_envs.timestep import UInt8Array
from entrain_envs.unity.errors import UnityMessageError

SIGNATURE = b"\x89PNG\r\n\x1a\n"

MOST_CHUNKS = 100_000
"""Of one file. Encoders write one for every few kilobytes of a picture, or only one."""

_CHUNK = struct.Struct(">I4s")
_HEADER = struct.Struct(">IIBBBBB")
_CHECKSUM_BYTES = 4
_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""{colour type: channels}, of grey and coloured pictures without and with transparency."""


@dataclass(frozen=True)
class Png:
    """One PNG that was not unpacked yet."""

    width: int
    height: int
    channels: int

    chunks: tuple[bytes, ...]
    """Those that make the picture: IHDR, each IDAT, IEND."""

    def pixels(self) -> UInt8Array:
        """[height, width, channels]; UnityMessageError if it is damaged."""
        image = _pillow()
        picture = io.BytesIO(b"".join((SIGNATURE, *self.chunks)))
        try:
            with image.open(picture, formats=("PNG",)) as opened:
                pixels = np.asarray(opened, np.uint8)
        # Whatever Pillow's reader of PNGs comes to when a file is damaged.
        except (OSError, SyntaxError, ValueError, EOFError, zlib.error, struct.error) as error:
            raise UnityMessageError(
                f"it cannot be unpacked ({str(error)[:100]}); expected a whole PNG"
            ) from None
        return pixels.reshape(self.height, self.width, self.channels)


def split_pngs(content: bytes) -> Iterator[Png]:
    """The PNGs in a byte string, one after another; UnityMessageError if it holds anything else."""
    at = 0
    while at < len(content):
        if not content.startswith(SIGNATURE, at):
            raise UnityMessageError(f"byte {at:,} begins no PNG; expected nothing but PNGs")
        png, at = _read(content, at + len(SIGNATURE))
        yield png


def _read(content: bytes, at: int) -> tuple[Png, int]:
    """The PNG whose chunks begin at `at`, and where it ends."""
    header: tuple[int, ...] | None = None
    kept = []
    for _ in range(MOST_CHUNKS):
        if len(content) - at < _CHUNK.size:
            break
        size, kind = _CHUNK.unpack_from(content, at)
        end = at + _CHUNK.size + size + _CHECKSUM_BYTES
        if end > len(content):
            break
        if (header is None) != (kind == b"IHDR"):
            raise UnityMessageError(f"chunk {kind!r} is out of place; expected one IHDR, first")
        if header is None:
            if size != _HEADER.size:
                raise UnityMessageError(f"its header has {size:,} bytes; expected {_HEADER.size}")
            header = _HEADER.unpack_from(content, at + _CHUNK.size)
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            kept.append(content[at:end])
        at = end
        if kind == b"IEND":
            return _png(header, tuple(kept)), at
    raise UnityMessageError("a PNG does not end; expected a whole one, with IEND")


def _png(header: tuple[int, ...], chunks: tuple[bytes, ...]) -> Png:
    width, height, depth, colour = header[:4]
    if depth != 8 or colour not in _CHANNELS:
        raise UnityMessageError(
            f"it has {depth} bits a channel and colour type {colour}; expected 8 bits, and one of "
            f"the types {', '.join(map(str, _CHANNELS))}: grey or RGB, without a palette"
        )
    return Png(width, height, _CHANNELS[colour], chunks)


def _pillow() -> Any:
    try:
        from PIL import Image  # noqa: PLC0415 - only games with compressed cameras need it
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "a game sends images as PNG, and Pillow is not installed; install it with: pip install "
            "pillow (the extra entrain-envs[unity]), or set Compression Type of the game's camera "
            "sensors to None"
        ) from error
    return Image
