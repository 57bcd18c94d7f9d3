"""The Python SDK keeps every rule that it can show, over gRPC as simulators dial it."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import gymnasium

from entrain_envs.client import TrainerClient
from entrain_envs.conformance.grpc_port import GrpcPort
from entrain_envs.conformance.listening import Access, read_place
from entrain_envs.conformance.pace import Pace
from entrain_envs.conformance.results import Results, Verdict
from entrain_envs.conformance.script import Script
from entrain_envs.conformance.websocket_port import WebSocketPort
from entrain_envs.copies import Copies
from entrain_envs.environment import Environment, run
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment
from entrain_envs.simulators.balance_ball import BalanceBall

QUICK = Pace(
    late_s=0.05,
    quiet_s=0.3,
    second_step_s=0.1,
    silence_s=3.0,
    min_steps=12,
    max_steps=40,
    episodes=2,
)

OFTEN = frozenset(
    {
        "late-rows",
        "says-late",
        "token",
        "new-behaviours",
        "mask",
        "groups",
        "statistics",
        "max-agents",
    }
)
"""Rules that a simulator without such things does not show."""


WEBSOCKET = frozenset({"subprotocol", "binary", "pongs"})


class ThreadLauncher:
    """Runs a simulator in a thread, anew for each life."""

    def __init__(self, simulate: Callable[[], None]) -> None:
        self._simulate = simulate
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        assert self._thread is not None
        self._thread.join(10)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        with contextlib.suppress(EntrainEnvsError):
            self._simulate()


def checked(make: Callable[[], list[Environment]], *, listen: str = "localhost:0") -> Results:
    """Check a simulator of these groups of agents."""
    access = Access(token="secret")
    kind = WebSocketPort if listen.startswith("ws:") else GrpcPort
    with kind(read_place(listen, option="--listen"), access) as port:

        def simulate() -> None:
            groups = make()
            client = TrainerClient(
                port.address,
                groups[0].behaviours,
                simulator="sdk",
                token="secret",
                max_unanswered_steps=len(groups),
                silence_s=0.3,
                connect_s=5.0,
            )
            run(groups, client)

        script = Script(
            port, pace=QUICK, timeout_s=60, token="secret", launcher=ThreadLauncher(simulate)
        )
        return script.run()


def _cart_pole() -> gymnasium.Env[Any, Any]:
    return gymnasium.make("CartPole-v1")


def verdicts(results: Results, verdict: Verdict) -> set[str]:
    return {each.rule.name for each in results.findings() if each.verdict is verdict}


def test_two_groups_of_cart_poles_pass() -> None:
    results = checked(
        lambda: [
            GymnasiumEnvironment(_cart_pole, behaviour="pole", part=part)
            for part in Copies.all(8).divided(2)
        ]
    )
    failed = [each for each in results.findings() if each.verdict is Verdict.FAILED]
    assert failed == []
    not_shown = verdicts(results, Verdict.NOT_SHOWN)
    rare = {"respawn", "leave-and-return", "row-major", "final-observation", "two-rows"}
    assert not_shown <= (OFTEN - {"token"}) | rare | WEBSOCKET


def test_balance_balls_pass_over_websocket() -> None:
    results = checked(lambda: [BalanceBall(count=6)], listen="ws://localhost:0")
    failed = [each for each in results.findings() if each.verdict is Verdict.FAILED]
    assert failed == []
    assert verdicts(results, Verdict.PASSED) >= WEBSOCKET | {"token", "inquires", "begins-anew"}
