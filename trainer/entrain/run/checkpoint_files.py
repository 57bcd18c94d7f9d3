"""The files of one checkpoint: encoded to be written, and checked by digest when they are read.

    state.json            structure and small values
    arrays.safetensors    arrays
    manifest.json         format, version of entrain, step, size and SHA-256 of each file,
                          and of itself

Arrays that may be very large are written and read piece by piece, so that no second copy of a
replay is ever in memory. Files may hold anything when they are read: a disk, a broken copy or a
person may have changed them. Reading returns the state that was written, or says why it cannot.
"""

import errno
import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from entrain.errors import CheckpointError
from entrain.run.durable import write_file, write_pieces
from entrain.run.state_files import decode_state, encode_in_pieces
from entrain.run.verified_file import VerifiedFile
from entrain.state import State
from entrain.version import __version__

FORMAT = 2
"""Raised when older programs cannot read new files, or this one cannot read old ones."""

_VERSIONS_OF_FORMATS = {1: "0.1"}
"""Manifests of format 1 do not name the version that wrote them."""

STATE, ARRAYS, MANIFEST = "state.json", "arrays.safetensors", "manifest.json"
FILES = (STATE, ARRAYS, MANIFEST)

_MOST_MANIFEST_BYTES = 1 << 20

_OF_THIS_PROCESS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}
)
"""Errors that keep this process from reading a file; they say nothing about its content."""

Stamps: TypeAlias = tuple[tuple[int, int, int], ...]
"""(inode, size, time of change) of each file. They change when a file does."""


class DamagedError(Exception):
    """Says why one checkpoint cannot be used."""


class FileFacts(NamedTuple):
    """The manifest's entry for one file."""

    num_bytes: int
    sha256: str


class EncodedFiles:
    """The files of the checkpoint of a state, before they are written."""

    def __init__(self, state: State, *, step: int, about: Mapping[str, Any]) -> None:
        """Encode all but the arrays.

        Args:
            state: to write.
            step: env steps, over all policies.
            about: further facts for the manifest, as JSON can say them.

        Raises:
            TypeError: the state holds a value that no State may hold.
        """
        document, self._tensors = encode_in_pieces(state)
        self._document = document
        self._step, self._about = step, about

    def write(self, folder: Path) -> None:
        """Write them all to an empty folder, each to the disk; the manifest last."""
        facts = {}
        for name, pieces in ((STATE, iter([self._document])), (ARRAYS, self._tensors.pieces())):
            measured = _Measured(pieces)
            write_pieces(folder / name, measured)
            facts[name] = measured.facts
        write_file(folder / MANIFEST, _manifest(facts, step=self._step, about=self._about))


class _Measured:
    """Pieces on their way into a file: how many bytes they have, and their digest."""

    def __init__(self, pieces: Iterator[bytes | memoryview]) -> None:
        self._pieces = pieces
        self._num_bytes = 0
        self._sha256 = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes | memoryview]:
        for piece in self._pieces:
            self._num_bytes += len(piece)
            self._sha256.update(piece)
            yield piece

    @property
    def facts(self) -> FileFacts:
        """Of those that have passed."""
        return FileFacts(self._num_bytes, self._sha256.hexdigest())


def read_files(path: Path) -> tuple[int, State]:
    """Returns step and state of the checkpoint in folder `path`.

    The bytes that are checked are used, also where an array is read later, when it is asked for.

    Raises:
        DamagedError: it is not what was written.
        CheckpointError: it may be whole, but this program cannot read it, or not now.
    """
    step, expected = _read_manifest(path)
    files = {name: _verified(path / name, facts) for name, facts in expected.items()}
    with _damaged_if_not(path, "its files do not fit together"):
        document = files[STATE].read(0, files[STATE].num_bytes)
        return step, decode_state(document, files[ARRAYS])


def stamps(path: Path) -> Stamps | None:
    """Returns the stamps of a checkpoint's files; None if one of them is missing."""
    try:
        facts = [(path / name).stat() for name in FILES]
    except OSError:
        return None
    return tuple((each.st_ino, each.st_size, each.st_mtime_ns) for each in facts)


