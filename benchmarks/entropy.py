"""Does it help to reward entropy, and in which form? Three mazes, variants of three algorithms.

python -m benchmarks.entropy --sweep                       # which coefficient, on other seeds
python -m benchmarks.entropy --seeds 5                     # tables, and curves into docs/results
python -m benchmarks.entropy --family replay --seeds 5     # soft Q and SAC at every temperature

With `--keep FOLDER` each run's outcome is written there, and a later call goes on with them.
"""

import argparse
import itertools
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from benchmarks.entropy_kept import kept
from benchmarks.entropy_runs import BENCHMARKS, Benchmark, Learner, Measured, merged

RESULTS = Path(__file__).parent.parent / "docs" / "results"

FIRST_SWEEP_SEED = 101
"""No seed that chooses a coefficient takes part in the comparison."""

EVERY = 64
"""Env steps for each gradient step of what learns from a replay, unless said otherwise: with 256
rows in each, as few as PPO's."""

TOGETHER = "together"
"""How PPO clips the gradients of policy and critic, unless said otherwise."""

RATE = 0.2
TARGET_START = 0.3
"""Of variants with a target: how fast the coefficient moves, and where it starts."""

FINAL_FRACTION = 0.05
"""Where the target ends, in the task whose coefficients fall."""


LEAST_TEMPERATURE = 1e-4
"""Stands for no entropy where a temperature may not be 0: what is worse by a thousandth of the
reward of a goal is chosen once in 20,000 times. A falling temperature ends there."""

COLOURS = ("#57606a", "#1f6feb", "#0f8b8d", "#d4691c", "#2a9d4a", "#8250df", "#bf3989", "#9a6700")


@dataclass(frozen=True)
class Variant:
    """A way to reward entropy, all but its strength."""

    objective: str

    swept: Sequence[float]
    """Strengths to try: coefficients, or with a target fractions of the greatest entropy."""

    chosen: Mapping[str, float]
    """{task: strength} the best of the sweep; empty if all of it is compared."""

    has_target: bool = False

    normalization: str = "minibatch"
    """algorithm.advantage_normalization of PPO; minibatch is its default."""

    kind: str = "ppo"
    """algorithm.kind."""

    def compared(self, task: str) -> Sequence[float]:
        """The strengths that the comparison shows."""
        return [self.chosen[task]] if self.chosen else self.swept

    def options(self, task: str, strength: float) -> Mapping[str, Any]:
        """Of the policy, beside those that all variants have."""
        falls = BENCHMARKS[task].entropy_falls
        if self.kind != "ppo":
            temperature = _temperature(strength, falls=falls)
            return {"entropy": temperature, "algorithm": {"kind": self.kind}}
        entropy: dict[str, Any] = {"objective": self.objective}
        if self.has_target:
            final = {"final_fraction": FINAL_FRACTION} if falls else {}
            target = {"fraction": strength, "rate": RATE, **final}
            entropy |= {"coefficient": TARGET_START, "target": target}
        else:
            schedule = "linear" if falls else "constant"
            entropy |= {"coefficient": strength, "coefficient_schedule": schedule}
        algorithm = {"kind": self.kind, "advantage_normalization": self.normalization}
        return {"entropy": entropy, "algorithm": algorithm}


def _temperature(strength: float, *, falls: bool) -> Mapping[str, Any]:
    """Options of a temperature that is fixed, or falls over the run."""
    return {
        "objective": "soft_return",
        "coefficient": strength,
        "coefficient_schedule": "linear" if falls else "constant",
        "final_coefficient": LEAST_TEMPERATURE,
    }


TEMPERATURES = (LEAST_TEMPERATURE, 0.003, 0.01, 0.03)

VARIANTS: Mapping[str, Variant] = {
    "none": Variant("bonus", (0.0,), {"deception": 0.0, "two_goals": 0.0, "moved_wall": 0.0}),
    "bonus": Variant(
        "bonus",
        (0.03, 0.1, 0.3, 1.0),
        {"deception": 1.0, "two_goals": 1.0, "moved_wall": 1.0},
    ),
    "bonus, raw advantages": Variant(
        "bonus",
        (0.01, 0.03, 0.1, 0.3),
        {"deception": 0.1, "two_goals": 0.1, "moved_wall": 0.01},
        normalization="none",
    ),
    "soft_return": Variant(
        "soft_return",
        (0.003, 0.01, 0.03, 0.1),
        {"deception": 0.03, "two_goals": 0.003, "moved_wall": 0.01},
    ),
    "entropy_critic": Variant(
        "entropy_critic",
        (0.003, 0.01, 0.03, 0.1),
        {"deception": 0.03, "two_goals": 0.01, "moved_wall": 0.01},
    ),
    "bonus with target": Variant(
        "bonus",
        (0.1, 0.3, 0.5, 0.7),
        {"deception": 0.7, "two_goals": 0.7, "moved_wall": 0.7},
        has_target=True,
    ),
    "soft Q": Variant("soft_return", TEMPERATURES, {}, kind="soft_q"),
    "SAC": Variant("soft_return", TEMPERATURES, {}, kind="sac"),
}

