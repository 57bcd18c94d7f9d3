"""Final returns of named tasks over seeds, each a whole run through gRPC, with a curve as PNG.

python -m benchmarks.learning halfcheetah --jobs 2
python -m benchmarks.learning cue_memory --without policies.walker.network.memory.kind=none
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.runs import FinishedRun, evaluated_return, train

HERE = Path(__file__).parent
CONFIGS = HERE / "configs"
EXAMPLES = HERE.parent / "docs/examples"
ZOO = HERE.parent / "zoo"


@dataclass(frozen=True)
class Task:
    """A task, and the return that counts as learned."""

    config: Path
    threshold: float
    """Mean final return over seeds must reach this."""

    source: str
    """Where the threshold comes from."""

    evaluated_episodes: int = 0
    """If not 0, a run is scored by the mean return of that many episodes without noise after
    training, as its source does it, instead of by the last tenth of training."""

    num_seeds: int = 3
    """The mean of seeds 1 to this must reach the threshold."""

    def score(self, run: FinishedRun) -> float:
        """The run's return, as this task counts it."""
        if self.evaluated_episodes:
            return evaluated_return(run, episodes=self.evaluated_episodes)
        return run.final_return()


TASKS = {
    "halfcheetah": Task(CONFIGS / "halfcheetah.yaml", 1443 - 46, "CleanRL 1443 +- 46 at 1M"),
    "hopper": Task(CONFIGS / "hopper.yaml", 2383 - 272, "CleanRL 2383 +- 272 at 1M"),
    "cartpole": Task(CONFIGS / "cartpole.yaml", 475, "500 at 100k is perfect"),
    "cartpole_soft_q": Task(
        ZOO / "cartpole_soft_q.yaml",
        475,
        "Gymnasium's reward_threshold; CleanRL's DQN 488.7 +- 16.1 at 500k",
        evaluated_episodes=20,
    ),
    "pendulum": Task(CONFIGS / "pendulum.yaml", -300, "better than -300 at 100k"),
    "pendulum_sac": Task(
        ZOO / "pendulum.yaml",
        -200,
        "-200 over 20 episodes after 10k steps; upright all along is about -150",
        evaluated_episodes=20,
    ),
    "pendulum_crossq": Task(
        CONFIGS / "pendulum_crossq.yaml",
        -200,
        "-200 over 20 episodes after 10k steps, as with target networks",
        evaluated_episodes=20,
    ),
    "ball": Task(EXAMPLES / "balance_ball.yaml", 90, "100 is perfect"),
    # The tasks below need memory.
    "cue_memory": Task(EXAMPLES / "cue_memory.yaml", 0.95, "1 is perfect, guessing 0.25"),
    "cartpole_masked": Task(
        CONFIGS / "cartpole_masked.yaml",
        500,
        "500 is perfect; rl-baselines3-zoo 500.0 +- 0.0 at 100k",
        evaluated_episodes=100,
    ),
    "pendulum_masked": Task(
        CONFIGS / "pendulum_masked.yaml",
        # 100 episodes whose returns are spread by 140.1 have a standard error of 14.
        -217.9 - 14,
        "rl-baselines3-zoo -217.9 at 100k, less the standard error of its 100 episodes, 14",
        evaluated_episodes=100,
        num_seeds=8,
    ),
    "popgym_repeat_previous": Task(
        CONFIGS / "popgym_repeat_previous.yaml", 0.95, "1 is perfect, random -0.500"
    ),
    "popgym_repeat_first": Task(
        CONFIGS / "popgym_repeat_first.yaml", 0.95, "1 is perfect, random -0.506"
    ),
    "popgym_count_recall": Task(
        CONFIGS / "popgym_count_recall.yaml", -0.925, "1 is perfect, random -0.925"
    ),
    "popgym_autoencode": Task(
        CONFIGS / "popgym_autoencode.yaml", -0.505, "1 is perfect, random -0.505"
    ),
}


@dataclass(frozen=True)
class Job:
    """One run of a task."""

    label: str
    """Names its folder, and its line in the plot."""

    settings: tuple[str, ...]


