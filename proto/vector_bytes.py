"""Byte strings that no encoder of ours writes: what a decoder must take all the same, and what not.

Built by hand from protobuf's rules (protobuf.dev/programming-guides/encoding), because a library
writes only one of the forms that it reads.
"""

import struct
from dataclasses import dataclass

VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = range(6)
_UNKNOWN = 1000
"""A field number that the contract does not use."""

VARINTS = (
    *(0, 1, 127, 128, 255, 256, 300, 16_383, 16_384, 2_097_151, 2_097_152),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**35 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1),
)


@dataclass(frozen=True)
class Bytes:
    """Bytes of a message, and what they show."""

    name: str
    about: str
    kind: str
    """The message's type."""

    content: bytes


def varint(number: int, *, longer_by: int = 0) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit of a byte says that more follow."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F)
    groups += [0] * longer_by
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def tag(field: int, wire_type: int) -> bytes:
    """What stands before a field's value."""
    return varint(field << 3 | wire_type)


def part(field: int, content: bytes) -> bytes:
    """Text, bytes, a message or packed numbers."""
    return tag(field, LENGTH) + varint(len(content)) + content


def number(field: int, value: int, *, longer_by: int = 0) -> bytes:
    """A whole number."""
    return tag(field, VARINT) + varint(value, longer_by=longer_by)


def packed_float(value: float) -> bytes:
    """Four bytes, the lowest first."""
    return struct.pack("<f", value)


_ALL_UNKNOWN = (
    number(_UNKNOWN, 2**64 - 1)
    + tag(_UNKNOWN + 1, FIXED64)
    + bytes(8)
    + part(_UNKNOWN + 2, b"\xff" * 200)
    + tag(_UNKNOWN + 3, FIXED32)
    + bytes(4)
)
_ACT = part(1, b"walker") + part(2, packed_float(0.5) + packed_float(1.0)) + number(4, 7)


def _act(content: bytes) -> bytes:
    return part(2, content)


def _welcome(content: bytes) -> bytes:
    return part(1, content)


def _hello(action: bytes) -> bytes:
    return part(1, part(5, part(1, b"walker") + part(3, action)))


_ENTRY = part(1, b"gravity") + tag(2, FIXED32) + packed_float(-1.5)
_ENTRY_AGAIN = part(1, b"gravity") + tag(2, FIXED32) + packed_float(-2.5)
_VALUE_FIRST = tag(2, FIXED32) + packed_float(1.0) + part(1, b"size")

TOLERATED = (
    Bytes(
        "unknown-fields-in-act",
        "Fields of the future, of every wire type, before, between and after those that are known.",
        "ConnectResponse",
        _act(_ALL_UNKNOWN + number(1, 3) + _ALL_UNKNOWN + part(2, _ACT) + _ALL_UNKNOWN),
    ),
    Bytes(
        "unknown-fields-in-parts",
        "The same within a BehaviourAct, and beside the oneof.",
        "ConnectResponse",
        _ALL_UNKNOWN + _act(number(1, 3) + part(2, _ALL_UNKNOWN + _ACT)) + _ALL_UNKNOWN,
    ),
    Bytes(
        "unknown-fields-in-welcome",
        "The same beside an environment parameter.",
        "ConnectResponse",
        _welcome(number(1, 1) + part(5, _ENTRY) + part(2, b"s1") + _ALL_UNKNOWN),
    ),
    Bytes(
        "another-order",
        "Fields need not come in the order of their numbers.",
        "ConnectResponse",
        _act(
            part(2, number(4, 7) + part(2, packed_float(0.5)) + part(1, b"walker")) + number(1, 3)
        ),
    ),
    Bytes(
        "defaults-written",
        "A field may be written though it has its default.",
        "ConnectResponse",
        _act(number(1, 0) + part(2, part(1, b"") + part(2, b"") + part(3, b"") + number(4, 0))),
    ),
    Bytes(
        "given-twice",
        "Of a single number given twice, the last counts.",
        "ConnectResponse",
        _act(number(1, 3) + number(1, 4)),
    ),
    Bytes(
        "long-varints",
        "A varint with zeros at its end, up to ten bytes: here the sequence number and a length.",
        "ConnectResponse",
        tag(2, LENGTH) + varint(11, longer_by=2) + number(1, 5, longer_by=9),
    ),
    Bytes(
        "parameter-without-value",
        "An entry without a value has the value 0, one without a key the key ''.",
        "ConnectResponse",
        _welcome(part(5, part(1, b"size")) + part(5, tag(2, FIXED32) + packed_float(2.0))),
    ),
    Bytes(
        "parameter-value-first",
        "Within an entry, too, order means nothing; of two entries with one key the last counts.",
        "ConnectResponse",
        _welcome(part(5, _VALUE_FIRST) + part(5, _ENTRY) + part(5, _ENTRY_AGAIN)),
    ),
    Bytes(
        "unknown-close-reason",
        "A reason of the future. Treat it as none given.",
        "ConnectResponse",
        part(3, number(1, 77) + part(2, b"why")),
    ),
    Bytes(
        "unpacked-floats",
        "Repeated numbers one by one, each with its tag, instead of packed.",
        "ConnectRequest",
        _hello(
            b"".join(
                tag(field, FIXED32) + packed_float(value)
                for field, value in ((1, -1.0), (1, -2.0), (2, 1.0), (2, 2.0))
            )
        ),
    ),
    Bytes(
        "packed-in-two-parts",
        "Packed numbers may come in several parts, which are joined.",
        "ConnectRequest",
        _hello(
            part(1, packed_float(-1.0))
            + part(2, packed_float(1.0))
            + part(1, packed_float(-2.0))
            + part(2, packed_float(2.0))
        ),
    ),
)
"""Bytes that have a meaning, though another than the usual form."""

