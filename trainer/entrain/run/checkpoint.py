"""Checkpoints on disk: written whole or not at all, checked by digest, the newest valid one used.

    checkpoints/
        0011-step-400000/
        0012-step-491520/
            state.json            structure and small values
            arrays.safetensors    arrays
            manifest.json         format, version of entrain, step, size and SHA-256 of each file,
                                  and of itself

A checkpoint's files are written to a temporary folder, which is then renamed once. A crash leaves
either the whole checkpoint or a temporary folder, which the next save removes. The number always
grows: after a resume from an older checkpoint, a new one has a higher number than a damaged one of
a later step.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrain import __version__
from entrain.errors import CheckpointError
from entrain.run.durable import sync_folder, write_file
from entrain.run.state_files import decode_state, encode_state
from entrain.state import State

logger = logging.getLogger(__name__)

FORMAT = 2
"""Raised when older programs could no longer read what this one writes, or this one theirs."""

_VERSIONS_OF_FORMATS = {1: "0.1"}
"""Manifests of format 1 do not name the version that wrote them."""

_NAME = re.compile(r"(\d+)-step-(\d+)")
_SAVING, _DELETING = ".saving-", ".deleting-"
_STATE, _ARRAYS, _MANIFEST = "state.json", "arrays.safetensors", "manifest.json"


class _DamagedError(Exception):
    """Says why one checkpoint cannot be used."""


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

    def __init__(self, folder: Path, *, keep: int) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least one checkpoint must stay")
        self._folder = folder
        self._keep = keep
        self._damaged: frozenset[Path] = frozenset()

    def __repr__(self) -> str:
        return f"<CheckpointStore {self._folder}: {len(self.paths)} checkpoints>"

    @property
    def paths(self) -> tuple[Path, ...]:
        """Every checkpoint on disk, valid or not, newest first."""
        if not self._folder.is_dir():
            return ()
        found = [path for path in self._folder.iterdir() if _NAME.fullmatch(path.name)]
        return tuple(sorted(found, key=_serial, reverse=True))

    def save(self, state: State, *, step: int) -> Path:
        """Write `state` as the newest checkpoint, then remove those beyond the ones to keep.

        Raises:
            CheckpointError: the disk is full or refuses; every earlier checkpoint is as it was.
            TypeError: the state holds a value that no State may hold.
        """
        document, tensors = encode_state(state)
        files = {_STATE: document, _ARRAYS: tensors}
        files[_MANIFEST] = _manifest(files, step=step)
        serial = _serial(self.paths[0]) + 1 if self.paths else 1
        path = self._folder / f"{serial:04d}-step-{step}"
        try:
            self._write(path, files)
        except OSError as error:
            raise CheckpointError(
                f"cannot write the checkpoint {path}: {error.strerror or error}; earlier "
                "checkpoints are as they were. Make room on the disk or mend its permissions"
            ) from error
        self._prune()
        return path

    def load_newest(self) -> Loaded:
        """Load the newest checkpoint that is whole, and list newer ones that are damaged.

        Raises:
            CheckpointError: none is whole, with what is wrong with each; or the newest
                was written in another format, by another version of this program.
        """
        skipped: list[Skipped] = []
        for path in self.paths:
            try:
                step, state = _read(path)
            except _DamagedError as damage:
                skipped.append(Skipped(path, str(damage)))
                logger.warning("checkpoint %s is damaged and not used: %s", path, damage)
            else:
                self._damaged = frozenset(skip.path for skip in skipped)
                return Loaded(state, step, path, tuple(skipped))
        if not skipped:
            raise CheckpointError(f"there is no checkpoint in {self._folder}")
        listing = "".join(f"\n  {skip}" for skip in skipped)
        raise CheckpointError(f"no checkpoint in {self._folder} can be used:{listing}")

    def problems(self) -> Mapping[Path, str]:
        """Returns every checkpoint, newest first, with what is wrong with it; "" if it is whole.

        This reads all of them, so a run does not call it.
        """
        found: dict[Path, str] = {}
        for path in self.paths:
            try:
                _read(path)
            except (_DamagedError, CheckpointError) as error:
                found[path] = str(error)
            else:
                found[path] = ""
        return found

    def _write(self, path: Path, files: Mapping[str, bytes]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        temporary = Path(tempfile.mkdtemp(prefix=_SAVING, dir=self._folder))
        try:
            # mkdtemp makes folders that only the owner can read; others read run folders as well.
            temporary.chmod(0o755)
            for name, content in files.items():
                write_file(temporary / name, content)
            sync_folder(temporary)
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
        """Remove all but the newest; damaged ones do not count, and go with older ones."""
        valid = [path for path in self.paths if path not in self._damaged]
        oldest_kept = _serial(valid[: self._keep][-1])
        for path in self.paths:
            if _serial(path) < oldest_kept:
                self._remove(path)

    def _remove(self, path: Path) -> None:
        """Rename, then remove: a crash between leaves nothing that looks like a checkpoint."""
        try:
            doomed = path.rename(path.with_name(f"{_DELETING}{path.name}"))
            shutil.rmtree(doomed)
        except OSError as error:
            logger.warning("the old checkpoint %s cannot be removed: %s", path, error.strerror)


def _serial(path: Path) -> int:
    return int(path.name.split("-", 1)[0])


def _manifest(files: Mapping[str, bytes], *, step: int) -> bytes:
    manifest = {
        "format": FORMAT,
        "version": __version__,
        "step": step,
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
    }
    return json.dumps({**manifest, "sha256": _digest(manifest)}, indent=1).encode()


def _digest(manifest: Mapping[str, Any]) -> str:
    """Returns the digest of a manifest's content, without the digest itself."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> tuple[int, State]:
    """Returns step and state. Each file is read once: the bytes that are checked are used."""
    manifest = _read_manifest(path)
    files = {name: _read_file(path / name) for name in (_STATE, _ARRAYS)}
    for name, content in files.items():
        expected = manifest["files"].get(name, {})
        if len(content) != expected.get("bytes"):
            raise _DamagedError(
                f"{name} has {len(content):,} bytes; {expected.get('bytes')} were written"
            )
        if hashlib.sha256(content).hexdigest() != expected.get("sha256"):
            raise _DamagedError(f"{name} is not what was written: its SHA-256 differs")
    try:
        return manifest["step"], decode_state(files[_STATE], files[_ARRAYS])
    except (ValueError, KeyError, TypeError) as error:
        raise _DamagedError(f"its files do not fit together: {error}") from error


def _read_manifest(path: Path) -> Mapping[str, Any]:
    try:
        manifest = json.loads(_read_file(path / _MANIFEST))
        if not isinstance(manifest, dict):
            raise ValueError("it is no object")
    except ValueError as error:
        raise _DamagedError(f"{_MANIFEST} cannot be read: {error}") from error
    if manifest.get("sha256") != _digest(manifest):
        raise _DamagedError(f"{_MANIFEST} is not what was written: its SHA-256 differs")
    if manifest["format"] != FORMAT:
        # Not damage: going back to an older one would throw away good training.
        raise CheckpointError(_other_format(path, manifest))
    return manifest


def _other_format(path: Path, manifest: Mapping[str, Any]) -> str:
    found = manifest["format"]
    version = manifest.get("version") or _VERSIONS_OF_FORMATS.get(found, "of another version")
    return (
        f"{path} was written by entrain {version}, in checkpoint format {found}; this is entrain "
        f"{__version__}, which reads format {FORMAT} only: install entrain {version} to go on, "
        "or start the run anew with `entrain train` and the run's config.yaml"
    )


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _DamagedError(f"{path.name} is missing") from None
    except OSError as error:
        raise _DamagedError(f"{path.name} cannot be read: {error.strerror}") from error