FAMILIES: Mapping[str, Sequence[str]] = {
    "ppo": [name for name, variant in VARIANTS.items() if variant.kind == "ppo"],
    "replay": [name for name, variant in VARIANTS.items() if variant.kind != "ppo"],
}
"""{name: variants in one table and one picture}."""

COLUMNS = {"ppo": 3, "replay": len(TEMPERATURES)}
"""{family: panels beside each other}."""


@dataclass(frozen=True)
class Run:
    """One seed of one variant in one task."""

    task: str
    variant: str
    strength: float
    seed: int

    every: int = EVERY
    """Env steps for each gradient step, of variants that learn from a replay."""

    clip: str = TOGETHER
    """algorithm.clip_gradients of PPO."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Of the policy, beside those that all variants have."""
        options = VARIANTS[self.variant].options(self.task, self.strength)
        if self.every != EVERY:
            options = merged(options, {"algorithm": {"updates_per_step": 1 / self.every}})
        if self.clip != TOGETHER:
            options = merged(options, {"algorithm": {"clip_gradients": self.clip}})
        return options

    @property
    def label(self) -> str:
        """Variant, strength and what is unusual, as tables and pictures name it."""
        pace = "" if self.every == EVERY else f", every {self.every}"
        clip = "" if self.clip == TOGETHER else f", clipped {self.clip}"
        strength = f" {self.strength:g}" if self.strength else ""
        return self.variant + strength + pace + clip


def measure(run: Run) -> Measured:
    """Train one policy; for a process of its own, too."""
    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    return Learner(BENCHMARKS[run.task], run.options, seed=run.seed).train()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=sorted(BENCHMARKS), help="only this one")
    parser.add_argument("--family", choices=sorted(FAMILIES), help="only these variants")
    parser.add_argument("--variant", choices=sorted(VARIANTS), help="only this one")
    parser.add_argument("--strength", type=float, action="append", help="only these")
    parser.add_argument(
        "--every",
        type=int,
        nargs="+",
        default=[EVERY],
        help="env steps for each gradient step, of what learns from a replay",
    )
    parser.add_argument(
        "--clip",
        choices=["together", "apart"],
        default=TOGETHER,
        help="gradients of policy and critic, of PPO",
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time")
    parser.add_argument("--sweep", action="store_true", help="try coefficients instead")
    parser.add_argument("--keep", type=Path, help="a folder for the outcome of each run")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="for the curves")
    arguments = parser.parse_args()
    tasks = [arguments.task] if arguments.task else list(BENCHMARKS)
    families = [arguments.family] if arguments.family else list(FAMILIES)
    for task, family in itertools.product(tasks, families):
        started_s = time.monotonic()
        first = FIRST_SWEEP_SEED if arguments.sweep else 1
        runs = [
            Run(task, name, strength, seed, every, arguments.clip if family == "ppo" else TOGETHER)
            for name in FAMILIES[family]
            if arguments.variant in (None, name)
            for every in arguments.every
            for strength in strengths(VARIANTS[name], task, sweep=arguments.sweep)
            if arguments.strength is None or strength in arguments.strength
            for seed in range(first, first + arguments.seeds)
        ]
        if not runs:
            continue
        of_run = tabulate(runs, jobs=arguments.jobs, keep=arguments.keep)
        if not arguments.sweep:
            suffix = "" if family == "ppo" else f"_{family}"
            path = arguments.folder / f"entropy_{task}{suffix}.png"
            plot(BENCHMARKS[task], of_run, path, columns=COLUMNS[family])
        print(f"({time.monotonic() - started_s:.0f} s)\n", flush=True)


def strengths(variant: Variant, task: str, *, sweep: bool) -> Sequence[float]:
    """Those to try, or those to compare."""
    return variant.swept if sweep else variant.compared(task)


def tabulate(
    runs: Sequence[Run], *, jobs: int, keep: Path | None
) -> Mapping[Run, Sequence[Measured]]:
    """Carry them out and print a table of them; {run of the first seed: what all came to}."""
    print(f"{runs[0].task}, seeds {runs[0].seed} to {runs[-1].seed}\n")
    of_run: dict[Run, Sequence[Measured]] = {}
    pairs = zip(runs, measured(runs, jobs=jobs, keep=keep), strict=True)
    for label, group in itertools.groupby(pairs, key=lambda pair: pair[0].label):
        seeds, results = zip(*group, strict=True)
        if not of_run:
            print(header(results[0]))
        print(row(label, results), flush=True)
        of_run[seeds[0]] = results
    return of_run


