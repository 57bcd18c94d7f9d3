"""A simulator whose numbers are finite, but so large that no weight survives learning from them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from support.attacked_run import AttackedRun
from support.attacks import send_too_large


@pytest.mark.parametrize("what", ["reward", "eye"])
async def test_who_sends_a_number_that_is_far_too_large_is_refused_alone(
    what: str,
    attacked: Callable[..., AbstractAsyncContextManager[AttackedRun]],
) -> None:
    async with attacked() as scene:
        # In a thread of this process: its own would take longer to start than the attack.
        told = await scene.in_thread(send_too_large, scene.address, **{what: 1e20})
        assert told["code"] == "INVALID_ARGUMENT", told
        assert f"'{what}'" in told["details"] or f", {what}, row 2" in told["details"]
        assert "(agent 2) holds 1e+20" in told["details"]
        await scene.until(lambda: len(scene.run._participants) == 1)
        ledger = scene.run.trainers["fly"].ledger
        # Four Steps were answered. What came with the fifth counts for nothing.
        assert (ledger.opened, ledger.closed) == (12, 9)
        assert "attacker@" in scene.log
        assert "server.max_" in scene.log
