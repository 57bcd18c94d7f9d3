"""Settings as plain values, with the place and the spelling of each for error messages.

Nothing here knows which options there are, or YAML.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from entrain.quoting import shortened

OptionPath: TypeAlias = tuple[str | int, ...]
"""Names of options, and positions in lists: ("simulators", "launch", 0, "count")."""

_PLAIN_NAME: Final = re.compile(r"[^\s.'\"=]+")
_MOST_SHOWN: Final = 60


@dataclass(frozen=True)
class Origin:
    """Where a value was written, and how."""

    place: str
    """As a message shows it: "walk.yaml:7", or "--set policies.walker.total_steps=many"."""

    order: tuple[int, int]
    """Lower is reported first: (0, line) in the file, (1, position) among the `--set`."""

    written: str
    """The value as it is spelt there: "many", "1e-3"; "" for a list or a group."""


@dataclass
class Source:
    """Plain values (dict, list, str, int, float, bool, None) and the origin of each.

    Owned by `load`; `overrides` and `old_form` change it in place.
    """

    values: dict[str, Any]
    whole: Origin
    origins: dict[OptionPath, Origin] = field(default_factory=dict)

    def origin(self, path: OptionPath) -> Origin:
        """The origin of the value at `path`, or else of the innermost written group around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return self.whole

    def value(self, path: OptionPath) -> Any:
        """The value at `path`; None if there is none."""
        here: Any = self.values
        for part in path:
            if not _has(here, part):
                return None
            here = here[part]
        return here

    def has(self, path: OptionPath) -> bool:
        """Whether there is a value at `path`, null included."""
        return _has(self.value(path[:-1]), path[-1])

    def replace(self, path: OptionPath, value: Any) -> None:
        """Set the value at `path`; the group around it must exist."""
        self.value(path[:-1])[path[-1]] = value

    def remove(self, path: OptionPath) -> None:
        """Delete the value at `path`, if there is one."""
        if self.has(path):
            del self.value(path[:-1])[path[-1]]
        self.forget_origins(path)

    def forget_origins(self, path: OptionPath) -> None:
        """Forget where the value at `path` and everything inside it was written."""
        for inside in [each for each in self.origins if each[: len(path)] == path]:
            del self.origins[inside]

    def move(self, old: OptionPath, new: OptionPath) -> None:
        """Move the value at `old`, which is in a group, to `new`; origins go with it."""
        value = self.value(old)
        inside = {path: it for path, it in self.origins.items() if path[: len(old)] == old}
        self.remove(old)
        self.replace(new, value)
        self.origins.update({(*new, *path[len(old) :]): it for path, it in inside.items()})

    def respell(self, location: OptionPath) -> None:
        """Turn a number, true or false at `location` into the text that was written.

        Args:
            location: a path as pydantic reports it; parts that are not in the values are skipped.
        """
        group: Any = self.values
        path: OptionPath = ()
        for part in location:
            here = self.value(path)
            if _has(here, part):
                group, path = here, (*path, part)
        if path and isinstance(group[path[-1]], bool | int | float):
            group[path[-1]] = self.origin(path).written


def show_path(path: OptionPath) -> str:
    """A path as `--set` takes it: policies."my.walker".algorithm.clip_range."""
    return ".".join(
        str(part)
        if isinstance(part, int) or (_PLAIN_NAME.fullmatch(part) and part.isprintable())
        else json.dumps(part, ensure_ascii=not part.isprintable())
        for part in path
    )


def describe(value: Any, written: str) -> str:
    """A value as a message shows it: 'many', 1e-3, empty, a list, a group of options."""
    match value:
        case None:
            return "empty"
        case dict():
            return "a group of options"
        case list() | tuple():
            return "a list"
        case str():
            return f"'{_shortened(one_line(value))}'"
        case _:
            return _shortened(one_line(written or str(value)))


def one_line(text: str) -> str:
    """`text` with line breaks and control characters spelt out."""
    return text if text.isprintable() else json.dumps(text)[1:-1]


def quoted(text: str) -> str:
    """A user's text on one line; a long one is shortened in the middle."""
    return shortened(one_line(text))


def _has(group: Any, part: str | int) -> bool:
    if isinstance(group, list):
        return isinstance(part, int) and part < len(group)
    return isinstance(group, dict) and part in group


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
