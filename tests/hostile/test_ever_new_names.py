"""Simulators that come under a new name each time and go: nothing grows with them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import pytest

from entrain.run.state_files import encode_state
from entrain.serving import admission
from support.attacked_run import AttackedProgram, AttackedRun, over_both, over_both_in_turn
from support.attackers import attack
from support.attacks import come_and_go


@over_both_in_turn
async def test_state_does_not_grow_with_names(
    attacked: Callable[..., AbstractAsyncContextManager[AttackedRun]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "MOST_NAMES", 30)
    async with attacked() as scene:
        run: Any = scene.run

        async def size_after(first: int) -> int:
            await scene.in_thread(come_and_go, scene.address, count=60, first=first)
            await scene.until(lambda: len(run.participants) == 1)
            return sum(map(len, encode_state(run.participants.state())))

        before = await size_after(60)
        assert abs(await size_after(120) - before) < 2000
        assert run.participants.counters["sessions_joined"] == 121
        # Sessions of those who are gone are forgotten when somebody joins.
        assert len(run._front._fronts["native"]._sessions._by_id) < 100


@over_both
@pytest.mark.hostile
def test_thousands_of_names_leave_the_program_as_small_as_it_was(
    program: Callable[..., AbstractContextManager[AttackedProgram]],
) -> None:
    with program() as scene:
        attack(come_and_go, scene.address, count=1500, seconds=120.0)
        before = scene.peak_mib
        for part in range(1, 4):
            first = 1500 * part
            attack(come_and_go, scene.address, count=1500, first=first, seconds=120.0)
        assert scene.peak_mib < before + 100
