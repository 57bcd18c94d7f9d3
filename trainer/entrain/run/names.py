"""Makes file names for behaviours, which may be called anything: 'Walker?team=0', '../etc', 'CON'.

A behaviour's name that is a valid file name stays as it is; any other is quoted as in a URL. Names
that differ only in case get different stems, because some file systems ignore case. A file stores
which behaviour has which stem, so that a resumed run uses the same.
"""

import hashlib
import json
import logging
import re
from pathlib import Path
from urllib.parse import quote

from entrain.errors import ConfigError
from entrain.run.durable import replace_file

logger = logging.getLogger(__name__)

MAX_STEM = 100
"""Characters. File names have at most 255 bytes, and a stem is only their beginning."""

_STEM = re.compile(r"[A-Za-z0-9_%+=,@~][A-Za-z0-9_.%+=,@~-]*")
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)


def quoted(behaviour: str) -> str:
    """Returns `behaviour` as a stem that every file system accepts.

    Different behaviours have different stems, which may differ only in case. Long names are cut,
    and differ by 64 bits of a digest.
    """
    stem = quote(behaviour, safe="+=,@", errors="surrogatepass")
    if not stem:
        return "%"
    if stem[0] in ".-" or _WINDOWS_DEVICE.match(stem):
        stem = f"%{ord(stem[0]):02X}{stem[1:]}"
    if stem[-1] == ".":
        stem = f"{stem[:-1]}%2E"
    if len(stem) > MAX_STEM:
        digest = hashlib.sha256(behaviour.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        stem = f"{stem[: MAX_STEM - 17]}-{digest}"
    return stem


class BehaviourNames:
    """Maps each behaviour to the stem of its files, one to one even where case is ignored.

    Owned by the process that holds the run's lock; others only read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stems: dict[str, str] = _read(path) if path.exists() else {}

    def __repr__(self) -> str:
        return f"<BehaviourNames {self._stems}>"

    @property
    def stems(self) -> dict[str, str]:
        """{behaviour: stem}, a copy."""
        return dict(self._stems)

    def stem(self, behaviour: str) -> str:
        """Returns the stem of that behaviour's files; a new one is stored on the disk."""
        if behaviour not in self._stems:
            self._stems[behaviour] = self._free_stem(quoted(behaviour))
            self._save()
        return self._stems[behaviour]

    def store_again(self) -> None:
        """Write the file again if it was deleted."""
        if self._stems and not self._path.exists():
            self._save()

    def _save(self) -> None:
        try:
            replace_file(self._path, json.dumps(self._stems, indent=2) + "\n")
        except OSError as error:
            # The run goes on: most stems follow from the name alone.
            logger.warning("%s cannot be written: %s", self._path, error.strerror)

    def _free_stem(self, stem: str) -> str:
        taken = {other.lower() for other in self._stems.values()}
        number, candidate = 1, stem
        while candidate.lower() in taken:
            number += 1
            # In a quoted name, a hexadecimal number follows each '%'; so no other name is equal.
            candidate = f"{stem}%-{number}"
        return candidate


def _read(path: Path) -> dict[str, str]:
    try:
        stems = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stems, dict) or not all(
            isinstance(stem, str) and _STEM.fullmatch(stem) for stem in stems.values()
        ):
            raise ValueError("it must map behaviours to file names")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}; remove it if its behaviours do not differ only in "
            "upper and lower case"
        ) from error
    return stems
