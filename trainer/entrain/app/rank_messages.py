"""Messages between ranks: a kind, plain fields as JSON, and perhaps many bytes.

4 bytes   length of the JSON text
8 bytes   length of the bytes behind it
"""

import asyncio
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_HEAD = struct.Struct(">IQ")
MOST_FIELDS = 1 << 24
"""Bytes of the fields of one message."""

MOST_BLOB = 1 << 38
MOST_GREETING = 1 << 12
"""Bytes of all that a stranger may send."""


class BadMessageError(Exception):
    """A message between ranks cannot be read."""


@dataclass(frozen=True)
class Message:
    """One message."""

    kind: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    blob: bytes = b""

    def encoded(self) -> bytes:
        """As it is sent."""
        text = json.dumps([self.kind, dict(self.fields)]).encode()
        return _HEAD.pack(len(text), len(self.blob)) + text + self.blob


PING: Final = Message("ping")


async def read_message(
    reader: asyncio.StreamReader, *, most_fields: int = MOST_FIELDS, most_blob: int = MOST_BLOB
) -> Message:
    """Returns the next message; BadMessageError if it is none, or longer than allowed.

    Raises:
        IncompleteReadError, OSError: the connection has ended.
    """
    num_fields, num_blob = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    if num_fields > most_fields or num_blob > most_blob:
        raise BadMessageError(f"a message of {num_fields:,} and {num_blob:,} bytes")
    text = await reader.readexactly(num_fields)
    blob = await reader.readexactly(num_blob)
    try:
        kind, fields = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise BadMessageError("a message without a kind") from None
    if not isinstance(kind, str) or not isinstance(fields, dict):
        raise BadMessageError("a message without a kind")
    return Message(kind, fields, blob)
