"""Draws how a tuning went: its history, what matters, and each option against what came of it."""

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from entrain.quoting import shortened
from entrain.run.names import quoted
from entrain.run.plots import FAINT, INK, LINE, Plot
from entrain.tune.space import Choices, Numbers, Searched
from entrain.tune.study import Direction, Tried

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STOPPED = "#d4691c"
"""Of trials that were stopped early."""

MOST_OPTIONS = 12
"""Options of which there is a picture."""


def draw_history(trials: Sequence[Tried], metric: str, direction: Direction) -> Plot | None:
    """Each trial's value, and the best so far; None if no trial has a value."""
    completed, stopped = _with_value(trials, "completed"), _with_value(trials, "pruned")
    if not completed and not stopped:
        return None
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    figure, axes = _canvas()
    if stopped:
        _points(axes, [it.number for it in stopped], stopped, completed=False)
    if completed:
        _points(axes, [it.number for it in completed], completed, completed=True)
        best = np.maximum if direction == "maximize" else np.minimum
        values = best.accumulate([it.value for it in completed])
        numbers = [it.number for it in completed]
        axes.step(numbers, values, where="post", color=INK, linewidth=1.4, label="best so far")
    axes.set_xlabel("trial", fontsize=9, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.legend(fontsize=8, frameon=False, labelcolor=INK, loc="best")
    caption = f"`{metric}` of each trial; of those that were stopped early, when they were."
    return _finished(figure, axes, "history", "History", caption)


def draw_importances(importances: Mapping[str, float], labels: Mapping[str, str]) -> Plot | None:
    """Draws the importance of each option; None if it is not known yet."""
    if not importances:
        return None
    figure, axes = _canvas(left=0.42)
    names = list(importances)[:MOST_OPTIONS][::-1]
    shares = [importances[name] for name in names]
    bars = axes.barh(
        [shortened(labels[name], 40) for name in names], shares, color=LINE, height=0.6
    )
    axes.bar_label(bars, [f"{share:.0%}" for share in shares], padding=3, fontsize=8, color=INK)
    axes.set_xlim(0, max(max(shares) * 1.15, 1e-9))
    axes.xaxis.set_visible(False)
    caption = (
        "Share of each option in whether a trial is among the best tenth (PED-ANOVA). Of few "
        "trials it is a rough guess."
    )
    return _finished(figure, axes, "importances", "What matters", caption)


def draw_option(
    option: Searched, label: str, trials: Sequence[Tried], metric: str, *, number: int
) -> Plot | None:
    """Draws the trials' values against one option; None if no trial has tried it.

    Args:
        option: that is varied.
        label: what people call it.
        trials: all of them.
        metric: that trials are compared by.
        number: tells its file from those of other options with the same last name.
    """
    tried = [it for it in trials if option.name in it.chosen]
    completed, stopped = _with_value(tried, "completed"), _with_value(tried, "pruned")
    if not completed and not stopped:
        return None
    figure, axes = _canvas()
    for some in (stopped, completed):
        if some:
            places = [_place(option, it.chosen[option.name]) for it in some]
            _points(axes, places, some, completed=some is completed)
    _lay_out(axes, option)
    axes.set_xlabel(shortened(option.name, 70), fontsize=9, color=INK, parse_math=False)
    name = f"option-{number}-{quoted(str(option.path[-1]))}"
    caption = f"`{metric}` of each trial against `{option.name}`."
    return _finished(figure, axes, name, shortened(label, 60), caption)


def _lay_out(axes: "Axes", option: Searched) -> None:
    """Let the axis be all of the option's range."""
    if isinstance(option, Choices):
        words = [shortened(json.dumps(value), 24) for value in option.values]
        axes.set_xticks(range(len(words)), words, parse_math=False)
        axes.set_xlim(-0.5, len(words) - 0.5)
    elif option.is_log:
        from matplotlib.ticker import LogFormatterSciNotation  # noqa: PLC0415

        axes.set_xscale("log")
        margin = (option.high / option.low) ** 0.05
        axes.set_xlim(option.low / margin, option.high * margin)
        # Of a range within one order of magnitude, some minor ticks must say where they are.
        axes.xaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(1.5, 0.4)))
    else:
        margin = 0.05 * (option.high - option.low)
        axes.set_xlim(option.low - margin, option.high + margin)


def _place(option: Numbers | Choices, value: Any) -> float:
    if isinstance(option, Choices):
        return float(list(option.values).index(value))
    return float(value)


def _with_value(trials: Sequence[Tried], state: str) -> Sequence[Tried]:
    return [it for it in trials if it.state == state and math.isfinite(it.value)]


def _points(axes: "Axes", x: Sequence[float], trials: Sequence[Tried], *, completed: bool) -> None:
    axes.plot(
        x,
        [it.value for it in trials],
        color=LINE if completed else _STOPPED,
        marker="o" if completed else "x",
        label="completed" if completed else "stopped early",
        markersize=5,
        linestyle="",
        alpha=0.8,
    )


def _canvas(*, left: float = 0.11) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure  # noqa: PLC0415 - a run that is only begun needs none

    figure = Figure(figsize=(5.8, 3.1), dpi=160, facecolor="white")
    figure.subplots_adjust(left=left, right=0.97, top=0.88, bottom=0.16)
    return figure, figure.add_subplot()


def _finished(figure: "Figure", axes: "Axes", name: str, title: str, caption: str) -> Plot:
    axes.set_title(title, fontsize=10.5, color=INK, loc="left", pad=8, parse_math=False)
    axes.tick_params(which="both", labelsize=8.5, colors=INK, color=FAINT)
    axes.grid(visible=True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(FAINT)
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Title": title})
    return Plot(name, title, caption, png.getvalue())
