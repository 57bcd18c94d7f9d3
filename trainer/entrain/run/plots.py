"""Draws the curves of one behaviour's training as PNG pictures.

Matplotlib is used through its objects, never through pyplot: nothing here touches global state, so
pictures can be drawn in any thread. A metric that was not measured, or never finite, has none.
"""

import io
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from entrain.evaluation_metrics import EVALUATION_ENV_STEPS, EVALUATION_RETURN_MEAN
from entrain.metric import Metric
from entrain.metrics import (
    CLIP_FRACTION,
    ENTROPY,
    ENTROPY_COEFFICIENT,
    ENTROPY_OF_DIMENSION,
    EPISODE_LENGTH_MEAN,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_STD,
    KL,
    LOSS_VALUE,
    SIGMA,
    STATISTICS,
    STEPS_PER_SECOND,
)
from entrain.quoting import shortened
from entrain.replay_metrics import LOSS_Q, Q_MEAN, REPLAY_AGE
from entrain.run.quantities import compact
from entrain.run.table import Float64Array, Series

# Matplotlib is imported where pictures are drawn: whoever starts a run waits for no picture.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, LINE = "#24292f", "#d8dee4", "#1f6feb"
_PALETTE = ("#1f6feb", "#d4691c", "#2a9d4a", "#8250df", "#cf222e", "#0f8b8d", "#bf3989", "#7d5a1e")
"""Colours of lines with a legend; a person cannot tell more apart."""

_SMOOTH_FROM = 60
"""Points from which a curve is smoothed; with fewer, each point is marked."""


MOST_STATISTICS = 12
"""Pictures of numbers that simulators reported."""


@dataclass(frozen=True)
class Plot:
    """A picture."""

    name: str
    """Of its file, without behaviour and ending."""

    title: str

    caption: str
    """Sentences: what the picture shows."""

    png: bytes


@dataclass(frozen=True)
class _Curve:
    """N finite points."""

    x: Float64Array
    y: Float64Array


Draw = Callable[["Axes", Series], bool]
"""Draws on the axes; returns false if there was nothing to draw."""


def draw_plots(series: Series) -> Iterator[Plot]:
    """Yields every picture that `series` has numbers for, the most important ones first."""
    figure, axes = _canvas()
    for name, (metric, draw) in _PLOTS.items():
        if draw(axes, series):
            title = f"{metric.title} ({metric.unit})" if metric.unit else metric.title
            yield _finished(figure, axes, name, title, metric.meaning)
            figure, axes = _canvas()


def draw_statistics(series: Series) -> Iterator[Plot]:
    """Yields a picture of each number that simulators reported, at most MOST_STATISTICS."""
    names = [name for name in series.columns if name.startswith(STATISTICS)]
    curves = [(name, curve) for name in names if (curve := _curve(series, name)) is not None]
    for number, (name, curve) in enumerate(curves[:MOST_STATISTICS]):
        figure, axes = _canvas()
        _plot(axes, curve, LINE)
        title = shortened(name.removeprefix(STATISTICS), 50)
        caption = f"`{title}`, as simulators reported it."
        if number + 1 == MOST_STATISTICS < len(curves):
            caption += f" {len(curves) - MOST_STATISTICS} more are in metrics.csv."
        yield _finished(figure, axes, f"statistic-{number}", title, caption)


def _canvas() -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(5.8, 3.1), dpi=160, facecolor="white")
    # The same margins everywhere: axes of pictures side by side are in line.
    figure.subplots_adjust(left=0.11, right=0.97, top=0.88, bottom=0.16)
    return figure, figure.add_subplot()


def _finished(figure: "Figure", axes: "Axes", name: str, title: str, caption: str) -> Plot:
    _dress(axes, title)
    png = io.BytesIO()
    figure.savefig(png, format="png", metadata={"Title": title})
    return Plot(name, title, caption, png.getvalue())