MALFORMED = (
    Bytes(
        "varint-without-end",
        "The message ends within a varint.",
        "ConnectResponse",
        _act(tag(1, VARINT) + b"\x80"),
    ),
    Bytes(
        "varint-of-eleven-bytes",
        "A varint has at most ten bytes.",
        "ConnectResponse",
        _act(tag(1, VARINT) + b"\xff" * 10 + b"\x01"),
    ),
    Bytes(
        "length-beyond-end",
        "A part says 5 bytes; 3 follow.",
        "ConnectResponse",
        _act(tag(2, LENGTH) + b"\x05abc"),
    ),
    Bytes(
        "length-beyond-parent",
        "A part says more than what holds it has, though bytes follow.",
        "ConnectResponse",
        tag(2, LENGTH) + b"\x03" + tag(2, LENGTH) + b"\x02a" + bytes(5),
    ),
    Bytes(
        "length-enormous",
        "A length of 2^63: adding it to a position overflows.",
        "ConnectResponse",
        _act(tag(2, LENGTH) + varint(2**63)),
    ),
    Bytes(
        "length-negative-as-int32",
        "A length of 2^32 - 1: -1 for who reads it as int32.",
        "ConnectResponse",
        _act(tag(2, LENGTH) + varint(2**32 - 1)),
    ),
    Bytes(
        "fixed32-cut",
        "Four bytes were promised; three follow.",
        "ConnectResponse",
        _welcome(tag(8, FIXED32) + b"\0\0\0"),
    ),
    Bytes(
        "fixed64-cut",
        "An unknown field's eight bytes are cut.",
        "ConnectResponse",
        _act(tag(_UNKNOWN, FIXED64) + bytes(7)),
    ),
    Bytes("field-zero", "There is no field 0.", "ConnectResponse", _act(b"\x00\x01")),
    Bytes(
        "wire-type-six", "There is no wire type 6.", "ConnectResponse", _act(tag(1, 6) + b"\x01")
    ),
    Bytes(
        "wire-type-seven", "There is no wire type 7.", "ConnectResponse", _act(tag(1, 7) + b"\x01")
    ),
    Bytes(
        "group-not-begun",
        "The end of a group that did not begin.",
        "ConnectResponse",
        _act(tag(1, END_GROUP)),
    ),
    Bytes(
        "text-not-utf-8",
        "Text that is no UTF-8.",
        "ConnectResponse",
        _welcome(part(2, b"\xff\xfe")),
    ),
)
"""Bytes that are no protobuf message: end the stream as a broken one, and read nothing beyond."""
