"""Reads long arrays of a message in place, so that protobuf's parser need not copy them.

The parser copies everything it reads, and each step from its objects to an array copies again. For
a message with cameras that takes most of the time. So the parser gets the message with a short
stand-in for each long array, and the arrays are copied once, from the message itself.
"""

import secrets
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from entrain_envs.timestep import UInt8Array
from entrain_envs.unity.varints import fields, head

LONG = 4096
"""Least size in bytes of an array that gets a stand-in."""

_TOKEN_BYTES, _INDEX_BYTES = 9, 4
STAND_IN_BYTES = _TOKEN_BYTES + _INDEX_BYTES
"""Not a multiple of 4, so no array of float32 has this length."""

_Paths: TypeAlias = "Mapping[int, _Paths]"

_ARRAY: _Paths = {}
_ARRAYS: _Paths = {2: {1: {2: {2: {1: {13: {3: _ARRAY, 4: {1: _ARRAY}}}}}}}}
"""Which fields lead to arrays: unity_output, rl_output, agents, value, value, observations; there
compressed_data, and float_data, data."""


class LongParts:
    """See the module. Of one message."""

    def __init__(self, message: bytes) -> None:
        """Find the long arrays; UnityMessageError if the message is damaged on the way to them."""
        self._message = message
        # Drawn now, so that no message can hold it.
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        self._spans: list[tuple[int, int]] = []
        pieces = self._without_arrays(0, len(message), _ARRAYS)
        self.message = b"".join(pieces) if self._spans else message
        """The message with stand-ins."""

    def __repr__(self) -> str:
        return f"<LongParts: {len(self._spans)} of {len(self._message):,} bytes>"

    def _without_arrays(self, begin: int, end: int, paths: _Paths) -> list[bytes | memoryview]:
        """The fields from `begin` to `end`, in pieces, with stand-ins."""
        view = memoryview(self._message)
        pieces: list[bytes | memoryview] = []
        kept = after = begin
        for number, first, last in fields(self._message, begin, end):
            before, after = after, last
            if last - first < LONG or number not in paths:
                continue
            found = len(self._spans)
            content = self._content(first, last, paths[number])
            if len(self._spans) > found:
                pieces += (view[kept:before], head(number, sum(map(len, content))), *content)
                kept = last
        pieces.append(view[kept:end])
        return pieces

    def _content(self, first: int, last: int, paths: _Paths) -> list[bytes | memoryview]:
        if paths is not _ARRAY:
            return self._without_arrays(first, last, paths)
        self._spans.append((first, last))
        return [self._token + (len(self._spans) - 1).to_bytes(_INDEX_BYTES, "little")]

    def content(self, said: bytes) -> bytes:
        """The content of a parsed field: `said` itself, or the array that it stands in for."""
        if len(said) != STAND_IN_BYTES or not said.startswith(self._token):
            return said
        begin, end = self._spans[int.from_bytes(said[_TOKEN_BYTES:], "little")]
        return self._message[begin:end]

    def rows(self, said: UInt8Array, num_bytes: int) -> UInt8Array | None:
        """[K, num_bytes] the arrays behind stand-ins [K, STAND_IN_BYTES].

        None if a row is not a stand-in, or its array has another length.
        """
        if (said[:, :_TOKEN_BYTES] != np.frombuffer(self._token, np.uint8)).any():
            return None
        indices = np.ascontiguousarray(said[:, _TOKEN_BYTES:]).view("<u4")[:, 0]
        spans = [self._spans[index] for index in indices.tolist()]
        if any(end - begin != num_bytes for begin, end in spans):
            return None
        message = np.frombuffer(self._message, np.uint8)
        rows = np.empty((len(spans), num_bytes), np.uint8)
        for row, (begin, end) in zip(rows, spans, strict=True):
            row[:] = message[begin:end]
        return rows


NOTHING_LONG = LongParts(b"")
"""Of messages that have no long arrays."""
