"""Writes files so that a crash or a full disk leaves the old content or the new, never a part.

Windows cannot sync a folder and need not: its file system journals renames.
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write a new file, and wait until it is on the disk and not only in the system's cache."""
    write_pieces(path, [content])


def write_pieces(path: Path, pieces: Iterable[bytes | memoryview]) -> None:
    """Write a new file piece by piece, and wait as `write_file` does."""
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes | str) -> None:
    """Replace the content of `path` (text as UTF-8) in one step; readers never see a part of it."""
    encoded = content.encode() if isinstance(content, str) else content
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        # mkstemp makes files that only the owner can read; others read run folders as well.
        temporary.chmod(0o644)
        write_file(temporary, encoded)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until new and changed names in a folder are on the disk."""
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY)
        # Some network file systems refuse to sync a folder; they order renames themselves.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)
