"""The stand-in game as a program, started like a build of the engine.

    python -m support.unity_player --mlagents-port 5005 -logFile FILE [--balls 12]

It balances balls, with the shapes of 3DBall: 8 numbers seen, 2 continuous actions.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import numpy as np

from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.statistics import Statistic
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from entrain_envs.unity.service import METHOD
from entrain_envs.unity.side_channels import write_statistic
from support.unity_game import Exchange, Style, UnityGame


def dialled(port: int, *, host: str = "localhost") -> tuple[Exchange, Callable[[], None]]:
    """The way to the trainer on that port, as the engine's package dials it, and how to end it."""
    # Two games are two programs: within one they would share a connection.
    options = [("grpc.use_local_subchannel_pool", 1)]
    channel = grpc.insecure_channel(f"{host}:{port}", options=options)
    call = channel.unary_unary(METHOD, request_serializer=None, response_deserializer=None)
    return lambda request: bytes(call(request, wait_for_ready=True)), channel.close


class Timed:
    """An exchange that notes when it took place."""

    def __init__(self, exchange: Exchange) -> None:
        self.times_s: list[float] = []
        self._exchange = exchange

    def __call__(self, request: bytes) -> bytes:
        reply = self._exchange(request)
        self.times_s.append(time.perf_counter())
        return reply


@dataclass(frozen=True)
class Pause:
    """The game stands still from a step on, until a file is there."""

    at_step: int
    until: Path

    def last(self) -> None:
        """Wait; a minute at most, for who was to write the file may have failed."""
        deadline_s = time.monotonic() + 60.0
        while not self.until.exists() and time.monotonic() < deadline_s:
            time.sleep(0.02)


class BallsOfReturns(BalanceBall):
    """Notes the return of each episode, and in which step it ended."""

    def __init__(self, *, count: int, pause: "Pause | None" = None) -> None:
        super().__init__(count=count, behaviour="3DBall")
        self.steps = 0
        self._pause = pause
        self.ended: list[tuple[int, float]] = []
        self._returns = np.zeros(count)

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """As a game of balls does."""
        rows = super().step(actions)
        self.steps += 1
        if self._pause is not None and self.steps == self._pause.at_step:
            self._pause.last()
        batch = rows["3DBall"]
        outcomes = batch.step_type != StepType.FIRST
        self._returns[batch.agent_id[outcomes]] += batch.reward[outcomes]
        for agent in batch.agent_id[batch.step_type >= StepType.TERMINATED].tolist():
            self.ended.append((self.steps, float(self._returns[agent])))
            self._returns[agent] = 0.0
        return rows


def timings(game: UnityGame, balls: BallsOfReturns, timed: Timed) -> str:
    """What a benchmark reads, as JSON."""
    # The two messages of the greeting come before the first records.
    times_s = timed.times_s[2:]
    return json.dumps(
        {
            "opened": game.ledger.opened,
            "closed": game.ledger.closed,
            "seconds": times_s[-1] - times_s[0] if times_s else 0.0,
            "processor_s": time.process_time(),
            "exchange_ms": sorted(1e3 * each for each in np.diff(times_s).tolist()),
            "ended": [
                [times_s[step - 1] - times_s[0], value]
                for step, value in balls.ended
                if step <= len(times_s)
            ],
        }
    )


def main(words: Sequence[str]) -> int:
    """Play until the trainer ends it; returns an exit code like a player's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mlagents-port", type=int)
    parser.add_argument("-logFile", type=Path, dest="log")
    parser.add_argument("-nographics", action="store_true")
    parser.add_argument("-batchmode", action="store_true")
    parser.add_argument("--balls", type=int, default=12)
    parser.add_argument("--exchanges", type=int, default=None)
    parser.add_argument("--package-version", default="3.0.0")
    parser.add_argument("--told", type=Path, help="where to write what the trainer told it")
    parser.add_argument("--pause-at", type=int, help="the step after which it stands still")
    parser.add_argument("--pause-until", type=Path, help="the file for which it stands still")
    parser.add_argument("--score", type=float, help="a statistic to report once")
    parser.add_argument("--timings", type=Path, help="where to write what took how long")
    arguments = parser.parse_args(words)
    if arguments.mlagents_port is None:
        return 0
    exchange, hang_up = dialled(arguments.mlagents_port)
    pause = None if arguments.pause_at is None else Pause(arguments.pause_at, arguments.pause_until)
    timed, balls = Timed(exchange), BallsOfReturns(count=arguments.balls, pause=pause)
    game = UnityGame(
        balls, timed, style=Style(package_version=arguments.package_version, one_sensor=True)
    )
    if arguments.score is not None:
        game.statistics = write_statistic(Statistic("Score", arguments.score, "mean"))
    lines = [f"started with {list(words)}"]
    try:
        ledger = game.play(exchanges=arguments.exchanges)
        lines.append(f"ended: {ledger}")
    except grpc.RpcError as error:
        lines.append(f"lost the trainer: {error.code()}: {error.details()}")
        return 1
    finally:
        hang_up()
        if arguments.timings is not None:
            arguments.timings.write_text(timings(game, balls, timed))
        if arguments.told is not None:
            told = [[is_reset, stream.hex()] for is_reset, stream in game.told]
            arguments.told.write_text(json.dumps({"told": told, **asdict(game.ledger)}))
        if arguments.log is not None:
            arguments.log.write_text("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
