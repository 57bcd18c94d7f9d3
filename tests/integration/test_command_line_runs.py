"""`entrain` as a process among processes: signals, launched simulators, TLS, evaluation, export."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from entrain.app import commands, run_results, sittings
from entrain.app.build import make_launcher
from entrain.app.evaluation_options import EvaluationOptions
from entrain.config.load import load_config
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.summary import RunSummary
from entrain_envs.simulators.balance_ball import BalanceBall
from live_run import simulators
from support.command import BALL, entrain, is_running, says, until, write_run
from support.ports import free_port
from support.unity_game import UnityGame
from support.unity_player import dialled

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and groups of processes")


def writes_its_pid(folder: Path) -> str:
    """A launched ball that says under which process id it runs."""
    return f"sh -c 'echo $$ >> {folder}/pids; exec {BALL}'"


def pids(folder: Path) -> list[int]:
    path = folder / "pids"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture(autouse=True)
def _logging_as_the_command_line_does(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "entrain")


@pytest.fixture
def no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in this process."""
    monkeypatch.setattr(run_results, "export_policy", lambda *_arguments, **_options: None)
    monkeypatch.setattr("entrain.run.report.draw_plots", lambda _series: [])


def sigterm_after(moment: Callable[[], None]) -> None:
    """Have this process told to stop. The main thread trains, so another waits for the moment."""

    def run() -> None:
        try:
            moment()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=run, daemon=True).start()


@pytest.mark.usefixtures("no_results")
def test_sigterm_to_the_command_saves_and_a_resumed_run_completes(tmp_path: Path) -> None:
    path = write_run(tmp_path, launch=writes_its_pid(tmp_path), total_steps=10_000_000)
    folder = RunFolder(tmp_path / "runs" / "run")
    words = tmp_path / "words.txt"
    with entrain("train", str(path), folder=tmp_path) as process:
        until(lambda: says(words, "update 2:"))
        process.terminate()
        assert process.wait(60.0) == 0
    assert says(words, "SIGTERM: finishing", "stopped; go on with: entrain resume")
    assert not any(map(is_running, pids(tmp_path)))
    assert RunSummary.load(folder.summary).outcome == "stopped"
    stopped_at = CheckpointStore(folder.checkpoints, keep=3).load_newest().step
    assert stopped_at >= 400
    total_steps = stopped_at + 300
    assert commands.resume(folder.path, [f"policies.ball.total_steps={total_steps}"]) == 0
    summary = RunSummary.load(folder.summary)
    assert summary.outcome == "completed"
    assert total_steps <= summary.env_steps < total_steps + 10


def test_a_second_signal_ends_the_command_at_once_with_130_and_leaves_no_orphan(
    tmp_path: Path,
) -> None:
    # An update of a million epochs, which nobody waits for.
    path = write_run(
        tmp_path, launch=writes_its_pid(tmp_path), total_steps=10_000, num_epochs=1_000_000
    )
    path.write_text(path.read_text() + "stop_timeout_s: 1000\n")
    words = tmp_path / "words.txt"
    with entrain("train", str(path), folder=tmp_path) as process:
        until(lambda: says(words, "new behaviour: 'ball' observes"))
        process.send_signal(signal.SIGINT)
        until(lambda: says(words, "SIGINT: finishing"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10.0) == 130
    until(lambda: not any(map(is_running, pids(tmp_path))), timeout_s=10.0)


@pytest.mark.usefixtures("no_results")
@pytest.mark.parametrize("moment", ["before any simulator joined", "during an update"])
def test_a_run_that_is_stopped_at_any_moment_is_resumed_to_its_end(
    tmp_path: Path, moment: str
) -> None:
    address = f"unix:{tmp_path}/s"
    epochs = 1 if "before" in moment else 2000
    path = write_run(tmp_path, address=address, num_epochs=epochs)
    config = load_config(path, ["stop_timeout_s=0.1", "stopped_exit_code=143"])
    folder = RunFolder(tmp_path / "runs" / "run")
    awaited = "listening on" if "before" in moment else "new behaviour: 'ball' observes"

    sigterm_after(lambda: until(lambda: says(folder.log, awaited)))
    if "before" in moment:
        assert commands.train(config) == 143
    else:
        with simulators(address, {"a": BalanceBall(count=2)}, reconnect_s=0.0):
            assert commands.train(config) == 143
    assert CheckpointStore(folder.checkpoints, keep=3).load_newest().step < 600
    with simulators(address, {"b": BalanceBall(count=2)}):
        assert commands.resume(folder.path, ["policies.ball.algorithm.num_epochs=1"]) == 0
    assert RunSummary.load(folder.summary).outcome == "completed"


@pytest.mark.usefixtures("no_results")
def test_a_launched_simulator_that_is_killed_costs_its_open_steps_and_is_started_again(
    tmp_path: Path,
) -> None:
    path = write_run(tmp_path, launch=writes_its_pid(tmp_path), total_steps=10_000_000)
    config = load_config(path, ["server.grace_s=0"])
    folder = RunFolder(tmp_path / "runs" / "run")

    def killed_and_back() -> None:
        until(lambda: says(folder.log, "update 1:"))
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        until(lambda: len(pids(tmp_path)) == 2)
        until(lambda: folder.log.read_text().count("joined:") == 2)
        seen = folder.log.read_text().count("update ")
        until(lambda: folder.log.read_text().count("update ") > seen)

    sigterm_after(killed_and_back)
    assert commands.train(config) == 0
    assert says(folder.log, "ended with signal SIGKILL")
    summary = RunSummary.load(folder.summary)
    assert summary.counters["sessions_joined"] == 2
    ledger = summary.policies["ball"].ledger
    # 2 agents were open when it was killed, 2 more when the run was stopped; of the latter those
    # whose simulator said Goodbye are dropped, too.
    assert ledger["dropped"] in {2, 4}
    assert ledger["opened"] - ledger["closed"] - ledger["dropped"] in {0, 2}
    assert not any(map(is_running, pids(tmp_path)))


SLOW_TO_CLOSE = """
import time
from pathlib import Path
import gymnasium
from gymnasium.envs.classic_control import CartPoleEnv


class Recorded(CartPoleEnv):
    def close(self):
        time.sleep(0.5)
        with Path("closed").open("a") as file:
            file.write("whole ")


gymnasium.register("Recorded-v0", Recorded)
"""


def test_launched_simulators_close_their_environments_before_they_are_told_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_results: None
) -> None:
    (tmp_path / "recorded.py").write_text(SLOW_TO_CLOSE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = f"{sys.executable} -m entrain_envs gymnasium recorded:Recorded-v0 --behaviour ball"
    config = load_config(write_run(tmp_path, launch=f"{command} --count 2"), [])
    assert commands.train(config) == 0
    assert (tmp_path / "closed").read_text() == "whole whole "


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed certificate for localhost, its key, and a token."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=30,
    )
    (folder / "token").write_text("open sesame\n")
    return folder


