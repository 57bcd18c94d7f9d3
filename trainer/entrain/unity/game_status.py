"""The status of one game at one look: the stage of its conversation, and whose turn it is."""

from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """How far a game has come."""

    ABSENT = "has not connected"
    GREETED = "said who it is"
    RESET = "was told to begin"
    PLAYING = "plays"
    GONE = "closed its connection"
    LEFT = "left"


@dataclass(frozen=True)
class GameStatus:
    """See the module."""

    name: str
    """Such as game-0."""

    address: str
    """HOST:PORT that it dials."""

    stage: Stage

    num_messages: int
    """Messages that it has sent so far."""

    is_its_turn: bool
    """True if the trainer has answered its last message, so the game must send the next one."""

    image_behaviours: tuple[str, ...] = ()
    """Its behaviours that observe images."""
