"""The form in which every part hands over its state for a checkpoint: plain values and arrays.

A part that must survive a restart has `state() -> State` and `load_state(state)`. Values are
copies: what a part does later never changes a state it gave away. `run.checkpoint` writes them.
"""

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

State: TypeAlias = Mapping[str, Any]
"""Nested: {name: numpy array | bytes | str | int | float | bool | None | list of those | State}.
Names are strings without '/' inside. No torch tensors: their owner turns them into arrays."""


class Stateful(Protocol):
    """A part whose state a checkpoint holds."""

    def state(self) -> State:
        """A copy of everything that decides what this part does next."""
        ...

    def load_state(self, state: State) -> None:
        """Go on exactly where `state` was taken; CheckpointError if it is of another shape."""
        ...


__all__ = ["State", "Stateful"]
