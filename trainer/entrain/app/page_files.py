"""Lists the files of a run's folder that its page offers for download: only files that runs write,
and never the page's own tokens.
"""

import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from entrain.page.facts import Artefact
from entrain.run.folder import RunFolder

MOST_FILES = 500


class PageFiles:
    """See the module. Any thread may ask."""

    def __init__(self, folder: RunFolder, *, without: Collection[Path] = ()) -> None:
        """List files of `folder`, except for those in `without`."""
        self._folder = folder
        self._without = frozenset(without)

    def listed(self) -> Sequence[Artefact]:
        """The files that may be downloaded now, sorted by name."""
        found = []
        for path in self._candidates():
            about = _regular(path)
            if about is not None and path not in self._without:
                name = path.relative_to(self._folder.path).as_posix()
                found.append(Artefact(name=name, size=about.st_size, changed_at=about.st_mtime))
            if len(found) == MOST_FILES:
                break
        return sorted(found, key=lambda each: each.name)

    def path_of(self, artefact: str) -> str | None:
        """Where that file is; None if it is not listed. A name is looked up, never joined."""
        names = {each.name for each in self.listed()}
        return str(self._folder.path / artefact) if artefact in names else None

    def _candidates(self) -> Iterator[Path]:
        folder = self._folder
        yield from (
            folder.report,
            folder.metrics,
            folder.episodes,
            folder.summary,
            folder.config,
            folder.history,
        )
        yield from folder.path.glob("*.onnx")
        for place in (folder.policies, folder.plots, folder.recordings, folder.path / "unity"):
            yield from _files_in(place)
        for place in sorted(folder.checkpoints.glob("*")):
            yield from _files_in(place) if place.is_dir() else (place,)


def _files_in(place: Path) -> Iterator[Path]:
    # A folder that is a link leads elsewhere.
    if not place.is_symlink():
        yield from sorted(place.glob("*"))


def _regular(path: Path) -> os.stat_result | None:
    """The file's status from the system; None if it is a link, a folder, hidden or gone."""
    try:
        about = path.lstat()
    except OSError:
        return None
    is_shown = stat.S_ISREG(about.st_mode) and not path.name.startswith(".")
    return about if is_shown else None
