"""The settings files of a directory, as they are by now. Nothing here reads what is in them.

Editors and copies write in several steps, so a file counts once two looks in a row found it the
same, and it is gone once two looks did not find it. The first look is believed at once.
"""

import contextlib
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Stamp = tuple[int, int, int]

SUFFIX = ".yaml"
MOST_FILES = 2000
"""Of one directory; further ones, by name, are left out."""


@dataclass(frozen=True)
class SettingsFile:
    """One file at one moment."""

    path: Path
    stamp: Stamp
    """Inode, size and time of change: another content has another stamp. Compared, never ordered,
    so clocks do not matter."""

    is_regular: bool
    """False for a folder, a pipe, or a link that leads nowhere."""

    @property
    def name(self) -> str:
        """Of the run that it describes."""
        return self.path.stem


class Files(Protocol):
    """The settings files of runs that should exist, wherever that is known from."""

    @property
    def path(self) -> Path:
        """Of their folder."""
        ...

    def look(self) -> Mapping[str, SettingsFile]:
        """Returns {name of the run: its file}; OSError if it cannot be known now."""
        ...


class Directory:
    """`Files` that are whatever a folder holds. Owned by its caller."""

    def __init__(self, path: Path) -> None:
        """Nothing is known of it yet."""
        self._path = path
        self._before: Mapping[str, SettingsFile] | None = None
        self._steady: dict[str, SettingsFile] = {}
        self.left_out = 0
        """Files beyond MOST_FILES, by the newest look."""

    @property
    def path(self) -> Path:
        """Of the folder."""
        return self._path

    def look(self) -> Mapping[str, SettingsFile]:
        """Returns {name of the run: its file} as they count now, by name.

        OSError if the directory cannot be read; then what was known before goes on to count.
        """
        seen = self._seen()
        before = seen if self._before is None else self._before
        for name in seen.keys() | self._steady.keys():
            now = seen.get(name)
            if now != before.get(name):
                continue
            if now is None:
                del self._steady[name]
            else:
                self._steady[name] = now
        self._before = seen
        return dict(sorted(self._steady.items()))

    def _seen(self) -> Mapping[str, SettingsFile]:
        names = sorted(
            path.name
            for path in self.path.iterdir()
            # What begins with a dot is an editor's, or a shell's.
            if path.suffix == SUFFIX and not path.name.startswith(".")
        )
        self.left_out = max(0, len(names) - MOST_FILES)
        files = (settings_file(self.path / name) for name in names[:MOST_FILES])
        return {file.name: file for file in files}


def settings_file(path: Path) -> SettingsFile:
    """Returns the file as it is now."""
    with contextlib.suppress(OSError):
        about = path.stat()
        stamp = (about.st_ino, about.st_size, about.st_mtime_ns)
        return SettingsFile(path, stamp, stat.S_ISREG(about.st_mode))
    return SettingsFile(path, (0, 0, 0), is_regular=False)
