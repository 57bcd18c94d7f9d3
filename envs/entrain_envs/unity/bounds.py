"""How much one message of a game may hold, before it is parsed.

Two bytes of a message can become half a kilobyte of parsed objects: a stranger on a game's port
could fill memory, and keep a trainer from everything else, with a message of a few megabytes. What
is long enough for that is counted first, field by field, without making anything of it.
"""

from entrain_envs.unity.errors import UnityMessageError
from entrain_envs.unity.varints import fields

SHORT = 16 * 1024
"""Bytes of a message, or a part of one, that can do no harm whatever is in it."""

MOST_RECORDS = 65_536
"""Of all behaviours in one message."""

MOST_FIELDS = 10_000
"""Of one record, and of all else in a message."""

MOST_LONG_FIELDS = 200_000
"""Of all records that are not short."""

MOST_DESCRIPTIONS = 2**20
"""Bytes that say how behaviours act."""

MOST_SIDE_CHANNEL = 16 * 2**20
"""Bytes of all side channels in one message."""

MOST_SHORT_BYTES = 64 * 2**20
"""Of all records that are short. Parsing them can take eight times as much."""

_OUTPUT = 2
_RL_OUTPUT, _INITIALIZATION = 1, 2
_AGENTS = 2
_VALUE = 2


class _Budget:
    """Counts what a message holds; UnityMessageError once that is too much."""

    def __init__(self, most: int, what: str) -> None:
        self._most = self._left = most
        self._what = what

    def take(self, count: int = 1) -> None:
        """So many more."""
        self._left -= count
        if self._left < 0:
            raise UnityMessageError(
                f"a message holds more than {self._most:,} {self._what}; a game sends one record "
                "for an agent that asks for actions: use more games with fewer agents in each"
            )


def require_bounded(message: bytes) -> bool:
    """Raise UnityMessageError if parsing `message` would take more than a game has need of.

    Returns whether any of its records is long.
    """
    return len(message) > SHORT and _Walk(message).has_long_records


class _Walk:
    """One walk over a message, counting."""

    def __init__(self, message: bytes) -> None:
        self.has_long_records = False
        self._message = message
        self._others = _Budget(MOST_FIELDS, "fields")
        self._records = _Budget(MOST_RECORDS, "records")
        self._long = _Budget(MOST_LONG_FIELDS, "fields in its records")
        self._short = _Budget(MOST_SHORT_BYTES, "bytes in its short records")
        for number, begin, end in fields(message, 0, len(message)):
            self._others.take()
            if number == _OUTPUT:
                self._output(begin, end)
            else:
                _require_short(end - begin, "fields that a game has no use for")

    def _output(self, begin: int, end: int) -> None:
        for number, first, last in fields(self._message, begin, end):
            self._others.take()
            if number == _RL_OUTPUT:
                self._behaviours(first, last)
            elif number == _INITIALIZATION:
                _require_short(last - first, "behaviours' descriptions", MOST_DESCRIPTIONS)
                for _ in fields(self._message, first, last):
                    self._others.take()

    def _behaviours(self, begin: int, end: int) -> None:
        """Behaviours and their records, and the side channel."""
        for number, first, last in fields(self._message, begin, end):
            self._others.take()
            if number != _AGENTS:
                _require_short(last - first, "side channels", MOST_SIDE_CHANNEL)
                continue
            for part, entry, entry_end in fields(self._message, first, last):
                self._others.take()
                if part == _VALUE:
                    self._behaviour(entry, entry_end)

    def _behaviour(self, begin: int, end: int) -> None:
        """The records of one behaviour."""
        count = num_short_bytes = 0
        for _, first, last in fields(self._message, begin, end):
            size = last - first
            if size <= SHORT:
                num_short_bytes += size
            else:
                self._long_record(first, last)
            count += 1
            if count > MOST_RECORDS:
                break
        self._records.take(count)
        self._short.take(num_short_bytes)

    def _long_record(self, begin: int, end: int) -> None:
        self.has_long_records = True
        each = _Budget(MOST_FIELDS, "fields in one record")
        for _ in fields(self._message, begin, end):
            each.take()
            self._long.take()


def _require_short(size: int, what: str, most: int = SHORT) -> None:
    if size > most:
        raise UnityMessageError(
            f"a message holds {size:,} bytes of {what}; expected at most {most:,}: let only games "
            "of ML-Agents dial this port, and let them send less at once"
        )
