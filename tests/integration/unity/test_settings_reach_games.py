"""What settings and flags say reaches the game: of `learn`, `evaluate` and `play`."""

import contextlib
import json
import os
import shutil
import socket
import struct
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from entrain.app import commands, playing, run_results
from entrain.app.acting_games import config_to_act
from entrain.app.evaluation_options import EvaluationOptions, PlayOptions
from entrain.cli import main
from entrain.config.load import load_config
from entrain.errors import ConfigError
from entrain.run.summary import RunSummary
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.unity.side_channels import (
    ENGINE_CONFIGURATION,
    ENVIRONMENT_PARAMETERS,
    Uniform,
    messages,
    write_parameter,
    write_sampler,
)
from support.ports import free_ports
from support.unity_game import Ledger, Style, UnityGame
from support.unity_player import dialled

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="a shell script stands in for a build"),
    pytest.mark.usefixtures("logging_as_before"),
]

ONE = EvaluationOptions(episodes=1)

TESTS = Path(__file__).parents[2]

SETTINGS = """
behaviors:
  3DBall:
    trainer_type: ppo
    max_steps: 600
    hyperparameters: {batch_size: 50, buffer_size: 200, num_epoch: 1}
    network_settings: {hidden_units: 8, num_layers: 1}
engine_settings:
  width: 100
  height: 50
  quality_level: 3
  time_scale: 7.5
  target_frame_rate: 25
  capture_frame_rate: 11
environment_parameters:
  gravity: 9.0
  mass: {sampler_type: uniform, sampler_parameters: {min_value: 1, max_value: 2}}
  size:
    curriculum:
      - name: large
        value: 6
        completion_criteria:
          {behavior: 3DBall, measure: progress, threshold: 0.5, require_reset: true}
      - name: small
        value: 3
"""

BUILD = """#!/bin/sh
PYTHONPATH={tests} exec {python} -m support.unity_player "$@"
"""


def engine_of(stream: bytes) -> dict[int, tuple[float, ...]]:
    """{kind: numbers} of the settings of the engine."""
    forms = {0: "<ii", 1: "<i", 2: "<f", 3: "<i", 4: "<i"}
    found = {}
    for channel, content in messages(stream):
        if channel == ENGINE_CONFIGURATION:
            (kind,) = struct.unpack_from("<i", content)
            found[kind] = struct.unpack(forms[kind], content[4:])
    return found


def parameters_of(stream: bytes) -> set[bytes]:
    """What was said of environment parameters."""
    return {content for channel, content in messages(stream) if channel == ENVIRONMENT_PARAMETERS}


def contents(*written: bytes) -> set[bytes]:
    return {content for each in written for _, content in messages(each)}


def told(folder: Path) -> Any:
    """What the build was told last, and counted."""
    return json.loads((folder / "told.json").read_text())