def measured(runs: Sequence[Run], *, jobs: int, keep: Path | None) -> Iterator[Measured]:
    """The results, in the order of `runs`."""
    carry_out = measure if keep is None else partial(measure_once, keep)
    if jobs == 1:
        yield from map(carry_out, runs)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(carry_out, runs)


def measure_once(keep: Path, run: Run) -> Measured:
    """The outcome that an earlier call left in the folder `keep`, or else a run's."""
    name = f"{run.task}-{run.label.replace(' ', '-').replace(',', '')}-{run.seed}"
    return kept(keep, name, run.options, lambda: measure(run))


def header(result: Measured) -> str:
    """First two lines of a table in Markdown."""
    names = ["variant", *result.scores, "entropy at the end"]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def row(label: str, results: Sequence[Measured]) -> str:
    """A line of that table: means and standard deviations over seeds."""
    columns = [[result.scores[name] for result in results] for name in results[0].scores]
    columns.append([float(result.curve.entropy[-10:].mean()) for result in results])
    return f"| {' | '.join([label, *map(spread, columns)])} |"


def spread(values: Sequence[float]) -> str:
    """Mean +- standard deviation, with as many digits as they need; "2 of 3" of yes and no.

    Of what could be measured, and for how many that holds if not for all.
    """
    found = [value for value in values if not math.isnan(value)]
    if not found:
        return "-"
    if all(isinstance(value, bool) for value in found):
        return f"{sum(found)} of {len(found)}"
    mean = statistics.mean(found)
    std = statistics.stdev(found) if len(found) > 1 else 0.0
    some = "" if len(found) == len(values) else f" ({len(found)} of {len(values)})"
    shown = f"{mean:,.0f} +- {std:,.0f}" if abs(mean) >= 100 else f"{mean:.2f} +- {std:.2f}"
    return shown + some


def plot(
    benchmark: Benchmark, of_run: Mapping[Run, Sequence[Measured]], path: Path, *, columns: int
) -> None:
    """A panel a run: mean and standard deviation over seeds; dotted, without entropy.

    Each algorithm, at each pace, begins a row, and its first panel is the one without entropy.
    """
    rows = panel_rows(list(of_run), columns=columns)
    figure = Figure(figsize=(11, max(3.4, 3 * len(rows))), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(rows), columns, sharex=True, sharey=True, squeeze=False)
    colour_of = dict(zip((run.label for run in of_run), itertools.cycle(COLOURS), strict=False))
    for (without, runs), row_panels in zip(rows, panels, strict=True):
        for axes in row_panels[len(runs) :]:
            axes.set_visible(False)
        for axes, run in zip(row_panels, runs, strict=False):
            env_steps, values = curves(of_run[without])
            axes.plot(
                env_steps, values.mean(axis=0), color=COLOURS[0], linewidth=1.2, linestyle=":"
            )
            draw(axes, of_run[run], colour_of[run.label])
            axes.set_title(run.label, fontsize=11, color=colour_of[run.label], loc="left")
            if benchmark.change:
                middle = 0.5 * of_run[run][0].curve.env_steps[-1] / 1000
                axes.axvline(middle, color="black", linewidth=0.8)
    figure.supylabel(benchmark.curve, fontsize=10)
    figure.supxlabel("env steps (thousands)", fontsize=10)
    figure.suptitle(
        f"{benchmark.maze.name}: each seed, mean and standard deviation (dotted: mean without "
        f"entropy{', line: the change' if benchmark.change else ''})",
        fontsize=11,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def panel_rows(runs: Sequence[Run], *, columns: int) -> Sequence[tuple[Run, Sequence[Run]]]:
    """Rows of at most `columns` runs of one algorithm and pace, each with the first of those."""
    rows = []
    for _, group in itertools.groupby(
        runs, key=lambda run: (VARIANTS[run.variant].kind, run.every)
    ):
        alike = list(group)
        chunks = (alike[first : first + columns] for first in range(0, len(alike), columns))
        rows += [(alike[0], chunk) for chunk in chunks]
    return rows


def draw(axes: Axes, results: Sequence[Measured], colour: str) -> None:
    """The mean in its band, with each seed as a hair."""
    env_steps, values = curves(results)
    mean, std = values.mean(axis=0), values.std(axis=0)
    axes.plot(env_steps, values.T, color=colour, linewidth=0.5, alpha=0.45)
    axes.fill_between(env_steps, mean - std, mean + std, color=colour, alpha=0.2, linewidth=0)
    axes.plot(env_steps, mean, color=colour, linewidth=2)
    axes.grid(alpha=0.3)


def curves(results: Sequence[Measured]) -> tuple[Any, Any]:
    """Env steps [U] in thousands, and each seed's curve [seeds, U], smoothed a little."""
    smooth = np.stack([result.curve.ahead(points=3) for result in results])
    return results[0].curve.env_steps[: smooth.shape[1]] / 1000, smooth


if __name__ == "__main__":
    main()