def secured(folder: Path) -> str:
    return (
        f", tls_certificate: {folder}/cert.pem, tls_key: {folder}/key.pem, "
        f"token_file: {folder}/token"
    )


def test_over_tls_with_a_token_a_policy_is_trained_evaluated_and_exported(
    tmp_path: Path,
    certificate: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sittings, "write_results", lambda *_, **__: None)
    path = write_run(tmp_path, launch=BALL, server=secured(certificate))
    assert commands.train(load_config(path, [])) == 0
    folder = RunFolder(tmp_path / "runs" / "run")
    log = folder.log.read_text()
    assert re.search(r"completed after 6\d\d env steps in \d+:\d\d\n", log)
    assert re.search(
        r"simulator-0@\S+ left \(the trainer closed the session\), with 2 agents\n", log
    )
    for word in ("lost", "dropped", "without goodbye"):
        assert word not in log

    capsys.readouterr()
    assert commands.evaluate(folder.path, [], EvaluationOptions(episodes=4)) == 0
    assert "ball: return" in (told := capsys.readouterr().out)
    assert "over 4 episodes" in told
    assert not list(folder.policies.iterdir())

    output = tmp_path / "elsewhere" / "deep"
    assert commands.export(folder.path, output) == 0
    (policy,) = output.iterdir()
    assert str(policy) in capsys.readouterr().out
    assert not list(folder.policies.iterdir())
    model = onnx.load(policy)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["behaviour"] == "ball"
    assert int(metadata["env_steps"]) >= 600


def test_a_game_of_ml_agents_is_trained_through_a_bridge_over_tls(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sittings, "write_results", lambda *_, **__: None)
    port = free_port()
    bridge = f"{sys.executable} -m entrain_envs bridge --port {port}"
    path = write_run(tmp_path, launch=bridge, server=secured(certificate))
    exchange, hang_up = dialled(port)
    game = UnityGame(BalanceBall(count=4), exchange)
    playing = threading.Thread(target=game.play)
    playing.start()
    assert commands.train(load_config(path, [])) == 0
    playing.join(30.0)
    hang_up()
    folder = RunFolder(tmp_path / "runs" / "run")
    assert says(folder.log, "completed after 600 env steps")
    assert game.ledger.closed <= 600 <= game.ledger.closed + game.ledger.unanswered
    # The engine's settings came with the reset.
    assert len(game.side_channels[1]) > 5 * 20


def test_a_bridge_that_waits_for_its_trainer_ends_when_it_is_told_to(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    words = ["bridge", "--connect", f"localhost:{free_port()}", "--port", str(port)]
    with log.open("w") as file:
        bridge = subprocess.Popen([sys.executable, "-m", "entrain_envs", *words], stderr=file)
    exchange, hang_up = dialled(port)
    playing = threading.Thread(target=UnityGame(BalanceBall(count=1), exchange).play)
    playing.start()
    until(lambda: says(log, "dialling again"))
    bridge.send_signal(signal.SIGTERM)
    assert bridge.wait(20.0) == 0
    playing.join(20.0)
    hang_up()


def test_launched_simulators_trust_the_certificate_unless_the_user_names_an_authority(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_run(tmp_path, launch=BALL, server=secured(certificate))
    config = load_config(path, [])
    folder = RunFolder.create(tmp_path / "runs", "run")
    simulator = make_launcher(config, folder, "localhost:1").environment
    assert simulator["ENTRAIN_TLS_CA"] == str(certificate / "cert.pem")
    assert simulator["ENTRAIN_TOKEN_FILE"] == str(certificate / "token")
    monkeypatch.setenv("ENTRAIN_TLS_CA", "/my/authority.pem")
    assert "ENTRAIN_TLS_CA" not in make_launcher(config, folder, "localhost:1").environment


@pytest.mark.usefixtures("no_results")
def test_a_run_whose_simulators_are_external_is_evaluated_by_external_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"unix:{tmp_path}/s"
    config = load_config(write_run(tmp_path, address=address), [])
    with simulators(address, {"trains": BalanceBall(count=2)}):
        assert commands.train(config) == 0
    run = tmp_path / "runs" / "run"
    before = json.loads((run / "summary.json").read_text())
    capsys.readouterr()
    with simulators(address, {"shows": BalanceBall(count=3)}):
        assert commands.evaluate(run, [], EvaluationOptions(episodes=6, deterministic=False)) == 0
    assert "over 6 episodes" in capsys.readouterr().out
    assert json.loads((run / "summary.json").read_text()) == before