def read_page(folder: Path) -> None:
    """Keeps what the run's page says once an update is done, in status.json."""
    deadline_s = time.monotonic() + 60.0
    while time.monotonic() < deadline_s:
        time.sleep(0.02)
        with contextlib.suppress(OSError, ValueError):
            url = json.loads((folder / "ppo" / "page.json").read_text())["url"]
            with urllib.request.urlopen(f"{url}api/status", timeout=5.0) as answer:
                status = json.load(answer)
            if status["policies"] and status["policies"][0]["updates"]:
                (folder / "status.json").write_text(json.dumps(status))
                return


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of `entrain learn`: in `ppo`."""
    folder = tmp_path_factory.mktemp("balls")
    (folder / "ball.yaml").write_text(SETTINGS)
    build = folder / "Ball.x86_64"
    build.write_text(BUILD.format(tests=TESTS, python=sys.executable))
    build.chmod(0o755)
    words = ["learn", f"{folder}/ball.yaml", f"--env={build}", f"--results-dir={folder}"]
    flags = [f"--base-port={free_ports(1)}", "--seed=70", "--width=320", "--time-scale=2"]
    flags.append("--http=localhost:0")
    reader = threading.Thread(target=read_page, args=(folder,))
    reader.start()
    game = ["--env-args", "--balls", "3", "--told", f"{folder}/told.json"]
    # Of 200 steps and three updates, two of them done by then: a run so short is over before its
    # page, which is a second old at most, was read.
    game += ["--pause-at", "150", "--pause-until", f"{folder}/status.json"]
    with pytest.MonkeyPatch.context() as patch:
        # What takes longer than all the rest, and has tests of its own.
        patch.setattr("entrain.run.report.draw_plots", lambda _series: [])
        patch.setattr(run_results, "export_policy", lambda *_arguments, **_options: None)
        assert main([*words, *flags, *game]) == 0
    reader.join(30.0)
    shutil.copy(folder / "told.json", folder / "learned.json")
    return folder


def test_engine_and_parameters_come_with_the_reset_and_a_lesson_may_reset_again(
    learned: Path,
) -> None:
    said = json.loads((learned / "learned.json").read_text())
    (is_reset, first), (is_reset_again, second) = said["told"]
    assert (is_reset, is_reset_again) == (True, True)
    # Flags count more than the file.
    assert engine_of(bytes.fromhex(first)) == {0: (320, 50), 1: (3,), 2: (2.0,), 3: (25,), 4: (11,)}
    # Gravity is number 0 of what is drawn or constant, so the sampler has the run's seed plus 1.
    assert parameters_of(bytes.fromhex(first)) == contents(
        write_parameter("gravity", 9.0),
        write_sampler("mass", Uniform(1.0, 2.0), seed=71),
        write_parameter("size", 6.0),
    )
    assert engine_of(bytes.fromhex(second)) == {}
    assert parameters_of(bytes.fromhex(second)) == contents(write_parameter("size", 3.0))

    ledger = RunSummary.load(learned / "ppo" / "summary.json").policies["3DBall"].ledger
    # The game never got the three actions whose answer became the reset.
    assert ledger["opened"] == said["opened"] + 3
    assert ledger["closed"] == said["closed"] == 600
    assert ledger["opened"] == ledger["closed"] + ledger["dropped"]


def test_a_run_of_learn_shows_its_page(learned: Path) -> None:
    status = json.loads((learned / "status.json").read_text())
    assert status["run"] == "ppo"
    (policy,) = status["policies"]
    assert (policy["name"], policy["total_steps"]) == ("3DBall", 600)
    assert policy["num_measured"] >= 1
    assert status["phase"] == "training"
    assert (status["num_agents"], len(status["simulators"])) == (3, 1)
    for game in status["simulators"]:
        assert game["behaviours"] == ["3DBall"]
        assert game["latency_p50_s"] > 0
    log = next(learned.rglob("log.txt")).read_text()
    assert "the page of this run: http://localhost:" in log


def test_an_evaluation_launches_the_build_at_a_free_port_in_the_lesson_that_was_reached(
    learned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (learned / "told.json").unlink()
    trained_at = load_config(learned / "ppo" / "config.yaml", []).unity
    assert trained_at is not None
    # The run may still be training there.
    with socket.create_server(("127.0.0.1", trained_at.port)):
        assert commands.evaluate(learned / "ppo", [], EvaluationOptions(episodes=3)) == 0
    assert "over 3 episodes" in capsys.readouterr().out
    ((is_reset, stream),) = told(learned)["told"]
    assert is_reset
    assert engine_of(bytes.fromhex(stream))[2] == (2.0,)
    assert contents(write_parameter("size", 3.0)) < parameters_of(bytes.fromhex(stream))
    # Logs of the run's own game are left alone.
    logs = [path.relative_to(learned) for path in learned.rglob("Player-0*.log")]
    assert len(logs) == 2
    assert Path("ppo/evaluation/simulators/Player-0.log") in logs


def test_a_play_is_in_real_time_and_in_a_window(
    learned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (learned / "told.json").unlink()
    overrides = ["unity.engine.height=900"]
    assert playing.play(learned / "ppo", overrides, ONE, PlayOptions()) == 0
    ((_, stream),) = told(learned)["told"]
    engine = {0: (1280, 900), 1: (3,), 2: (1.0,), 3: (60,), 4: (0,)}
    assert engine_of(bytes.fromhex(stream)) == engine
    out = capsys.readouterr().out
    assert "when training began, it lasted" in out
    assert "next, returns over many episodes: entrain evaluate" in out
    with pytest.raises(ConfigError, match="leave --record out, and record the window"):
        playing.play(learned / "ppo", [], ONE, PlayOptions(record=learned / "a.gif"))


def test_a_game_that_somebody_starts_may_dial_the_address_that_was_given(
    learned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with Play in the Editor."""
    port = free_ports(1)
    ledgers: list[Ledger] = []

    def play() -> None:
        exchange, hang_up = dialled(port)
        game = UnityGame(
            BalanceBall(count=3, behaviour="3DBall"), exchange, style=Style(one_sensor=True)
        )
        ledgers.append(game.play())
        hang_up()

    game = threading.Thread(target=play)
    game.start()
    address = f"localhost:{port}"
    options = EvaluationOptions(episodes=3)
    run, overrides = learned / "ppo", ["unity.launch=null"]
    assert commands.evaluate(run, overrides, options, address=address) == 0
    game.join()
    assert "over 3 episodes" in capsys.readouterr().out
    assert ledgers[0].episodes >= 3
    with pytest.raises(ConfigError, match=r"dial a port; give HOST:PORT"):
        commands.evaluate(run, overrides, options, address="unix:/s")


@pytest.mark.parametrize(
    ("platform", "environ", "is_there"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ""}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("win32", {}, True),
        ("darwin", {}, True),
    ],
)
def test_a_build_without_graphics_is_shown_where_a_window_can_be(
    platform: str,
    environ: dict[str, str],
    is_there: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(os, "environ", environ)
    path = tmp_path / "config.yaml"
    path.write_text("unity: {port: 5005, launch: {path: B, no_graphics: true}}")
    shown = config_to_act(path, [], address=None, is_watched=True).unity
    evaluated = config_to_act(path, [], address=None).unity
    assert shown is not None and shown.launch is not None
    assert evaluated is not None and evaluated.launch is not None
    assert (shown.launch.no_graphics, evaluated.launch.no_graphics) == (not is_there, True)
    assert (evaluated.engine.width, evaluated.port) == (84, 0)


def test_a_behaviour_that_the_file_lacks_is_refused_in_the_words_of_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "walker.yaml").write_text("behaviors: {Walker: {trainer_type: ppo}}")
    build = tmp_path / "Ball.x86_64"
    build.write_text(BUILD.format(tests=TESTS, python=sys.executable))
    build.chmod(0o755)
    words = ["learn", f"{tmp_path}/walker.yaml", f"--env={build}", f"--results-dir={tmp_path}"]
    flags = [f"--base-port={free_ports(1)}", "--max-lifetime-restarts=0"]
    assert main([*words, *flags, "--env-args", "--balls", "1"]) == 5
    said = " ".join(capsys.readouterr().err.split())
    assert "has behaviour '3DBall', and this run has no policy for it (it has: 'Walker')" in said
    assert "add behaviors.3DBall or default_settings to" in said
    assert "policies.3DBall" not in said
