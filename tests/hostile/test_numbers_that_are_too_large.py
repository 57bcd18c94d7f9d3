"""Numbers that are finite, but so large that no weight survives them; and policies that diverge."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from entrain_envs.client import TrainerClient
from support.attacked_run import CONFIG, AttackedRun, over_both, over_both_in_turn
from support.attacks import send_too_large
from toy_environments import DiscreteBandit


@over_both
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
        await scene.until(lambda: len(scene.run.participants) == 1)
        ledger = scene.run.trainers["fly"].ledger
        # Four Steps were answered. What came with the fifth counts for nothing.
        assert (ledger.opened, ledger.closed) == (12, 9)
        assert "attacker@" in scene.log
        assert "server.max_" in scene.log


GUESTS_DIVERGE = "num_epochs: 1, learning_rate: 1e30".join(CONFIG.rsplit("num_epochs: 1", 1))


@over_both_in_turn
async def test_a_guest_whose_policy_diverges_is_answered_on_and_the_citizen_learns(
    attacked: Callable[..., AbstractAsyncContextManager[AttackedRun]],
) -> None:
    async with attacked(config=GUESTS_DIVERGE) as scene:
        # 16 steps each: the 26th completes the rollout of 400.
        await scene.in_thread(act_for, scene.address, exchanges=40)
        toy, ball = scene.run.trainers["toy"], scene.run.trainers["ball"]
        assert "update 1 of policy 'toy' diverged" in str(toy.divergence)
        assert toy.progress.env_steps == 400
        assert toy.progress.episodes == 39 * 16
        before = ball.progress.updates
        await scene.until(lambda: ball.progress.updates > before)


def act_for(address: str, *, exchanges: int) -> None:
    """A guest that is answered so often, and leaves."""
    bandit = DiscreteBandit([1.0, 0.0], num_agents=16)
    with TrainerClient(address, bandit.behaviours, simulator="guest") as client:
        client.connect()
        rows = bandit.reset(seed=1, parameters={})
        for _ in range(exchanges):
            rows = bandit.step(client.exchange(rows))
