"""Learning curves of the kinds of memory on four tasks that need one: all in one table and picture.

Each run is a whole one through gRPC, with the task's own options but for the kind of memory and the
number of steps. Run folders are kept, and finished runs are not run again.

    python -m benchmarks.memory_curves FOLDER --plot docs/results/memory_kinds.png
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.learning import TASKS
from benchmarks.runs import FinishedRun, read, train
from entrain.config.load import load_config

KINDS = ("lstm", "gru", "mingru")
STEPS: Mapping[str, int] = {
    "cue_memory": 80_000,
    "cartpole_masked": 100_000,
    "popgym_repeat_previous": 400_000,
    "popgym_repeat_first": 250_000,
}
"""Env steps of each task."""

Runs = Mapping[str, Sequence[FinishedRun]]
"""{kind of memory: its runs, one a seed}."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the run folders")
    parser.add_argument("--tasks", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--plot", type=Path, help="write the curves as PNG")
    arguments = parser.parse_args()
    tasks = {
        task: {
            kind: [
                finished(arguments.folder, task, kind, seed)
                for seed in range(1, arguments.seeds + 1)
            ]
            for kind in arguments.kinds
        }
        for task in arguments.tasks
    }
    for task, runs in tasks.items():
        report(task, runs)
    if arguments.plot:
        plot(tasks, arguments.plot)


def finished(folder: Path, task: str, kind: str, seed: int) -> FinishedRun:
    """The run of this folder, done now unless it was before."""
    made = folder.resolve() / f"{task}-{kind}-{seed}"
    if (made / "summary.json").exists():
        return read(made)
    config = TASKS[task].config
    (policy,) = load_config(config, ()).policies
    return train(
        config,
        made,
        "server.address=localhost:0",
        f"seed={seed}",
        f"policies.{policy}.total_steps={STEPS[task]}",
        f"policies.{policy}.network.memory.kind={kind}",
    )


def report(task: str, runs: Runs) -> None:
    """A line of the table for each kind: returns of the last tenth, and when it was learned."""
    threshold = TASKS[task].threshold
    for kind, seeds in runs.items():
        returns = [run.final_return() for run in seeds]
        told = ", ".join(f"{value:.3g}" for value in returns)
        learned = ", ".join(reached(run, threshold) for run in seeds)
        mean = statistics.mean(returns)
        print(f"| {task} | {STEPS[task]:,} | {kind} | {told} | {mean:.3g} | {learned} |")


def reached(run: FinishedRun, threshold: float) -> str:
    """Env steps, in thousands, at which the episodes of one update first had this mean return."""
    for steps, value in curve(run):
        if value >= threshold:
            return f"{steps / 1000:.0f}k"
    return "never"


def curve(run: FinishedRun) -> list[tuple[float, float]]:
    """(env steps, mean return of the episodes that ended) of each update that has any."""
    name = "rollout/episode_return_mean"
    return [(float(row["env_steps"]), float(row[name])) for row in run.rows if row[name]]


def plot(tasks: Mapping[str, Runs], path: Path) -> None:
    """A panel a task, a colour a kind, a line a seed; dashed: what counts as learned."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, -(-len(tasks) // 2), squeeze=False).flatten()
    for axes, (task, runs) in zip(panels, tasks.items(), strict=False):
        for position, (kind, seeds) in enumerate(runs.items()):
            for index, run in enumerate(seeds):
                steps, returns = zip(*curve(run), strict=True)
                label = kind if index == 0 else None
                axes.plot(steps, returns, color=f"C{position}", label=label, linewidth=1)
        axes.axhline(TASKS[task].threshold, color="0.3", linestyle="--", linewidth=0.8)
        axes.set(title=task, xlabel="env steps", ylabel="mean episode return")
        axes.grid(alpha=0.3)
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
