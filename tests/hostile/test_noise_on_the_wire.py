"""Streams of bytes that mean nothing, and of messages in no order, beside one that keeps the rules.

It is also the shortest example of how a test of this folder is written.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager

import pytest

from support.attacked_run import AttackedProgram, AttackedRun, over_both
from support.attackers import attack
from support.attacks import send_noise


@over_both
async def test_noise_is_refused_and_the_citizen_is_answered(
    attacked: Callable[..., AbstractAsyncContextManager[AttackedRun]],
) -> None:
    async with attacked() as scene:
        statuses = await scene.in_thread(attack, send_noise, scene.address, streams=50, seed=1)
        assert sum(statuses.values()) == 50
        assert statuses["INVALID_ARGUMENT"] > 40


@over_both
@pytest.mark.hostile
def test_much_noise_is_refused_and_the_citizen_is_answered(
    program: Callable[..., AbstractContextManager[AttackedProgram]],
) -> None:
    with program() as scene:
        statuses = attack(send_noise, scene.address, streams=5000, seed=2, seconds=120.0)
        assert statuses["INVALID_ARGUMENT"] > 4500
        assert scene.peak_mib < 1000
