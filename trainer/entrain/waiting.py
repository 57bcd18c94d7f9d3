"""Waits for simulators, and says what is wrong when none comes."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from entrain.composition import expected_simulators
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

    @property
    def has_begun(self) -> bool:
        """Whether as many as expected have joined, so that agents act."""
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

    That is: no simulator connected for `simulators.wait_s`, or fewer than expected for so long
    before the first batch, or none connected and every launched one has ended for good.
    """
    content_s = clock()
    while True:
        await asyncio.sleep(LOOK_S)
        if server.num_sessions and server.has_begun:
            content_s = clock()
        elif launcher.is_exhausted and not server.num_sessions:
            raise NoSimulatorError(
                "every simulator that this run launched has ended, and no other is connected; "
                f"see what they printed: {', '.join(map(str, launcher.logs))}"
            )
        elif clock() - content_s > config.simulators.wait_s:
            raise NoSimulatorError(too_few_came(config, address, server.num_sessions))


def too_few_came(config: RunConfig, address: str, came: int) -> str:
    """What was expected, where, and the three usual causes."""
    behaviours = ", ".join(f"'{name}'" for name in config.policies)
    expected = expected_simulators(config)
    missing = (
        f"only {came} of the {expected} expected simulators joined within"
        if came
        else "no simulator was connected for"
    )
    remedy = ", or simulators.expect is too high" if came else ""
    return (
        f"{missing} {config.simulators.wait_s:g} s (simulators.wait_s). "
        f"Expected: {'more' if came else 'one'} with behaviour {behaviours} that dials {address}. "
        f"Usual causes: no simulator was started (simulators.launch can start them){remedy}; it "
        "dials another address or port; a firewall, or a container without the port published, "
        "lies between"
    )
