"""Writes report.html and plots/*.png, which people open first when a run has ended.

It reads only the run folder (metrics.csv, summary.json, config.yaml, recordings/), so a report can
be written again at any time.
"""

import logging
import math
from collections.abc import Mapping

import numpy as np

from entrain.config.hiding import without_secrets
from entrain.evaluation_metrics import EVALUATION_ENV_STEPS, EVALUATION_RETURN_MEAN
from entrain.metrics import EPISODE_RETURN_MEAN, EPISODES
from entrain.run.durable import replace_file
from entrain.run.folder import RunFolder
from entrain.run.plots import Plot, draw_plots, draw_statistics
from entrain.run.report_page import Section, render_page
from entrain.run.report_recordings import read_recordings
from entrain.run.summary import RunSummary
from entrain.run.table import Series, read_metrics

logger = logging.getLogger(__name__)

FINAL_SHARE = 0.1
"""The last part of all env steps: the final return is the mean over its episodes."""


def write_report(folder: RunFolder, summary: RunSummary) -> None:
    """Write `summary` and the report into the folder; errors of the disk are only logged."""
    try:
        summary.save(folder.summary)
        rewrite_report(folder)
    except OSError as error:
        logger.warning("the report in %s cannot be written: %s", folder.path, error.strerror)


def rewrite_report(folder: RunFolder) -> None:
    """Write the report of a run that ended earlier.

    Raises:
        ConfigError: the folder has no summary, so its run never ended.
    """
    summary = RunSummary.load(folder.summary)
    series = read_metrics(folder.metrics) if folder.metrics.is_file() else {}
    sections = [
        _section(folder, summary, behaviour, one) for behaviour, one in sorted(series.items())
    ]
    config = folder.config.read_text(encoding="utf-8") if folder.config.is_file() else ""
    recordings = read_recordings(folder.recordings)
    replace_file(
        folder.report, render_page(summary, sections, recordings, config=without_secrets(config))
    )


def final_return(series: Series) -> float:
    """Returns the mean return of the episodes that ended in the last FINAL_SHARE of the env steps.

    If none ended there, that of the last update in which some did; NaN if none ever ended.
    """
    means = series.columns.get(EPISODE_RETURN_MEAN.name)
    if means is None:
        return math.nan
    episodes = series.columns.get(EPISODES.name, np.ones_like(means))
    weights = np.where(np.isfinite(means) & np.isfinite(episodes), episodes, 0.0)
    ended = np.flatnonzero(weights > 0)
    if not len(ended):
        return math.nan
    late = ended[series.env_steps[ended] > (1.0 - FINAL_SHARE) * series.env_steps[-1]]
    last = late if len(late) else ended[-1:]
    return float(np.average(means[last], weights=weights[last]))


def best_evaluation(series: Series) -> tuple[float, int] | None:
    """Returns the largest mean return of an evaluation, and env steps then; None without any."""
    rows = series.evaluations
    if not len(rows.env_steps):
        return None
    means, steps = (
        rows.columns[each.name] for each in (EVALUATION_RETURN_MEAN, EVALUATION_ENV_STEPS)
    )
    best = int(np.argmax(np.where(np.isfinite(means), means, -np.inf)))
    return float(means[best]), int(steps[best])


def _section(folder: RunFolder, summary: RunSummary, behaviour: str, series: Series) -> Section:
    plots = [*draw_plots(series), *draw_statistics(series)]
    _write_plots(folder, behaviour, plots)
    return Section(
        behaviour,
        summary.policies.get(behaviour),
        final_return(series),
        plots,
        best_evaluation=best_evaluation(series),
    )


def _write_plots(folder: RunFolder, behaviour: str, plots: list[Plot]) -> None:
    folder.plots.mkdir(exist_ok=True)
    drawn: Mapping[str, bytes] = {plot.name: plot.png for plot in plots}
    for name, png in drawn.items():
        replace_file(folder.plot(behaviour, name), png)
