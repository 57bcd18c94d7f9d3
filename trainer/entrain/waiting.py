"""Waits for simulators, and says what is wrong when none comes."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from entrain.config import RunConfig
from entrain.errors import NoSimulatorError
from entrain.launcher import Launcher

LOOK_S = 0.25


class Serving(Protocol):
    """What is asked of the server."""

    @property
    def num_sessions(self) -> int:
        """Simulators that are connected, or may yet come back."""
        ...


async def watch_simulators(
    server: Serving,
    config: RunConfig,
    launcher: Launcher,
    address: str,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Never returns; raises NoSimulatorError once there is nobody left to wait for.

    That is: no simulator connected for `simulators.wait_s`, or none connected and every launched
    one has ended for good.
    """
    alone_since_s = clock()
    while True:
        await asyncio.sleep(LOOK_S)
        if server.num_sessions:
            alone_since_s = clock()
        elif launcher.is_exhausted:
            raise NoSimulatorError(
                "every simulator that this run launched has ended, and no other is connected; "
                f"see what they printed: {', '.join(map(str, launcher.logs))}"
            )
        elif clock() - alone_since_s > config.simulators.wait_s:
            raise NoSimulatorError(nobody_came(config, address))


def nobody_came(config: RunConfig, address: str) -> str:
    """What was expected, where, and the three usual causes."""
    behaviours = ", ".join(f"'{name}'" for name in config.policies)
    return (
        f"no simulator was connected for {config.simulators.wait_s:g} s (simulators.wait_s). "
        f"Expected: one with behaviour {behaviours} that dials {address}. Usual causes: no "
        "simulator was started (simulators.launch can start them); it dials another address or "
        "port; a firewall, or a container without the port published, lies between"
    )
