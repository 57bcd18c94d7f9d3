"""Collaborators that a command gives to a run: the keeper of its folder, and its observers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from entrain.app.command_words import add_policy
from entrain.app.folder_keeper import ConfigKeeper, Unkept
from entrain.app.observing import RunObserver
from entrain.app.program_environments import ProgramEnvironment


@dataclass(frozen=True, kw_only=True)
class RunHooks:
    """How a command takes part in its run. Without any, the run goes on by itself."""

    keeper: ConfigKeeper = field(default_factory=Unkept)
    """Looks after the folder; without one, it is left as it is."""

    observer: RunObserver | None = None
    """Is told what happens."""

    environments: Sequence[ProgramEnvironment] = ()
    """Of a Python program, which are learned from; evaluations have others like them."""

    another_policy: Callable[[str], str] = add_policy
    """See `CommandWords`."""
