"""The facts of a run that its page shows: plain values, gathered when they are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

Phase: TypeAlias = Literal["starting", "waiting", "training", "pausing", "paused", "ending"]
"""pausing: a batch is out or an update runs, after which the run stands still."""

Form: TypeAlias = Literal["onnx", "unity", "json"]
"""Format of exported policies."""


class RefusedError(Exception):
    """A request to the run cannot be done; the message says why."""


@dataclass(frozen=True, kw_only=True)
class ControlFacts:
    """The requests to a run, and how far they are."""

    paused_since: float = 0.0
    """Seconds since 1970; 0 if it is not paused."""

    changes: Sequence[str] = ()
    """Those that wait for an update, in words."""

    export: Literal["none", "running", "done", "failed"] = "none"
    """How the newest export stands."""

    exported: str = ""
    """What it wrote, or why it failed."""


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
    control: ControlFacts = ControlFacts()
    pace: str = ""
    """Where policies learn from a replay: which waits, collecting or learning, in words."""

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
    """Gives the page its facts, and passes its requests to the run. Called on the event loop."""

    def save(self) -> None:
        """Have a checkpoint written as soon as there is a moment for it."""
        ...

    def stop(self) -> None:
        """Have the run save and stop."""
        ...

    def pause(self) -> None:
        """Have the run stand still after the batch and update of now. RefusedError if it ends."""
        ...

    def go_on(self) -> None:
        """Let a paused run go on."""
        ...

    def change(self, settings: Sequence[str], *, from_update: int | None) -> None:
        """Have options change before an update begins.

        Args:
            settings: each PATH=VALUE.
            from_update: its number, from 1; None: the next one.

        Raises:
            RefusedError: one is wrong or cannot change; nothing does.
        """
        ...

    def export(self, form: Form) -> None:
        """Have policies written as ONNX. RefusedError if there are none, or it is being done."""
        ...

    def run(self) -> RunFacts:
        """How the run stands now."""
        ...

    def config(self) -> str:
        """The run's configuration, as YAML."""
        ...

    def artefacts(self) -> Sequence[Artefact]:
        """The files that may be downloaded now."""
        ...

    def path_of(self, artefact: str) -> str | None:
        """Where the file of that name is; None if it is none of `artefacts`."""
        ...
