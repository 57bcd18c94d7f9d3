"""The options of a simulator that the trainer starts itself.

The docstring under a field is its documentation everywhere; see `run`.
"""

import os
import shlex
from typing import Final

from pydantic import Field, model_validator

from entrain.config.fields import Count, Options

FILE_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
IN_NAMES: Final = "a letter or digit, then letters, digits, '.', '_' and '-'; at most 100 in all"


class LaunchConfig(Options):
    """A simulator that the trainer starts itself."""

    command: str | tuple[str, ...]
    """What to run, as one string split like a shell does, or as a list. `{address}` becomes the
    trainer's address, `{index}` the copy's number, `{name}` NAME-INDEX."""

    count: Count = 1
    """How many copies."""

    name: str = Field(
        default="simulator",
        pattern=FILE_NAME,
        json_schema_extra={"patternErrorMessage": IN_NAMES},
    )
    """Copy 0 is called NAME-0, in logs and where lockstep sorts by name."""

    @model_validator(mode="after")
    def _check(self) -> "LaunchConfig":
        if not self.command or (isinstance(self.command, str) and not self.command.strip()):
            raise ValueError("command is empty; it must be the program to run and its arguments")
        try:
            _ = self.words
        except ValueError as error:
            raise ValueError(
                f"command cannot be split into words ({error}): {self.command!r}; close the "
                "quote, or give the words as a list"
            ) from None
        return self

    @property
    def words(self) -> tuple[str, ...]:
        """The program to run and its arguments, placeholders as they are."""
        if isinstance(self.command, str):
            return tuple(shlex.split(self.command, posix=os.name == "posix"))
        return self.command
