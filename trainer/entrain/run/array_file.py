"""The arrays of a state as a safetensors file, written and read piece by piece.

    8 bytes    length of the header, lowest byte first
    header     JSON: {name: {"dtype", "shape", "data_offsets": [begin, end]}}, padded by spaces
    data       array after array, rows in order, lowest byte first, the widest numbers first

A `PiecewiseArray` is named in the header's metadata, and read back as one: its rows stay in the
file until they are asked for. Programs that know nothing of that read the file all the same.

Format: github.com/huggingface/safetensors, README, "Format".
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np

from entrain.state import AnyArray, PiecewiseArray, piece_bounds, rows_of

Arrays: TypeAlias = Mapping[str, "AnyArray | PiecewiseArray"]

DTYPES = {
    "bool": "BOOL",
    "complex64": "C64",
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
}
"""{name of numpy: that of safetensors}."""

_NUMPY = {theirs: np.dtype(ours).newbyteorder("<") for ours, theirs in DTYPES.items()}
_METADATA, _PIECEWISE = "__metadata__", "piecewise"


class Source(Protocol):
    """Bytes that can be read in parts, at any time."""

    num_bytes: int

    def read(self, begin: int, end: int) -> "bytes | memoryview":
        """The bytes from `begin` to `end`."""
        ...


class BytesSource:
    """Bytes in memory; parts of them are not copied."""

    def __init__(self, content: "bytes | bytearray | memoryview") -> None:
        self._content = memoryview(content)
        self.num_bytes = len(content)

    def read(self, begin: int, end: int) -> memoryview:
        """See `Source.read`."""
        return self._content[begin:end]


class ArrayFile:
    """A file of arrays in the parts that are written: the header, then each array."""

    def __init__(self, arrays: Arrays) -> None:
        """Arrays of the types in `DTYPES`, by names without lone surrogates."""
        by_width = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
        self._arrays = [arrays[name] for name in by_width]
        header: dict[str, Any] = {}
        piecewise = [name for name in by_width if isinstance(arrays[name], PiecewiseArray)]
        if piecewise:
            header[_METADATA] = {_PIECEWISE: json.dumps(piecewise)}
        end = 0
        for name in by_width:
            array = arrays[name]
            begin, end = end, end + array.nbytes
            header[name] = {
                "dtype": DTYPES[array.dtype.name],
                "shape": list(array.shape),
                "data_offsets": [begin, end],
            }
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self._head = len(text).to_bytes(8, "little") + text
        self.num_bytes = len(self._head) + end

    def pieces(self) -> "Iterator[bytes | memoryview]":
        """Yields all bytes, in order; no more than a piece of them is ever made."""
        yield self._head
        for array in self._arrays:
            flat = array if len(array.shape) else np.reshape(array, 1)
            for begin, end in piece_bounds(flat.shape, flat.dtype):
                rows = rows_of(flat, begin, end)
                if rows.nbytes:
                    little = np.ascontiguousarray(rows, dtype=rows.dtype.newbyteorder("<"))
                    yield little.data.cast("B")


def read_arrays(source: Source) -> dict[str, "AnyArray | PiecewiseArray"]:
    """Returns the arrays of a file: new and writable ones, or piecewise ones.

    Raises:
        ValueError, TypeError, KeyError: it is no such file.
    """
    length = int.from_bytes(source.read(0, 8), "little")
    if not 0 < length <= source.num_bytes - 8:
        raise ValueError(f"its header has {length:,} bytes, and the file {source.num_bytes:,}")
    header = json.loads(bytes(source.read(8, 8 + length)), object_pairs_hook=once_each)
    metadata = header.pop(_METADATA, {})
    piecewise = set(json.loads(metadata.get(_PIECEWISE, "[]")))
    found: dict[str, AnyArray | PiecewiseArray] = {}
    data = expected = 8 + length
    for name, facts in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        array = _StoredArray(source, *_described(facts), data + facts["data_offsets"][0])
        if array.begin != expected or data + facts["data_offsets"][1] != expected + array.nbytes:
            raise ValueError(f"{name!r:.60} is not where it must be")
        expected += array.nbytes
        if expected > source.num_bytes:
            raise ValueError(f"{name!r:.60} lies beyond its end")
        found[name] = array if name in piecewise and array.shape else array.whole()
    if expected != source.num_bytes:
        raise ValueError(f"{source.num_bytes - expected:,} bytes belong to no array")
    return found


def _described(facts: Mapping[str, Any]) -> "tuple[tuple[int, ...], np.dtype[Any]]":
    shape = facts["shape"]
    if any(type(size) is not int or size < 0 for size in shape):
        raise ValueError(f"{shape!r:.60} is no shape")
    return tuple(shape), _NUMPY[facts["dtype"]]


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keys and values of an object in JSON; ValueError if a key comes twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object has the same key twice")
    return found


class _StoredArray(PiecewiseArray):
    """An array in a file."""

    def __init__(
        self, source: Source, shape: tuple[int, ...], dtype: "np.dtype[Any]", begin: int
    ) -> None:
        super().__init__(shape, dtype.newbyteorder("="))
        self._source = source
        self._stored = dtype
        self.begin = begin
        """Of its first byte."""

    def rows(self, begin: int, end: int) -> AnyArray:
        """See `PiecewiseArray.rows`."""
        shape = (end - begin, *self.shape[1:])
        row_bytes = math.prod(self.shape[1:]) * self.dtype.itemsize
        content = self._source.read(self.begin + begin * row_bytes, self.begin + end * row_bytes)
        return np.frombuffer(content, self._stored).astype(self.dtype).reshape(shape)

    def whole(self) -> AnyArray:
        """All of it."""
        if self.shape:
            return np.asarray(self)
        content = self._source.read(self.begin, self.begin + self.nbytes)
        return np.frombuffer(content, self._stored).astype(self.dtype).reshape(())