def main() -> None:
    """Command line."""
    arguments = _arguments()
    task = TASKS[arguments.task]
    seeds = [
        Job(f"seed {seed}", (f"seed={seed}", *arguments.settings))
        for seed in range(1, (arguments.seeds or task.num_seeds) + 1)
    ]
    without = [
        Job(setting.rpartition(".")[2], ("seed=1", *arguments.settings, setting))
        for setting in arguments.without
    ]
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        runs = run_all(arguments.task, [*seeds, *without], folder, at_once=arguments.jobs)
        # Some tasks are scored by more episodes, which need the run folders.
        report(arguments.task, task, runs, num_seeds=len(seeds))
        if arguments.plot:
            plot(arguments.task, task, runs, num_seeds=len(seeds), path=arguments.plot)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=sorted(TASKS))
    parser.add_argument("--seeds", type=int, help="run seeds 1 to this; default: the task's own")
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--folder", type=Path, help="keep the run folders here")
    parser.add_argument("--plot", type=Path, help="write the curves as PNG")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="SETTING",
        help="one more run with this setting, to compare; does not count for the threshold",
    )
    return parser.parse_args()


def run_all(
    name: str, jobs: Sequence[Job], folder: Path, *, at_once: int
) -> Mapping[str, FinishedRun]:
    """Each job's run under its label, in order."""

    def run(job: Job) -> FinishedRun:
        made = folder / f"{name}-{job.label.replace(' ', '-').replace('=', '-')}"
        return train(TASKS[name].config, made, "server.address=localhost:0", *job.settings)

    with ThreadPoolExecutor(at_once) as pool:
        return dict(zip([job.label for job in jobs], pool.map(run, jobs), strict=True))


def report(name: str, task: Task, runs: Mapping[str, FinishedRun], *, num_seeds: int) -> None:
    """Print the score of each run, mean and spread over the seeds, and the verdict."""
    scores = []
    for label, run in runs.items():
        seconds = run.summary["seconds"]
        steps = float(run.rows[-1]["env_steps"])
        scores.append(task.score(run))
        without_noise = f", without noise {scores[-1]:.3f}" if task.evaluated_episodes else ""
        print(
            f"{name} {label}: final return {run.final_return():.3f}{without_noise}, "
            f"{steps:,.0f} steps, {seconds:.0f} s; {reached(run, task.threshold)}"
        )
    of_seeds = scores[:num_seeds]
    mean = statistics.mean(of_seeds)
    spread = statistics.stdev(of_seeds) if len(of_seeds) > 1 else 0.0
    verdict = "reached" if mean >= task.threshold else "MISSED"
    print(f"{name}: {mean:.3f} +- {spread:.3f}; {task.threshold:g} ({task.source}) {verdict}")


def reached(run: FinishedRun, threshold: float) -> str:
    """When the mean return of one update's episodes first reached the threshold."""
    for row in run.rows:
        if float(row["rollout/episode_return_mean"] or "-inf") >= threshold:
            steps, seconds = float(row["env_steps"]), float(row["time/seconds"])
            return f"{threshold:g} first reached after {steps:,.0f} steps, {seconds:.0f} s"
    return f"{threshold:g} never reached"


def plot(
    name: str, task: Task, runs: Mapping[str, FinishedRun], *, num_seeds: int, path: Path
) -> None:
    """Plot returns over env steps: a line per seed, comparisons in grey, the threshold dashed."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for position, (label, run) in enumerate(runs.items()):
        _draw(axes, label, run, color=f"C{position}" if position < num_seeds else "0.6")
    axes.axhline(task.threshold, color="0.3", linestyle="--", linewidth=0.8)
    axes.set(title=f"{name}\ndashed: {task.source}", xlabel="env steps")
    axes.set_ylabel("mean episode return")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _draw(axes: Axes, label: str, run: FinishedRun, *, color: str) -> None:
    rows = [row for row in run.rows if row["rollout/episode_return_mean"]]
    axes.plot(
        [float(row["env_steps"]) for row in rows],
        [float(row["rollout/episode_return_mean"]) for row in rows],
        label=label,
        color=color,
        linewidth=1,
    )


if __name__ == "__main__":
    main()
