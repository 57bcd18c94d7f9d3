"""What bad input gets, through the real thing: the run goes on, or says what is wrong and ends."""

import asyncio
import logging
import shutil
import socket
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entrain.app import commands, sittings
from entrain.app.evaluation_options import EvaluationOptions
from entrain.app.training import TrainingRun
from entrain.config.load import load_config, to_yaml
from entrain.config.run import RunConfig
from entrain.errors import CheckpointError, ConfigError, NoSimulatorError, ServeError
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain_envs.client import TrainerClient
from entrain_envs.connection import Connection, Destination
from entrain_envs.environment import Driver
from entrain_envs.errors import EntrainEnvsError, RefusedError
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.wire import trainer_pb2 as pb
from live_run import Moment, config_from, simulators, train
from scripted_trainer import NeverSilent

BALL = """
runs_directory: {folder}/runs
server: {{address: "unix:{folder}/s", grace_s: 1.0}}
policies:
  ball:
    total_steps: {total_steps}
    network: {{hidden_sizes: [8]}}
    rollout_steps: 100
    algorithm: {{minibatch_size: 50, num_epochs: 1}}
"""


def ball_config(folder: Path, *, total_steps: int = 600, more: str = "") -> RunConfig:
    return config_from(BALL.format(folder=folder, total_steps=total_steps) + more, folder)


class Sloppy(NeverSilent):
    """A connection of a simulator that does not look at its numbers: Step 20 has a NaN."""

    def __init__(self, address: str, field: str) -> None:
        self._connection = Destination(address=address).open()
        self._field = field

    def send(self, request: pb.ConnectRequest) -> None:
        if request.step.sequence == 20:
            part = request.step.behaviours[0]
            if self._field == "reward":
                part.reward = with_nan(part.reward)
            else:
                part.observations[2] = with_nan(part.observations[2])
        self._connection.send(request)

    def receive(self, *, timeout_s: float = 0.0) -> pb.ConnectResponse:
        return self._connection.receive(timeout_s=timeout_s)

    def end(self, *, timeout_s: float) -> None:
        self._connection.end(timeout_s=timeout_s)


def with_nan(content: bytes) -> bytes:
    """The same numbers, but for the last."""
    return content[:-4] + np.float32(np.nan).tobytes()


def refusal_of(
    address: str, environment: Any, *, open_connection: Callable[[], Connection] | None = None
) -> tuple[threading.Thread, list[EntrainEnvsError]]:
    """A simulator in a thread, and what it is told at its end."""
    told: list[EntrainEnvsError] = []
    client = TrainerClient(
        address, environment.behaviours, simulator="broken", open_connection=open_connection
    )

    def run() -> None:
        try:
            Driver(environment, client).run()
        except EntrainEnvsError as error:
            told.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, told


@pytest.mark.parametrize("field", ["velocity", "reward"])
async def test_a_simulator_that_sends_nan_is_told_what_and_where_and_the_run_goes_on(
    tmp_path: Path, field: str
) -> None:
    config = ball_config(tmp_path, more="simulators: {expect: 2}\n")
    folder = RunFolder.create(tmp_path / "runs", "ball")
    address = f"unix:{tmp_path}/s"
    thread, told = refusal_of(
        address, BalanceBall(count=2), open_connection=lambda: Sloppy(address, field)
    )
    with simulators(address, {"sound": BalanceBall(count=2)}) as reports:
        outcome, run = await train(config, folder)
    await asyncio.to_thread(thread.join, 10.0)
    assert outcome == "completed"
    assert run.summary(outcome).counters["steps_refused"] == 1
    (refused,) = told
    assert isinstance(refused, RefusedError)
    words = str(refused)
    for part in ("INVALID_ARGUMENT", "broken@", "'ball'", field, "nan", "finite"):
        assert part in words, words
    ledger = run.trainers["ball"].ledger
    assert ledger.open == 0
    # Step 1 began, Steps 2 to 19 each closed 2 steps, and Step 20 was refused: the 2 that it would
    # have closed are dropped, beside the 2 that the sound one had open when the run ended.
    (sound,) = reports
    assert ledger.closed == sound.closed + 18 * 2
    assert ledger.dropped == 2 + 2


def test_a_port_in_use_ends_the_command_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        config = load_config(
            None, [f"server.address=localhost:{port}", f"runs_directory={tmp_path / 'runs'}"]
        )
        began_s = time.monotonic()
        with pytest.raises(ServeError, match=f":{port} is in use.*server.address") as raised:
            commands.train(config)
    assert raised.value.exit_code == 4
    assert time.monotonic() - began_s < 5.0
    assert list((tmp_path / "runs").iterdir()) == []


