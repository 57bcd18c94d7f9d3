"""Errors about ML-Agents games: unreadable messages, unusable ports, games that are refused."""

from entrain_envs.errors import EntrainEnvsError, WireError

MOST_CHARACTERS = 1000
"""Longest error text about a message; names in it may be as long as the message."""

MOST_QUOTED = 200
"""Longest quotation of a game's own text."""


def one_line(text: str, most: int = MOST_QUOTED) -> str:
    """A game's text made safe for a log: shortened, with control characters escaped."""
    if len(text) > most:
        begin, end = most * 2 // 3, most // 3
        left_out = len(text) - begin - end
        text = f"{text[:begin]} ... ({left_out:,} characters left out) ... {text[-end:]}"
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


class UnityMessageError(WireError):
    """A message of a game cannot be read, or its records contradict each other."""

    def __init__(self, words: str) -> None:
        super().__init__(one_line(words, MOST_CHARACTERS))


class PortError(EntrainEnvsError):
    """A port that games dial cannot be listened on."""


class GameRefusedError(EntrainEnvsError):
    """A game may not go on; the message says why, and reaches its log."""


def unreadable(message: bytes, why: str = "") -> UnityMessageError:
    """The error for bytes that are no ML-Agents message; `why` is in brackets, or ""."""
    return UnityMessageError(
        f"{len(message):,} bytes came that are no message of ML-Agents{why}; let only games of "
        "ML-Agents dial this port"
    )
