"""Reads the observations of a behaviour's agents: each sensor's bytes for all agents at once.

Agents of a behaviour have the same sensors, so their messages differ only in the numbers. The bytes
around the numbers are parsed for the first agent and compared with the other agents'. Where they
differ (PNGs vary in length) each agent's message is parsed by itself.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from entrain_envs.spec import MAX_DIMENSIONS
from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.long_parts import NOTHING_LONG, STAND_IN_BYTES, LongParts
from entrain_envs.unity.messages import Observation
from entrain_envs.unity.varints import fields, read_varints
from entrain_envs.unity.wire import packed_pb2 as pb

MAX_SENSORS = 1_000
"""Most observations of one behaviour. Each is an array of its own in every batch."""

_GOAL = 1
_FLOAT_DATA = 4
_FLOAT_BYTES = 4


def read_sensors(
    key: str, by_agent: Sequence[Sequence[bytes]], parts: LongParts = NOTHING_LONG
) -> tuple[Observation, ...]:
    """Read the observations of all agents of a behaviour.

    Args:
        key: of the behaviour, for errors.
        by_agent: the sensors' messages of each of K agents.
        parts: holds the arrays behind their stand-ins.

    Raises:
        UnityMessageError: agents have different sensors, or one contradicts itself.
    """
    numbers = {len(each) for each in by_agent}
    if len(numbers) > 1:
        raise UnityMessageError(
            f"'{key}' has agents with {min(numbers)} and with {max(numbers)} observations; all "
            "agents of a behaviour need the same sensors: give those that differ another behaviour "
            "name"
        )
    (number,) = numbers
    if number > MAX_SENSORS:
        raise UnityMessageError(
            f"'{key}' has {number:,} observations, and {MAX_SENSORS:,} are allowed; put numbers "
            "into one sensor"
        )
    return tuple(
        _sensor(key, index, [each[index] for each in by_agent], parts) for index in range(number)
    )


def _sensor(key: str, index: int, said: list[bytes], parts: LongParts) -> Observation:
    first = _parsed(said[0])
    name = f"'{key}', observation {index}" + (f" ('{first.name}')" if first.name else "")
    shape = read_varints(first.shape)
    if len(shape) > MAX_DIMENSIONS:
        raise UnityMessageError(
            f"{name} has {len(shape):,} dimensions; expected at most {MAX_DIMENSIONS}: flatten some"
        )
    common: dict[str, Any] = {
        "name": first.name,
        "shape": shape,
        "kind": "goal" if first.observation_type == _GOAL else "default",
        "dimension_properties": read_varints(first.dimension_properties),
        "mapping": read_varints(first.compressed_channel_mapping),
    }
    if not first.HasField("compressed_data"):
        numbers, expected = _side_by_side(said), _num_bytes(shape)
        if numbers is not None and numbers.shape[1] == STAND_IN_BYTES:
            numbers = parts.rows(numbers, expected)
        if numbers is not None and numbers.shape[1] == expected:
            values = np.ascontiguousarray(numbers).view("<f4").reshape(len(said), *shape)
            return Observation(**common, values=values)
    each_agents = [_parsed(each) for each in said]
    return Observation(**common, **_one_by_one(name, shape, each_agents, parts))


def _parsed(said: bytes) -> pb.Observation:
    try:
        return pb.Observation.FromString(said)
    except DecodeError as error:
        raise UnityMessageError(f"an observation cannot be read: {error}") from None


def _num_bytes(shape: tuple[int, ...]) -> int:
    """Size of one agent's numbers; 0 if the shape has none."""
    if any(length < 1 for length in shape) or not shape:
        return 0
    size = _FLOAT_BYTES
    for length in shape:
        size *= length
    return size


def _side_by_side(said: list[bytes]) -> Any:
    """[K, bytes] of all agents' numbers; None if what surrounds them differs between agents."""
    place = where_numbers_are(said[0])
    if place is None or any(len(each) != len(said[0]) for each in said):
        return None
    begin, end = place
    rows = np.frombuffer(b"".join(said), np.uint8).reshape(len(said), -1)
    if (rows[:, :begin] != rows[0, :begin]).any() or (rows[:, end:] != rows[0, end:]).any():
        return None
    return rows[:, begin:end]


def where_numbers_are(said: bytes) -> tuple[int, int] | None:
    """(begin, end) of an observation's numbers in its bytes; None if they are not in one piece."""
    place = None
    for number, begin, end in fields(said, 0, len(said)):
        if number == _FLOAT_DATA:
            inner = list(fields(said, begin, end))
            if place is not None or len(inner) != 1:
                return None
            place = inner[0][1:]
    return place


def _one_by_one(
    name: str, shape: tuple[int, ...], said: list[pb.Observation], parts: LongParts
) -> dict[str, Any]:
    """{"png": of each agent} or {"values": [K, *shape]}."""
    for each in said:
        if each.shape != said[0].shape:
            raise UnityMessageError(
                f"{name} has shape {list(shape)} for one agent and "
                f"{list(read_varints(each.shape))} for another; all agents of a behaviour need "
                "sensors of the same shapes: give those that differ another behaviour name"
            )
    is_png = [each.HasField("compressed_data") for each in said]
    if all(is_png):
        return {"png": tuple(parts.content(each.compressed_data) for each in said)}
    if any(is_png):
        raise UnityMessageError(
            f"{name} is compressed for some agents and not for others; set the same compression "
            "for all of them"
        )
    expected = _num_bytes(shape)
    numbers = [parts.content(each.float_data.data) for each in said]
    wrong = next((each for each in numbers if len(each) != expected), None)
    if wrong is not None or not expected:
        came = expected if wrong is None else len(wrong)
        raise UnityMessageError(
            f"{name} has shape {list(shape)}, which takes {expected // 4:,} numbers, and "
            f"{came // 4:,} came; write as many numbers as the sensor declares"
        )
    return {"values": np.frombuffer(b"".join(numbers), "<f4").reshape(len(said), *shape)}