def test_no_simulator_ends_the_command_with_three_causes_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    config = ball_config(tmp_path, more="simulators: {wait_s: 0.3}\n")
    with pytest.raises(NoSimulatorError, match=r"no simulator was connected for 0\.3 s") as raised:
        commands.train(config)
    words = str(raised.value)
    assert raised.value.exit_code == 5
    for part in (f"unix:{tmp_path}/s", "'ball'", "launch", "another address", "firewall"):
        assert part in words
    assert list((tmp_path / "runs").iterdir()) == []


def test_launched_simulators_that_all_end_leave_their_last_words(tmp_path: Path) -> None:
    more = "simulators: {launch: [{command: [sh, -c, 'echo no licence; exit 0']}]}\n"
    with pytest.raises(NoSimulatorError, match=r"simulator-0\.log") as raised:
        commands.train(ball_config(tmp_path, more=more))
    log = Path(str(raised.value).rpartition(" ")[2])
    assert log.read_text() == "no licence\n"


def test_a_program_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    more = "simulators: {launch: [{command: no-such-game}]}\n"
    with pytest.raises(ConfigError, match="cannot run 'no-such-game'"):
        commands.train(ball_config(tmp_path, more=more))
    assert list((tmp_path / "runs").iterdir()) == []


def test_the_same_program_twice_in_a_row_never_meets_the_folder_of_the_first(
    tmp_path: Path,
) -> None:
    more = "simulators: {wait_s: 0.3}\n"
    for _ in range(2):
        with pytest.raises(NoSimulatorError):
            commands.train(ball_config(tmp_path, more=more))
    assert not (tmp_path / "runs" / "run-2").exists()


