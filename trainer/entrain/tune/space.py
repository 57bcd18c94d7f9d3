"""The search space: options with their ranges, and the settings made of chosen values.

Nothing here knows how values are chosen.
"""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from entrain.config.overrides import put_option
from entrain.config.schema import default_kind, find, kinds
from entrain.config.source import OptionPath, Origin, Source

KIND = "kind"


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """An option that may be any number from `low` to `high`."""

    name: str
    """Path of the option, as the file writes it."""

    path: OptionPath
    origin: Origin
    """Where the file has it."""

    low: float
    high: float
    is_log: bool
    step: float | None
    is_whole: bool
    """Whether only integers are meant."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """An option that may be one of several values."""

    name: str
    path: OptionPath
    origin: Origin
    values: Sequence[Any]


Searched: TypeAlias = Numbers | Choices


class Space:
    """Every option that is varied, and the settings around them. Changes nothing."""

    def __init__(self, settings: Source, searched: Sequence[Searched]) -> None:
        """Of these settings, in which `search` is not needed."""
        self._settings = settings
        # What a `kind` decides about comes after it, and groups before what is inside them.
        self.searched = sorted(searched, key=lambda it: (len(it.path), it.path[-1] != KIND))

    @property
    def labels(self) -> Mapping[str, str]:
        """{name of an option: as much of its end as tells it from all others}."""
        paths = {option.name: tuple(map(str, option.path)) for option in self.searched}
        return {name: _ending(path, list(paths.values())) for name, path in paths.items()}

    def settings_with(self, choose: Callable[[Searched], Any]) -> tuple[Source, Mapping[str, Any]]:
        """Returns the settings with chosen values, and {name of an option: its value}.

        Args:
            choose: asked for each option that the kinds chosen so far have.
        """
        settings = copy.deepcopy(self._settings)
        chosen: dict[str, Any] = {}
        for option in self.searched:
            if belongs(settings, option.path):
                chosen[option.name] = choose(option)
                put(settings, option, chosen[option.name], option.origin)
        return settings, chosen


def _ending(path: Sequence[str], all_paths: Sequence[Sequence[str]]) -> str:
    for length in range(1, len(path)):
        ending = path[-length:]
        if sum(other[-length:] == ending for other in all_paths) == 1:
            return ".".join(ending)
    return ".".join(path)


def put(settings: Source, option: Searched, value: Any, origin: Origin) -> None:
    """Give an option this value. Of a group whose kind it changes, what that lacks is left out."""
    path = put_option(settings, option.name, json.dumps(value), origin)
    if path[-1] == KIND:
        group = settings.value(path[:-1])
        options = kinds(find(path[:-1])[1]).get(str(value))
        if options is not None:
            for name in [it for it in group if it not in options["properties"]]:
                settings.remove((*path[:-1], name))


def belongs(settings: Source, path: OptionPath) -> bool:
    """Whether the kinds that the settings have chosen have the option at `path`."""
    return foreign_kind(settings, path) is None


def foreign_kind(settings: Source, path: OptionPath) -> OptionPath | None:
    """Returns the group on `path` whose kind lacks the rest of it; None if all have it."""
    for depth in range(1, len(path)):
        group = find(path[:depth])[1]
        by_kind = kinds(group)
        if not by_kind or path[depth] == KIND:
            continue
        value = settings.value(path[:depth])
        kind = value.get(KIND) if isinstance(value, Mapping) else None
        options = by_kind.get(str(kind or default_kind(group)))
        if options is not None and path[depth] not in options["properties"]:
            return path[:depth]
    return None
