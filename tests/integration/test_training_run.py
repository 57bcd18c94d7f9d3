"""Whole runs with simulators of every habit: two kinds of agents, coming, going, vanishing."""

import asyncio
import csv
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entrain.app import run_results
from entrain.app.launcher import Launcher
from entrain.app.training import TrainingRun
from entrain.run.display import SimulatorsRow
from entrain.run.folder import RunFolder
from entrain.run.log_display import LogDisplay
from entrain.state import State
from entrain_envs.client import TrainerClient
from entrain_envs.connection import Connection, Destination
from entrain_envs.environment import Driver, Report
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from live_run import Moment, config_from, differences, newest, simulators, train

CAT = BehaviourSpec("cat", (ObservationSpec("eyes", (2,)),), ActionSpec((-1.0,), (1.0,)))
DOG = BehaviourSpec("dog", (ObservationSpec("nose", (3,)),), ActionSpec(branches=(3,)))
NUM_AGENTS = {"cat": 2, "dog": 3}
LIFE = {"cat": 5, "dog": 8}


class Pets:
    """Cats and dogs in one simulator: what they see next depends on what they did."""

    behaviours = (CAT, DOG)

    def reset(
        self,
        *,
        seed: int,
        parameters: Mapping[str, float],
    ) -> Mapping[str, TimestepBatch]:
        self._random = np.random.default_rng(seed)
        self._age = {spec.name: np.zeros(NUM_AGENTS[spec.name], int) for spec in self.behaviours}
        return {spec.name: self._rows(spec, StepType.FIRST) for spec in self.behaviours}

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        return {spec.name: self._next(spec, actions[spec.name]) for spec in self.behaviours}

    def _next(self, spec: BehaviourSpec, action: ActionBatch) -> TimestepBatch:
        did = np.concatenate([action.continuous, action.discrete], axis=1).sum(axis=1)
        age = self._age[spec.name]
        age += 1
        if age[0] < LIFE[spec.name]:
            return self._rows(spec, StepType.MID, did)
        age[:] = 0
        ends = StepType.TERMINATED if spec is CAT else StepType.TRUNCATED
        return joined(self._rows(spec, ends, did), self._rows(spec, StepType.FIRST))

    def _rows(self, spec: BehaviourSpec, kind: StepType, did: Any = 0.0) -> TimestepBatch:
        (observation,) = spec.observations
        count = NUM_AGENTS[spec.name]
        seen = self._random.normal(size=(count, *observation.shape)).astype(np.float32)
        seen[:, 0] += did
        return TimestepBatch(
            agent_id=np.arange(count, dtype=np.int64),
            step_type=np.full(count, kind, np.uint8),
            reward=np.asarray(-((np.zeros(count) + did) ** 2), np.float32),
            observation={observation.name: seen},
            action_mask=np.ones((count, spec.action.num_choices), np.bool_),
        )

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


def joined(one: TimestepBatch, other: TimestepBatch) -> TimestepBatch:
    """The rows of both."""
    return TimestepBatch(
        agent_id=np.concatenate([one.agent_id, other.agent_id]),
        step_type=np.concatenate([one.step_type, other.step_type]),
        reward=np.concatenate([one.reward, other.reward * 0]),
        observation={
            name: np.concatenate([array, other.observation[name]])
            for name, array in one.observation.items()
        },
        action_mask=np.concatenate([one.action_mask, other.action_mask]),
    )


PETS = """
seed: 3
stop_timeout_s: {stop_timeout_s}
server: {{address: "unix:{socket}", lockstep: true}}
simulators: {{expect: 2}}
policies:
  cat:
    total_steps: {cat_steps}
    network: {{hidden_sizes: [8]}}
    rollout_steps: 100
    algorithm: {{minibatch_size: 25, num_epochs: {num_epochs}}}
  dog:
    total_steps: 600
    network: {{hidden_sizes: [8]}}
    rollout_steps: 150
    algorithm: {{minibatch_size: 50, num_epochs: {num_epochs}}}
"""


async def pets_run(
    folder: Path,
    stops: list[Moment],
    *,
    cat_steps: int = 400,
    num_epochs: int = 2,
    stop_timeout_s: float = 20.0,
) -> tuple[TrainingRun, RunFolder]:
    """A run of two simulators with both kinds, stopped at these moments, and its last sitting."""
    folder.mkdir(exist_ok=True)
    socket = folder / "s"
    text = PETS.format(
        socket=socket, cat_steps=cat_steps, num_epochs=num_epochs, stop_timeout_s=stop_timeout_s
    )
    config = config_from(text, folder)
    run_folder = RunFolder.create(folder / "runs", "pets")
    with simulators(f"unix:{socket}", {"alpha": Pets(), "beta": Pets()}):
        for sitting, moment in enumerate(stops):
            outcome, _ = await train(config, run_folder, stop_at=moment, resumed=sitting > 0)
            assert outcome == "stopped"
        outcome, run = await train(config, run_folder, resumed=bool(stops))
    assert outcome == "completed"
    return run, run_folder