async def stopped_run(folder: Path, *, after: int = 250) -> RunFolder:
    """A run of the ball that was stopped half way, with two checkpoints."""
    config = ball_config(folder)
    run_folder = RunFolder.create(folder / "runs", "ball")
    run_folder.write_config(to_yaml(config))
    moments: list[Moment] = [
        lambda run: run.env_steps >= after // 2,
        lambda run: run.env_steps >= after,
    ]
    for sitting, moment in enumerate(moments):
        with simulators(f"unix:{folder}/s", {"a": BalanceBall(count=2)}, reconnect_s=0.0):
            outcome, _ = await train(config, run_folder, stop_at=moment, resumed=sitting > 0)
        assert outcome == "stopped"
    return run_folder


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that was stopped half way; tests copy what they change."""
    return asyncio.run(stopped_run(tmp_path_factory.mktemp("stopped")))


def copy_of(stopped: RunFolder, to: Path) -> RunFolder:
    """The run again, listening in `to`."""
    shutil.copytree(stopped.path, to / "runs" / "ball")
    folder = RunFolder(to / "runs" / "ball")
    folder.write_config(to_yaml(ball_config(to)))
    return folder


def content(folder: RunFolder) -> dict[str, bytes]:
    """Every file but the log and the lock, which may say that somebody tried."""
    return {
        str(path.relative_to(folder.path)): path.read_bytes()
        for path in folder.path.rglob("*")
        if path.is_file() and path.name not in {"log.txt", "run.lock"}
    }


def test_a_damaged_newest_checkpoint_is_said_and_the_one_before_used(
    stopped: RunFolder,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sittings, "write_results", lambda *_, **__: None)
    folder = copy_of(stopped, tmp_path)
    newest, before, *_ = CheckpointStore(folder.checkpoints, keep=9).paths
    arrays = newest / "arrays.safetensors"
    arrays.write_bytes(arrays.read_bytes()[:-1])
    caplog.set_level(logging.INFO)
    with simulators(f"unix:{tmp_path}/s", {"a": BalanceBall(count=2)}):
        assert commands.resume(folder.path, []) == 0
    assert f"{newest} is damaged, and neither used nor counted as one to keep: " in caplog.text
    assert f"going on from {before}" in caplog.text
    rows = folder.metrics.read_text().splitlines()
    steps = [int(row.split(",")[1]) for row in rows[1:]]
    assert steps == sorted(set(steps))


def test_with_every_checkpoint_damaged_nothing_starts_afresh(
    stopped: RunFolder, tmp_path: Path
) -> None:
    folder = copy_of(stopped, tmp_path)
    for path in CheckpointStore(folder.checkpoints, keep=9).paths:
        (path / "state.json").unlink()
    before = content(folder)
    with pytest.raises(CheckpointError, match=r"state\.json is missing") as raised:
        commands.resume(folder.path, [])
    assert raised.value.exit_code == 3
    assert content(folder) == before


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("policies.ball.network.hidden_sizes=[16]", "resume with the network"),
        ("policies={cube: {}}", "no policy for '?ball'?"),
        ("policies.ball.network.shared=true", "resume with the network"),
    ],
)
def test_a_configuration_that_the_checkpoint_does_not_fit_is_refused_and_not_kept(
    stopped: RunFolder, tmp_path: Path, override: str, words: str
) -> None:
    folder = copy_of(stopped, tmp_path)
    before = content(folder)
    with pytest.raises(CheckpointError, match=words):
        commands.resume(folder.path, [override])
    assert content(folder) == before


@pytest.mark.parametrize(
    "damage", ["policies", "participants", "front", "seconds", "spec", "trainer", "list"]
)
def test_a_whole_checkpoint_of_another_program_is_refused_in_words(
    stopped: RunFolder, tmp_path: Path, damage: str
) -> None:
    folder = copy_of(stopped, tmp_path)
    store = CheckpointStore(folder.checkpoints, keep=9)
    loaded = store.load_newest()
    state = dict(loaded.state)
    if damage == "spec":
        spec = {**state["policies"]["0"]["spec"], "low": [float("nan")]}
        state["policies"] = {"0": {**state["policies"]["0"], "spec": spec}}
    elif damage == "trainer":
        state["policies"] = {"0": {**state["policies"]["0"], "trainer": {"progress": {}}}}
    elif damage == "list":
        state["policies"] = [1, 2]
    else:
        del state[damage]
    path = store.save(state, step=loaded.step)
    with pytest.raises(CheckpointError, match=str(path)):
        commands.resume(folder.path, [])
    if damage in {"policies", "spec", "trainer", "list"}:
        with pytest.raises(CheckpointError, match=str(path)):
            commands.export(folder.path, None)
        with pytest.raises(CheckpointError, match=str(path)):
            commands.evaluate(folder.path, [], EvaluationOptions(episodes=1))


def cube(name: str = "ball") -> BehaviourSpec:
    return BehaviourSpec(name, (ObservationSpec("eyes", (5,)),), ActionSpec((-1.0,), (1.0,)))


class Cube(BalanceBall):
    """Says it has a behaviour that it has not."""

    def __init__(self, name: str) -> None:
        super().__init__(count=1)
        self._name = name

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        return (cube(self._name),)


async def test_after_a_resume_a_simulator_with_another_spec_is_shown_both(
    stopped: RunFolder, tmp_path: Path
) -> None:
    folder = copy_of(stopped, tmp_path)
    config = load_config(folder.config, [])
    thread, told = refusal_of(f"unix:{tmp_path}/s", Cube("ball"))

    def once_told(_run: TrainingRun) -> bool:
        return bool(told)

    outcome, run = await train(config, folder, stop_at=once_told, resumed=True)
    await asyncio.to_thread(thread.join, 10.0)
    assert outcome == "stopped"
    assert "FAILED_PRECONDITION" in str(told[0])
    assert "rotation" in str(told[0])
    assert "eyes" in str(told[0])
    assert run.summary(outcome).counters["sessions_refused"] == 1


@pytest.mark.parametrize(
    ("name", "words"), [("ball", "eyes"), ("cube", "no policy for it (it has: 'ball')")]
)
def test_an_evaluation_takes_only_what_was_trained(
    stopped: RunFolder, tmp_path: Path, name: str, words: str
) -> None:
    folder = copy_of(stopped, tmp_path)
    folder.write_config(folder.config.read_text().replace("  ball:", "  '*':"))
    thread, told = refusal_of(f"unix:{tmp_path}/s", Cube(name))
    with pytest.raises(NoSimulatorError):
        commands.evaluate(folder.path, ["simulators.wait_s=1.5"], EvaluationOptions(episodes=1))
    thread.join(10.0)
    assert words in str(told[0])


def test_a_run_without_any_policy_yet_can_be_neither_evaluated_nor_exported(
    tmp_path: Path,
) -> None:
    async def stopped_at_once() -> RunFolder:
        config = ball_config(tmp_path)
        folder = RunFolder.create(tmp_path / "runs", "ball")
        folder.write_config(to_yaml(config))
        outcome, _ = await train(config, folder, stop_at=lambda _run: True)
        assert outcome == "stopped"
        return folder

    folder = asyncio.run(stopped_at_once())
    with pytest.raises(CheckpointError, match="no simulator had joined yet"):
        commands.export(folder.path, None)


def test_an_output_that_is_no_folder_is_told(stopped: RunFolder, tmp_path: Path) -> None:
    folder = copy_of(stopped, tmp_path)
    output = tmp_path / "taken"
    output.write_text("a file")
    with pytest.raises(ConfigError, match=r"taken.*--output"):
        commands.export(folder.path, output)


def test_a_run_is_exported_for_games_beside_its_other_files(
    stopped: RunFolder, tmp_path: Path
) -> None:
    folder = copy_of(stopped, tmp_path)
    assert commands.export(folder.path, None, form="unity") == 0
    assert [each.name for each in (folder.path / "unity").iterdir()] == ["ball.onnx"]
