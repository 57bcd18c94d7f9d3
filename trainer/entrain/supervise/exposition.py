"""The supervisor's numbers in the text form that Prometheus scrapes.

A run's own numbers are at its own page: this says which runs there are, and how they do.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from entrain.supervise.facts import ServiceFacts
from entrain.supervise.served_run import STATES

MOST_RUNS = 256
"""That have series of their own."""

LIVING = ("starting", "running", "ending", "stopping")


class Exposition:
    """Renders everything. Owned by the event loop."""

    def __init__(self, facts: Callable[[], ServiceFacts]) -> None:
        """Render what `facts` says when asked."""
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        self._registry.register(_Collector(facts))

    def render(self) -> bytes:
        """Returns the text of now."""
        return generate_latest(self._registry)


class _Collector(Collector):
    def __init__(self, facts: Callable[[], ServiceFacts]) -> None:
        self._facts = facts

    def describe(self) -> Iterable[Family]:
        """Nothing: names are known when they are collected."""
        return ()

    def collect(self) -> Iterator[Family]:
        """Yields every family."""
        facts = self._facts()
        yield GaugeMetricFamily(
            "entrain_serve_ready",
            "1 if the directory is read and runs are started.",
            value=float(facts.is_ready),
        )
        runs = GaugeMetricFamily("entrain_serve_runs", "Runs by state.", labels=["state"])
        for state in STATES:
            runs.add_metric([state], facts.states.get(state, 0))
        yield runs
        yield CounterMetricFamily(
            "entrain_serve_restarts",
            "How often runs whose process had ended were started again.",
            value=facts.restarts,
        )
        restarts = CounterMetricFamily(
            "entrain_serve_run_restarts", "The same, of each run.", labels=["run"]
        )
        lives = GaugeMetricFamily(
            "entrain_serve_run_lives", "1 if the run has a process.", labels=["run"]
        )
        steps = CounterMetricFamily(
            "entrain_serve_run_env_steps",
            "Outcomes received, by the newest update of each policy.",
            labels=["run", "policy"],
        )
        for run in facts.runs[:MOST_RUNS]:
            restarts.add_metric([run.name], run.restarts)
            lives.add_metric([run.name], float(run.state in LIVING))
            for policy in run.policies:
                steps.add_metric([run.name, policy.name], policy.env_steps)
        yield from (restarts, lives, steps)
        yield GaugeMetricFamily(
            "entrain_serve_runs_left_out",
            f"Runs beyond {MOST_RUNS}, which have no series of their own.",
            value=max(0, len(facts.runs) - MOST_RUNS),
        )
