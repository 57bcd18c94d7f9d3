"""What systemd is told."""

import os
import socket
from pathlib import Path

from entrain.supervise.notify import ServiceManager


def test_each_state_is_a_datagram(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "s"))
        told = ServiceManager(
            {
                "NOTIFY_SOCKET": str(tmp_path / "s"),
                "WATCHDOG_USEC": "1000",
                "WATCHDOG_PID": str(os.getpid()),
            }
        )
        told.ready()
        told.alive("2 of 3 runs live")
        told.stopping()
        received = [manager.recv(1000).decode() for _ in range(3)]
    assert received[0] == "READY=1"
    assert received[1] == "STATUS=2 of 3 runs live\nWATCHDOG=1"
    assert received[2].startswith("STOPPING=1\n")


def test_the_watchdog_of_another_process_is_not_fed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "s"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "s"), "WATCHDOG_USEC": "1"}
        ServiceManager({**environment, "WATCHDOG_PID": "1"}).alive("x")
        ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "s")}).alive("x")
        assert [manager.recv(1000) for _ in range(2)] == [b"STATUS=x", b"STATUS=x"]


def test_without_systemd_or_with_a_broken_socket_nothing_happens(tmp_path: Path) -> None:
    ServiceManager({}).ready()
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nowhere")}).ready()
    ServiceManager({"NOTIFY_SOCKET": "@entrain-no-such-socket"}).alive("x")
