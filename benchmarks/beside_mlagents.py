"""Balls balanced through ML-Agents' wire: entrain beside mlagents-learn, in turns.

The same game on both sides (tests/support/unity_player.py, in a process of its own) and the same
settings, those that ML-Agents has for 3DBall. Printed are agent steps per second between the first
and the last exchange, which share of what was played was learned from, and when the balls stayed
up (mean return of 30 episodes above 90). mlagents-learn needs a Python of its own:

    python -m benchmarks.beside_mlagents --stock PYTHON --pairs 3 --balls 12 --steps 100000
"""

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SOLVED, EPISODES = 90.0, 30
LIMIT_S = 1800

SETTINGS = """
behaviors:
  3DBall:
    trainer_type: ppo
    hyperparameters:
      batch_size: 64
      buffer_size: 12000
      learning_rate: 0.0003
      beta: 0.001
      epsilon: 0.2
      lambd: 0.99
      num_epoch: 3
      learning_rate_schedule: linear
    network_settings:
      normalize: true
      hidden_units: 128
      num_layers: 2
      vis_encode_type: simple{memory}
    reward_signals:
      extrinsic: {{gamma: 0.99, strength: 1.0}}
    keep_checkpoints: 5
    max_steps: {steps}
    time_horizon: 1000
    summary_freq: 12000
    threaded: {threaded}
"""

MEMORY = """
      memory: {sequence_length: 64, memory_size: 128}"""


OURS = (sys.executable, "-m", "entrain", "learn")


@dataclass(frozen=True)
class Task:
    """What is played and learned."""

    balls: int
    steps: int
    memory: bool = False
    """Learn with an LSTM."""

    threaded: bool = False
    """Collect while learning, with a policy that is one update old."""

    def settings(self) -> str:
        """A settings file of ML-Agents."""
        memory = MEMORY if self.memory else ""
        threaded = str(self.threaded).lower()
        return SETTINGS.format(steps=self.steps, memory=memory, threaded=threaded)


@dataclass(frozen=True)
class Played:
    """One run, as the game saw it."""

    opened: int
    seconds: float
    trainer_s: float  # of processor time, from its start to its end
    game_s: float
    exchange_ms: Sequence[float]
    ended: Sequence[tuple[float, float]]

    @property
    def rate(self) -> float:
        """Agent steps a second."""
        return self.opened / self.seconds

    @property
    def solved_s(self) -> float | None:
        """When the balls stayed up; None if they did not."""
        for last in range(EPISODES, len(self.ended) + 1):
            window = [value for _, value in self.ended[last - EPISODES : last]]
            if statistics.mean(window) > SOLVED:
                return self.ended[last - 1][0]
        return None


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stock", type=Path, help="the Python in which mlagents is installed")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--balls", type=int, default=12)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--memory", action="store_true", help="with an LSTM")
    arguments = parser.parse_args()
    commands: dict[str, Sequence[str]] = {"entrain": OURS}
    if arguments.stock is not None:
        commands["mlagents-learn"] = (str(arguments.stock.parent / "mlagents-learn"),)
    task = Task(balls=arguments.balls, steps=arguments.steps, memory=arguments.memory)
    runs: dict[str, list[Played]] = {who: [] for who in commands}
    for pair in range(arguments.pairs):
        for who, command in commands.items():
            played = run(command, task, seed=pair + 1)
            runs[who].append(played)
            print(f"pair {pair}: {who} {told(played, arguments.steps)}", flush=True)
    for who, finished in runs.items():
        median = statistics.median(each.rate for each in finished)
        print(f"median {who}: {median:,.0f} agent steps/s")
    if len(runs) > 1:
        ours, theirs = ([each.rate for each in finished] for finished in runs.values())
        print(f"ratio {statistics.median(ours) / statistics.median(theirs):.2f}")


def told(played: Played, steps: int) -> str:
    """One run in a line."""
    solved = "not solved" if played.solved_s is None else f"solved at {played.solved_s:.1f} s"
    middle = statistics.median(played.exchange_ms)
    unused = 1.0 - steps / max(steps, played.opened)
    return (
        f"{played.rate:,.0f} agent steps/s, exchange {middle:.2f} ms, processor time "
        f"{played.trainer_s:.1f} s (trainer), {played.game_s:.1f} s (game), {unused:.0%} of "
        f"{played.opened:,} not learned from, {solved}"
    )


def run(command: Sequence[str], task: Task, *, seed: int) -> Played:
    """Train once, with a game that the trainer starts."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        settings = folder / "3DBall.yaml"
        settings.write_text(task.settings())
        timings = folder / "timings.json"
        words = [
            *command,
            str(settings),
            f"--env={player(folder)}",
            "--run-id=ball",
            f"--seed={seed}",
            f"--results-dir={folder / 'results'}",
            f"--base-port={free_port()}",
            "--env-args",
            f"--balls={task.balls}",
            f"--timings={timings}",
        ]
        before_s = spent_s()
        with (folder / "log.txt").open("w") as log:
            code = subprocess.run(
                words, cwd=folder, stdout=log, stderr=log, timeout=LIMIT_S, check=False
            ).returncode
        if code or not timings.exists():
            sys.exit(f"{command[0]} ended with {code}:\n{(folder / 'log.txt').read_text()[-3000:]}")
        return read(timings, processor_s=spent_s() - before_s)


def spent_s() -> float:
    """Processor time of the programs that have ended, and of the programs that they started."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read(timings: Path, *, processor_s: float) -> Played:
    """What the game wrote down.

    Args:
        timings: the file.
        processor_s: of the trainer and the game together.
    """
    said: dict[str, Any] = json.loads(timings.read_text())
    return Played(
        opened=said["opened"],
        seconds=said["seconds"],
        trainer_s=processor_s - said["processor_s"],
        game_s=said["processor_s"],
        exchange_ms=said["exchange_ms"],
        ended=[(second, value) for second, value in said["ended"]],
    )


def player(folder: Path) -> Path:
    """A program that plays, as a build of the engine would."""
    program = folder / "ball"
    paths = os.pathsep.join(str(ROOT / name) for name in ("tests", "envs"))
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH='{paths}' exec '{sys.executable}' -m support.unity_player \"$@\"\n"
    )
    program.chmod(0o755)
    return program


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    main()
