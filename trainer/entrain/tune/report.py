"""Writes what came of a tuning: best.yaml, report.html with its pictures, and lines for people."""

import html
import json
import math
from collections.abc import Iterator, Mapping, Sequence

from entrain.app.info import table
from entrain.config.hiding import without_secrets
from entrain.config.run import RunConfig
from entrain.config.source import Source
from entrain.config.yaml_text import write_yaml
from entrain.metric import Metric
from entrain.metrics import find_metric
from entrain.run.durable import replace_file
from entrain.run.page_parts import figure, folded, page, table_of, tiles
from entrain.run.plots import Plot
from entrain.run.quantities import counted, duration
from entrain.tune.folder import TuningFolder
from entrain.tune.pictures import MOST_OPTIONS, draw_history, draw_importances, draw_option
from entrain.tune.study import Study, Tried

MOST_SHOWN = 10
"""Trials that are printed; the page has all."""

_STATES = {"pruned": "stopped early"}
"""{state: what people read}, where it is not the same."""


def write_report(
    study: Study,
    folder: TuningFolder,
    config: RunConfig,
    *,
    metric: str,
    settings: Source,
) -> Sequence[str]:
    """Write the report of a tuning as it stands, and return lines for people.

    Args:
        study: what was tried.
        folder: to write to.
        config: of the file.
        metric: that trials are compared by.
        settings: of the file, for the best trial.
    """
    best = study.best()
    text = ""
    if best is not None:
        text = _best_settings(study.settings_of(best), config, settings)
        replace_file(folder.best, text)
    trials, importances = study.trials(), study.importances()
    plots = [*_plots(study, trials, importances, metric)]
    folder.plots.mkdir(exist_ok=True)
    for plot in plots:
        replace_file(folder.plots / f"{plot.name}.png", plot.png)
    replace_file(
        folder.report,
        _page(config.name, trials, best, plots, study=study, metric=metric, text=text),
    )
    return [*_lines(study, trials, best, importances, metric), *_next(folder, best)]


def _best_settings(best: Source, config: RunConfig, settings: Source) -> str:
    """The settings of the best trial as a run of its own, in the order of the file."""
    values = {**best.values, "name": f"{config.name}-best"}
    ordered = {name: values[name] for name in settings.values if name in values}
    return write_yaml({"name": values["name"], **ordered, **values})


def _plots(
    study: Study, trials: Sequence[Tried], importances: Mapping[str, float], metric: str
) -> Iterator[Plot]:
    options = {option.name: option for option in study.searched}
    numbers = {name: number for number, name in enumerate(options, 1)}
    # What matters most is shown first.
    names = [*importances, *(name for name in options if name not in importances)][:MOST_OPTIONS]
    drawn = [
        draw_history(trials, metric, study.direction),
        draw_importances(importances, study.labels),
        *(
            draw_option(options[name], study.labels[name], trials, metric, number=numbers[name])
            for name in names
        ),
    ]
    yield from (plot for plot in drawn if plot is not None)


def _lines(
    study: Study,
    trials: Sequence[Tried],
    best: Tried | None,
    importances: Mapping[str, float],
    metric: str,
) -> Iterator[str]:
    yield f"{_counts(trials)}, compared by {metric}"
    if best is None:
        yield "no trial is completed yet"
        return
    rows = [_row(trial, study, metric) for trial in _ordered(trials, study)]
    yield from table([_heads(study), *rows[:MOST_SHOWN]])
    if len(rows) > MOST_SHOWN:
        yield f"... {len(rows) - MOST_SHOWN} more are in the report"
    if importances:
        shares = (
            f"{study.labels[name]} {share:.0%}" for name, share in list(importances.items())[:5]
        )
        yield f"what matters: {', '.join(shares)}"


def _next(folder: TuningFolder, best: Tried | None) -> Iterator[str]:
    yield f"report: {folder.report}"
    if best is not None:
        yield f"to train with the values of trial {best.number}: entrain train {folder.best}"


def _page(
    name: str,
    trials: Sequence[Tried],
    best: Tried | None,
    plots: Sequence[Plot],
    *,
    study: Study,
    metric: str,
    text: str,
) -> str:
    known = find_metric(metric)
    facts = {
        "compared by": f"<small>{html.escape(metric)}</small>",
        "best": "-" if best is None else _value(best.value, known),
        "of trial": "-" if best is None else str(best.number),
        "trials": f"{len(trials)} <small>{html.escape(_shares(trials))}</small>",
        "time in trials": duration(
            sum(it.seconds for it in trials if math.isfinite(it.seconds)),
        ),
    }
    rows = [_row(trial, study, metric) for trial in _ordered(trials, study)]
    figures = "".join(map(figure, plots))
    folds = folded("Settings of the best trial", f"<pre>{html.escape(without_secrets(text))}</pre>")
    return page(
        f"{name}: tuning",
        "<p>What was tried, and what came of it. <code>best.yaml</code> has the settings of the "
        f"best trial; <code>runs/</code> has every run.</p>\n{tiles(facts)}",
        f"""<main>
<div class="plots">
{figures}</div>
<h2>Trials</h2>
{table_of(_heads(study), rows)}
</main>
{folds if text else ""}""",
    )


def _heads(study: Study) -> Sequence[str]:
    return ("trial", "state", "value", "time", *(study.labels[it.name] for it in study.searched))


def _row(trial: Tried, study: Study, metric: str) -> Sequence[str]:
    chosen = (_chosen(trial, option.name) for option in study.searched)
    state = _STATES.get(trial.state, trial.state)
    value = _value(trial.value, find_metric(metric))
    return (str(trial.number), state, value, duration(trial.seconds), *chosen)


def _chosen(trial: Tried, name: str) -> str:
    if name not in trial.chosen:
        return "-"
    value = trial.chosen[name]
    return f"{value:.4g}" if isinstance(value, float) else json.dumps(value)


def _value(value: float, metric: Metric | None) -> str:
    if metric is not None:
        return metric.text(value)
    return f"{value:.4g}" if math.isfinite(value) else "-"


def _ordered(trials: Sequence[Tried], study: Study) -> Sequence[Tried]:
    """Completed trials, the best first; then the others in the order in which they were tried."""
    sign = -1.0 if study.direction == "maximize" else 1.0
    completed = [it for it in trials if it.state == "completed"]
    others = [it for it in trials if it.state not in {"completed", "waiting"}]
    return [*sorted(completed, key=lambda it: sign * it.value), *others]


def _counts(trials: Sequence[Tried]) -> str:
    return f"{counted(len(trials), 'trial')}: {_shares(trials)}" if trials else "no trial yet"


def _shares(trials: Sequence[Tried]) -> str:
    states = [_STATES.get(it.state, it.state) for it in trials]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
