"""What the user of a run would type: each command that trains has options of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class CommandWords:
    """Parts of messages."""

    resume: str
    """The command that goes on with a stopped run."""

    train_on: str
    """What lets a finished run go on."""

    export: str
    """The command that writes a stopped run's policies, on a line of its own; "" where it would be
    none that games load."""

    another_policy: Callable[[str], str]
    """Given a behaviour, what gives it a policy: `add policies.walker or "*"`."""


def words_of_entrain(run: Path) -> CommandWords:
    """Those of `entrain train` and `entrain resume`, for the run in this folder."""
    resume = f"entrain resume {run}"
    return CommandWords(
        resume=resume,
        train_on=f"{resume} --set policies.NAME.total_steps=MORE",
        export=f"\nits policies as they are, as ONNX: entrain export {run}",
        another_policy=add_policy,
    )


def add_policy(behaviour: str) -> str:
    """What gives a behaviour a policy in a native file."""
    return f'add policies.{behaviour} or "*"'
