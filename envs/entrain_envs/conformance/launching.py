"""Starts the simulator that is checked, as a process of its own for each life."""

import logging
import os
import signal
import subprocess
from collections.abc import Sequence

from entrain_envs.errors import OptionError

logger = logging.getLogger("entrain_envs")

_STDERR = 2
"""File descriptor of the error output."""

_END_S = 10.0
"""Longest wait for a process to end by itself, and then because it was asked to."""

_KILLED_S = 10.0
"""Longest wait for one that was killed: it needs no time of its own, only the system's."""


class ProcessLauncher:
    """See the module. What it prints goes to the error output, beside the log."""

    def __init__(self, command: Sequence[str], address: str) -> None:
        """Nothing is started yet.

        Args:
            command: `{address}` in it stands for `address`.
            address: what to dial.
        """
        self._command = [word.replace("{address}", address) for word in command]
        # A trainer that launches simulators tells them not to dial again; the check wants it.
        self._environment = {
            name: value for name, value in os.environ.items() if name != "ENTRAIN_RECONNECT_S"
        } | {"ENTRAIN_ADDRESS": address}
        if address.startswith(("ws://", "wss://")):
            self._environment["ENTRAIN_WEBSOCKET"] = f"{address}/simulate"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; OptionError if that is impossible."""
        try:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=_STDERR,
                start_new_session=True,
            )
        except OSError as error:
            raise OptionError(
                f"cannot start '{self._command[0]}': {error.strerror}; give a command that runs "
                "here after --"
            ) from None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Wait for its end, and end it if it does not come."""
        process, self._process = self._process, None
        if process is None:
            return
        waits_s = {None: _END_S, signal.SIGTERM: _END_S, signal.SIGKILL: _KILLED_S}
        for number, wait_s in waits_s.items():
            if number is not None:
                logger.info("the simulator still runs; it is sent %s", number.name)
                _send(process, number)
            try:
                process.wait(wait_s)
            except subprocess.TimeoutExpired:
                continue
            return


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To it and to what it started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
