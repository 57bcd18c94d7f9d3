"""The form of a state in a checkpoint: plain values and arrays.

A part whose state must survive a restart has `state() -> State` and `load_state(state)`. Values are
copies: what a part does later never changes a state that it returned. `run.checkpoint` writes them.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

State: TypeAlias = Mapping[str, Any]
"""Nested: {name: numpy array | bytes | str | int | float | bool | None | list of those | State}.
Names are strings, of any content. No torch tensors: their owner turns them into arrays."""


class Stateful(Protocol):
    """A part whose state a checkpoint holds."""

    def state(self) -> State:
        """Returns a copy of everything that decides what this part does next."""
        ...

    def load_state(self, state: State) -> None:
        """Go on exactly where `state` was taken; CheckpointError if it is of another shape."""
        ...


__all__ = ["State", "Stateful"]
