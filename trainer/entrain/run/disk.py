"""One-line errors for refused writes: which path, why, on which disk, and what helps."""

import errno
import os
import shutil
from pathlib import Path
from typing import Final

from entrain.errors import DiskError

_REMEDIES: Final = {
    errno.EROFS: "the file system is read-only: mount it for writing",
    errno.EIO: "the disk or the connection to it fails: see the system's log",
    errno.EMFILE: "this process has too many files open: raise `ulimit -n`",
    errno.ENFILE: "this machine has too many files open: close other programs",
    errno.EFBIG: "a file may not become so large: raise `ulimit -f`",
    errno.ENOENT: "its folder is gone: it was deleted or moved while the run went on",
    errno.EACCES: "mend its permissions or its owner",
    errno.EPERM: "mend its permissions or its owner",
}


def refused(error: OSError, path: Path, what: str = "") -> DiskError:
    """Returns the error to raise when `path` could not be written.

    Args:
        error: raised by the system.
        path: that was to be written.
        what: names the file's content, such as "the checkpoint".
    """
    named = f"{what} {path}" if what else str(path)
    reason = error.strerror or str(error)
    return DiskError(f"cannot write {named}: {reason}; {remedy(error, path)}")


def remedy(error: OSError, path: Path) -> str:
    """Returns a remedy for `error`, which writing to `path` raised."""
    if error.errno in {errno.ENOSPC, getattr(errno, "EDQUOT", None)}:
        return f"make room {_disk(path)}"
    return _REMEDIES.get(error.errno or 0, "see to the disk that it is on")


def _disk(path: Path) -> str:
    """Returns which disk holds `path`, and how much of it is free."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    while not os.path.ismount(place) and place != place.parent:
        place = place.parent
    try:
        usage = shutil.disk_usage(place)
    except OSError:
        return f"on the disk at {place}"
    return (
        f"on the disk at {place} ({usage.free / 2**20:,.0f} of {usage.total / 2**20:,.0f} MiB are "
        "free), or for this user if it has a quota"
    )
