"""The states of all ranks on their way to rank 0: they come in parts, for numbered snapshots."""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

LAST = -1
"""Number of the snapshot at the end of a run."""

MIB = 2.0**20


class StatesOfRanks:
    """See the module. Owned by the event loop of rank 0."""

    def __init__(self, size: int) -> None:
        """Nothing has come; there are so many ranks."""
        self._size = size
        self._come: dict[tuple[int, int], bytearray] = {}
        """{(number, rank): what has come of a state}."""
        self._found: dict[int, dict[int, Any]] = {}
        self._announced: dict[tuple[int, int], int] = {}
        """{(number, rank): bytes of the state that has begun to come}."""
        self._changed = asyncio.Event()
        self._has_ended = self._has_failed = False
        self.num_bytes = 0
        """Of all that has come for the snapshot at the end, and of the state of rank 0 itself."""

    def take(self, rank: int, number: int, part: bytes, *, num_bytes: int, is_last: bool) -> None:
        """A part of a rank's state, of so many bytes, has come for a snapshot."""
        key = number, rank
        come = self._come.setdefault(key, bytearray())
        come += part
        self._announced[key] = num_bytes
        self.num_bytes += len(part) * (number == LAST)
        if is_last:
            del self._come[key], self._announced[key]
            self.put(rank, number, come)
        self._changed.set()

    def put(self, rank: int, number: int, content: Any, *, num_bytes: int = 0) -> None:
        """The state of a rank is there; so many bytes of it were no parts that came."""
        self.num_bytes += num_bytes * (number == LAST)
        self._found.setdefault(number, {})[rank] = content
        self._changed.set()

    def end(self, *, is_failure: bool) -> None:
        """The run ends: only its last snapshot is still of use, and none after a failure."""
        self._has_ended = True
        self._has_failed = self._has_failed or is_failure
        self._changed.set()

    def awaited(self, number: int) -> str:
        """`rank 1 (12.0 of 512.0 MiB have come), rank 2 (nothing has come)`."""
        missing = (rank for rank in range(self._size) if rank not in self._found.get(number, ()))
        return ", ".join(f"rank {rank} ({self._words(number, rank)})" for rank in missing)

    def _words(self, number: int, rank: int) -> str:
        come = len(self._come.get((number, rank), b""))
        if not come:
            return "nothing has come"
        return f"{come / MIB:,.1f} of {self._announced[number, rank] / MIB:,.1f} MiB have come"

    async def of_all(self, number: int, *, patience_s: float = math.inf) -> Sequence[Any] | None:
        """Waits for the parts of all ranks and returns them; None if the run ends before.

        Args:
            number: of the snapshot.
            patience_s: how long it waits while nothing comes, for this snapshot or one before.

        Raises:
            TimeoutError: nothing came for so long.
        """
        while len(self._found.get(number, ())) < self._size:
            if self._has_failed or (self._has_ended and number != LAST):
                self._found.pop(number, None)
                return None
            self._changed.clear()
            async with asyncio.timeout(None if patience_s == math.inf else patience_s):
                await self._changed.wait()
        found = self._found.pop(number)
        return [found[rank] for rank in sorted(found)]
