"""Writes and renames that a crash or a full disk can interrupt, but never leave half done.

A reader sees the content from before or the content from after. Windows can neither open a folder
nor needs to: its renames are journalled by the file system.
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write a new file and hand it to the disk, not only to the system's cache."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes | str) -> None:
    """Give `path` this content (text as UTF-8) in one step; readers never see a part of it."""
    encoded = content.encode() if isinstance(content, str) else content
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        # mkstemp makes files for the owner's eyes only; a run folder is read by others as well.
        temporary.chmod(0o644)
        write_file(temporary, encoded)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder as durable as the files they name."""
    if sys.platform != "win32":
        descriptor = os.open(path, os.O_RDONLY)
        # Some network file systems refuse to sync a folder; they order renames themselves.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
        os.close(descriptor)
