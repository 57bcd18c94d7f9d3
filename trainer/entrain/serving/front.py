"""A front: one wire over which simulators reach a run, seen from outside.

A front carries messages between simulators and `Participants`; it decides nothing about batches or
policies. A run may have several, over the same participants.
"""

from enum import Enum
from typing import Protocol

from entrain.state import Stateful


class Ending(Enum):
    """Why a run tells its simulators to stop."""

    COMPLETED = "completed"
    """Nothing more will be needed of them: they may end."""

    STOPPED = "stopped"
    """The trainer may come back: a simulator that can wait keeps its state and connects again."""


class Front(Stateful, Protocol):
    """One wire. Order of a run: `load_state` if resumed, `start`, then `pause`, `stop`, `state`."""

    async def start(self) -> str:
        """Let simulators connect; returns the address to dial. ServeError if that cannot be."""
        ...

    def pause(self) -> None:
        """Let health checks see that the trainer is stopping. Simulators stay connected."""
        ...

    async def stop(self, ending: Ending, message: str) -> None:
        """Tell every simulator, wait a moment for its goodbye, and accept no more connections."""
        ...
