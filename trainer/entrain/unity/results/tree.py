"""The files of mlagents-learn in results/RUN_ID: their paths, and writing that never fails a run.

    configuration.yaml              NAME.onnx                   run_logs/timers.json
    NAME/NAME-STEP.onnx, .pt        NAME/checkpoint.pt          run_logs/training_status.json
    NAME/events.out.tfevents.*                                  run_logs/Player-N.log

NAME is a behaviour. The files of our own run folder lie beside them.
"""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from entrain.errors import InUseError, MissingExtraError, describe
from entrain.run.disk import remedy
from entrain.run.durable import replace_file

logger = logging.getLogger(__name__)

LOGS: Final = "run_logs"
CHECKPOINT: Final = "checkpoint.pt"
CONFIGURATION: Final = "configuration.yaml"

OUR_FOLDERS: Final = frozenset(
    {
        "checkpoints",
        "evaluation",
        "plots",
        "policies",
        "recordings",
        "run_logs",
        "simulators",
        "tensorboard",
        "unity",
    }
)
"""A behaviour of such a name gets another folder."""


class ResultsTree:
    """Owned by the run's process; used by its event loop and by the thread that writes models.

    A folder that was deleted is made again. What cannot be written is logged, once until something
    can be written again, and left out.
    """

    def __init__(
        self, path: Path, *, stem: Callable[[str], str], check: Callable[[], None]
    ) -> None:
        """Write nothing yet.

        Args:
            path: of the folder results/RUN_ID.
            stem: how the file names of a behaviour begin.
            check: raises InUseError if the folder is another trainer's now.
        """
        self.path = path
        self.configuration = path / CONFIGURATION
        self.status = path / LOGS / "training_status.json"
        self.timers = path / LOGS / "timers.json"
        self._stem = stem
        self._check = check
        self._troubles: set[str] = set()

    def __repr__(self) -> str:
        return f"<ResultsTree {self.path}>"

    def name(self, behaviour: str) -> str:
        """Returns what the files of `behaviour` are called; seldom another name than its own."""
        stem = self._stem(behaviour)
        return f"{stem}%-behavior" if stem.lower() in OUR_FOLDERS else stem

    def folder(self, behaviour: str) -> Path:
        """Returns the folder of `behaviour`."""
        return self.path / self.name(behaviour)

    def model(self, behaviour: str) -> Path:
        """Returns the path of the final model of `behaviour`."""
        return self.path / f"{self.name(behaviour)}.onnx"

    def checkpoint(self, behaviour: str, steps: int) -> Path:
        """Returns the path of the model of `behaviour` after so many steps."""
        return self.folder(behaviour) / f"{self.name(behaviour)}-{steps}.onnx"

    def write(self, path: Path, content: str) -> None:
        """Write a file of text."""
        self.try_to(f"{path.name} is not written", lambda: replace_file(path, content), at=path)

    def try_to(self, consequence: str, work: Callable[[], object], *, at: Path) -> bool:
        """Do `work`, which writes the file `at`; returns whether it was done.

        Args:
            consequence: of what goes wrong, for the log.
            work: may raise anything.
            at: its folder is made if it is not there.
        """
        try:
            self._check()
            at.parent.mkdir(parents=True, exist_ok=True)
            work()
        except InUseError:
            # The run ends by that, and says so.
            return False
        except OSError as error:
            reason = f"cannot write {at}: {error.strerror or error}; {remedy(error, at)}"
            self._say(consequence, reason, kind=at.suffix)
        except Exception as error:  # the run's own files, which are the truth, are written
            is_extra = isinstance(error, MissingExtraError)
            level = logging.WARNING if is_extra else logging.ERROR
            self._say(consequence, describe(error), kind=at.suffix, level=level)
            logger.debug("%s", consequence, exc_info=error)
        else:
            self._troubles.discard(at.suffix)
            return True
        return False

    def _say(self, consequence: str, reason: str, *, kind: str, level: int = logging.ERROR) -> None:
        """Log it, if files of this kind could be written until now."""
        if kind not in self._troubles:
            self._troubles.add(kind)
            logger.log(level, "%s: %s. Training goes on", consequence, reason)

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there and in this tree."""
        if path.exists() and path.resolve().is_relative_to(self.path.resolve()):
            self.try_to(f"{path.name} stays", lambda: path.unlink(missing_ok=True), at=path)

    def clear(self, behaviour: str) -> None:
        """Remove what an earlier run left of `behaviour`, and nothing else."""
        folder = self.folder(behaviour)
        pattern = re.compile(re.escape(folder.name) + r"-\d+\.(onnx|pt)")
        for path in [*folder.glob("*"), self.model(behaviour)]:
            is_ours = path.name == CHECKPOINT or path.name.startswith("events.out.tfevents.")
            if is_ours or path == self.model(behaviour) or pattern.fullmatch(path.name):
                self.remove(path)
