"""Commands and options that messages tell users to type; each command that trains has its own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from entrain.unity.results.listing import is_of_learn
from entrain.unity.stock_run import StockCheckpoint


@dataclass(frozen=True, kw_only=True)
class CommandWords:
    """Commands and options, as messages name them."""

    resume: str
    """The command that goes on with a stopped run."""

    train_on: str
    """The option that lets a finished run go on."""

    export: str
    """The command that writes a stopped run's policies, on a line of its own; "" where it would be
    none that games load."""

    another_policy: Callable[[str], str]
    """Given a behaviour, how to give it a policy: `add policies.walker or "*"`."""


def resume_command(run: Path, num_ranks: int) -> str:
    """The command that goes on with the run in this folder, on one machine."""
    started_by = "" if num_ranks == 1 else f"torchrun --nproc-per-node {num_ranks} -m "
    return f"{started_by}entrain resume {run}"


def words_of_entrain(run: Path, *, num_ranks: int = 1) -> CommandWords:
    """The words of `entrain train` and `entrain resume`, for the run in this folder."""
    resume = resume_command(run, num_ranks)
    return CommandWords(
        resume=resume,
        train_on=f"{resume} --set policies.NAME.total_steps=MORE",
        export=f"\nits policies as they are, as ONNX: entrain export {run}",
        another_policy=add_policy,
    )


def words_of_learn(run_id: str, *, results_dir: Path, settings: str) -> CommandWords:
    """The words of `entrain learn`.

    Args:
        run_id: of the run.
        results_dir: folder that holds the run's folder.
        settings: the file that was given, for messages.
    """
    is_usual = results_dir == Path(StockCheckpoint().results_dir)
    where = "" if is_usual else f" --results-dir={results_dir}"
    return CommandWords(
        resume=f"entrain learn (the same file and flags) --run-id={run_id}{where} --resume",
        train_on=f"raise max_steps in {settings}, and give the same command with --resume",
        export="",
        another_policy=lambda behaviour: (
            f"add behaviors.{behaviour} or default_settings to {settings}"
        ),
    )


def words_of_run(run: Path) -> CommandWords:
    """The words of the command that began or resumed the run in this folder."""
    if is_of_learn(run):
        return words_of_learn(run.name, results_dir=run.parent, settings="its file of settings")
    return words_of_entrain(run, num_ranks=1 + len(list((run / "ranks").glob("*-rank-*"))))


def add_policy(behaviour: str) -> str:
    """How to give a behaviour a policy in a native file."""
    return f'add policies.{behaviour} or "*"'
