"""Draws how the settings of the zoo learn: a plot each, a line for each seed."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.zoo_results import Result, digest
from benchmarks.zoo_settings import Setting

COLUMNS = 4
SOURCE = "Results"
"""Text of the PNG that names the results it shows."""


def draw(settings: Sequence[Setting], results: Sequence[Result], file: Path) -> None:
    """Write a PNG of the settings that have results; bars are dashed.

    Lines are returns while training, with noise; dots are returns without noise after it.
    """
    shown = [setting for setting in settings if any(r.setting == setting.name for r in results)]
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(3.4 * COLUMNS, 2.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, setting in enumerate(shown, start=1):
        axes = figure.add_subplot(rows, COLUMNS, place)
        _draw(axes, setting, [each for each in results if each.setting == setting.name])
    figure.supxlabel(
        "env steps; lines: returns while training, with noise; dots: without noise after it; "
        "dashed: solved",
        fontsize=9,
    )
    figure.savefig(file, dpi=110, metadata={SOURCE: digest(results)})


def _draw(axes: Axes, setting: Setting, results: Sequence[Result]) -> None:
    for result in results:
        color = f"C{result.seed - 1}"
        steps, returns = zip(*result.curve, strict=True)
        axes.plot(steps, returns, color=color, linewidth=1, label=f"seed {result.seed}")
        axes.plot(result.env_steps, result.return_mean, "o", color=color, markersize=4)
    axes.axhline(setting.bar, color="0.3", linestyle="--", linewidth=0.8)
    axes.set_title(f"{setting.environment}, {setting.algorithm_name}", fontsize=9)
    axes.tick_params(labelsize=7)
    axes.xaxis.set_major_formatter(lambda steps, _: f"{steps / 1000:g}k")
    axes.grid(alpha=0.3)
