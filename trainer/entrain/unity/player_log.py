"""Finds in an engine's log why a game ended or does not connect.

Only this module knows the engine's own words, as seen in logs of builds.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from entrain.quoting import listed, shortened

TAIL_BYTES = 256 * 1024
"""Length of the end of a log that is read."""

MOST_LINES = 4
"""Lines of a log that a message quotes."""

MOST_CHARACTERS = 160
"""Most characters of each of them."""

_TOLD = re.compile(
    r"exception|error|fatal|crash|signal|assert|fail|could ?n[o']t|cannot|unable|refus|denied"
    r"|exhausted|out of memory",
    re.IGNORECASE,
)
"""A line that may say what went wrong."""

_TRACE = re.compile(r"^\s*(at |#\d|\(|0x|\[0x|=+|-+$|UnityEngine\.|Obtained \d|\s*$)")
"""Lines of traces, addresses and frames around messages, which name no cause."""

_CAUSES = (
    (
        r"Couldn't connect to trainer on port (\d+)",
        "it dialled port {0} and found no trainer there, so it plays without: are trainer and game "
        "on the same machine, and is HTTP_PROXY or HTTPS_PROXY set, which gRPC in games obeys?",
    ),
    (
        r"have different versions which make them incompatible|Incompatible trainer version",
        "its ML-Agents package takes no trainer of this version; use package 1.1 or newer",
    ),
    (
        r"RESOURCE_EXHAUSTED|ResourceExhausted|larger than max",
        "its message was longer than the trainer takes; raise server.max_message_mib "
        "(--receive-mib of entrain learn)",
    ),
    (
        r"InitializeEngineGraphics failed|Failed to initialize graphics|no suitable renderer"
        r"|Unable to open (?:the )?display|(?:Can't|Cannot) open display",
        "it found no display or graphics card; where nothing needs to be rendered use "
        "--no-graphics (unity.launch.no_graphics), and for cameras start the trainer under "
        "xvfb-run or on a machine with a display",
    ),
    (
        r"error while loading shared libraries: (\S+?):",
        "the system lacks the library {0}; install the package that has it",
    ),
    (
        r"GLIBC\S* not found|Exec format error",
        "it was built for another system or processor than this one",
    ),
)
"""(what the log says, what it means and what to do), the most telling last words first."""


def cause_in(logs: Sequence[Path]) -> str:
    """Returns a known cause in the logs, with a remedy; "" if there is none.

    Args:
        logs: the engine's log, and the program's output.
    """
    text = "\n".join(_tail(log) for log in logs)
    for pattern, meaning in _CAUSES:
        found = re.search(pattern, text)
        if found:
            return meaning.format(*found.groups())
    return ""


def last_words(logs: Sequence[Path]) -> str:
    """Returns on one line the last lines that tell of trouble, or else the last line of a log.

    "" if the logs are empty.

    Control characters, which a terminal might obey, are left out.

    Args:
        logs: the most telling first; the first that is not empty is quoted.
    """
    for log in logs:
        lines = [line for line in map(_cleaned, _tail(log).splitlines()) if line]
        telling = [line for line in lines if _TOLD.search(line) and not _TRACE.match(line)]
        chosen = telling[-MOST_LINES:] or lines[-1:]
        if chosen:
            return listed([shortened(line, MOST_CHARACTERS) for line in chosen], between=" | ")
    return ""


def _cleaned(line: str) -> str:
    return "".join(char for char in line if char.isprintable()).strip()


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL_BYTES))
            return log.read().decode(errors="replace")
    except OSError:
        return ""
