"""Which process listens on a port of this machine, as far as this user may know it.

It is read from /proc on Linux. Elsewhere the answer is "", which says nothing about the port.
"""

from contextlib import suppress
from pathlib import Path

LISTENING = "0A"
"""State of a socket in /proc/net/tcp."""

MOST_CHARACTERS = 100
"""Most characters shown of a program's command line."""

PROC = Path("/proc")


def port_owner(port: int, *, proc: Path = PROC) -> str:
    """Returns "process 1234: mlagents-learn ball.yaml"; "" where it cannot be found out.

    Another user's process does not show its sockets.

    Args:
        port: of TCP, over IPv4 or IPv6.
        proc: folder where the kernel describes processes.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening(port, proc)}
    if not sockets:
        return ""
    for process in _processes(proc):
        if any(link in sockets for link in _links(process / "fd")):
            return f"process {process.name}: {_command(process)}"
    return ""


def _listening(port: int, proc: Path) -> set[str]:
    """Inodes of the sockets that listen on `port`."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in _text(proc / "net" / table).splitlines()[1:]:
            words = line.split()
            is_listening = len(words) > 9 and words[3] == LISTENING
            if is_listening and int(words[1].rpartition(":")[2], 16) == port:
                inodes.add(words[9])
    return inodes


def _processes(proc: Path) -> list[Path]:
    try:
        return [entry for entry in proc.iterdir() if entry.name.isdecimal()]
    except OSError:
        return []


def _links(folder: Path) -> list[str]:
    """Targets of a process's open file descriptors; none if it ended or is another user's."""
    links = []
    with suppress(OSError):
        for entry in folder.iterdir():
            with suppress(OSError):  # closed meanwhile
                links.append(str(entry.readlink()))
    return links


def _command(process: Path) -> str:
    words = _text(process / "cmdline").split("\0")
    words[0] = words[0].rpartition("/")[2]
    command = " ".join(words).strip() or _text(process / "comm").strip()
    return "".join(char if char.isprintable() else "?" for char in command)[:MOST_CHARACTERS]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
