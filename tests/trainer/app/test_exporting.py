"""An export beside a run: by a program of its own, which may fail, hang or be given up."""

import asyncio
import sys
from pathlib import Path

import pytest

from entrain.app.checkpointing import Checkpointing
from entrain.app.exporting import Exporting
from entrain.errors import ConfigError, DiskError
from entrain.run.folder import RunFolder
from entrain.state import State


class Store:
    def __init__(self, error: DiskError | None = None) -> None:
        self.saved = 0
        self._error = error

    def save(self, state: State, *, step: int) -> Path:
        if self._error is not None:
            raise self._error
        self.saved += 1
        return Path(f"step-{step}")


def exporting(
    folder: Path, program: str, *, store: Store | None = None, timeout_s: float = 20.0
) -> tuple[Exporting, Checkpointing]:
    checkpointing = Checkpointing(store or Store(), every_steps=1000)
    run_folder = RunFolder(folder)
    command = [sys.executable, "-S", "-c", program]
    return Exporting(run_folder, checkpointing, program=command, timeout_s=timeout_s), checkpointing


async def finished(export: Exporting, checkpointing: Checkpointing) -> None:
    """Until it is over, while the run saves when it is asked to."""
    async with asyncio.timeout(20.0):
        while export.facts.state == "running":
            checkpointing.save_if_due(1, dict)
            await asyncio.sleep(0.01)


async def test_policies_are_exported_from_a_checkpoint_of_now(tmp_path: Path) -> None:
    program = "import sys; print(*sys.argv[1:]); print('a.onnx')"
    store = Store()
    export, checkpointing = exporting(tmp_path, program, store=store)
    export.begin("unity")
    with pytest.raises(ConfigError, match="an export runs already"):
        export.begin("onnx")
    await finished(export, checkpointing)
    assert store.saved == 1
    assert export.facts.state == "done"
    assert export.facts.words == f"export {tmp_path} --format unity, a.onnx"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit('a line\\nentrain: there is no ONNX')", "there is no ONNX"),
        ("import sys; sys.exit(3)", "it said nothing"),
        ("import time; time.sleep(60)", "it took longer than 0.5 s"),
    ],
)
async def test_an_export_that_fails_says_why_and_the_run_goes_on(
    tmp_path: Path, program: str, words: str
) -> None:
    timeout_s = 0.5 if "sleep" in program else 20.0
    export, checkpointing = exporting(tmp_path, program, timeout_s=timeout_s)
    export.begin("onnx")
    await finished(export, checkpointing)
    assert (export.facts.state, export.facts.words) == ("failed", words)
    export.begin("onnx")
    await export.end()


async def test_a_full_disk_ends_an_export(tmp_path: Path) -> None:
    export, checkpointing = exporting(tmp_path, "", store=Store(DiskError("the disk is full")))
    export.begin("onnx")
    await finished(export, checkpointing)
    assert (export.facts.state, export.facts.words) == ("failed", "the disk is full")


@pytest.mark.parametrize("begins", [True, False])
async def test_the_end_of_the_run_ends_an_export(tmp_path: Path, begins: bool) -> None:
    began = tmp_path / "began"
    program = f"import time; open({str(began)!r}, 'w'); time.sleep(60)"
    export, checkpointing = exporting(tmp_path, program)
    export.begin("onnx")
    async with asyncio.timeout(20.0):
        while begins and not began.exists():
            checkpointing.save_if_due(1, dict)
            await asyncio.sleep(0.01)
        await export.end()
    assert (export.facts.state, export.facts.words) == ("failed", "the run has ended")
    await export.end()
