"""Final returns of named tasks over seeds, each a whole run through gRPC, with a curve as PNG.

python -m benchmarks.learning halfcheetah --seeds 3 --jobs 2
"""

import argparse
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.runs import FinishedRun, train

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Task:
    """What is learned, and what counts as learned."""

    config: Path
    threshold: float
    """Mean final return over seeds must reach this."""

    source: str
    """Where the threshold comes from."""


TASKS = {
    "halfcheetah": Task(HERE / "configs/halfcheetah.yaml", 1443 - 46, "CleanRL 1443 +- 46 at 1M"),
    "hopper": Task(HERE / "configs/hopper.yaml", 2383 - 272, "CleanRL 2383 +- 272 at 1M"),
    "cartpole": Task(HERE / "configs/cartpole.yaml", 475, "500 at 100k is perfect"),
    "pendulum": Task(HERE / "configs/pendulum.yaml", -300, "better than -300 at 100k"),
    "ball": Task(HERE.parent / "docs/examples/balance_ball.yaml", 90, "100 is perfect"),
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--folder", type=Path, help="keep the run folders here")
    parser.add_argument("--plot", type=Path, help="write the curves as PNG")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    arguments = parser.parse_args()
    task = TASKS[arguments.task]
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(arguments.jobs) as pool:
        folder = arguments.folder or Path(scratch)
        runs = list(
            pool.map(
                lambda seed: train(
                    task.config,
                    folder / f"{arguments.task}-{seed}",
                    f"seed={seed}",
                    "server.address=localhost:0",
                    *arguments.settings,
                ),
                range(1, arguments.seeds + 1),
            )
        )
    report(arguments.task, task, runs)
    if arguments.plot:
        plot(arguments.task, runs, arguments.plot)


def report(name: str, task: Task, runs: list[FinishedRun]) -> None:
    """Print each seed's final return, their mean and spread, and the verdict."""
    finals = [run.final_return() for run in runs]
    for seed, (run, final) in enumerate(zip(runs, finals, strict=True), start=1):
        seconds = run.summary["seconds"]
        steps = float(run.rows[-1]["env_steps"])
        print(
            f"{name} seed {seed}: final return {final:.1f}, {steps:,.0f} steps, {seconds:.0f} s; "
            f"{reached(run, task.threshold)}"
        )
    mean = statistics.mean(finals)
    spread = statistics.stdev(finals) if len(finals) > 1 else 0.0
    verdict = "reached" if mean >= task.threshold else "MISSED"
    print(f"{name}: {mean:.1f} +- {spread:.1f}; {task.threshold:g} ({task.source}) {verdict}")


def reached(run: FinishedRun, threshold: float) -> str:
    """When the mean return of one update's episodes was at the threshold for the first time."""
    for row in run.rows:
        if float(row["rollout/episode_return_mean"] or "-inf") >= threshold:
            steps, seconds = float(row["env_steps"]), float(row["time/seconds"])
            return f"{threshold:g} first reached after {steps:,.0f} steps, {seconds:.0f} s"
    return f"{threshold:g} never reached"


def plot(name: str, runs: list[FinishedRun], path: Path) -> None:
    """Returns over env steps, a line a seed."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for seed, run in enumerate(runs, start=1):
        rows = [row for row in run.rows if row["rollout/episode_return_mean"]]
        axes.plot(
            [float(row["env_steps"]) for row in rows],
            [float(row["rollout/episode_return_mean"]) for row in rows],
            label=f"seed {seed}",
            linewidth=1,
        )
    axes.set(title=name, xlabel="env steps", ylabel="mean episode return")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
