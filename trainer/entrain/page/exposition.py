"""The run's numbers in the text form that Prometheus scrapes.

It has a registry of its own: nothing is registered globally. Simulators' names are not labels,
because their number is unbounded.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from entrain.metric import EACH, EACH_NAME, Metric
from entrain.metrics import METRICS, find_metric
from entrain.page.board import Board
from entrain.page.facts import Histogram, PolicyFacts, RunFacts
from entrain.version import __version__

MOST_POLICIES = 64
"""Most policies that have series; metrics.csv has all."""

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_PREFIX = "entrain_"


def series_name(metric: Metric) -> str:
    """Returns the name of a metric's series: `policy/kl` is `entrain_policy_kl`.

    One of each action dimension has a name of its own: there is `policy/entropy` as well.
    """
    each = "_by_dimension" if metric.name.endswith(f"/{EACH}") else ""
    return _PREFIX + metric.prefix.strip("/").replace("/", "_") + each


class Exposition:
    """Renders everything. Owned by the event loop."""

    def __init__(self, facts: Callable[[], RunFacts], board: Board) -> None:
        """Render what `facts` and `board` say when asked."""
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        self._registry.register(_RunCollector(facts, board))

    def render(self) -> bytes:
        """Returns the text with the current numbers."""
        return generate_latest(self._registry)


class _RunCollector(Collector):
    def __init__(self, facts: Callable[[], RunFacts], board: Board) -> None:
        self._facts = facts
        self._board = board

    def describe(self) -> Iterable[Family]:
        """Nothing: names are known when they are collected."""
        return ()

    def collect(self) -> Iterator[Family]:
        """Yields every family."""
        facts = self._facts()
        yield from _of_run(facts)
        yield _counts(
            "log_lines", "Warnings and errors that were logged.", "level", self._board.log.counts
        )
        yield from _of_policies(facts.policies[:MOST_POLICIES])
        yield from self._of_updates([each.name for each in facts.policies[:MOST_POLICIES]])
        yield _histogram(
            "exchange_latency_seconds",
            "From the arrival of a simulator's step to the answer with its actions.",
            facts.latency,
        )
        yield _histogram(
            "batch_rows", "Agents whose actions were asked for in one batch.", facts.batch_rows
        )

    def _of_updates(self, policies: Sequence[str]) -> Iterator[Family]:
        """The metrics of each policy's newest update, by the names of `metrics`."""
        families: dict[str, GaugeMetricFamily] = {}
        for policy in policies:
            curves = self._board.curves(policy)
            for name, value in ({} if curves is None else curves.newest).items():
                metric = find_metric(name)
                if metric is None:
                    continue
                family = families.get(metric.name)
                if family is None:
                    family = families[metric.name] = _family_of(metric)
                member = [name.removeprefix(metric.prefix)] if metric.is_family else []
                family.add_metric([policy, *member], value)
        # In the order in which they are declared, so that two scrapes can be compared.
        yield from (families[metric.name] for metric in METRICS if metric.name in families)


def _family_of(metric: Metric) -> GaugeMetricFamily:
    unit = f" ({metric.unit})" if metric.unit else ""
    member = []
    if metric.is_family:
        member = ["name" if metric.name.endswith(f"/{EACH_NAME}") else "dimension"]
    return GaugeMetricFamily(
        series_name(metric), f"{metric.meaning}{unit}", labels=["policy", *member]
    )


def _of_run(facts: RunFacts) -> Iterator[Family]:
    yield InfoMetricFamily(
        f"{_PREFIX}run", "Which run this is.", {"run": facts.name, "version": __version__}
    )
    gauges: Mapping[str, tuple[str, float]] = {
        "ready": ("1 if simulators may dial in: it listens and is not ending.", facts.is_ready),
        "paused": (
            "1 if the run stands still until it is told to go on.",
            facts.control.paused_since > 0.0,
        ),
        "run_seconds": ("Wall-clock time of the run, over all sittings.", facts.seconds),
        "simulators_expected": (
            "Simulators that must have joined before the first batch.",
            facts.expected_simulators,
        ),
        "simulators_connected": (
            "Simulators that are connected.",
            sum(each.is_connected for each in facts.simulators),
        ),
        "simulators_detached": (
            "Simulators whose connection broke, in their grace time.",
            sum(not each.is_connected for each in facts.simulators),
        ),
        "agents": ("Agents that await the outcome of an action.", facts.num_agents),
        "policies_left_out": (
            f"Policies beyond {MOST_POLICIES}, which have no series.",
            max(0, len(facts.policies) - MOST_POLICIES),
        ),
    }
    for name, (words, value) in gauges.items():
        yield GaugeMetricFamily(_PREFIX + name, words, value=float(value))
    if "waiting" in facts.shares:
        yield GaugeMetricFamily(
            f"{_PREFIX}learner_starving_ratio",
            "Share of the newest rounds' time in which the trainer waited for simulators: near 1, "
            "more simulators make the run faster; near 0, they would not.",
            value=facts.shares["waiting"],
        )
    shares = GaugeMetricFamily(
        f"{_PREFIX}round_share",
        "Shares of the newest rounds' time; their sum is 1.",
        labels=["part"],
    )
    for part, share in facts.shares.items():
        shares.add_metric([part], share)
    yield shares
    yield _counts("sessions", "What happened to simulators' sessions.", "event", facts.sessions)
    yield _counts("refusals", "Simulators that were refused, by why.", "reason", facts.refusals)


def _counts(name: str, words: str, label: str, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(_PREFIX + name, words, labels=[label])
    for member, count in counts.items():
        family.add_metric([member], count)
    return family


def _of_policies(policies: Sequence[PolicyFacts]) -> Iterator[Family]:
    steps = CounterMetricFamily(f"{_PREFIX}env_steps", "Outcomes received.", labels=["policy"])
    updates = CounterMetricFamily(f"{_PREFIX}updates", "Updates done.", labels=["policy"])
    episodes = CounterMetricFamily(f"{_PREFIX}episodes", "Episodes ended.", labels=["policy"])
    total = GaugeMetricFamily(
        f"{_PREFIX}env_steps_wanted", "Outcomes after which the policy is done.", labels=["policy"]
    )
    ledger = CounterMetricFamily(
        f"{_PREFIX}steps",
        "Steps by fate: opened by an action, closed by its outcome, dropped without one.",
        labels=["policy", "fate"],
    )
    for each in policies:
        steps.add_metric([each.name], each.env_steps)
        updates.add_metric([each.name], each.updates)
        episodes.add_metric([each.name], each.episodes)
        total.add_metric([each.name], each.total_steps)
        for fate, count in each.ledger.items():
            ledger.add_metric([each.name, fate], count)
    yield from (steps, updates, episodes, total, ledger)


def _histogram(name: str, words: str, histogram: Histogram) -> HistogramMetricFamily:
    buckets, below = [], 0
    bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
    for bound, count in zip(bounds, histogram.counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return HistogramMetricFamily(_PREFIX + name, words, buckets=buckets, sum_value=histogram.total)
