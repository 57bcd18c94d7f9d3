"""The result of a training run, for the program that called it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from entrain.run.progress import Progress
from entrain.run.summary import Outcome, RunSummary


@dataclass(frozen=True, kw_only=True)
class TrainedPolicy:
    """How far one policy came, and how well it does."""

    progress: Progress
    """Env steps, updates and episodes, over all sittings."""

    total_steps: int
    """Env steps after which it is done."""

    final_return: float
    """Mean return of the last 100 episodes, or of all if there were fewer; NaN without any."""

    warnings: tuple[str, ...] = ()
    """What its diagnostics found wrong, each with the number of the update."""


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """How a run ended, and what is left of it."""

    run: Path
    """Its folder, for `resume`, `evaluate`, `export` and `Policy.load`."""

    outcome: Outcome
    """completed: every policy has its total steps. stopped: as it was asked to; it can go on."""

    exit_code: int
    """What a process that does nothing else ends with."""

    env_steps: int
    """Over all policies and sittings."""

    seconds: float
    """Spent training, over all sittings."""

    policies: Mapping[str, TrainedPolicy]
    """{behaviour: its policy}."""

    @classmethod
    def of(
        cls, run: Path, summary: RunSummary, returns: Mapping[str, float], *, exit_code: int
    ) -> "TrainingResult":
        """Returns the result of a run.

        Args:
            run: its folder.
            summary: of the run as it ended.
            returns: {behaviour: mean return of the last episodes}.
            exit_code: of the command.
        """
        return cls(
            run=run,
            outcome=summary.outcome,
            exit_code=exit_code,
            env_steps=summary.env_steps,
            seconds=summary.seconds,
            policies={
                name: TrainedPolicy(
                    progress=each.progress,
                    total_steps=each.total_steps,
                    final_return=returns[name],
                    warnings=each.warnings,
                )
                for name, each in summary.policies.items()
            },
        )