def _return(axes: "Axes", series: Series) -> bool:
    """Draw the mean over the episodes that ended in training, and beside it that of evaluations."""
    mean, evaluated = _curve(series, EPISODE_RETURN_MEAN.name), _evaluated(series)
    if mean is not None:
        _mean_in_band(axes, series, mean)
    if evaluated is not None:
        _plot(axes, evaluated, _PALETTE[1], label="evaluations")
        _legend(axes)
    return mean is not None or evaluated is not None


def _evaluated(series: Series) -> _Curve | None:
    """Returns the mean return of each evaluation, at the steps of its weights; None without any."""
    rows = series.evaluations
    if not len(rows.env_steps):
        return None
    return _Curve(
        rows.columns[EVALUATION_ENV_STEPS.name], rows.columns[EVALUATION_RETURN_MEAN.name]
    )


def _mean_in_band(axes: "Axes", series: Series, mean: _Curve) -> None:
    """Draw the mean of training in a band of one standard deviation."""
    spread = series.columns.get(EPISODE_RETURN_STD.name)
    if spread is not None:
        std = np.nan_to_num(spread[_is_finite(series, EPISODE_RETURN_MEAN.name)], posinf=0.0)
        middle, width = _smooth(mean.y), _smooth(std)
        axes.fill_between(
            mean.x, middle - width, middle + width, color=LINE, alpha=0.14, linewidth=0
        )
    _plot(axes, mean, LINE, label="training")


def _single(metric: Metric, *, log_if_wide: bool = False) -> Draw:
    """Returns what draws one metric, from zero up unless some of it is negative."""

    def draw(axes: "Axes", series: Series) -> bool:
        curve = _curve(series, metric.name)
        if curve is None:
            return False
        _plot(axes, curve, LINE)
        if log_if_wide and curve.y.min() > 0 and curve.y.max() > 100 * curve.y.min():
            axes.set_yscale("log")
        elif curve.y.min() >= 0:
            axes.set_ylim(bottom=0)
        return True

    return draw


def _entropy_coefficient(axes: "Axes", series: Series) -> bool:
    """Draw it if it changes; one that is fixed is among the settings."""
    curve = _curve(series, ENTROPY_COEFFICIENT.name)
    if curve is None or curve.y.min() == curve.y.max():
        return False
    return _single(ENTROPY_COEFFICIENT, log_if_wide=True)(axes, series)


def _entropy(axes: "Axes", series: Series) -> bool:
    """Draw the entropy of the whole policy, and of each of its dimensions if it was measured."""
    dimensions = _by_dimension(series, ENTROPY_OF_DIMENSION)
    _plot_dimensions(axes, dimensions)
    total = _curve(series, ENTROPY.name)
    if total is not None:
        _plot(axes, total, INK if dimensions else LINE, label="whole policy")
    if dimensions and len(dimensions) < len(_PALETTE):
        _legend(axes)
    return total is not None or bool(dimensions)


def _sigma(axes: "Axes", series: Series) -> bool:
    dimensions = _by_dimension(series, SIGMA)
    _plot_dimensions(axes, dimensions)
    if 1 < len(dimensions) <= len(_PALETTE):
        _legend(axes)
    if dimensions:
        axes.set_ylim(bottom=0)
    return bool(dimensions)


_PLOTS: Mapping[str, tuple[Metric, Draw]] = {
    "return": (EPISODE_RETURN_MEAN, _return),
    "episode-length": (EPISODE_LENGTH_MEAN, _single(EPISODE_LENGTH_MEAN)),
    "entropy": (ENTROPY, _entropy),
    "sigma": (SIGMA, _sigma),
    "entropy-coefficient": (ENTROPY_COEFFICIENT, _entropy_coefficient),
    "action-value": (Q_MEAN, _single(Q_MEAN)),
    "action-value-loss": (LOSS_Q, _single(LOSS_Q, log_if_wide=True)),
    "replay-age": (REPLAY_AGE, _single(REPLAY_AGE)),
    "value-loss": (LOSS_VALUE, _single(LOSS_VALUE, log_if_wide=True)),
    "kl": (KL, _single(KL)),
    "clip-fraction": (CLIP_FRACTION, _single(CLIP_FRACTION)),
    "steps-per-second": (STEPS_PER_SECOND, _single(STEPS_PER_SECOND)),
}
"""{file: (the metric that names the picture, what draws it)}."""


