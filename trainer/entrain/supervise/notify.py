"""Tells systemd how the service stands: sd_notify, a datagram to the socket in NOTIFY_SOCKET.

Without one, nothing is told. Nothing here ever fails the service.
"""

import contextlib
import os
import socket
from collections.abc import Mapping


class ServiceManager:
    """See the module."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Of the service that this process is, if it is one."""
        address = environment.get("NOTIFY_SOCKET", "")
        # A socket whose address begins with @ has no file.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        is_watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._is_watched = is_watched and bool(environment.get("WATCHDOG_USEC"))

    def ready(self) -> None:
        """The service is up."""
        self._tell("READY=1")

    def stopping(self) -> None:
        """It ends."""
        self._tell("STOPPING=1\nSTATUS=runs save and stop")

    def alive(self, status: str) -> None:
        """It works; `status` is one line for people."""
        watchdog = "\nWATCHDOG=1" if self._is_watched else ""
        self._tell(f"STATUS={status}{watchdog}")

    def _tell(self, message: str) -> None:
        if not self._address or not hasattr(socket, "AF_UNIX"):
            return
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        ):
            manager.setblocking(False)
            manager.sendto(message.encode(), self._address)
