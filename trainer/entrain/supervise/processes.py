"""The processes of runs: started with a session of their own, or found again, asked to end, ended.

They outlive this process however it ends. One that was found is no child of this process, so its
exit code is not known.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from entrain.run.lock_owner import Owner, process_began, process_runs
from entrain.run.lock_probe import Hold, look_at

MOST_OUTPUT_BYTES = 2**20
"""Of what one run prints before it is emptied: log.txt in the run's folder has all of it."""


MARK = "ENTRAIN_SERVED_BY"


class Living:
    """One process of a run. Owned by the event loop."""

    def __init__(
        self,
        pid: int,
        began: str,
        *,
        is_own: bool,
        child: subprocess.Popen[bytes] | None = None,
        lock: Path | None = None,
    ) -> None:
        """A process that lives.

        Args:
            pid: its id.
            began: when it began, by the machine's ticks; "" if that is not known.
            is_own: whether a supervisor started it.
            child: it, if this process started it.
            lock: of the run, if it counts only as long as it has that: it may be somebody's shell.
        """
        self.pid = pid
        self.began = began
        self.is_own = is_own
        self._child = child
        self._lock = lock

    def __repr__(self) -> str:
        return f"<Living {self.pid}{'' if self.is_own else ', started by hand'}>"

    @property
    def has_ended(self) -> bool:
        """Looks; the exit code is known from then on, if it is a child."""
        if self._child is not None:
            return self._child.poll() is not None
        if not process_runs(self.pid, self.began):
            return True
        return self._lock is not None and holder(self._lock) is None

    @property
    def code(self) -> int | None:
        """Its exit code, or minus a signal's number; None if it is not known."""
        return None if self._child is None else self._child.returncode

    def ask_to_end(self) -> None:
        """Have it save and end. Its simulators are its own to end."""
        if not self.has_ended:
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, with what it started in its session."""
        if not self.has_ended and sys.platform != "win32":
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)


def start(
    command: Sequence[str],
    *,
    output: Path,
    mark: str,
    environment: Mapping[str, str] | None = None,
) -> Living:
    """Start a command whose words go to `output`, which is emptied first.

    Args:
        command: to run.
        output: file for what it prints.
        mark: by which it is known again, in its environment.
        environment: variables of the process; None: those of this one.

    Raises:
        OSError: the file cannot be written, or the process not be started.
    """
    output.parent.mkdir(exist_ok=True)
    output.write_bytes(b"")
    with output.open("ab") as words:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=words,
            env={**(os.environ if environment is None else environment), MARK: mark},
            # Ctrl+C in the terminal, and the end of this process, must not reach it.
            start_new_session=True,
        )
    return Living(child.pid, process_began(child.pid), is_own=True, child=child)


def bound_output(output: Path) -> None:
    """Empty a file that has grown long. Who appends to it goes on at its new end."""
    with contextlib.suppress(OSError):
        if output.stat().st_size > MOST_OUTPUT_BYTES:
            os.truncate(output, 0)


def found_again(pid: int, began: str) -> Living | None:
    """Returns the process that was started before as that one, if it lives."""
    if pid and began and process_runs(pid, began):
        return Living(pid, began, is_own=True)
    return None


def holder(lock: Path) -> Owner | None:
    """Returns who has the lock of a run now; None if nobody has."""
    if look_at(lock).hold is not Hold.HELD:
        return None
    with contextlib.suppress(OSError):
        return Owner.read(lock.read_bytes())
    return None


def process_of(owner: Owner, lock: Path, mark: str, *, is_own: bool) -> Living | None:
    """Returns the process that has a lock; None if it is none that can be seen from here.

    Args:
        owner: of the lock.
        lock: its file.
        mark: that this directory's supervisors put into the environment of what they start.
        is_own: whether it is one of theirs without the mark, too.
    """
    if not owner.is_on_this_machine or owner.is_gone or not process_runs(owner.pid, owner.process):
        return None
    if is_own or _has_mark(owner.pid, mark):
        return Living(owner.pid, owner.process, is_own=True)
    return Living(owner.pid, owner.process, is_own=False, lock=lock)


def _has_mark(pid: int, mark: str) -> bool:
    with contextlib.suppress(OSError):
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return False
