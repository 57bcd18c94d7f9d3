"""Games that the trainer starts: killed and frozen ones come back, and every step is counted."""

import asyncio
import logging
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from entrain.app import game_watch
from entrain.app.training import TrainingRun
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, NoSimulatorError
from entrain.run.folder import RunFolder
from live_run import config_from, train

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell script stands in for a build")

ROOT = Path(__file__).parents[3]

CONFIG = """
unity:
  port: 0
  games: {games}
  timeout_s: {timeout_s}
  launch:
    path: {folder}/Ball
    arguments: [--balls, "3"]
    no_graphics: true
    restarts_rate_limit: {restarts}
policies:
  3DBall:
    total_steps: {total_steps}
    rollout_steps: 100000
    network: {{hidden_sizes: [8]}}
"""

BUILD = """#!/bin/sh
echo $$ >> {folder}/pids
PYTHONPATH={tests} exec {python} -m support.unity_player "$@"
"""


def configured(
    folder: Path,
    *,
    build: str = BUILD,
    games: int = 1,
    timeout_s: float = 60.0,
    restarts: int = 1,
    total_steps: int = 1_000_000,
) -> RunConfig:
    program = folder / "Ball.x86_64"
    program.write_text(build.format(folder=folder, tests=ROOT / "tests", python=sys.executable))
    program.chmod(0o755)
    return config_from(
        CONFIG.format(
            games=games,
            folder=folder,
            timeout_s=timeout_s,
            restarts=restarts,
            total_steps=total_steps,
        ),
        folder,
    )


def pids(folder: Path) -> list[int]:
    """Of all games that were started, in that order."""
    return [int(word) for word in (folder / "pids").read_text().split()]


async def test_a_game_that_was_killed_and_one_that_froze_come_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(game_watch, "LOOK_S", 0.05)
    config = configured(tmp_path, games=2, timeout_s=1.5, restarts=-1)
    folder = RunFolder.create(tmp_path, "run")
    marks: list[int] = []

    def disturb(run: TrainingRun) -> bool:
        joined = run.participants.counters["sessions_joined"]
        if not marks and joined == 2 and run.env_steps > 100:
            os.kill(pids(tmp_path)[0], signal.SIGKILL)
            marks.append(run.env_steps)
        elif len(marks) == 1 and joined == 3 and run.env_steps > marks[0] + 100:
            os.kill(pids(tmp_path)[1], signal.SIGSTOP)
            marks.append(run.env_steps)
        return len(marks) == 2 and joined == 4 and run.env_steps > marks[1] + 100

    with caplog.at_level(logging.INFO):
        async with asyncio.timeout(120):
            outcome, run = await train(config, folder, stop_at=disturb, look_s=0.02)
    assert outcome == "stopped"
    counters = run.summary("stopped").counters
    assert (counters["sessions_joined"], counters["sessions_lost"]) == (4, 2)
    ledger = run.trainers["3DBall"].ledger
    # Three balls of each game that was killed, and none else.
    assert ledger.dropped == 2 * 3
    assert "ended with signal SIGKILL; it wrote nothing in" in caplog.text
    froze = r"game-[01] was killed: it has sent nothing for 1.5 s since its last actions"
    assert re.search(froze, caplog.text)
    for game in range(2):
        log = (folder.simulators / f"Player-{game}.log").read_text()
        assert "'-nographics', '-batchmode', '--mlagents-port'" in log
        assert "Ledger(" in log  # it was told of the end, and ended by itself


async def test_a_build_that_crashes_at_its_start_ends_the_run_with_what_its_log_says(
    tmp_path: Path,
) -> None:
    crashes = """#!/bin/sh
while [ "$1" != -logFile ]; do shift; done
echo "InitializeEngineGraphics failed" > "$2"
exit 3
"""
    config = configured(tmp_path, build=crashes)
    folder = RunFolder.create(tmp_path, "run")
    with pytest.raises(NoSimulatorError) as failure:
        async with asyncio.timeout(60):
            await train(config, folder)
    log = folder.simulators / "Player-0.log"
    told = str(failure.value)
    assert f"see what they printed: {log}. game-0 ended with exit code 3" in told
    assert "its last words: InitializeEngineGraphics failed (it found no display or" in told
    assert "unity.launch.no_graphics" in told


async def test_a_build_that_is_not_there_is_told_before_anything_begins(tmp_path: Path) -> None:
    config = configured(tmp_path)
    (tmp_path / "Ball.x86_64").rename(tmp_path / "Bal.x86_64")
    with pytest.raises(ConfigError, match=r"Did you mean .*Bal.x86_64"):
        await train(config, RunFolder.create(tmp_path, "run"))
