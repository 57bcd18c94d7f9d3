"""Who listens on a port is told by name where this machine says so, and not guessed elsewhere."""

import os
import socket
import sys
from pathlib import Path

import pytest

from entrain_envs.port_owner import port_owner

HEADER = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode"
)


def row(port: int, *, state: str, inode: int) -> str:
    zeros = "00000000:00000000 00:00000000 00000000"
    return f"   0: 0100007F:{port:04X} 00000000:0000 {state} {zeros}  0 0 {inode} 1"


def proc(folder: Path, *rows: str, table: str = "tcp") -> Path:
    """A /proc with one process, 7, that has socket 99 open."""
    (folder / "net").mkdir()
    (folder / "net" / table).write_text("\n".join([HEADER, *rows]))
    (folder / "7" / "fd").mkdir(parents=True)
    (folder / "7" / "cmdline").write_bytes(b"/opt/bin/mlagents-learn\0ball.yaml\0--run-id=\x1ba\0")
    (folder / "7" / "fd" / "3").symlink_to("socket:[99]")
    return folder


@pytest.mark.skipif(os.name != "posix", reason="needs links with any text")
@pytest.mark.parametrize("table", ["tcp", "tcp6"])
def test_the_owner_is_named_with_its_command_on_one_line(tmp_path: Path, table: str) -> None:
    folder = proc(tmp_path, row(5004, state="0A", inode=99), table=table)
    assert port_owner(5004, proc=folder) == "process 7: mlagents-learn ball.yaml --run-id=?a"


@pytest.mark.skipif(os.name != "posix", reason="needs links with any text")
@pytest.mark.parametrize(
    "rows",
    [
        [row(5005, state="0A", inode=99)],  # another port
        [row(5004, state="01", inode=99)],  # connected, not listening
        [row(5004, state="0A", inode=98)],  # another user's: its sockets are not shown
        ["garbage"],
    ],
)
def test_what_is_not_known_is_not_guessed(tmp_path: Path, rows: list[str]) -> None:
    assert port_owner(5004, proc=proc(tmp_path, *rows)) == ""


def test_a_machine_without_proc_says_nothing(tmp_path: Path) -> None:
    assert port_owner(5004, proc=tmp_path / "no") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_port_of_this_process_is_its_own(family: int) -> None:
    with socket.socket(family) as listening:
        listening.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        listening.listen()
        assert port_owner(listening.getsockname()[1]).startswith(f"process {os.getpid()}: ")
