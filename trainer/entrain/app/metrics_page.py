"""Describes every metric in words: docs/metrics.md, and the output of `entrain metrics`."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from entrain.errors import ConfigError
from entrain.metric import NEITHER, Metric
from entrain.metrics import METRICS, find_metric

_INTRODUCTION = """\
# Metrics

<!-- Written by `entrain metrics --markdown`; edit trainer/entrain/*metrics.py instead. -->

Each update writes these numbers to `metrics.csv` and to TensorBoard, one row for each behaviour;
an evaluation ([evaluation.md](evaluation.md)) writes those that begin with `evaluation/` in a row
of its own.
The report draws the most important ones. `entrain metrics policy/kl` prints what is said of one.
The line below a name says whether more or less is better; for some, neither is.

`statistics/NAME` is what simulators report by themselves ([simulators.md](simulators.md)):
metrics.csv and TensorBoard have it, in TensorBoard as a histogram where that was asked for.

With several ranks ([ranks.md](ranks.md)) each number is of the steps of all of them together, and
the same on every rank, unless it is said to be of the first rank alone: of its own time, or of its
own simulators. `statistics/NAME` is of each rank's own simulators.

| what you see | look at |
|---|---|
| the return does not rise | `policy/entropy`, `policy/kl`, `value/explained_variance` |
| the return rises and then falls | `policy/kl`, `policy/clip_fraction`, `policy/gradient_norm` |
| no return at all | `rollout/episodes` |
| training is slow | `entrain profile` ([profile.md](profile.md)): `time/wait`, `time/learn` |
| a warning of entropy, sigma or pinned actions | [entropy.md](entropy.md#what-to-watch) |
"""

_GROUPS = {
    "rollout": "What agents experienced",
    "environment": "How far curricula came",
    "evaluation": "What evaluations came to",
    "loss": "What an update minimises",
    "policy": "How the policy changes",
    "entropy": "The weight of entropy",
    "value": "How well the critic predicts",
    "update": "How much an update does",
    "replay": "What a replay holds",
    "time": "Where time goes",
}

_WIDTH = 100


def markdown() -> str:
    """Returns docs/metrics.md."""
    return "\n".join([_INTRODUCTION, *_sections()])


def explain(names: Sequence[str]) -> Iterator[str]:
    """Yields lines for a terminal: what the metrics of these names mean, or all without a name.

    Raises:
        ConfigError: there is no such metric.
    """
    for metric in [_found(name) for name in names] if names else METRICS:
        yield f"{metric.name}  ({_facts(metric)})".replace("`", "")
        yield from _indented(metric.meaning)
        yield from _indented(f"If it looks wrong: {metric.remedy}")


def _found(name: str) -> Metric:
    # The name of a family is no member of it, but a person may ask for it.
    metric = next((each for each in METRICS if each.name == name), None) or find_metric(name)
    if metric is None:
        raise ConfigError(
            f"no metric is called '{name}'; `entrain metrics` lists all, by the names in "
            "metrics.csv"
        )
    return metric


def _sections() -> Iterator[str]:
    for group, metrics in groupby(METRICS, key=lambda metric: metric.name.split("/")[0]):
        yield f"## {_GROUPS[group]}\n"
        for metric in metrics:
            yield f"### `{metric.name}`\n"
            facts = _facts(metric)
            yield f"*{facts[0].upper()}{facts[1:]}.*\n"
            yield _filled(metric.meaning)
            yield _filled(f"**If it looks wrong:** {metric.remedy}")


def _facts(metric: Metric) -> str:
    written = f"written {metric.when}" if metric.when else "written with every update"
    better = "" if metric.better == NEITHER else metric.better
    of_whom = "" if metric.is_of_all_ranks else "of the first rank alone, if there are several"
    return "; ".join(fact for fact in (metric.unit, better, written, of_whom) if fact)


def _filled(text: str) -> str:
    linked = re.sub(r"docs/(\w+\.md)", r"[\1](\1)", text)
    return textwrap.fill(linked, _WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def _indented(text: str) -> list[str]:
    plain = text.replace("`", "")
    return textwrap.wrap(plain, _WIDTH, initial_indent="    ", subsequent_indent="    ")
