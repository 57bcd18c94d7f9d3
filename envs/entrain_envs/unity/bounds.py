"""How much one message of a game may hold, before it is parsed.

Two bytes of a message can become half a kilobyte of parsed objects: a stranger on a game's port
could fill memory, and keep a trainer from everything else, with a message of a few megabytes. What
is long enough for that is counted first, field by field, without making anything of it.
"""

from entrain_envs.unity.errors import UnityMessageError, unreadable
from entrain_envs.unity.varints import fields

SHORT = 16 * 1024
"""Bytes of a message, or a part of one, that can do no harm whatever is in it."""

MOST_RECORDS = 65_536
"""Of all behaviours in one message."""

MOST_FIELDS = 10_000
"""Of one record, and of all else in a message."""

MOST_DESCRIPTIONS = 2**20
"""Bytes that say how behaviours act."""

_OUTPUT = 2
_RL_OUTPUT, _INITIALIZATION = 1, 2
_AGENTS = 2
_VALUE = 2


class _Budget:
    """Counts what a message holds; UnityMessageError once that is too much."""

    def __init__(self, most: int, what: str) -> None:
        self._most = self._left = most
        self._what = what

    def take(self) -> None:
        """One more."""
        self._left -= 1
        if self._left < 0:
            raise UnityMessageError(
                f"a message holds more than {self._most:,} {self._what}; a game sends one record "
                "for an agent that asks for actions: use more games with fewer agents in each"
            )


def require_bounded(message: bytes) -> None:
    """Raise UnityMessageError if parsing `message` would take more than a game has need of."""
    if len(message) <= SHORT:
        return
    try:
        _walk(message)
    except (IndexError, KeyError):
        raise unreadable(message) from None


def _walk(message: bytes) -> None:
    others, records = _Budget(MOST_FIELDS, "fields"), _Budget(MOST_RECORDS, "records")
    for number, begin, end in fields(message, 0, len(message)):
        others.take()
        if number != _OUTPUT:
            _require_short(end - begin, "fields that a game has no use for")
            continue
        for part, first, last in fields(message, begin, end):
            others.take()
            if part == _RL_OUTPUT:
                _walk_output(message, first, last, others, records)
            elif part == _INITIALIZATION:
                _require_short(last - first, "behaviours' descriptions", MOST_DESCRIPTIONS)
                for _ in fields(message, first, last):
                    others.take()


def _walk_output(message: bytes, begin: int, end: int, others: _Budget, records: _Budget) -> None:
    """Behaviours and their records, and the side channel."""
    for number, first, last in fields(message, begin, end):
        others.take()
        if number != _AGENTS:
            continue
        for part, entry, entry_end in fields(message, first, last):
            others.take()
            if part == _VALUE:
                _walk_records(message, entry, entry_end, records)


def _walk_records(message: bytes, begin: int, end: int, records: _Budget) -> None:
    for _, first, last in fields(message, begin, end):
        records.take()
        if last - first > SHORT:
            each = _Budget(MOST_FIELDS, "fields in one record")
            for _ in fields(message, first, last):
                each.take()


def _require_short(size: int, what: str, most: int = SHORT) -> None:
    if size > most:
        raise UnityMessageError(
            f"a message holds {size:,} bytes of {what}; expected at most {most:,}: let only games "
            "of ML-Agents dial this port"
        )
