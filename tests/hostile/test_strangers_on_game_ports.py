"""Strangers on the ports of games: garbage, bombs, floods, beside a game that keeps the rules."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Any

import pytest

from support.attacked_run import AttackedProgram, AttackedRun
from support.attackers import attack
from support.game_attacks import (
    call_without_reading,
    fall_silent,
    read_noise,
    report_game_statistics,
    send_bombs,
    send_game_noise,
    send_long,
)
from support.good_game import GoodGame
from support.ports import free_ports

Attacked = Callable[..., AbstractAsyncContextManager[AttackedRun]]
Program = Callable[..., AbstractContextManager[AttackedProgram]]

REFUSED = "FAILED_PRECONDITION"


class Ports:
    """Of a game that keeps the rules, and one that nobody plays on."""

    def __init__(self) -> None:
        self.first = free_ports(2)
        self.options: dict[str, Any] = {
            "more": f"simulators: {{expect: 1}}\nunity: {{port: {self.first}, games: 2}}\n",
            "make_citizen": lambda _: GoodGame(self.first),
        }

    @property
    def good(self) -> str:
        return f"localhost:{self.first}"

    @property
    def other(self) -> str:
        return f"localhost:{self.first + 1}"


@pytest.fixture
def ports() -> Ports:
    return Ports()


async def test_whatever_strangers_send_is_answered_or_refused_in_words(
    attacked: Attacked, ports: Ports
) -> None:
    async with attacked(server="max_statistics: 20", **ports.options) as scene:
        for address, seed in ((ports.other, 1), (ports.good, 2)):
            statuses = await scene.in_thread(send_game_noise, address, games=8, seed=seed)
            assert statuses.keys() <= {"OK", REFUSED}, statuses
            assert statuses[REFUSED] > 5
        for attacker, mib in ((send_long, 0.5), (send_bombs, 10)):
            ends = await scene.in_thread(attacker, ports.other, mib=mib)
            assert set(ends.values()) == {REFUSED}, ends
        calls = await scene.in_thread(call_without_reading, ports.other, calls=30, mib=0.01)
        assert calls.keys() <= {"OK", REFUSED, "UNAVAILABLE"}, calls
        assert calls.get("OK", 0) < 5
        told = await scene.in_thread(report_game_statistics, ports.other, steps=10, names=30)
        assert told == {"OK": 10}
        statistics = scene.run.participants.statistics
        assert len(statistics.state()["names"]) <= 20
        assert await scene.in_thread(fall_silent, ports.other, lasting_s=0.1) == {"OK": 4}
        await scene.citizen_goes_on(50)
        assert len(scene.log) < 40_000


@pytest.mark.hostile
def test_noise_is_read_or_refused_in_little_memory() -> None:
    for seed in range(3):
        limits: dict[str, Any] = {"seconds": 200.0, "memory_mib": 700}
        told = attack(read_noise, "", games=4_000, seed=seed, **limits)
        assert min(told["read"], told["refused"]) > 2_000, told


@pytest.mark.hostile
def test_much_noise_is_answered_or_refused(program: Program, ports: Ports) -> None:
    with program(**ports.options) as scene:
        for seed, address in enumerate((ports.other, ports.good, ports.other)):
            options: dict[str, Any] = {"games": 400, "seed": seed, "seconds": 300.0}
            statuses = attack(send_game_noise, address, **options)
            assert statuses.keys() <= {"OK", REFUSED}, statuses
            assert statuses[REFUSED] > 300
            scene.citizen_goes_on(200)
        assert scene.peak_mib < 1000
        assert len(scene.log) < 1_000_000


@pytest.mark.hostile
def test_the_longest_messages_take_little_memory(program: Program, ports: Ports) -> None:
    with program(**ports.options) as scene:
        for mib in (20.0, 100.0):
            ends = attack(send_long, ports.other, mib=mib, seconds=300.0)
            assert set(ends.values()) == {REFUSED}, ends
            scene.citizen_goes_on(200)
        assert scene.peak_mib < 3000


@pytest.mark.hostile
def test_bombs_take_little_memory(program: Program, ports: Ports) -> None:
    with program(**ports.options) as scene:
        for mib in (30, 200):
            ends = attack(send_bombs, ports.other, mib=mib, seconds=120.0)
            assert set(ends.values()) == {REFUSED}, ends
            scene.citizen_goes_on(200)
        assert scene.peak_mib < 1500


@pytest.mark.hostile
def test_hundreds_of_thousands_of_names_leave_the_program_small(
    program: Program, ports: Ports
) -> None:
    with program(**ports.options) as scene:
        report = partial(attack, report_game_statistics, ports.other, steps=300, names=300)
        for part in range(3):
            assert report(first=part * 10**6, seconds=120.0) == {"OK": 300}
            scene.citizen_goes_on(200)
        assert scene.peak_mib < 1000
        assert len(scene.log) < 100_000


@pytest.mark.hostile
def test_floods_of_calls_take_little_memory(program: Program, ports: Ports) -> None:
    with program(**ports.options) as scene:
        for calls, mib in ((2000, 0.1), (100, 20.0)):
            statuses = attack(call_without_reading, ports.other, calls=calls, mib=mib, seconds=200)
            assert statuses.get("OK", 0) < 5
            scene.citizen_goes_on(200)
        assert scene.peak_mib < 3000
