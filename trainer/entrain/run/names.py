"""File names for behaviours, whose own names may hold anything: 'Walker?team=0', '../etc', 'CON'.

A name that is fit to be a file name stays as it is. Every other one is quoted as in a URL. Names
that differ only in case get different stems, for some file systems do not tell them apart; which
behaviour has which stem is remembered in a file, so that it is the same after a resume.
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
"""Characters. File names end at 255 bytes, and stems get endings."""

_STEM = re.compile(r"[A-Za-z0-9_%+=,@~][A-Za-z0-9_.%+=,@~-]*")
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?$", re.IGNORECASE)


def quoted(behaviour: str) -> str:
    """`behaviour` as a stem that every file system takes.

    Different behaviours have different stems, but perhaps only in case; those too long for a file
    name differ by 64 bits of a digest.
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
    """Behaviour -> stem of its files, one to one even where case does not count.

    Owned by the process that has the run's lock; others only look up what is there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stems: dict[str, str] = _read(path) if path.exists() else {}

    def __repr__(self) -> str:
        return f"<BehaviourNames {self._stems}>"

    @property
    def stems(self) -> dict[str, str]:
        """A copy of all that are known."""
        return dict(self._stems)

    def stem(self, behaviour: str) -> str:
        """The stem of that behaviour's files; remembered on disk if it is new."""
        if behaviour not in self._stems:
            self._stems[behaviour] = self._free_stem(quoted(behaviour))
            self._save()
        return self._stems[behaviour]

    def _save(self) -> None:
        try:
            replace_file(self._path, json.dumps(self._stems, indent=2) + "\n")
        except OSError as error:
            # Most stems follow from the name alone, so this is not worth a run.
            logger.warning("%s cannot be written: %s", self._path, error.strerror)

    def _free_stem(self, stem: str) -> str:
        taken = {other.lower() for other in self._stems.values()}
        number, candidate = 1, stem
        while candidate.lower() in taken:
            number += 1
            # A quoted name never has '%' before something that is no hexadecimal number.
            candidate = f"{stem}%-{number}"
        return candidate


def _read(path: Path) -> dict[str, str]:
    try:
        stems = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stems, dict) or not all(
            isinstance(stem, str) and _STEM.fullmatch(stem) for stem in stems.values()
        ):
            raise ValueError("it must map behaviours to file names")
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read: {error}; remove it if its behaviours do not differ only in "
            "upper and lower case"
        ) from error
    return stems