def _is_finite(series: Series, metric: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.isfinite(series.columns[metric])


def _curve(series: Series, metric: str) -> _Curve | None:
    """Returns the finite points of one metric; None if there are none."""
    if metric not in series.columns:
        return None
    finite = _is_finite(series, metric)
    if not finite.any():
        return None
    return _Curve(series.env_steps[finite].astype(np.float64), series.columns[metric][finite])


def _by_dimension(series: Series, metric: Metric) -> Mapping[str, _Curve]:
    """Returns {dimension: curve} of a family, dimension 10 behind dimension 9."""
    names = [name for name in series.columns if metric.has_name(name)]
    names.sort(key=lambda name: (len(name), name))
    curves = {name.removeprefix(metric.prefix): _curve(series, name) for name in names}
    return {name: curve for name, curve in curves.items() if curve is not None}


def _plot_dimensions(axes: "Axes", dimensions: Mapping[str, _Curve]) -> None:
    """Draw each in its own colour; if they are too many, all faintly with their mean in front."""
    few = len(dimensions) <= len(_PALETTE)
    for (name, curve), colour in zip(
        dimensions.items(), _PALETTE if few else [LINE] * len(dimensions), strict=False
    ):
        if few:
            _plot(axes, curve, colour, label=f"dimension {name}")
        else:
            axes.plot(curve.x, _smooth(curve.y), color=colour, linewidth=0.6, alpha=0.35)
    if not few:
        same = [curve.y for curve in dimensions.values()]
        longest = max(dimensions.values(), key=lambda curve: len(curve.y))
        if all(len(y) == len(longest.y) for y in same):
            _plot(axes, _Curve(longest.x, np.mean(same, axis=0)), INK, label="mean")
            _legend(axes)


def _plot(axes: "Axes", curve: _Curve, colour: str, label: str | None = None) -> None:
    """Draw few points with marks, many faintly with their running mean in front."""
    if len(curve.y) < _SMOOTH_FROM:
        axes.plot(
            curve.x, curve.y, color=colour, label=label, linewidth=1.6, marker="o", markersize=3
        )
        return
    axes.plot(curve.x, curve.y, color=colour, linewidth=0.7, alpha=0.3)
    axes.plot(curve.x, _smooth(curve.y), color=colour, label=label, linewidth=1.8)


def _smooth(y: Float64Array) -> Float64Array:
    """Returns [N] the centred running mean over a fortieth of the curve; a short one as it is."""
    if len(y) < _SMOOTH_FROM:
        return y
    half = max(2, len(y) // 80)
    total = np.concatenate([[0.0], np.cumsum(y)])
    middle = np.arange(len(y))
    low, high = np.maximum(middle - half, 0), np.minimum(middle + half + 1, len(y))
    mean: Float64Array = (total[high] - total[low]) / (high - low)
    return mean


def _legend(axes: "Axes") -> None:
    axes.legend(fontsize=8, frameon=False, ncols=2, labelcolor=INK, loc="best")


def _dress(axes: "Axes", title: str) -> None:
    # A simulator's name for a number may hold a dollar sign, which is no formula.
    axes.set_title(title, fontsize=10.5, color=INK, loc="left", pad=8, parse_math=False)
    axes.set_xlabel("env steps", fontsize=9, color=INK)
    axes.tick_params(labelsize=8.5, colors=INK, color=FAINT)
    axes.grid(visible=True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(left=0)
    from matplotlib.ticker import FuncFormatter, MaxNLocator  # noqa: PLC0415

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(_steps_label))
    for side, spine in axes.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(FAINT)


def _steps_label(steps: float, _position: int | None) -> str:
    return compact(round(steps)) if math.isfinite(steps) and steps >= 0 else ""
