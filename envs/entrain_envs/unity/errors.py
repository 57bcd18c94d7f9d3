"""What is raised about ML-Agents games: what they send, where they dial, who may play."""

from entrain_envs.errors import EntrainEnvsError, WireError

MOST_CHARACTERS = 1000
"""Of what is said about a message: names in it may be as long as the message."""

MOST_QUOTED = 200
"""Of what a game wrote, where it is quoted alone."""


def one_line(text: str, most: int = MOST_QUOTED) -> str:
    """What a game wrote as it may stand in a log: short, without line breaks and the like."""
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
    """The error about bytes that no game of ML-Agents sends; `why` in brackets, if it is known."""
    return UnityMessageError(
        f"{len(message):,} bytes came that are no message of ML-Agents{why}; let only games of "
        "ML-Agents dial this port"
    )
