"""Reads and writes protobuf's varints, and the fields that are made of them."""

from collections.abc import Iterator

from entrain_envs.unity.errors import UnityMessageError, unreadable

_VARINT = 0
_LENGTH_DELIMITED = 2
_FIXED = {1: 8, 5: 4}
_CONTINUES = 0x80
_BITS = 0x7F
_MAX_BYTES = 10
_NEGATIVE = 1 << 63


def varint(value: int) -> bytes:
    """`value` as a varint; a negative one takes ten bytes, as int32 and int64 do."""
    value &= (1 << 64) - 1
    parts = bytearray()
    while value >= _CONTINUES:
        parts.append(value & _BITS | _CONTINUES)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def field(number: int, value: int | bytes) -> bytes:
    """A field of a message: its tag, and a varint or a byte string with its length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return head(number, len(value)) + value


def head(number: int, length: int) -> bytes:
    """The tag and length that precede the `length` bytes of a field."""
    return varint(number << 3 | 2) + varint(length)


def fields(message: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, first byte, byte after the last) of each field's content.

    UnityMessageError if the bytes are not fields, or a field reaches beyond `end`.
    """
    position = begin
    while position < end:
        tag = message[position]
        position += 1
        # Nearly all numbers have one byte, and calls would take most of the time.
        if tag & _CONTINUES:
            tag, position = _read(message, position - 1)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            length = message[position] if position < end else _CONTINUES
            position += 1
            if length & _CONTINUES:
                length, position = _read(message, position - 1)
        elif kind == _VARINT:
            length = _read(message, position)[1] - position
        else:
            # Groups have no length; games write none.
            length = _FIXED.get(kind, end)
        after = position + length
        if after > end:
            raise unreadable(message, f" (field {tag >> 3} at byte {position:,})")
        yield tag >> 3, position, after
        position = after


def _read(message: bytes, position: int) -> tuple[int, int]:
    """A varint, and the byte after it; UnityMessageError if it does not end."""
    value = shift = 0
    # Longer ones would be numbers of megabytes, in which each addition takes a while.
    for byte in message[position : position + _MAX_BYTES]:
        position += 1
        value |= (byte & _BITS) << shift
        if not byte & _CONTINUES:
            return value, position
        shift += 7
    raise unreadable(message, f" (no number at byte {position:,})")


def read_varints(packed: bytes) -> tuple[int, ...]:
    """The numbers of a packed `repeated int32`; UnityMessageError if one is cut off."""
    values = []
    value = shift = 0
    for byte in packed:
        value |= (byte & _BITS) << shift
        shift += 7
        if not byte & _CONTINUES:
            values.append(_signed(value))
            value = shift = 0
        elif shift >= 7 * _MAX_BYTES:
            break
    if shift:
        raise UnityMessageError(
            f"a list of {len(packed)} bytes ends in the middle of a number; the message is damaged"
        )
    return tuple(values)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= _NEGATIVE else value
