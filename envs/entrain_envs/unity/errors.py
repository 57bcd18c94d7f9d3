"""What is raised about ML-Agents games: what they send, where they dial, who may play."""

from entrain_envs.errors import EntrainEnvsError, WireError


class UnityMessageError(WireError):
    """A message of a game cannot be read, or its records contradict each other."""


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
