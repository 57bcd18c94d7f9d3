"""A network that damages a plaintext stream: the simulator finds out, and nothing is lost."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from entrain.algorithms.ppo import PPO
from support.attacked_run import AttackedRun
from support.damaging_proxy import (
    Damage,
    DamagingProxy,
    Side,
    WebSocketProxy,
    lengthen,
    lengthen_binary,
    misdirect,
    swallow,
    swallow_binary,
    swallow_messages,
)
from support.ports import free_ports

Attacked = Callable[..., AbstractAsyncContextManager[AttackedRun]]

PATIENCE = {"silence_s": 0.2, "answer_s": 0.2}
"""Of the citizen's client."""


@pytest.fixture
def proxy(short_path: Path) -> Iterator[DamagingProxy]:
    """Between the citizen and the run."""
    with DamagingProxy(short_path / "p", short_path / "s") as proxy:
        yield proxy


@pytest.mark.parametrize(
    ("how", "of"),
    [
        (swallow, "simulator"),
        (swallow_messages, "trainer"),
        (lengthen, "simulator"),
        (lengthen, "trainer"),
        (misdirect, "simulator"),
    ],
)
async def test_a_damaged_stream_is_left_within_seconds_and_nothing_is_counted_twice(
    attacked: Attacked, proxy: DamagingProxy, how: Damage, of: Side
) -> None:
    async with attacked(citizen_dials=proxy.address, citizen_options=PATIENCE) as scene:
        await scene.citizen_goes_on()
        proxy.damage(how, of=of)
        await scene.citizen_goes_on()
        (session,) = scene.run.participants
        assert session.identity.joined == 0, "it is the same session, resumed"


@pytest.mark.parametrize(
    ("how", "of"),
    [
        (swallow_binary, "simulator"),
        pytest.param(swallow_binary, "trainer", marks=pytest.mark.hostile),
        (lengthen_binary, "trainer"),
        pytest.param(swallow, "simulator", marks=pytest.mark.hostile),
    ],
)
async def test_a_damaged_websocket_is_left_within_seconds_and_nothing_is_counted_twice(
    attacked: Attacked, how: Damage, of: Side
) -> None:
    port = free_ports(2)
    listening = f'websocket: "127.0.0.1:{port}"'
    with WebSocketProxy(port + 1, port) as proxy:
        async with attacked(
            server=listening, citizen_dials=proxy.address, citizen_options=PATIENCE
        ) as scene:
            await scene.citizen_goes_on()
            proxy.damage(how, of=of)
            await scene.citizen_goes_on()
            (session,) = scene.run.participants
            assert session.identity.joined == 0, "it is the same session, resumed"


async def test_a_second_connection_that_is_accepted_and_never_answered_tells_enough(
    attacked: Attacked, proxy: DamagingProxy
) -> None:
    async with attacked(citizen_dials=proxy.address, citizen_options=PATIENCE) as scene:
        await scene.citizen_goes_on()
        proxy.mutes = 1
        proxy.damage(lengthen, of="simulator")
        await scene.citizen_goes_on()
        assert proxy.mutes == 0


async def test_a_stream_damaged_again_and_again_loses_nothing(
    attacked: Attacked, proxy: DamagingProxy
) -> None:
    async with attacked(citizen_dials=proxy.address, citizen_options=PATIENCE) as scene:
        for of in ("simulator", "trainer", "simulator"):
            await scene.citizen_goes_on(5)
            proxy.damage(swallow_messages, of=of)
        await scene.citizen_goes_on()


@pytest.mark.hostile
async def test_over_websocket_too_an_update_of_many_silences_is_waited_for(
    attacked: Attacked, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_ports(2)
    with WebSocketProxy(port + 1, port) as proxy:
        dialled = {"server": f'websocket: "127.0.0.1:{port}"', "citizen_dials": proxy.address}
        await wait_for_a_slow_update(attacked, proxy, monkeypatch, **dialled)


async def test_an_update_of_many_silences_is_waited_for_on_the_same_stream(
    attacked: Attacked, proxy: DamagingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wait_for_a_slow_update(attacked, proxy, monkeypatch, citizen_dials=proxy.address)


async def wait_for_a_slow_update(
    attacked: Attacked, proxy: DamagingProxy, monkeypatch: pytest.MonkeyPatch, **dialled: str
) -> None:
    update = PPO.update
    slept: list[bool] = []

    def slowly(self: PPO, *arguments: Any, **options: Any) -> Any:
        if not slept:
            slept.append(True)
            time.sleep(1.2)
        return update(self, *arguments, **options)

    async with attacked(citizen_options=PATIENCE, **dialled) as scene:
        monkeypatch.setattr(PPO, "update", slowly)
        await scene.until(lambda: scene.citizen.longest_wait_s > 1.0)
        # The stream, and the questions; none of them was a Hello.
        assert 4 <= proxy.accepted <= 9
    assert "lost its connection" not in scene.log
    assert "resumed" not in scene.log
