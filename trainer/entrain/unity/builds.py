"""Finds the program of a game's build, and makes the arguments to start it with.

Both are as mlagents-learn does it, on each platform. Nothing here starts anything.
"""

import difflib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from entrain.config.unity import UnityLaunchConfig
from entrain.errors import ConfigError
from entrain.quoting import listed

ENDINGS = {
    "linux": (".x86_64", ".x86"),
    "darwin": (".app",),
    "win32": (".exe",),
}
"""What a build's name ends with, by `sys.platform`."""

MAKERS = {".x86_64": "Linux", ".x86": "Linux", ".app": "macOS", ".exe": "Windows"}
"""Where a build of that ending runs."""

CRASH_HANDLER = "UnityCrashHandler"
"""Prefix of the name of a program that is in every Windows build and is not the game."""

MOST_ENTRIES = 200
"""Most files of a folder that are searched for a similar name."""


def find_build(path: Path, *, platform: str = sys.platform) -> Path:
    """Returns the program to start, as an absolute path; ConfigError if there is none.

    Args:
        path: as the user gave it, with or without an ending.
        platform: `sys.platform` of the machine that starts it.
    """
    stem = _without_ending(path)
    candidates = _candidates(path, stem, platform)
    if not candidates:
        raise ConfigError(_not_found(path, stem, platform))
    program = candidates[0].absolute()
    if platform != "win32" and not os.access(program, os.X_OK):
        raise ConfigError(
            f"--env (unity.launch.path): {program} may not be executed by this user; allow it "
            f"with: chmod +x '{program}'"
        )
    return program


def _without_ending(path: Path) -> Path:
    return path.with_name(path.stem) if path.suffix in MAKERS else path


def _candidates(path: Path, stem: Path, platform: str) -> Sequence[Path]:
    """The existing programs that fit `platform`, the best first."""
    named = [stem.with_name(stem.name + ending) for ending in ENDINGS.get(platform, ())]
    if platform == "darwin":
        programs = stem.with_name(f"{stem.name}.app") / "Contents" / "MacOS"
        return [each for each in (programs / stem.name, *_files(programs)) if each.is_file()]
    if platform == "win32":
        inside = [each for each in _files(stem) if each.suffix.lower() == ".exe"]
        named += [each for each in inside if not each.name.startswith(CRASH_HANDLER)]
        return [each for each in named if each.is_file()]
    return [each for each in (path, *named, stem) if each.is_file() and _is_ours(each)]


def _is_ours(program: Path) -> bool:
    """True if a file's ending is that of a Linux program, or of no platform."""
    return MAKERS.get(program.suffix, "Linux") == "Linux"


def _not_found(path: Path, stem: Path, platform: str) -> str:
    """A message that names the missing program, and what is there instead."""
    said = f"--env (unity.launch.path): there is no game {path}"
    others = [
        f"{each} (a build for {maker})"
        for ending, maker in MAKERS.items()
        if ending not in ENDINGS.get(platform, ())
        and (each := stem.with_name(stem.name + ending)).exists()
    ]
    if others:
        return f"{said} for this machine, only {listed(others)}; build the game for this platform"
    if platform == "darwin":
        looked_for = f"{stem}.app with a program in Contents/MacOS"
    elif platform == "win32":
        looked_for = f"{stem}.exe and {stem / '*.exe'}"
    else:
        looked_for = ", ".join(str(stem) + ending for ending in (*ENDINGS["linux"], ""))
    return f"{said}; looked for {looked_for}. {_instead(path, stem, platform)}"


def _instead(path: Path, stem: Path, platform: str) -> str:
    """A hint for the message: the file with the most similar name, or the missing folder."""
    if stem.is_dir():
        builds = [each for each in _files(stem) if each.suffix in ENDINGS.get(platform, ())]
        if builds:
            return f"{path} is a folder; did you mean {listed([str(each) for each in builds])}?"
        return f"{path} is a folder without a build; name the program in it"
    folder = stem.parent
    if not folder.is_dir():
        return f"There is no folder {folder} either; relative paths start at {Path.cwd()}"
    names = {_without_ending(each).name: each for each in _files(folder)}
    similar = difflib.get_close_matches(stem.name, names, n=1, cutoff=0.5)
    if similar:
        return f"Did you mean {names[similar[0]]}?"
    return f"Nothing in {folder.absolute()} has a similar name"


def _files(folder: Path) -> Sequence[Path]:
    """The entries of a folder, sorted; none if it cannot be read."""
    try:
        return sorted(folder.iterdir())[:MOST_ENTRIES]
    except OSError:
        return []


def is_headless(launch: UnityLaunchConfig, game: int) -> bool:
    """Returns whether game number `game`, from 0, is started without graphics."""
    return launch.no_graphics or (launch.no_graphics_monitor and game > 0)


def game_arguments(
    launch: UnityLaunchConfig, *, game: int, port: int, player_log: Path
) -> tuple[str, ...]:
    """Returns the arguments of game number `game`, from 0, which dials `port`.

    Args:
        launch: of the configuration.
        game: its number.
        port: that it dials.
        player_log: the file that the engine writes, unless the user names another.
    """
    arguments = ["-nographics", "-batchmode"] if is_headless(launch, game) else []
    arguments += ["--mlagents-port", str(port)]
    if _log_argument(launch.arguments) is None:
        arguments += ["-logFile", str(player_log.absolute())]
    return (*arguments, *launch.arguments)


def player_log_of(launch: UnityLaunchConfig, player_log: Path) -> Path:
    """Returns the file that the engine writes: `player_log`, unless the user names another."""
    place = _log_argument(launch.arguments)
    if place is None or place + 1 >= len(launch.arguments):
        return player_log.absolute()
    return Path(launch.arguments[place + 1]).absolute()


def _log_argument(arguments: Sequence[str]) -> int | None:
    return next((i for i, word in enumerate(arguments) if word.lower() == "-logfile"), None)
