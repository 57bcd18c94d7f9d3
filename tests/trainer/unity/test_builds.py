"""A game's program is found as by mlagents-learn, on every platform, or the reason is told."""

import os
from pathlib import Path

import pytest

from entrain.config.unity import UnityLaunchConfig
from entrain.errors import ConfigError
from entrain.unity.builds import find_build, game_arguments, is_headless, player_log_of


def program(path: Path) -> Path:
    """Makes a program, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("platform", "asked", "there"),
    [
        ("linux", "Ball", "Ball.x86_64"),
        ("linux", "Ball.x86_64", "Ball.x86_64"),
        ("linux", "Ball.exe", "Ball.x86_64"),
        ("linux", "Ball", "Ball.x86"),
        ("linux", "Ball.sh", "Ball.sh"),
        ("linux", "Ball", "Ball"),
        ("linux", "Ball.v2", "Ball.v2.x86_64"),
        ("darwin", "Ball", "Ball.app/Contents/MacOS/Ball"),
        ("darwin", "Ball.app", "Ball.app/Contents/MacOS/Ball"),
        ("darwin", "Ball.app", "Ball.app/Contents/MacOS/3D Ball Environment"),
        ("win32", "Ball", "Ball.exe"),
        ("win32", "Ball.exe", "Ball.exe"),
        ("win32", "Ball", "Ball/UnityEnvironment.exe"),
    ],
)
def test_the_program_is_found(platform: str, asked: str, there: str, tmp_path: Path) -> None:
    found = program(tmp_path / there)
    assert find_build(tmp_path / asked, platform=platform) == found


def test_the_path_may_be_relative_and_the_program_is_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = program(tmp_path / "builds" / "Ball.x86_64")
    monkeypatch.chdir(tmp_path)
    assert find_build(Path("builds/Ball"), platform="linux") == found


def test_of_two_builds_the_named_one_is_taken_and_else_the_newer_form(tmp_path: Path) -> None:
    for ending in (".x86", ".x86_64"):
        program(tmp_path / f"Ball{ending}")
    for asked, found in (("Ball", "Ball.x86_64"), ("Ball.x86", "Ball.x86")):
        assert find_build(tmp_path / asked, platform="linux") == tmp_path / found


def test_the_crash_handler_of_windows_builds_is_not_the_game(tmp_path: Path) -> None:
    program(tmp_path / "Ball" / "UnityCrashHandler64.exe")
    with pytest.raises(ConfigError, match="is a folder"):
        find_build(tmp_path / "Ball", platform="win32")
    game = program(tmp_path / "Ball" / "ball.exe")
    assert find_build(tmp_path / "Ball", platform="win32") == game


@pytest.mark.parametrize(
    ("platform", "there", "message"),
    [
        ("linux", "Ball.exe", r"only .*Ball.exe \(a build for Windows\); build the game for this"),
        ("darwin", "Ball.x86_64", r"only .*Ball.x86_64 \(a build for Linux\)"),
        (
            "linux",
            "Bal1.x86_64",
            r"looked for .*Ball.x86_64, .*Ball.x86, .*Did you mean .*Bal1",
        ),
        ("win32", "Bal1.exe", r"looked for .*Ball.exe and .*\*.exe. Did you mean .*Bal1.exe"),
        ("darwin", "Else.app", r"looked for .*Ball.app with a program in Contents/MacOS. Nothing"),
        ("linux", "Ball/Ball.x86_64", r"Ball is a folder; did you mean .*Ball/Ball.x86_64\?"),
        ("linux", "Ball/data", r"is a folder without a build"),
    ],
)
def test_what_is_there_instead_is_told(
    platform: str, there: str, message: str, tmp_path: Path
) -> None:
    program(tmp_path / there)
    with pytest.raises(ConfigError, match=message) as refusal:
        find_build(tmp_path / "Ball", platform=platform)
    assert "\n" not in str(refusal.value)


def test_a_missing_folder_is_told_with_where_paths_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no folder .*builds either; relative paths start at"):
        find_build(tmp_path / "builds" / "Ball", platform="linux")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_program_that_may_not_be_executed_is_told_with_the_command_that_allows_it(
    tmp_path: Path,
) -> None:
    found = program(tmp_path / "Ball.x86_64")
    found.chmod(0o644)
    with pytest.raises(ConfigError, match=rf"chmod \+x '{found}'"):
        find_build(tmp_path / "Ball", platform="linux")


def test_the_arguments_are_those_of_mlagents_learn_in_its_order() -> None:
    launch = UnityLaunchConfig(path=Path("Ball"), arguments=("--level", "3"), no_graphics=True)
    log = Path("/results/walker/run_logs/Player-2.log").absolute()
    assert game_arguments(launch, game=2, port=5007, player_log=log) == (
        *("-nographics", "-batchmode"),
        *("--mlagents-port", "5007"),
        *("-logFile", str(log)),
        *("--level", "3"),
    )


def test_a_log_that_the_user_names_is_the_one_that_is_read() -> None:
    launch = UnityLaunchConfig(path=Path("Ball"), arguments=("-logfile", "mine.log"))
    log = Path("Player-0.log")
    assert game_arguments(launch, game=0, port=5005, player_log=log) == (
        *("--mlagents-port", "5005"),
        *("-logfile", "mine.log"),
    )
    assert player_log_of(launch, log) == Path("mine.log").absolute()
    assert player_log_of(UnityLaunchConfig(path=Path("Ball")), log) == log.absolute()


def test_with_a_monitor_only_the_first_game_has_graphics() -> None:
    monitor = UnityLaunchConfig(path=Path("Ball"), no_graphics_monitor=True)
    assert [is_headless(monitor, game) for game in range(3)] == [False, True, True]
    with_graphics = UnityLaunchConfig(path=Path("Ball"))
    assert not any(is_headless(with_graphics, game) for game in range(3))