def policies_of(folder: RunFolder) -> State:
    """What the last checkpoint has learned, without how long it took."""
    policies = newest(folder).state["policies"]
    return {index: {**policies[index]["trainer"], "progress": None} for index in policies}


def learning(behaviour: str, update: int) -> Moment:
    """In the middle of that update of that policy, counted from 1."""

    def moment(run: TrainingRun) -> bool:
        trainer = run.trainers.get(behaviour)
        return bool(trainer and trainer.is_learning and trainer.progress.updates == update - 1)

    return moment


async def test_two_behaviours_of_one_simulator_learn_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is in the files is shown elsewhere; writing two takes longer than all the rest.
    monkeypatch.setattr(run_results, "export_policy", lambda _policy, path, **_: path.touch())
    monkeypatch.setattr("entrain.run.report.draw_plots", lambda _series: [])
    run, folder = await pets_run(tmp_path, [])
    run_results.write_results(folder, run, "completed", exports=True)
    cat, dog = run.trainers["cat"].progress, run.trainers["dog"].progress
    assert (cat.updates, dog.updates) == (4, 4)
    assert cat.env_steps >= 400
    assert dog.env_steps >= 600
    rows = list(csv.DictReader(folder.metrics.read_text().splitlines()))
    assert [row["behaviour"] for row in rows].count("cat") == 4
    assert [row["behaviour"] for row in rows].count("dog") == 4
    assert {path.name for path in folder.policies.glob("*.onnx")} == {"cat.onnx", "dog.onnx"}
    assert folder.report.is_file()


async def test_what_is_shown_names_each_of_two_behaviours_and_ends_with_what_they_came_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "entrain")
    serving, shown = LogDisplay.serving, []

    def remembered(display: LogDisplay, who: SimulatorsRow, env_steps: Mapping[str, int]) -> None:
        shown.append(env_steps)
        serving(display, who, env_steps)

    monkeypatch.setattr(LogDisplay, "serving", remembered)
    # The last 30 steps of the cats fill no rollout of 100.
    run, _ = await pets_run(tmp_path, [], cat_steps=130)
    assert shown[-1] == {name: it.progress.env_steps for name, it in run.trainers.items()}
    assert shown[-1]["cat"] >= 130
    updates = [it for it in caplog.messages if it.startswith("update ")]
    assert len(updates) == run.trainers["cat"].progress.updates + 4
    assert all(" of 'cat': " in it or " of 'dog': " in it for it in updates)


async def test_a_policy_that_is_done_goes_on_acting_but_learns_no_more(tmp_path: Path) -> None:
    run, folder = await pets_run(tmp_path, [], cat_steps=100)
    cat, dog = run.trainers["cat"], run.trainers["dog"]
    assert cat.progress.updates == 1
    # Two simulators with 2 cats each: a step too many at most.
    assert 100 <= cat.progress.env_steps <= 104
    assert dog.progress.updates == 4
    assert newest(folder).step == cat.progress.env_steps + dog.progress.env_steps


@pytest.mark.parametrize("env_steps", [1, 333], ids=lambda steps: f"after {steps} steps")
async def test_two_behaviours_stopped_between_batches_end_bit_for_bit_the_same(
    tmp_path: Path, env_steps: int
) -> None:
    _, straight = await pets_run(tmp_path / "straight", [])
    _, resumed = await pets_run(tmp_path / "resumed", [lambda run: run.env_steps >= env_steps])
    assert differences(policies_of(straight), policies_of(resumed)) == []


async def test_two_behaviours_stopped_in_updates_given_up_end_bit_for_bit_the_same(
    tmp_path: Path,
) -> None:
    # 60 epochs of 4 minibatches take long enough to be caught in the middle.
    _, straight = await pets_run(tmp_path / "straight", [], num_epochs=60)
    stops = [learning("cat", 1), learning("dog", 1), learning("cat", 3), learning("dog", 4)]
    _, resumed = await pets_run(tmp_path / "resumed", stops, num_epochs=60, stop_timeout_s=0.001)
    assert differences(policies_of(straight), policies_of(resumed)) == []


