"""The arguments beside the configuration that a Python program gives to a run in its process.

A command gives nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from entrain.app.program_environments import ProgramEnvironment
from entrain.app.signals import StopRequest


@dataclass(frozen=True, kw_only=True)
class Given:
    """See the module."""

    request: StopRequest | None = None
    """Asks the run to stop; None: signals do."""

    environments: Sequence[ProgramEnvironment] = ()
    """Take part as simulators, beside those that the configuration launches."""

    observers: Sequence[object] = ()
    """Are told how it goes; see `entrain.observers`."""

    is_shown: bool = True
    """Whether people are shown how it goes: on stdout, and in a terminal with a live display."""


NOTHING = Given()
