"""Learning curves of the kinds of memory on four tasks that need one: all in one table and picture.

Each task is learned with its own options (benchmarks/configs, docs/examples) but for the kind of
memory and the number of steps, in process. Finished runs are kept as CSV files, and not done again:
it may be stopped and gone on with.

    python -m benchmarks.memory_curves FOLDER --plot docs/results/memory_kinds.png
"""

import argparse
import csv
import shlex
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.in_process import EnvironmentBatches, make_trainer, run
from benchmarks.learning import TASKS
from entrain.config.load import load_config
from entrain.policy.actor_critic import ActorCritic
from entrain.trainer import Update
from entrain_envs.command_line import parser
from entrain_envs.making import make_environment

KINDS: Mapping[str, Sequence[str]] = {
    "lstm": ("kind=lstm",),
    "gru": ("kind=gru",),
    "mingru": ("kind=mingru",),
    "mingru-of-2": ("kind=mingru", "layers=2"),
}
"""Options of `network.memory`."""

STEPS: Mapping[str, int] = {
    "cue_memory": 80_000,
    "cartpole_masked": 100_000,
    "popgym_repeat_previous": 300_000,
    "popgym_repeat_first": 250_000,
}
"""Env steps of each task."""

RETURN, EPISODES = "rollout/episode_return_mean", "rollout/episodes"
COLUMNS = ("env_steps", "return", "episodes", "processor_s")


@dataclass
class Curve:
    """A row of `COLUMNS` for each update before which episodes ended. Also a run's recorder."""

    rows: list[tuple[float, ...]] = field(default_factory=list)
    began_s: float = field(default_factory=time.process_time)

    def record(self, update: Update) -> None:
        """Note what the update's rollout earned."""
        if update.metrics.get(EPISODES):
            spent = time.process_time() - self.began_s
            told = update.metrics[RETURN], update.metrics[EPISODES], spent
            self.rows.append((update.progress.env_steps, *told))

    def note_completion(self) -> None:
        """Nothing."""

    @property
    def final_return(self) -> float:
        """Mean return of the episodes that ended in the last tenth of training."""
        late = [row for row in self.rows if row[0] > 0.9 * self.rows[-1][0]]
        return sum(row[1] * row[2] for row in late) / sum(row[2] for row in late)

    def reached(self, threshold: float) -> str:
        """Thousands of env steps after which an update's episodes first had this mean return."""
        for steps, mean, *_ in self.rows:
            if mean >= threshold:
                return f"{steps / 1000:.0f}k"
        return "never"


def main() -> None:
    """Command line."""
    arguments = _arguments()
    torch.set_num_threads(1)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(
        "| task | env steps | memory | returns of the last tenth | mean | learned | processor s |"
    )
    print("|---|---|---|---|---|---|---|")
    tasks: dict[str, dict[str, Sequence[Curve]]] = {}
    for task in arguments.tasks:
        for kind in arguments.kinds:
            paths = [
                arguments.folder / f"{task}-{kind}-{seed}.csv"
                for seed in range(1, arguments.seeds + 1)
            ]
            if not arguments.only_finished:
                for seed, path in enumerate(paths, 1):
                    finish(path, task, kind, seed)
            curves = [read(path) for path in paths if path.exists()]
            if curves:
                tasks.setdefault(task, {})[kind] = curves
                report(task, kind, curves)
    if arguments.plot:
        plot(tasks, arguments.plot)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the CSV files")
    parser.add_argument("--tasks", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only-finished", action="store_true", help="only tell what FOLDER has")
    parser.add_argument("--plot", type=Path, help="write the curves as PNG")
    return parser.parse_args()


def finish(path: Path, task: str, kind: str, seed: int) -> None:
    """Do this run, unless it was done before."""
    if path.exists():
        return
    curve = learned(task, kind, seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(curve.rows)


def read(path: Path) -> Curve:
    """The curve of a run that was done."""
    with path.open(newline="") as file:
        return Curve([tuple(map(float, row)) for row in list(csv.reader(file))[1:]])


def learned(task: str, kind: str, seed: int) -> Curve:
    """Learn the task with this kind of memory."""
    config = load_config(TASKS[task].config, ())
    (launch,) = config.simulators.launch
    command = launch.command
    _, *words = shlex.split(command) if isinstance(command, str) else command
    words += ["--connect", "localhost:0"]
    environment = make_environment(parser().parse_args(words))
    (spec,) = environment.behaviours
    settings = [f"total_steps={STEPS[task]}", *(f"network.memory.{each}" for each in KINDS[kind])]
    config = load_config(
        TASKS[task].config, [f"policies.{spec.name}.{setting}" for setting in settings]
    )
    policy = ActorCritic(spec, config.policies[spec.name], seed=seed)
    curve = Curve()
    trainer = make_trainer(policy, seed=seed, recorder=curve)
    batches = EnvironmentBatches(
        environment,
        seed=seed,
        is_over=lambda: trainer.is_complete,
        parameters={
            name: number
            for name, number in config.environment_parameters.items()
            if isinstance(number, float)
        },
    )
    run(trainer, batches)
    environment.close()
    return curve


def report(task: str, kind: str, curves: Sequence[Curve]) -> None:
    """A line of the table."""
    returns = [curve.final_return for curve in curves]
    told = ", ".join(f"{value:.3g}" for value in returns)
    when = ", ".join(curve.reached(TASKS[task].threshold) for curve in curves)
    spent = ", ".join(f"{curve.rows[-1][3]:.0f}" for curve in curves)
    mean = statistics.mean(returns)
    print(f"| {task} | {STEPS[task]:,} | {kind} | {told} | {mean:.3g} | {when} | {spent} |")


def plot(tasks: Mapping[str, Mapping[str, Sequence[Curve]]], path: Path) -> None:
    """A panel a task, a colour a kind, a line a seed; dashed: what counts as learned."""
    columns = min(2, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(5 * columns, 3.5 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels[len(tasks) :]:
        axes.remove()
    for axes, (task, kinds) in zip(panels, tasks.items(), strict=False):
        for kind, curves in kinds.items():
            color = f"C{list(KINDS).index(kind)}"
            for index, curve in enumerate(curves):
                steps, returns, *_ = zip(*curve.rows, strict=True)
                label = kind if index == 0 else None
                axes.plot(steps, returns, color=color, label=label, linewidth=1)
        axes.axhline(TASKS[task].threshold, color="0.3", linestyle="--", linewidth=0.8)
        axes.set(title=task, xlabel="env steps", ylabel="mean episode return")
        axes.grid(alpha=0.3)
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
