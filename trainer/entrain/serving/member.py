"""Who takes part in a run, and whether that simulator is connected.

RUNNING --detach--> DETACHED --attach--> RUNNING ...
any --close--> GONE
"""

from dataclasses import dataclass
from enum import Enum


class Presence(Enum):
    """Whether a simulator is connected."""

    RUNNING = "running"
    DETACHED = "detached"
    GONE = "gone"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a participant is; never changes."""

    id: str
    simulator: str
    """For people, and for the order of rows in lockstep."""

    instance_id: str
    """Of the simulator's process."""

    joined: int
    """How many simulators joined before this one in this run."""

    seed: int
    """For the simulator's own randomness."""


class Member:
    """The part of a participant that does not ask for anything. Owned by the event loop."""

    def __init__(self, identity: Identity, *, peer: str) -> None:
        self.id = identity.id
        self.identity = identity
        self.peer = peer
        self.presence = Presence.RUNNING
        self.joined_at = 0.0
        """When it joined this sitting, in seconds since 1970: for people."""
        self.deadline_s = float("inf")
        """When it is given up, if it is detached."""
        self.is_of_checkpoint = False
        """Whether it took part when the checkpoint was written that the run went on from, and has
        not come back since."""

    @property
    def label(self) -> str:
        """For people: simulator@host."""
        return f"{self.identity.simulator}@{self.peer}"

    @property
    def is_live(self) -> bool:
        """True if it takes part: it is connected, or in its grace time."""
        return self.presence is not Presence.GONE

    def attach(self, peer: str) -> None:
        """It is connected again."""
        self.peer = peer
        self.presence = Presence.RUNNING
        self.deadline_s = float("inf")
        self.is_of_checkpoint = False

    def detach(self, *, deadline_s: float) -> None:
        """Its connection broke. What waits goes on waiting, and is kept for when it comes back."""
        self.presence = Presence.DETACHED
        self.deadline_s = deadline_s
