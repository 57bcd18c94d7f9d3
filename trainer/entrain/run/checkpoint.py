"""Checkpoints on disk: written whole or not at all, checked by digest, the newest valid one used.

    checkpoints/
        0011-step-400000/
        0012-step-491520/
            state.json, arrays.safetensors, manifest.json: see `checkpoint_files`
        best/
            0003-step-400000/: a folder of the same kind, see `app.best_checkpoint`

A checkpoint's files are written to a temporary folder, which is then renamed once. A crash leaves
either the whole checkpoint or a temporary folder, which the next save removes. The number always
grows: after a resume from an older checkpoint, a new one has a higher number than a damaged one of
a later step.
"""

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from entrain.errors import CheckpointError
from entrain.run.checkpoint_files import DamagedError, EncodedFiles, Stamps, read_files, stamps
from entrain.run.disk import refused
from entrain.run.durable import sync_folder
from entrain.state import State

logger = logging.getLogger(__name__)

_NAME = re.compile(r"([0-9]{1,18})-step-([0-9]{1,18})")
NOTHING: Mapping[str, Any] = MappingProxyType({})
_SAVING, _DELETING = ".saving-", ".deleting-"


@dataclass(frozen=True)
class Skipped:
    """A checkpoint that cannot be used, and why."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path.name}: {self.reason}"


@dataclass(frozen=True)
class Loaded:
    """The newest valid checkpoint."""

    state: State
    """The caller may change its arrays."""

    step: int
    """Env steps, as given to `save`."""

    path: Path

    skipped: tuple[Skipped, ...]
    """Newer checkpoints that are damaged, newest first: the training since `step` is lost."""


class CheckpointStore:
    """Saves and loads the checkpoints of one run, and keeps the newest few.

    Owned by the process that holds the run's lock; others may only `load_newest`.
    """

    def __init__(
        self, folder: Path, *, keep: int, check: Callable[[], None] = lambda: None
    ) -> None:
        """Use the checkpoints in `folder`.

        Args:
            folder: need not exist before the first `save`.
            keep: how many whole ones stay.
            check: raises if this process may not write there any more.
        """
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least one checkpoint must stay")
        self._folder = folder
        self._keep = keep
        self._check = check
        self._known: dict[Path, tuple[Stamps | None, str]] = {}
        """{checkpoint: its stamps when it was read or written, and what was wrong with it}."""

    def __repr__(self) -> str:
        return f"<CheckpointStore {self._folder}: {len(self.paths)} checkpoints>"

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every checkpoint on disk, valid or not, newest first."""
        if not self._folder.is_dir():
            return ()
        found = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        return tuple(sorted(found, key=_serial, reverse=True))

    def save(self, state: State, *, step: int, about: Mapping[str, Any] = NOTHING) -> Path:
        """Write `state` as the newest checkpoint, then remove those beyond the ones to keep.

        Args:
            state: to write.
            step: env steps, over all policies.
            about: further facts for its manifest, as JSON can say them.

        Raises:
            DiskError: the disk is full or refuses; every earlier checkpoint is as it was.
            TypeError: the state holds a value that no State may hold.
        """
        files = EncodedFiles(state, step=step, about=about)
        self._check()
        path = self._folder / f"step-{step}"
        try:
            serial = _serial(self.paths[0]) + 1 if self.paths else 1
            path = self._folder / f"{serial:04d}-step-{step}"
            self._write(path, files)
            self._known[path] = (stamps(path), "")
            self._prune()
        except OSError as error:
            raise refused(error, path, "the checkpoint") from error
        return path

    def load_newest(self) -> Loaded:
        """Load the newest checkpoint that is whole, and list newer ones that are damaged.

        Raises:
            CheckpointError: none is whole, with what is wrong with each; or the newest
                was written in another format, by another version of this program.
        """
        skipped: list[Skipped] = []
        for path in self._readable_paths():
            before = stamps(path)
            try:
                step, state = read_files(path)
            except DamagedError as damage:
                self._know(path, before, str(damage))
                skipped.append(Skipped(path, str(damage)))
            else:
                self._know(path, before, "")
                return Loaded(state, step, path, tuple(skipped))
        if not skipped:
            raise CheckpointError(f"there is no checkpoint in {self._folder}")
        listing = "".join(f"\n  {skip}" for skip in skipped)
        raise CheckpointError(f"no checkpoint in {self._folder} can be used:{listing}")

    def load(self, name: str) -> Loaded:
        """Load the checkpoint of that name; CheckpointError if it is not there, or damaged."""
        found = {path.name: path for path in self._readable_paths()}
        if name not in found:
            raise CheckpointError(
                f"there is no checkpoint '{name}' in {self._folder} (it has: "
                f"{', '.join(found) or 'none'})"
            )
        try:
            step, state = read_files(found[name])
        except DamagedError as damage:
            raise CheckpointError(f"{found[name]}: {damage}") from None
        return Loaded(state, step, found[name], ())

    def _readable_paths(self) -> tuple[Path, ...]:
        try:
            return self.paths
        except OSError as error:
            raise CheckpointError(f"{self._folder} cannot be read: {error.strerror}") from error

    def problems(self) -> Mapping[Path, str]:
        """Returns every checkpoint, newest first, with what is wrong with it; "" if it is whole.

        This reads all of them, so a run does not call it.
        """
        found: dict[Path, str] = {}
        for path in self.paths:
            try:
                read_files(path)
            except (DamagedError, CheckpointError) as error:
                found[path] = str(error)
            else:
                found[path] = ""
        return found

    def _write(self, path: Path, files: EncodedFiles) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        temporary = Path(tempfile.mkdtemp(prefix=_SAVING, dir=self._folder))
        try:
            # mkdtemp makes folders that only the owner can read; others read run folders as well.
            temporary.chmod(0o755)
            files.write(temporary)
            sync_folder(temporary)
            self._check()
            # The serial is new, so no folder of this name exists.
            os.rename(temporary, path)  # noqa: PTH104
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(self._folder)

    def _remove_leftovers(self) -> None:
        """Remove temporary folders. The run's lock is held, so no other process uses them."""
        for prefix in (_SAVING, _DELETING):
            for leftover in self._folder.glob(f"{prefix}*"):
                shutil.rmtree(leftover, ignore_errors=True)

    def _prune(self) -> None:
        """Remove all that are older than the newest `keep` whole ones."""
        whole = 0
        for path in self.paths:
            if whole == self._keep:
                self._remove(path)
            else:
                whole += self._is_whole(path)
        self._known = {path: known for path, known in self._known.items() if path in self.paths}

    def _is_whole(self, path: Path) -> bool:
        """Returns whether a checkpoint can be relied on, as far as is known.

        It is read only if its files have changed since it was written or read by this process:
        reading all that are kept after each save would cost as much again as writing them.
        """
        now = stamps(path)
        if path not in self._known or self._known[path][0] != now:
            try:
                read_files(path)
            except (DamagedError, CheckpointError) as error:
                self._know(path, now, str(error))
            else:
                self._know(path, now, "")
        return not self._known[path][1]

    def _know(self, path: Path, when: Stamps | None, problem: str) -> None:
        if problem and self._known.get(path) != (when, problem):
            logger.warning(
                "checkpoint %s is damaged, and neither used nor counted as one to keep: %s",
                path,
                problem,
            )
        self._known[path] = (when, problem)

    def _remove(self, path: Path) -> None:
        """Rename, then remove: a crash between leaves nothing that looks like a checkpoint."""
        try:
            doomed = path.rename(path.with_name(f"{_DELETING}{path.name}"))
            shutil.rmtree(doomed)
        except OSError as error:
            logger.warning("the old checkpoint %s cannot be removed: %s", path, error.strerror)


def _serial(path: Path) -> int:
    return int(path.name.split("-", 1)[0])
