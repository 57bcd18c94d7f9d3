"""Settings as plain values that remember where each was written, and how.

So that a complaint can name both. Nothing here knows which options there are, nor of YAML.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

OptionPath: TypeAlias = tuple[str | int, ...]
"""Where in the settings something stands: names of options, and positions in lists."""

_PLAIN_NAME: Final = re.compile(r"[^\s.'\"=]+")
_MOST_SHOWN: Final = 60


@dataclass(frozen=True)
class Origin:
    """Where a value was written, and how."""

    place: str
    """For people: "walk.yaml:7", or "--set policies.walker.total_steps=many"."""

    order: tuple[int, int]
    """Lower is reported first: (0, line) in the file, (1, position) among the `--set`."""

    written: str
    """The value as it stands there: "many", "1e-3"; "" for a list or a group."""


@dataclass
class Source:
    """Plain values (dict, list, str, int, float, bool, None) and the origin of each.

    Owned by the one who reads it; `config_override` changes it in place.
    """

    values: dict[str, Any]
    whole: Origin
    origins: dict[OptionPath, Origin] = field(default_factory=dict)

    def origin(self, path: OptionPath) -> Origin:
        """Of the value at `path`, or else of the innermost group around it that was written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return self.whole

    def value(self, path: OptionPath) -> Any:
        """What stands at `path`; None if nothing does."""
        here: Any = self.values
        for part in path:
            if not _has(here, part):
                return None
            here = here[part]
        return here

    def has(self, path: OptionPath) -> bool:
        """Whether anything stands at `path`, be it null."""
        return _has(self.value(path[:-1]), path[-1])

    def replace(self, path: OptionPath, value: Any) -> None:
        """Put `value` in place of the one at `path`, in the group that holds it."""
        self.value(path[:-1])[path[-1]] = value

    def remove(self, path: OptionPath) -> None:
        """Forget what stands at `path`, if anything does."""
        if self.has(path):
            del self.value(path[:-1])[path[-1]]
        self.forget_origins(path)

    def forget_origins(self, path: OptionPath) -> None:
        """Forget where the value at `path`, and what is inside it, was written."""
        for inside in [each for each in self.origins if each[: len(path)] == path]:
            del self.origins[inside]

    def move(self, old: OptionPath, new: OptionPath) -> None:
        """Let what stands at `old`, in a group, stand at `new`, as if written there."""
        value = self.value(old)
        inside = {path: it for path, it in self.origins.items() if path[: len(old)] == old}
        self.remove(old)
        self.replace(new, value)
        self.origins.update({(*new, *path[len(old) :]): it for path, it in inside.items()})

    def respell(self, location: OptionPath) -> None:
        """Make a number, true or false at `location` the text that was written there.

        Args:
            location: a path in which words that are no part of the values are passed over.
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
    """As `--set` takes it: policies."my.walker".algorithm.clip_range."""
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
    """`text` itself, or with line breaks and control characters spelt out."""
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _has(group: Any, part: str | int) -> bool:
    if isinstance(group, list):
        return isinstance(part, int) and part < len(group)
    return isinstance(group, dict) and part in group


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
