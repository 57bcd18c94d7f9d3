"""Repeats launched simulators' lines about their environments in the run's log.

Their output goes to files that few people open, but the lines say how masks, bounds and numbers
were interpreted, which decides whether a policy learns. Equal lines are repeated once.
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from entrain.quoting import shortened

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""Time between two looks at the files."""

MOST_FOLLOWED = 16
"""Files that are read: further simulators are mostly copies, which say the same."""

MOST_LINES = 20
"""Lines that are repeated in one run."""

MOST_BYTES = 64 * 1024
"""Of a file that are read in one look."""

MOST_CHARACTERS = 600
"""Of a line that is repeated."""

# As entrain_envs writes them: time (since 0.2), level, whose environment or agents it is about.
_LINE = re.compile(
    r"(?:\S+Z )?(INFO|WARN|WARNING) +((?:the PettingZoo )?(?:environment|behaviour)\b.*)"
)


class SimulatorLines:
    """Follows the output of simulators from where it ends now."""

    def __init__(self, logs: Sequence[Path]) -> None:
        self._read_to = {log: _size(log) for log in logs[:MOST_FOLLOWED]}
        self._said: set[str] = set()

    async def follow(self) -> None:
        """Look again and again. Ends when enough has been said, or when cancelled."""
        while len(self._said) < MOST_LINES:
            await asyncio.sleep(LOOK_S)
            self.look()

    def look(self) -> None:
        """Repeat the lines that are new in each file."""
        for log, begin in self._read_to.items():
            if _size(log) > begin:
                self._read_to[log] = begin + self._repeat(log, begin)

    def _repeat(self, log: Path, begin: int) -> int:
        """Repeat whole lines from `begin` on; returns how many bytes they were."""
        try:
            with log.open("rb") as file:
                file.seek(begin)
                content = file.read(MOST_BYTES)
        except OSError:
            return 0
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and len(content) == MOST_BYTES:
            return MOST_BYTES  # a part of a line that is too long to be one of ours
        for line in whole.decode(errors="replace").splitlines():
            match = _LINE.match(line)
            words = match[2] if match else ""
            if match and words not in self._said and len(self._said) < MOST_LINES:
                self._said.add(words)
                text = "".join(char if char.isprintable() else "?" for char in words)
                level = getattr(logging, match[1])
                logger.log(level, "%s says: %s", log.stem, shortened(text, MOST_CHARACTERS))
        return len(whole)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
