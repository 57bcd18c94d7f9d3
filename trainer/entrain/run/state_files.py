"""A nested State as two documents and back: readable JSON, and safetensors for its arrays.

A value that JSON lacks is written as an object with one key that begins with '$':

    {"$array": NAME}    the array of that name      {"$scalar": NAME}   a numpy scalar, as an array
    {"$bytes": NAME}    bytes, as an array of uint8 {"$float": "nan"}   also "inf" and "-inf"

A state's own keys that begin with '$' get another '$' in front. An array's name is the path to it,
joined by '/'. Nothing is pickled, so reading a checkpoint never runs code that it contains.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from entrain.run.array_file import (
    DTYPES,
    ArrayFile,
    Arrays,
    BytesSource,
    Source,
    once_each,
    read_arrays,
)
from entrain.state import AnyArray, PiecewiseArray, State

_TO_QUOTE = re.compile("[%/\ud800-\udfff]")
_SPECIAL_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encode_state(state: State) -> tuple[bytes, bytes]:
    """Returns the JSON document and the safetensors document of `state`; see `encode_in_pieces`."""
    document, tensors = encode_in_pieces(state)
    return document, b"".join(tensors.pieces())


def encode_in_pieces(state: State) -> tuple[bytes, ArrayFile]:
    """Returns the JSON document of `state`, and its safetensors document as pieces to come.

    Raises:
        TypeError: `state` holds a value that no State may hold; the message names its path.
    """
    arrays: dict[str, AnyArray | PiecewiseArray] = {}
    document = _encode(state, "", arrays)
    text = json.dumps(document, indent=1, allow_nan=False)
    return text.encode(), ArrayFile(arrays)


def decode_state(document: bytes, tensors: bytes | Source) -> State:
    """Returns the state that was encoded; its arrays are new and writable, or piecewise ones.

    Args:
        document: JSON.
        tensors: safetensors; piecewise arrays go on reading it.

    Raises:
        ValueError: the documents are not what `encode_state` returns.
        Exception: any other, if they are even less like it.
    """
    arrays = read_arrays(BytesSource(tensors) if isinstance(tensors, bytes) else tensors)
    encoded = json.loads(document, parse_constant=_refuse, object_pairs_hook=once_each)
    state = _decode(encoded, arrays)
    if not isinstance(state, dict):
        raise ValueError("the outermost value is no object")
    return state


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _encode(value: Any, path: str, arrays: dict[str, AnyArray | PiecewiseArray]) -> Any:
    """Returns the JSON form of the value at `path` and adds its arrays to `arrays`.

    A path has a '/' before each of its parts, so that an empty key is a part like any other.
    """
    match value:
        # A numpy float64 is also a Python float, so numpy's own types come first.
        case np.ndarray() | np.generic() | PiecewiseArray():
            kind = "$scalar" if isinstance(value, np.generic) else "$array"
            array = value if isinstance(value, PiecewiseArray) else np.asarray(value)
            return {kind: _keep(array, path, arrays)}
        case bytes():
            return {"$bytes": _keep(np.frombuffer(value, np.uint8), path, arrays)}
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"$float": str(value)}
        case list():
            return [_encode(item, f"{path}/{i}", arrays) for i, item in enumerate(value)]
        case Mapping():
            return {
                _escape(key, path): _encode(item, f"{path}/{_quoted(key)}", arrays)
                for key, item in value.items()
            }
    raise TypeError(
        f"the state's '{path[1:]}' is a {type(value).__name__}; a state holds numpy arrays, "
        "bytes, str, int, float, bool, None, lists and mappings of those"
    )


def _keep(
    array: AnyArray | PiecewiseArray, path: str, arrays: dict[str, AnyArray | PiecewiseArray]
) -> str:
    """Adds `array` to `arrays` and returns its name there."""
    if array.dtype.name not in DTYPES:
        raise TypeError(
            f"the state's '{path[1:]}' is an array of {array.dtype}; "
            f"a checkpoint holds {', '.join(sorted(DTYPES))}"
        )
    name = path[1:]
    if name.startswith("_"):
        # safetensors keeps '__metadata__' for itself. No key's own '%' is left unquoted.
        name = f"%5F{name[1:]}"
    arrays[name] = array
    return name


def _escape(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the state's '{path[1:]}' has the key {key!r}; keys must be strings")
    return f"${key}" if key.startswith("$") else key


def _quoted(key: str) -> str:
    """Returns `key` as a part of a path, so that no two paths are equal.

    '/' and '%' are quoted as in a URL; so are halves of a character, which safetensors refuses.
    """
    return _TO_QUOTE.sub(lambda found: f"%{ord(found[0]):02X}", key)


def _decode(value: Any, arrays: Arrays) -> Any:
    match value:
        case list():
            return [_decode(item, arrays) for item in value]
        case dict():
            if len(value) == 1:
                ((key, name),) = value.items()
                if key.startswith("$") and not key.startswith("$$"):
                    return _decode_special(key, name, arrays)
            return {_unescaped(key): _decode(item, arrays) for key, item in value.items()}
    return value


def _decode_special(kind: str, name: Any, arrays: Arrays) -> Any:
    """Returns the value that is written as an object whose one key is `kind`."""
    if kind == "$float":
        return _SPECIAL_FLOATS[name]
    if name not in arrays:
        raise ValueError(f"there is no array {name!r:.60}")
    array = arrays[name]
    match kind:
        case "$array":
            return array
        case "$scalar" if isinstance(array, np.ndarray) and not array.ndim:
            return array[()]
        case "$bytes" if array.dtype == np.uint8 and len(array.shape) == 1:
            return np.asarray(array).tobytes()
    raise ValueError(f"{name!r:.60} is {array.dtype}{list(array.shape)}, which is no {kind}")


def _unescaped(key: str) -> str:
    if key.startswith("$") and not key.startswith("$$"):
        raise ValueError(f"{key!r:.60} is no key")
    return key.removeprefix("$")
