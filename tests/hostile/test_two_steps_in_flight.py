"""Simulators with two Steps in flight break rules, vanish and come back: nobody else notices."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from support.attacked_run import CONFIG, AttackedRun, over_both, over_both_in_turn
from support.attackers import attack
from support.early_steps import be_killed, come_back, send_a_third, share_an_agent

Attacked = Callable[..., AbstractAsyncContextManager[AttackedRun]]
UNTIL_ALL_WAIT = "max_wait_s: 60.0"
"""No batch is due before all simulators of its behaviour wait; the citizen has its own."""


async def alone(scene: AttackedRun) -> None:
    """Until nobody but the citizen takes part."""
    await scene.until(lambda: len(scene.run.participants) == 1)


def counts(scene: AttackedRun) -> tuple[int, int, int, int]:
    """Steps of the attackers' policy after the run: opened, closed, dropped, open."""
    ledger = scene.run.trainers["fly"].ledger
    return ledger.opened, ledger.closed, ledger.dropped, ledger.open


@over_both_in_turn
@pytest.mark.parametrize(
    ("attack_with", "words"),
    [
        (share_an_agent, "'fly', agent 0 is in Step 2 while its action of Step 1 is not chosen"),
        (send_a_third, "sent Step 3 while the Steps 1 and 2 have no Act yet"),
    ],
    ids=["an agent in both", "a third"],
)
async def test_who_breaks_the_rules_is_ended_and_told_why(
    attacked: Attacked, attack_with: Callable[..., Any], words: str
) -> None:
    async with attacked(server=UNTIL_ALL_WAIT) as scene:
        told = await scene.in_thread(attack, attack_with, scene.address)
        assert told["code"] == "INVALID_ARGUMENT", told
        assert words in told["details"]
        await alone(scene)
        assert scene.run.participants.counters["steps_refused"] == 1
    opened, closed, dropped, still_open = counts(scene)
    assert (closed, dropped, still_open) == (0, opened, 0)


@over_both_in_turn
async def test_who_is_killed_leaves_no_open_step(attacked: Attacked) -> None:
    async with attacked(server=UNTIL_ALL_WAIT) as scene:
        await scene.in_thread(attack, be_killed, scene.address)
        await alone(scene)
    # If the other simulator is noticed to be gone first, nobody is waited for any more: then one of
    # its Steps is answered, or both, to nobody.
    opened, closed, dropped, still_open = counts(scene)
    assert opened <= 2
    assert (closed, dropped, still_open) == (0, opened, 0)


@over_both
async def test_who_comes_back_is_answered_in_order_and_counted_once(attacked: Attacked) -> None:
    patient = CONFIG.replace("grace_s: 0.2", "grace_s: 20.0")
    async with attacked(server=UNTIL_ALL_WAIT, config=patient) as scene:
        told = await scene.in_thread(attack, come_back, scene.address)
        assert told == {"resumed": True, "answered": [1, 2]}
        await alone(scene)
    # Two of its agents, and twice the other simulator's, whose second row closed a step.
    assert counts(scene) == (4, 1, 3, 0)
