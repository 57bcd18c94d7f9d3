"""What the page shows of a run: plain values, which whoever serves the page gathers when asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Phase: TypeAlias = Literal["starting", "waiting", "training", "ending"]


@dataclass(frozen=True, kw_only=True)
class PolicyFacts:
    """How far one policy has come."""

    name: str
    env_steps: int
    total_steps: int
    updates: int
    episodes: int
    ledger: Mapping[str, int]
    """{opened, closed, dropped, open: steps}."""

    is_learning: bool
    """Whether an update runs now."""


@dataclass(frozen=True, kw_only=True)
class SimulatorFacts:
    """One simulator that takes part."""

    name: str
    peer: str
    behaviours: Sequence[str]
    agents: int
    steps: int
    """Steps that it sent."""

    since: float
    """When it joined this sitting, in seconds since 1970."""

    is_connected: bool
    is_waiting: bool
    """Whether it waits for actions now."""

    latency_p50_s: float
    latency_p99_s: float
    """From a step's arrival to its answer; NaN before the first."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of values by size."""

    bounds: Sequence[float]
    """Upper bounds of the buckets; one more bucket has what is above."""

    counts: Sequence[int]
    total: float
    """Sum of all values."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """How a run stands now."""

    name: str
    phase: Phase
    is_ready: bool
    """Whether simulators may dial in: it listens, and is not ending."""

    address: str
    """Where simulators dial in."""

    started_at: float
    """Seconds since 1970."""

    seconds: float
    """Of all sittings."""

    env_steps: int
    expected_simulators: int
    sessions: Mapping[str, int]
    """{what happened: how often}, see `serving`."""

    refusals: Mapping[str, int]
    """{kind of refusal: how often}."""

    shares: Mapping[str, float]
    """{part: share of the time of the newest rounds}; empty before the first."""

    limit: str
    """What limits the run, in words; "" if it is not known."""

    policies: Sequence[PolicyFacts]
    simulators: Sequence[SimulatorFacts]
    latency: Histogram
    batch_rows: Histogram

    @property
    def num_agents(self) -> int:
        """Agents that await the outcome of an action, over all simulators."""
        return sum(each.agents for each in self.simulators)


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """One file of the run's folder that may be downloaded."""

    name: str
    """With its folder, such as policies/walker.onnx."""

    size: int
    changed_at: float
    """Seconds since 1970."""


class Source(Protocol):
    """Where the page has its facts from, and what it asks of the run. Called on the event loop."""

    def save(self) -> None:
        """Have a checkpoint written as soon as there is a moment for it."""
        ...

    def stop(self) -> None:
        """Have the run save and stop."""
        ...

    def run(self) -> RunFacts:
        """How the run stands now."""
        ...

    def config(self) -> str:
        """The run's configuration, as YAML."""
        ...

    def artefacts(self) -> Sequence[Artefact]:
        """What may be downloaded now."""
        ...

    def path_of(self, artefact: str) -> str | None:
        """Where the file of that name is; None if it is none of `artefacts`."""
        ...
