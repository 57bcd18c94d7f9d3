"""Protobuf messages of the contract in words: JSON objects whose packed arrays are spelled out.

As in protobuf's JSON form, 64-bit integers are strings and enumerations are names. Unlike there,
fields have the names of the `.proto` file, and packed bytes are lists of the numbers they hold.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from entrain_envs.wire import trainer_pb2 as pb

Words = dict[str, Any]

_DTYPE: Mapping[str, str] = MappingProxyType(
    {
        "agent_id": "<i8",
        "step_type": "u1",
        "reward": "<f4",
        "action_mask": "u1",
        "group_id": "<i8",
        "group_reward": "<f4",
        "continuous": "<f4",
        "discrete": "<i4",
    }
)
_OBSERVATION_DTYPE: Mapping[int, str] = MappingProxyType(
    {pb.DTYPE_FLOAT32: "<f4", pb.DTYPE_UINT8: "u1"}
)
_LONG = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_REAL = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)


def in_words(message: Message, specs: Sequence[pb.BehaviourSpec]) -> Words:
    """The fields of `message` that are set; the others have their default.

    Args:
        message: what is written in words.
        specs: of the behaviours whose observations it may hold.
    """
    dtypes = {
        spec.name: [_OBSERVATION_DTYPE[each.dtype] for each in spec.observations] for spec in specs
    }
    return _fields(message, dtypes)


def _fields(message: Message, dtypes: Mapping[str, list[str]]) -> Words:
    words: Words = {}
    for field, value in message.ListFields():
        if isinstance(message, pb.BehaviourStep) and field.name == "observations":
            known = dtypes.get(message.behaviour, [])
            words[field.name] = [
                _array(content, known[index] if index < len(known) else "u1")
                for index, content in enumerate(value)
            ]
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            words[field.name] = {key: _scalar_word(field, value[key]) for key in sorted(value)}
        elif field.is_repeated:
            words[field.name] = [_word(field, each, dtypes) for each in value]
        else:
            words[field.name] = _word(field, value, dtypes)
    return words


def _word(field: FieldDescriptor, value: Any, dtypes: Mapping[str, list[str]]) -> Any:
    if field.message_type is not None:
        return _fields(value, dtypes)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _array(value, _DTYPE.get(field.name, "u1"))
    return _scalar_word(field, value)


def _scalar_word(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return value if named is None else named.name
    if field.cpp_type in _LONG:
        return str(value)
    if field.message_type is not None or field.cpp_type in _REAL:
        return _number(value)
    return value


def _array(content: bytes, dtype: str) -> list[Any]:
    """The numbers in `content`; single bytes where it is no whole number of them."""
    if len(content) % np.dtype(dtype).itemsize:
        dtype = "u1"
    values = np.frombuffer(content, dtype).tolist()
    return [str(each) for each in values] if dtype == "<i8" else [_number(each) for each in values]


def _number(value: Any) -> Any:
    """JSON knows no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value