async def test_a_run_stopped_after_one_of_its_policies_was_done_ends_bit_for_bit_the_same(
    tmp_path: Path,
) -> None:
    _, straight = await pets_run(tmp_path / "straight", [], cat_steps=100)
    _, resumed = await pets_run(tmp_path / "resumed", [learning("dog", 3)], cat_steps=100)
    assert differences(policies_of(straight), policies_of(resumed)) == []


BALL = """
server: {{address: "unix:{socket}", grace_s: {grace_s}}}
policies:
  ball:
    total_steps: {total_steps}
    network: {{hidden_sizes: [8]}}
    rollout_steps: 200
    algorithm: {{minibatch_size: 100, num_epochs: 1}}
"""


class Breaking:
    """A connection to a trainer that can be made to vanish, as if its process were killed."""

    def __init__(self, address: str) -> None:
        self._destination = Destination(address=address)
        self.connection: Connection | None = None
        self.is_gone = False

    def open(self) -> Connection:
        if self.is_gone:
            raise KeyboardInterrupt
        self.connection = self._destination.open()
        return self.connection


def in_thread(work: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


async def test_simulators_that_come_go_and_vanish_cost_their_open_steps_only(
    tmp_path: Path,
) -> None:
    address = f"unix:{tmp_path}/s"
    config = config_from(
        BALL.format(socket=tmp_path / "s", grace_s=0.0, total_steps=2000), tmp_path
    )
    folder = RunFolder.create(tmp_path / "runs", "ball")
    breaking = Breaking(address)
    reports: dict[str, Report] = {}
    threads: dict[str, threading.Thread] = {}

    def begin(name: str, *, episodes: int = 0, **options: Any) -> None:
        client = TrainerClient(address, BalanceBall(count=2).behaviours, simulator=name, **options)
        driver = Driver(BalanceBall(count=2), client, episodes=episodes)

        def run() -> None:
            try:
                driver.run()
            except (Exception, KeyboardInterrupt):
                assert name == "vanishes"
            reports[name] = driver.report

        threads[name] = in_thread(run)

    def events(run: TrainingRun) -> bool:
        if run.env_steps >= 300 and "leaves" not in threads:
            begin("leaves", episodes=3)
            begin("vanishes", open_connection=breaking.open)
        if run.env_steps >= 900 and not breaking.is_gone and breaking.connection is not None:
            breaking.is_gone = True
            breaking.connection.end(timeout_s=0.0)
        return False

    begin("early")  # dials before anyone listens
    outcome, run = await train(config, folder, stop_at=events)
    for thread in threads.values():
        await asyncio.to_thread(thread.join, 30.0)
    assert outcome == "completed"
    counters = run.summary("completed").counters
    assert counters["sessions_joined"] == 3
    assert counters["sessions_lost"] == 1
    assert counters["sessions_left"] == 2
    ledger = run.trainers["ball"].ledger
    assert ledger.open == 0
    assert ledger.opened == ledger.closed + ledger.dropped
    own = reports.values()
    # An outcome in flight when a simulator vanished may be counted or not; nothing else may.
    closed = sum(report.closed for report in own)
    assert closed <= ledger.closed <= closed + sum(report.unanswered for report in own)


async def test_a_run_is_done_when_its_simulators_were_there_before_it(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    config = config_from(BALL.format(socket=tmp_path / "s", grace_s=5.0, total_steps=400), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "ball")
    with simulators(address, {"a": BalanceBall(count=2), "b": BalanceBall(count=3)}) as reports:
        outcome, run = await train(config, folder)
    assert outcome == "completed"
    assert sum(report.closed for report in reports) == run.env_steps
    assert not (tmp_path / "s").exists()


async def test_a_behaviour_that_nobody_brings_is_asked_for_once_the_others_are_done(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = BALL.format(socket=tmp_path / "s", grace_s=5.0, total_steps=200)
    config = config_from(text + "  cube: {}\n", tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "ball")
    words = "'cube' is not there yet"
    with simulators(f"unix:{tmp_path}/s", {"a": BalanceBall(count=2)}, reconnect_s=0.0):
        outcome, run = await train(config, folder, stop_at=lambda _run: words in caplog.text)
    assert outcome == "stopped"
    assert run.trainers["ball"].is_complete
    assert caplog.text.count(words) == 1


def test_a_policy_that_is_done_before_its_first_rollout_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_from(BALL.format(socket=tmp_path / "s", grace_s=5.0, total_steps=199), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "ball")
    (spec,) = BalanceBall(count=1).behaviours
    run = TrainingRun(config, folder, LogDisplay(), launcher=lambda _: Launcher([], environment={}))
    run._trainers.make_all([spec])
    assert "policy 'ball' will not learn: it is done after total_steps 199" in caplog.text
