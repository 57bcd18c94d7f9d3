"""Gathers the facts of a run for its page, on demand, from participants and trainers."""

import time
from collections.abc import Mapping
from typing import Any

from entrain.app.control import RunControl
from entrain.app.limits import round_words
from entrain.app.training import TrainingRun
from entrain.config.run import RunConfig
from entrain.page.facts import (
    ControlFacts,
    Histogram,
    Phase,
    PolicyFacts,
    RunFacts,
    SimulatorFacts,
)
from entrain.run.round_shares import PARTS, RoundShares, RunRounds
from entrain.serving.measures import Distribution, Measures
from entrain.serving.member import Presence
from entrain.serving.participant import Participant
from entrain.trainer import Trainer

_NAN = float("nan")


class FactsOfRun:
    """Of one run, also before it has begun. Owned by the event loop."""

    def __init__(self, config: RunConfig, name: str) -> None:
        """There is no run yet; `name` is that of its folder."""
        self._config = config
        self._name = name
        self._run: TrainingRun | None = None
        self._rounds = RunRounds()
        self._shares: Mapping[str, RoundShares] = {}
        self._began_at = time.time()

    def attach(self, run: TrainingRun) -> None:
        """From now on, gather from this run."""
        self._run = run

    def note_round(self, policy: str, metrics: Mapping[str, float], *, now_s: float) -> None:
        """Remember where the time of a round went, which an update has ended."""
        self._shares = self._rounds.add(policy, metrics, now_s=now_s)

    def now(self) -> RunFacts:
        """How the run stands."""
        run = self._run
        participants = [] if run is None else list(run.participants)
        measures = None if run is None else run.participants.measures
        measures = measures or Measures()
        shares = RoundShares.of_all(list(self._shares.values())) if self._shares else None
        return RunFacts(
            name=self._name,
            phase=self._phase(),
            is_ready=self._phase() not in {"starting", "ending"},
            address="" if run is None else run.address,
            started_at=self._began_at if run is None else run.clock.started_at,
            seconds=0.0 if run is None else run.seconds,
            env_steps=0 if run is None else run.env_steps,
            # One of several ranks expects its part of what the configuration says of all.
            expected_simulators=(
                self._config.expected_simulators if run is None else run.participants.expected
            ),
            sessions={} if run is None else _sessions(run),
            refusals={} if run is None else dict(run.participants.refused),
            shares={} if shares is None else {name: getattr(shares, name) for name in PARTS},
            limit=round_words(self._config, self._shares).sentence if self._shares else "",
            pace=self._rounds.pace,
            policies=[] if run is None else [_policy(each) for each in run.trainers.values()],
            simulators=[_simulator(each) for each in participants],
            latency=_histogram(measures.latency),
            batch_rows=_histogram(measures.batch_rows),
            control=ControlFacts() if run is None else _control(run.control),
        )

    def _phase(self) -> Phase:
        run = self._run
        if run is None or not run.address:
            return "starting"
        if run.participants.is_paused:
            return "ending"
        if run.control.pause.is_held:
            return "paused" if run.control.pause.is_settled else "pausing"
        return "training" if run.participants.has_begun else "waiting"


def _control(control: RunControl) -> ControlFacts:
    export = control.exporting.facts
    return ControlFacts(
        paused_since=control.pause.since if control.pause.is_held else 0.0,
        changes=[str(each) for each in control.changes.waiting],
        export=export.state,
        exported=export.words,
    )


def _sessions(run: TrainingRun) -> Mapping[str, int]:
    counted = run.participants.counters
    return {
        name.removeprefix("sessions_"): count
        for name, count in counted.items()
        if name.startswith("sessions_")
    }


def _policy(trainer: Trainer[Any]) -> PolicyFacts:
    ledger, progress = trainer.ledger, trainer.progress
    return PolicyFacts(
        name=trainer.behaviour,
        env_steps=progress.env_steps,
        total_steps=trainer.total_steps,
        updates=progress.updates,
        episodes=progress.episodes,
        ledger={"opened": ledger.opened, "closed": ledger.closed, "dropped": ledger.dropped},
        is_learning=trainer.is_learning,
    )


def _simulator(participant: Participant) -> SimulatorFacts:
    timer = participant.timer
    return SimulatorFacts(
        name=participant.identity.simulator,
        peer=participant.peer,
        behaviours=tuple(participant.behaviours),
        agents=participant.num_agents,
        steps=participant.step_number,
        since=participant.joined_at,
        is_connected=participant.presence is Presence.RUNNING,
        is_waiting=participant.is_waiting,
        latency_p50_s=_NAN if timer is None else timer.latency.quantile(0.5),
        latency_p99_s=_NAN if timer is None else timer.latency.quantile(0.99),
    )


def _histogram(distribution: Distribution) -> Histogram:
    return Histogram(
        bounds=tuple(distribution.bounds),
        counts=tuple(distribution.counts),
        total=distribution.total,
    )
