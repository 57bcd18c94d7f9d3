"""Watches whether simulators are connected, and says what may be wrong when none is."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from entrain.app.game_watch import GameWatcher
from entrain.app.launcher import Launcher
from entrain.config.run import RunConfig
from entrain.errors import NoSimulatorError

LOOK_S = 0.25
"""Time between two looks at the server and the launcher."""


class Serving(Protocol):
    """The part of the server that is watched."""

    @property
    def num_sessions(self) -> int:
        """Simulators that are connected, or may yet come back."""
        ...

    @property
    def has_begun(self) -> bool:
        """Whether as many as expected have joined, so that agents act."""
        ...

    @property
    def refusals(self) -> Mapping[str, str]:
        """{simulator: why its Hello was refused} of those whose next one would be as well."""
        ...


async def any_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def watch_simulators(
    server: Serving,
    config: RunConfig,
    launcher: Launcher,
    address: str,
    *,
    games: GameWatcher | None = None,
    is_held: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Never returns; raises NoSimulatorError once there is no simulator left to wait for.

    Games that people stop, and start again when they like, are waited for without end, and so is
    everyone while the run is paused (`is_held`). Otherwise: none was connected for
    `simulators.wait_s`, or fewer than expected for as long before the first batch, or none is
    connected and every launched one was refused or has ended for good.
    """
    present_s = clock()
    while True:
        await asyncio.sleep(LOOK_S)
        is_fine = server.num_sessions and server.has_begun
        if is_fine or is_held() or (games is not None and games.is_paused):
            present_s = clock()
        elif are_all_refused(launcher.names, server.refusals) and not server.num_sessions:
            raise NoSimulatorError(
                "every simulator that this run launched was refused, and no other is connected"
                + last_refusal(server.refusals)
            )
        elif launcher.is_exhausted and not server.num_sessions:
            raise NoSimulatorError(
                "every simulator that this run launched has ended, and no other is connected; "
                f"see what they printed: {', '.join(map(str, launcher.logs))}"
                + (last_refusal(server.refusals) or launcher.last_words)
            )
        elif clock() - present_s > config.simulators.wait_s:
            raise NoSimulatorError(
                too_few_came(
                    config,
                    address,
                    server.num_sessions,
                    cause=last_refusal(server.refusals)
                    or launcher.last_words
                    or ("" if games is None else games.cause),
                )
            )


def are_all_refused(launched: Sequence[str], refusals: Mapping[str, str]) -> bool:
    """Returns whether simulators were launched and each was refused."""
    return bool(launched) and all(name in refusals for name in launched)


def last_refusal(refusals: Mapping[str, str]) -> str:
    """Returns the end of a message: why a simulator was refused; "" if none was."""
    return f". Refused: {list(refusals.values())[-1]}" if refusals else ""


def _websocket(config: RunConfig) -> str:
    """Returns where WebSocket is spoken; "" if nowhere, or on a port that the file leaves open."""
    asked = config.server.websocket if config.is_native else None
    return f", and on {asked} for WebSocket" if asked and not asked.endswith(":0") else ""


def too_few_came(config: RunConfig, address: str, came: int, *, cause: str = "") -> str:
    """Returns a message: what was expected, where, and last the cause if it is known.

    Args:
        config: of the run.
        address: that the trainer listens on.
        came: how many simulators are connected.
        cause: the end of a message; if empty, the usual causes are listed instead.
    """
    behaviours = "of any behaviour"
    if "*" not in config.policies:
        behaviours = "with behaviour " + ", ".join(f"'{name}'" for name in config.policies)
    expected = config.expected_simulators
    missing = (
        f"only {came} of the {expected} expected simulators joined within"
        if came
        else "no simulator was connected for"
    )
    said = (
        f"{missing} {config.simulators.wait_s:g} s (simulators.wait_s). "
        f"Expected: {'more' if came else 'one'} {behaviours}; the trainer listens on {address}"
        + _websocket(config)
    )
    if cause:
        return said + cause
    remedy = ", or simulators.expect is too high" if came else ""
    return (
        f"{said}. Usual causes: no simulator was started (simulators.launch can start them)"
        f"{remedy}; it dials another address or port; a firewall, or a container without the port "
        "published, lies between"
    )