def _manifest(files: Mapping[str, FileFacts], *, step: int, about: Mapping[str, Any]) -> bytes:
    manifest = {
        **about,
        "format": FORMAT,
        "version": __version__,
        "step": step,
        "files": {
            name: {"bytes": facts.num_bytes, "sha256": facts.sha256}
            for name, facts in files.items()
        },
    }
    return json.dumps({**manifest, "sha256": _digest(manifest)}, indent=1).encode()


def _digest(manifest: Mapping[str, Any]) -> str:
    """Returns the digest of a manifest's content, without the digest itself."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _read_manifest(path: Path) -> tuple[int, Mapping[str, FileFacts]]:
    """Returns the step, and the facts of each file."""
    content = _read_file(path / MANIFEST, at_most=_MOST_MANIFEST_BYTES)
    with _damaged_if_not(path, f"{MANIFEST} cannot be read"):
        manifest = json.loads(content)
        if not isinstance(manifest, dict):
            raise ValueError("it is no object")
        digest = _digest(manifest)
    if manifest.get("sha256") != digest:
        raise DamagedError(f"{MANIFEST} is not what was written: its SHA-256 differs")
    found = manifest.get("format")
    if type(found) is not int or found < 1:
        raise DamagedError(f"{MANIFEST} says no format")
    if found != FORMAT:
        # Not damage: going back to an older one would throw away good training.
        raise CheckpointError(_other_format(path, manifest))
    return _natural(manifest, "step"), _facts(manifest)


def _facts(manifest: Mapping[str, Any]) -> Mapping[str, FileFacts]:
    files, found = manifest.get("files"), {}
    for name in (STATE, ARRAYS):
        facts = files.get(name) if isinstance(files, dict) else None
        if not isinstance(facts, dict) or not isinstance(facts.get("sha256"), str):
            raise DamagedError(f"{MANIFEST} says nothing of {name}")
        found[name] = FileFacts(_natural(facts, "bytes"), facts["sha256"])
    return found


def _natural(facts: Mapping[str, Any], name: str) -> int:
    value = facts.get(name)
    # `True` is an int, too.
    if type(value) is not int or not 0 <= value < 2**63:
        raise DamagedError(f"{MANIFEST} says no '{name}' that can be: it must be 0 or more")
    return value


def _other_format(path: Path, manifest: Mapping[str, Any]) -> str:
    found, version = manifest["format"], manifest.get("version")
    if not isinstance(version, str):
        version = _VERSIONS_OF_FORMATS.get(found, "of another version")
    return (
        f"{path} was written by entrain {version}, in checkpoint format {found}; this is entrain "
        f"{__version__}, which reads format {FORMAT} only: install entrain {version} to go on, "
        "or start the run anew with `entrain train` and the run's config.yaml"
    )


@contextmanager
def _damaged_if_not(path: Path, otherwise: str) -> Iterator[None]:
    """Turns exceptions of the block, which interprets what was read, into DamagedError."""
    try:
        yield
    except MemoryError:
        raise CheckpointError(
            f"{path} needs more memory than there is; read it where there is more"
        ) from None
    except CheckpointError:
        raise
    except Exception as error:  # of JSON, safetensors, numpy: it depends on what was damaged
        words = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DamagedError(f"{otherwise}: {words[:200]}") from error


def _verified(path: Path, facts: FileFacts) -> VerifiedFile:
    """A file that is what was written."""
    with _readable(path):
        size = path.stat().st_size
        if size != facts.num_bytes:
            raise DamagedError(f"{path.name} has {size:,} bytes; {facts.num_bytes:,} were written")
        file = VerifiedFile(path)
    if file.sha256 != facts.sha256:
        raise DamagedError(f"{path.name} is not what was written: its SHA-256 differs")
    return file


def _read_file(path: Path, *, at_most: int) -> bytes:
    """Returns the content, or b"" if it is longer than `at_most` bytes."""
    with _readable(path):
        return path.read_bytes() if path.stat().st_size <= at_most else b""


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Within the block, what reading the file raises becomes an error of it."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            # Reading a device or a pipe might never end.
            raise DamagedError(f"{path.name} is no file")
        yield
    except FileNotFoundError:
        raise DamagedError(f"{path.name} is missing") from None
    except OSError as error:
        if error.errno in _OF_THIS_PROCESS:
            raise CheckpointError(
                f"{path} cannot be read: {error.strerror}; let this user read it, or see to what "
                "this machine lacks"
            ) from error
        raise DamagedError(f"{path.name} cannot be read: {error.strerror}") from error
