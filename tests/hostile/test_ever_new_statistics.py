"""Simulators that report ever new names, or values by the million: nothing grows with them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import pytest

from entrain.metrics import STATISTICS
from entrain.run.table import read_metrics
from support.attacked_run import AttackedProgram, AttackedRun, over_both, over_both_in_turn
from support.attackers import attack
from support.attacks import report_statistics


@over_both_in_turn
async def test_names_and_values_are_bounded_and_cost_nobody_a_session(
    attacked: Callable[..., AbstractAsyncContextManager[AttackedRun]],
) -> None:
    async with attacked(server="max_statistics: 20") as scene:
        run: Any = scene.run
        for first in (0, 300):
            told = await scene.in_thread(
                report_statistics, scene.address, steps=30, names=10, values=1, first=first
            )
            assert told["answered"] == 30
        told = await scene.in_thread(
            report_statistics, scene.address, steps=3, names=1, values=300_000, first=900
        )
        assert told["answered"] == 3
        assert len(run.participants.statistics.state()["names"]) == 20
        assert scene.log.count(" reported ") == 3


@over_both
@pytest.mark.hostile
def test_hundreds_of_thousands_of_names_leave_the_program_small(
    program: Callable[..., AbstractContextManager[AttackedProgram]],
) -> None:
    with program() as scene:
        for part in range(3):
            first = part * 10**6
            many: dict[str, Any] = {"steps": 300, "names": 300, "values": 1, "first": first}
            attack(report_statistics, scene.address, seconds=120.0, **many)
            attack(report_statistics, scene.address, steps=20, names=1, values=1_000_000)
            scene.citizen_goes_on(200)
        assert scene.peak_mib < 1500
        assert len(scene.log) < 100_000
        for series in read_metrics(scene.folder.metrics).values():
            assert sum(name.startswith(STATISTICS) for name in series.columns) <= 200
