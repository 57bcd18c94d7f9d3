"""A page over facts that a test makes up, asked without a socket."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from entrain.page.access import Access, Tokens
from entrain.page.board import Board, LogLines
from entrain.page.facts import (
    Artefact,
    Form,
    Histogram,
    PolicyFacts,
    RefusedError,
    RunFacts,
    SimulatorFacts,
)
from entrain.page.hosts import Hosts
from entrain.page.site import Site

READ, CONTROL = "read-token-of-this-run", "control-token-of-this-run"
NAN = float("nan")


def policy(name: str = "walker", **changed: Any) -> PolicyFacts:
    """Facts of a policy that is half done."""
    facts = PolicyFacts(
        name=name,
        env_steps=1000,
        total_steps=2000,
        updates=5,
        episodes=7,
        ledger={"opened": 1010, "closed": 1000, "dropped": 2},
        is_learning=False,
    )
    return replace(facts, **changed)


def simulator(name: str = "sim-0", **changed: Any) -> SimulatorFacts:
    """Facts of a simulator that is connected."""
    facts = SimulatorFacts(
        name=name,
        peer="10.0.0.7",
        behaviours=("walker",),
        agents=4,
        steps=100,
        since=1_800_000_000.0,
        is_connected=True,
        is_waiting=False,
        latency_p50_s=0.001,
        latency_p99_s=NAN,
    )
    return replace(facts, **changed)


def run_facts(**changed: Any) -> RunFacts:
    """Facts of a run with one policy and one simulator."""
    facts = RunFacts(
        name="walk",
        phase="training",
        is_ready=True,
        address="localhost:50051",
        started_at=1_800_000_000.0,
        seconds=60.0,
        env_steps=1000,
        expected_simulators=1,
        sessions={"joined": 1},
        refusals={"bad_step": 2},
        shares={"waiting": 0.75, "updates": 0.25},
        limit="simulators are the limit",
        policies=[policy()],
        simulators=[simulator()],
        latency=Histogram(bounds=(0.001, 0.01), counts=(3, 2, 1), total=0.5),
        batch_rows=Histogram(bounds=(1.0, 2.0), counts=(0, 6, 0), total=12.0),
    )
    return replace(facts, **changed)


@dataclass
class MadeUp:
    """A source whose facts a test sets."""

    facts: RunFacts = field(default_factory=run_facts)
    text: str = "name: walk\n"
    files: dict[str, str] = field(default_factory=dict)
    """{name: path}."""

    asked: int = 0
    told: list[str] = field(default_factory=list)
    """What was asked of the run."""

    def save(self) -> None:
        self.told.append("save")

    def stop(self) -> None:
        self.told.append("stop")

    def pause(self) -> None:
        self.told.append("pause")

    def go_on(self) -> None:
        self.told.append("go on")

    def change(self, settings: Sequence[str], *, from_update: int | None) -> None:
        if "wrong=1" in settings:
            raise RefusedError("there is no option 'wrong'")
        self.told.append(f"change {settings} {from_update}")

    def export(self, form: Form) -> None:
        self.told.append(f"export {form}")

    def run(self) -> RunFacts:
        self.asked += 1
        return self.facts

    def config(self) -> str:
        return self.text

    def artefacts(self) -> Sequence[Artefact]:
        return [Artefact(name=name, size=1, changed_at=0.0) for name in self.files]

    def path_of(self, artefact: str) -> str | None:
        return self.files.get(artefact)


class Served:
    """One page and what it is made of."""

    def __init__(
        self,
        source: MadeUp | None = None,
        *,
        is_open: bool = True,
        listening: str = "localhost",
        hosts: Sequence[str] = (),
        came_from: str = "127.0.0.1",
    ) -> None:
        self.now_s = 0.0
        self.source = source or MadeUp()
        self.board = Board(LogLines(lambda record: (record.levelname, record.getMessage())))
        self.access = Access(Tokens(read=READ, control=CONTROL), port=8080, is_open=is_open)
        self.site = Site(
            self.board,
            self.source,
            self.access,
            Hosts(listening, hosts),
            is_secure=False,
            clock=lambda: self.now_s,
        )
        self._came_from = came_from

    def client(self, url: str = "http://127.0.0.1", **options: Any) -> httpx.AsyncClient:
        """A browser or program that asks this page."""
        transport = httpx.ASGITransport(
            self.site.application, client=(self._came_from, 1234), raise_app_exceptions=True
        )
        return httpx.AsyncClient(transport=transport, base_url=url, **options)
