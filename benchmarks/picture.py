"""Draws the table: how far each ratio is above the wanted one, or below."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.rows import Measured, Outcome

REACHED, MISSED, NEUTRAL = "#2a7f3f", "#b3392f", "#4a5a6a"


def draw(came: Sequence[Outcome], file: Path) -> None:
    """Write a PNG, or whatever the file's name ends in.

    Rows without a wanted ratio are drawn beside 1. Right of the line is better, also where less is
    better. Rows that were not measured are named, with why.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    height = 1.2 + 0.36 * len(came)
    figure, axes = plt.subplots(figsize=(12, height), layout="constrained")
    for place, outcome in enumerate(came):
        row = outcome.row
        if not isinstance(outcome, Measured):
            axes.text(1.0, place, f" {outcome.why}", va="center", fontsize=8, color="0.45")
            continue
        wanted = 1.0 if row.wanted is None else row.wanted
        points = [wanted / each if row.less_is_better else each / wanted for each in outcome.ratios]
        middle = outcome.achieved(wanted)
        colour = NEUTRAL if row.wanted is None else REACHED if middle >= 1.0 else MISSED
        axes.plot([min(points), max(points)], [place, place], color=colour, lw=5, alpha=0.35)
        axes.plot(middle, place, "o", color=colour, ms=7)
        if row.aim is not None:
            aim = wanted / row.aim if row.less_is_better else row.aim / wanted
            axes.plot(aim, place, "|", color="0.2", ms=14, mew=2)
        axes.annotate(
            f"{outcome.ratio:.2f}",
            (max(points), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
        )
    _finish(axes, came)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _finish(axes: object, came: Sequence[Outcome]) -> None:
    from matplotlib.axes import Axes
    from matplotlib.ticker import FuncFormatter, NullFormatter

    assert isinstance(axes, Axes)
    axes.axvline(1.0, color="0.2", lw=1)
    axes.set_xscale("log")
    axes.set_xticks([0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0])
    axes.set_xlim(_limits(came))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks(range(len(came)), [_label(each) for each in came], fontsize=8)
    axes.set_ylim(len(came) - 0.4, -0.6)
    axes.grid(axis="x", color="0.9")
    axes.set_xlabel(
        "times as good as wanted; number: the ratio itself, median of pairs; band: all pairs; "
        "stroke: aim",
        fontsize=8,
        loc="right",
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _limits(came: Sequence[Outcome]) -> tuple[float, float]:
    seen = [1.0]
    for outcome in came:
        if isinstance(outcome, Measured):
            bars = [each for each in (outcome.row.wanted or 1.0, outcome.row.aim) if each]
            wanted = bars[0]
            seen += [
                wanted / each if outcome.row.less_is_better else each / wanted
                for each in (*outcome.ratios, *bars)
            ]
    return min(0.45, 0.85 * min(seen)), max(2.5, 1.25 * max(seen))


def _label(outcome: Outcome) -> str:
    row = outcome.row
    if row.wanted is None:
        return row.what
    return f"{row.what} ({'at most ' if row.less_is_better else ''}{row.wanted:g})"
