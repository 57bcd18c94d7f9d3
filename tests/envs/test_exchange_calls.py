"""One exchange of one CartPole in the simulator passes few files of ours, and makes few calls."""

import re
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

import gymnasium

import entrain_envs
from entrain_envs.client import TrainerClient
from entrain_envs.environment import run
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment
from entrain_envs.wire import trainer_pb2 as pb
from scripted_trainer import NeverSilent, act, close, welcome

PACKAGE = Path(entrain_envs.__file__).parent
WARM, MEASURED = 1100, 4
"""Exchanges before counting, in which the precision of observations is watched, and counted."""


class CountingConnection(NeverSilent):
    """Answers every Step, and counts the Python calls made between two of them."""

    def __init__(self, environment: GymnasiumEnvironment) -> None:
        (self._spec,) = environment.behaviours
        self._steps = 0
        self._answer = welcome(seed=1)
        self.calls: Counter[str] = Counter()

    def send(self, request: pb.ConnectRequest) -> None:
        if not request.HasField("step"):
            return
        self._steps += 1
        self._answer = act(self._spec, request.step)
        if self._steps == WARM:
            sys.setprofile(self._count)
        if self._steps == WARM + MEASURED:
            sys.setprofile(None)
            self._answer = close(pb.CLOSE_REASON_COMPLETED, "trained")

    def receive(self, *, timeout_s: float = 0.0) -> pb.ConnectResponse:
        return self._answer

    def end(self, *, timeout_s: float) -> None:
        pass

    def _count(self, frame: FrameType, event: str, argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents and "wire" not in path.parts:
            self.calls[path.name] += 1


def files_of_a_simulators_exchange() -> set[str]:
    """The names that ARCHITECTURE.md gives in "The path of one observation"."""
    page = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rows = page.split("\n| simulator | ")[1].split("\n| trainer: wire")[0].splitlines()
    paths = [path for row in rows for path in re.findall(r"`([a-z_/]+\.py)`", row)]
    return {path.rpartition("/")[2] for path in paths}


def test_an_exchange_passes_eight_files_and_forty_calls_of_ours_at_most() -> None:
    environment = GymnasiumEnvironment(lambda: gymnasium.make("CartPole-v1"), behaviour="pole")
    connection = CountingConnection(environment)
    client = TrainerClient(
        *("trainer:1", environment.behaviours), simulator="sim", open_connection=lambda: connection
    )
    assert run(environment, client).exchanges == WARM + MEASURED - 1
    # The connection itself, a stand-in here, is one file more and two calls: send and receive.
    assert {*connection.calls, "connection.py"} == files_of_a_simulators_exchange()
    assert len(connection.calls) + 1 <= 8, connection.calls
    assert connection.calls.total() / MEASURED + 2 <= 40, connection.calls
