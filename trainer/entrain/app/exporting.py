"""Exports the policies of a run that goes on, as `entrain export` does: from a checkpoint of now.

The export is a process of its own, at low priority: writing ONNX takes seconds of a processor,
which would otherwise be taken from simulators that wait.
"""

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from entrain.app.checkpointing import Checkpointing
from entrain.errors import ConfigError, DiskError
from entrain.quoting import shortened
from entrain.run.folder import RunFolder

logger = logging.getLogger(__name__)

Form: TypeAlias = Literal["onnx", "unity", "json"]

TIMEOUT_S = 600.0

NICE = 10
"""How far the priority of the process is below that of the trainer."""

MOST_WORDS = 500


@dataclass(frozen=True)
class ExportFacts:
    """How the newest export stands."""

    state: Literal["none", "running", "done", "failed"] = "none"
    words: str = ""
    """The files that were written, or why there are none."""

    since: float = 0.0
    """Seconds since 1970."""


class Exporting:
    """See the module. One export at a time. Owned by the event loop."""

    def __init__(
        self,
        folder: RunFolder,
        checkpointing: Checkpointing,
        *,
        program: Sequence[str] = (sys.executable, "-m", "entrain"),
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Export nothing yet.

        Args:
            folder: of the run.
            checkpointing: of the run.
            program: whose command `export` is called.
            timeout_s: longest that it may take.
        """
        self._program = program
        self._timeout_s = timeout_s
        self._folder = folder
        self._checkpointing = checkpointing
        self._task: asyncio.Task[None] | None = None
        self.facts = ExportFacts()
        """About the newest one."""

    def begin(self, form: Form) -> None:
        """Begin one; ConfigError if one runs already."""
        if self._task is not None and not self._task.done():
            raise ConfigError("an export runs already; it is quick to ask again when it is done")
        self.facts = ExportFacts("running", "", time.time())
        self._task = asyncio.create_task(self._export(form), name="export")

    async def end(self) -> None:
        """The run ends: give up an export that runs."""
        if self._task is None or self._task.done():
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self.facts.state == "running":
            self.facts = ExportFacts("failed", "the run has ended", time.time())

    async def _export(self, form: Form) -> None:
        try:
            await self._checkpointing.write()
            command = [*self._program, "export", str(self._folder.path), "--format", form]
            written = await _output_of(command, timeout_s=self._timeout_s)
        except (ConfigError, DiskError) as error:
            logger.error("the policies are not exported: %s", error)
            self.facts = ExportFacts("failed", str(error), time.time())
        except OSError as error:
            logger.error("the policies are not exported: %s", error)
            self.facts = ExportFacts("failed", str(error.strerror or error), time.time())
        else:
            logger.info("exported: %s", written)
            self.facts = ExportFacts("done", written, time.time())


async def _output_of(command: Sequence[str], *, timeout_s: float) -> str:
    """Returns what it prints, as one line; ConfigError with its last words if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # Ctrl+C is for the run, which ends it.
        start_new_session=True,
    )
    try:
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        async with asyncio.timeout(timeout_s):
            said, complained = await process.communicate()
    except TimeoutError:
        raise ConfigError(f"it took longer than {timeout_s:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        lines = complained.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise ConfigError(shortened(lines[-1].removeprefix("entrain: "), MOST_WORDS))
    return shortened(", ".join(said.decode(errors="replace").split("\n")).strip(", "), MOST_WORDS)
