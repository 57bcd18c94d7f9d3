"""What a run says of a behaviour whose actions have a deadline."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from entrain.app.deadlines import warn_of_deadline
from entrain.config.policy import PolicyConfig
from entrain.config.run import ServerConfig
from entrain.serving.batch import Request
from entrain.serving.batcher import RequestBatcher
from entrain.serving.slots import SlotTable
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import StepType
from support.world import WALKER, timesteps_of

TIMED = replace(WALKER, deadline_ms=12, fallback="neutral")


@pytest.mark.parametrize(
    ("spec", "lag", "lockstep", "warnings"),
    [
        (WALKER, 0, True, []),
        (TIMED, 1, False, []),
        (TIMED, 0, False, ["policies.walker.policy_lag to 1"]),
        (TIMED, 0, True, ["policies.walker.policy_lag to 1", "server.lockstep to false"]),
    ],
)
def test_options_that_do_not_go_with_a_deadline_are_named(
    spec: BehaviourSpec,
    lag: int,
    lockstep: bool,
    warnings: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    options = PolicyConfig(policy_lag=lag)
    warn_of_deadline(spec, options, ServerConfig(lockstep=lockstep))
    said = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(said) == len(warnings)
    for message, expected in zip(said, warnings, strict=True):
        assert expected in message
    assert ("waits 12 ms for actions; then acts its fallback (neutral)" in caplog.text) == (
        spec is TIMED
    )


class Waits(list[float]):
    """Timers that never go off: how long each would take."""

    def __call__(self, delay_s: float, _callback: Callable[[], None]) -> "Waits":
        self.append(delay_s)
        return self

    def cancel(self) -> None:
        pass


@pytest.mark.parametrize(("spec", "wait_s"), [(WALKER, 0.005), (TIMED, 0.003)])
def test_a_request_waits_for_others_for_a_quarter_of_its_deadline_at_most(
    spec: BehaviourSpec, wait_s: float
) -> None:
    waits = Waits()
    batcher = RequestBatcher(spec, SlotTable(), ServerConfig(), clock=lambda: 0.0, call_later=waits)
    batcher.open()
    for owner in ("a", "b"):
        batcher.join(owner)
    rows = timesteps_of(WALKER, [(1, StepType.FIRST)])
    batcher.submit(Request("a", cast("Any", None), ("a", 0), "walker", 1, rows, 1, False))
    assert waits == pytest.approx([wait_s])
