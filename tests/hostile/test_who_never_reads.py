"""A simulator that sends Step after Step and reads no Act: its Acts do not pile up."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager

import pytest

from support.attacked_run import SELDOM_LEARNING, WEBSOCKET, AttackedProgram, AttackedRun, over_both
from support.attackers import attack
from support.attacks import never_read


@over_both
async def test_who_never_reads_is_ended_and_told_why(
    attacked: Callable[..., AbstractAsyncContextManager[AttackedRun]],
) -> None:
    async with attacked(config=SELDOM_LEARNING) as scene:
        told = await scene.in_thread(
            never_read, scene.address, agents=100, dimensions=1000, steps=30
        )
        assert told["code"] == "RESOURCE_EXHAUSTED", told
        assert "wait for it to read them; read the Act of each Step" in told["details"]
        await scene.until(lambda: len(scene.run.participants) == 1)


@over_both
@pytest.mark.hostile
def test_many_who_never_read_take_no_memory(
    program: Callable[..., AbstractContextManager[AttackedProgram]], transport: str
) -> None:
    # Over WebSocket, who does not read its refusal for 5 s is cut off.
    codes = {"RESOURCE_EXHAUSTED", *(["UNAVAILABLE"] if transport == WEBSOCKET else [])}
    with program(config=SELDOM_LEARNING) as scene:
        for _ in range(3):
            told = attack(never_read, scene.address, agents=1000, dimensions=1000, steps=160)
            assert told["code"] in codes, told
        assert scene.peak_mib < 1500
