"""Stands in for the commands of the trainer, to see what the command line hands over."""

import signal
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entrain.app.evaluation_options import EvaluationOptions
from entrain.config.run import RunConfig


class FakeCommands(types.ModuleType):
    """Stands in for `entrain.app.commands`: remembers its calls, and answers what it is told to."""

    def __init__(self) -> None:
        super().__init__("entrain.app.commands")
        self.calls: list[tuple[Any, ...]] = []
        self.answer: int | BaseException | signal.Signals = 0

    def train(self, config: RunConfig, *, resume_or_start: bool, listening: Sequence[str]) -> int:
        more = ["resume", list(listening)] if resume_or_start else []
        return self._called("train", config, *more)

    def resume(self, run: Path, overrides: list[str]) -> int:
        return self._called("resume", run, overrides)

    def evaluate(
        self,
        run: Path,
        overrides: list[str],
        options: EvaluationOptions,
        *,
        table: Path | None,
        as_json: bool,
        address: str | None,
    ) -> int:
        return self._called("evaluate", run, overrides, options, table, as_json, address)

    def export(self, run: Path, output: Path | None, *, form: str, checkpoint: str) -> int:
        return self._called("export", run, output, form, checkpoint)

    def _called(self, *call: Any) -> int:
        self.calls.append(call)
        if isinstance(self.answer, signal.Signals):
            signal.raise_signal(self.answer)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer
