"""Games are started as mlagents-learn starts them: each on its port, with a log and a quota."""

import sys
from pathlib import Path

import pytest

from entrain.app.games import make_game_watch, plan_games
from entrain.app.restarts import Again, Exit, GivenUp
from entrain.config.unity import UnityConfig, UnityLaunchConfig
from entrain.errors import ConfigError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a build for Linux")


def config_of(build: Path, **options: object) -> UnityConfig:
    launch = {"path": build, "no_graphics_monitor": True, "arguments": ("--level", "3"), **options}
    return UnityConfig(games=2, launch=UnityLaunchConfig.model_validate(launch))


@pytest.fixture
def build(tmp_path: Path) -> Path:
    path = tmp_path / "Ball.x86_64"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_each_game_has_its_port_log_and_graphics(build: Path, tmp_path: Path) -> None:
    config = config_of(build)
    first, second = plan_games(config, ports=[5005, 5006], logs=tmp_path)
    assert first.command == (
        *(str(build), "--mlagents-port", "5005", "-logFile", str(tmp_path / "Player-0.log")),
        *("--level", "3"),
    )
    assert second.command[1:5] == ("-nographics", "-batchmode", "--mlagents-port", "5006")
    assert (second.name, second.log) == ("game-1", tmp_path / "game-1.log")
    assert second.own_log == tmp_path / "Player-1.log"
    assert "localhost" in second.variables["no_grpc_proxy"]
    watch = make_game_watch(config, [first, second])
    assert [watch.launched[f"game-{game}"].is_headless for game in range(2)] == [False, True]


def test_each_game_has_a_quota_of_its_own(build: Path, tmp_path: Path) -> None:
    games = plan_games(config_of(build), ports=[5005, 5006], logs=tmp_path)
    crash = Exit(-11, lived_s=5.0, at_s=0.0, words="")
    for game in games:
        assert game.restarts is not None
        restarts = game.restarts()
        assert isinstance(restarts.after(crash), Again)
        assert isinstance(restarts.after(crash), GivenUp)


def test_nothing_is_planned_for_games_that_others_start(tmp_path: Path) -> None:
    assert plan_games(UnityConfig(), ports=[5004], logs=tmp_path) == ()
    assert make_game_watch(UnityConfig(), ()).launched == {}


def test_a_build_that_is_not_there_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--env \(unity.launch.path\): there is no game"):
        plan_games(config_of(tmp_path / "Bal"), ports=[5005], logs=tmp_path)
