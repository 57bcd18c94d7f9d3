"""A bridge's port: a game that is gone costs its own steps, and the end is told."""

import asyncio
import threading
from typing import Any

import pytest

from entrain_envs.errors import OptionError
from entrain_envs.unity.bridging import BridgePort, bridge
from support.ports import free_port


class Game:
    """Answers with what it was sent, once it may."""

    def __init__(self) -> None:
        self.is_complete = False
        self.may_answer = threading.Event()
        self.lost: list[str] = []
        self.left: list[str] = []
        self.asked = threading.Event()

    def answer(self, message: bytes, player: str) -> bytes:
        """Wait for permission, as for actions."""
        self.asked.set()
        assert self.may_answer.wait(20.0), player
        return message

    def lose(self, player: str) -> None:
        """Note who was lost."""
        self.lost.append(player)

    def interrupt(self) -> None:
        """End the wait."""
        self.may_answer.set()

    def leave(self, reason: str) -> None:
        """Note why."""
        self.left.append(reason)


def port_of(game: Any, completed: list[str]) -> BridgePort:
    """The port of `game`, which nobody dials here."""
    return BridgePort(
        game,
        host="localhost",
        port=0,
        max_message_bytes=1000,
        completed=lambda: completed.append("completed"),
    )


async def test_a_game_that_is_gone_while_it_waits_is_lost_once_its_answer_is_there() -> None:
    game = Game()
    completed: list[str] = []
    port = port_of(game, completed)
    call = asyncio.create_task(port._answer(b"records", "player"))
    await asyncio.to_thread(game.asked.wait, 20.0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert game.lost == []
    game.may_answer.set()
    await port.stop()
    assert game.lost == ["player"]
    assert game.left == ["the bridge ends"]
    assert completed == []


async def test_a_game_that_hangs_up_between_two_calls_is_lost() -> None:
    game = Game()
    game.may_answer.set()
    port = port_of(game, [])
    assert await port._answer(b"records", "player") == b"records"
    # It was never seen: perhaps gRPC names it otherwise.
    port.look(frozenset())
    port.look(None)
    port.look(frozenset({"player", "another"}))
    assert await port._answer(b"records", "player") == b"records"
    assert game.lost == []
    port.look(frozenset({"another"}))
    port.look(frozenset({"another"}))
    await port.stop()
    assert game.lost == ["player"]


async def test_the_end_of_the_bridge_ends_a_wait_for_actions() -> None:
    game = Game()
    completed: list[str] = []
    port = port_of(game, completed)
    call = asyncio.create_task(port._answer(b"records", "player"))
    await asyncio.to_thread(game.asked.wait, 20.0)
    game.is_complete = True
    await port.stop()
    assert await call == b"records"
    assert completed == ["completed"]


async def test_a_bridge_ends_when_it_is_told_to() -> None:
    game: Any = Game()
    over = asyncio.Event()
    bridging = asyncio.create_task(
        bridge([game], over=over, host="localhost", port=0, max_message_bytes=1000)
    )
    await asyncio.sleep(0)
    over.set()
    async with asyncio.timeout(20.0):
        await bridging
    assert game.left == ["the bridge ends"]


async def test_a_port_in_use_is_refused_with_the_option_that_helps() -> None:
    port = free_port()
    listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    game: Any = Game()
    async with listening:
        with pytest.raises(OptionError, match=rf"{port}.* with --port"):
            await bridge(
                [game],
                over=asyncio.Event(),
                host="localhost",
                port=port,
                max_message_bytes=1000,
            )
