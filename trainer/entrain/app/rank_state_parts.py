"""The states of all ranks on their way to rank 0: they come in parts, for numbered snapshots."""

import asyncio
from collections.abc import Sequence
from typing import Any

LAST = -1
"""Number of the snapshot at the end of a run."""


class StatesOfRanks:
    """See the module. Owned by the event loop of rank 0."""

    def __init__(self, size: int) -> None:
        """Nothing has come; there are so many ranks."""
        self._size = size
        self._parts: dict[tuple[int, int], list[bytes]] = {}
        self._found: dict[int, dict[int, Any]] = {}
        self._changed = asyncio.Event()
        self._has_ended = self._has_failed = False

    def take(self, rank: int, number: int, part: bytes, *, is_last: bool) -> None:
        """A part of a rank's state, for a snapshot, has come."""
        parts = self._parts.setdefault((number, rank), [])
        parts.append(part)
        if is_last:
            del self._parts[number, rank]
            self.put(rank, number, b"".join(parts))

    def put(self, rank: int, number: int, content: Any) -> None:
        """The state of a rank is there."""
        self._found.setdefault(number, {})[rank] = content
        self._changed.set()

    def end(self, *, is_failure: bool) -> None:
        """The run ends: only its last snapshot is still of use, and none after a failure."""
        self._has_ended = True
        self._has_failed = self._has_failed or is_failure
        self._changed.set()

    async def of_all(self, number: int) -> Sequence[Any] | None:
        """Waits for the parts of all ranks and returns them; None if the run ends before."""
        while len(self._found.get(number, ())) < self._size:
            if self._has_failed or (self._has_ended and number != LAST):
                self._found.pop(number, None)
                return None
            self._changed.clear()
            await self._changed.wait()
        found = self._found.pop(number)
        return [found[rank] for rank in sorted(found)]
