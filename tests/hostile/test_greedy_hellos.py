"""Hellos that ask for more than anyone needs: behaviours, choices, observations, long names."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import pytest

from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from support.attacked_run import CONFIG, AttackedProgram, AttackedRun, over_both, over_both_in_turn
from support.attackers import attack, hello_of
from support.attacks import greet, greet_with_behaviours, greet_with_length, greet_with_sizes

Attacked = Callable[..., AbstractAsyncContextManager[AttackedRun]]
Program = Callable[..., AbstractContextManager[AttackedProgram]]

LONGEST_REASON = 4000
"""Bytes: gRPC hides a reason of more than 8,000."""


@over_both
async def test_too_much_of_anything_in_a_hello_is_refused_and_says_what(
    attacked: Attacked,
) -> None:
    cases: list[tuple[Callable[..., Any], dict[str, Any], str, str]] = [
        (greet_with_behaviours, {"count": 10_000}, "RESOURCE_EXHAUSTED", "10,000 behaviours"),
        (greet_with_behaviours, {"count": 1, "observations": 5000}, "INVALID", "5,000 observatio"),
        (greet_with_sizes, {"shape": [1], "branches": [2**27]}, "INVALID", "134,217,728 choices"),
        (greet_with_sizes, {"shape": [1], "branches": [2] * 5000}, "INVALID", "5,000 branches"),
        (greet_with_sizes, {"shape": [40_000_000], "branches": [2]}, "INVALID", "'eye', float32"),
        (
            greet_with_sizes,
            {"shape": [8000, 8000, 3], "branches": [2], "dtype": "uint8"},
            "INVALID",
            "observation 'eye', uint8[8000, 8000, 3]",
        ),
        (
            greet_with_sizes,
            {"shape": [10**6, 1], "branches": [2], "kind": "entities"},
            "INVALID",
            "'eye', float32[1000000, 1]",
        ),
        (greet_with_sizes, {"shape": [1], "branches": [2], "name": "n" * 10**6}, "INVALID", "200"),
        (greet_with_length, {"mib": 3.0}, "INVALID", "characters left out"),
        (greet_with_length, {"mib": 30.0}, "RESOURCE_EXHAUSTED", "Hello of at most"),
    ]
    async with attacked() as scene:
        for attacker, options, code, words in cases:
            # In a thread of this process: its own would take longer to start than the attack.
            told = await scene.in_thread(attacker, scene.address, **options)
            assert told["code"].startswith(code), told
            assert words in told["details"], told["details"]
            assert len(told["details"].encode()) < LONGEST_REASON
        assert list(scene.run.trainers) == ["ball"]
        assert len(scene.log) < 40_000


@over_both_in_turn
async def test_an_honest_mismatch_of_many_observations_shows_what_differs(
    attacked: Attacked,
) -> None:
    def build(changed: int) -> BehaviourSpec:
        eyes = [ObservationSpec(f"an eye of some length {i}", (4,)) for i in range(200)]
        eyes[changed] = ObservationSpec(f"an eye of some length {changed}", (5,))
        return BehaviourSpec("spider", tuple(eyes), ActionSpec((-1.0,), (1.0,)))

    async with attacked() as scene:
        await scene.in_thread(greet, scene.address, hello_of(build(120)))
        told = await scene.in_thread(greet, scene.address, hello_of(build(150)))
    assert told["code"] == "FAILED_PRECONDITION"
    for number, theirs, ours in ((120, 4, 5), (150, 5, 4)):
        name = f"'an eye of some length {number}'"
        assert f"{name} is float32[{theirs}] and was float32[{ours}]" in told["details"]
    assert len(told["details"]) < 700


@over_both_in_turn
async def test_strangers_fill_no_more_than_all_replays_may_have_and_others_train_on(
    attacked: Attacked,
) -> None:
    # A row has 4 bytes seen, 4 of a choice, 2 flags of choices and 22 of the step: 1,000 of them
    # are 0.031 MiB, so that six policies have 0.18 and a seventh does not fit.
    before, _, _ = CONFIG.rpartition("algorithm:")
    replays = "algorithm: {{kind: soft_q, replay_size: 1000}}\ncheckpoints: {{replay_mib: 0.2}}\n"
    async with attacked(config=before + replays) as scene:
        for count, is_taken in ((7, False), (6, True), (8, False), (6, True)):
            told = await scene.in_thread(greet_with_behaviours, scene.address, count=count)
            assert told["code"].startswith("OK" if is_taken else "INVALID"), told
            assert is_taken or "all 7 replays together 0.214 MiB" in told["details"], told
            assert len(scene.run.trainers) == (1 if count == 7 else 7)


@over_both_in_turn
async def test_making_networks_for_a_newcomer_keeps_nobody_waiting(attacked: Attacked) -> None:
    slow = CONFIG.rpartition("hidden_sizes: [8]")
    config = f"{slow[0]}hidden_sizes: [1000, 1000]{slow[2]}"
    async with attacked(config=config) as scene:
        welcomed = asyncio.create_task(
            scene.in_thread(greet_with_behaviours, scene.address, count=3)
        )
        await scene.until(lambda: len(scene.run.trainers) == 4, within_s=60.0)
        await welcomed
        # They take a second and more; the citizen waited for none.
        assert scene.citizen.longest_wait_s < 0.5


@over_both
@pytest.mark.hostile
def test_a_hello_of_everything_leaves_the_program_small_and_quick(program: Program) -> None:
    with program(memory_mib=10_000) as scene:
        for _ in range(2):
            for count in (99, 101, 10_000, 100_000):
                told = attack(greet_with_behaviours, scene.address, count=count, seconds=120.0)
                # The run has the citizen's behaviour, and room for 99 more.
                assert (told["code"] == "OK") == (count == 99), told
            attack(greet_with_sizes, scene.address, shape=[1], branches=[2**27])
            attack(greet_with_sizes, scene.address, shape=[10**9], branches=[2])
            attack(greet_with_length, scene.address, mib=400.0)
            scene.citizen_goes_on(200)
        assert scene.peak_mib < 2500
        assert len(scene.log) < 200_000
