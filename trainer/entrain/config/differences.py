"""Where two configurations differ, and which of the differences a run cannot take over later."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from entrain.config.run import RunConfig
from entrain.config.source import OptionPath, show_path

_OF_THE_FOLDER: Final = {("name",), ("runs_directory",)}
"""These say which folder is meant, and no more."""

_OF_ANOTHER_RUN: Final = (
    ("seed",),
    ("policies", "*", "initial_weights"),
    ("policies", "*", "initial_progress"),
    ("policies", "*", "network"),
    ("policies", "*", "action", "distribution"),
    ("policies", "*", "action", "clip"),
    ("policies", "*", "normalize_observations"),
    ("policies", "*", "normalize_values"),
    ("policies", "*", "entropy", "objective"),
    ("policies", "*", "entropy", "prior"),
    ("policies", "*", "algorithm", "kind"),
    ("policies", "*", "algorithm", "surrogate"),
)
"""Beginnings of paths ("*": any name) of what a run is from its beginning to its end."""

_MISSING: Final = object()


@dataclass(frozen=True)
class Difference:
    """One option that has two values."""

    path: OptionPath
    one: str
    """Of what is given, as JSON; "-" where it is not there."""

    other: str
    """Of the run that is there."""

    @property
    def is_of_another_run(self) -> bool:
        """Whether a run with the one value cannot go on with the other."""
        if len(self.path) == 2 and self.path[0] == "policies":
            return True  # a policy that only one of them has
        if _begins(self.path, ("policies", "*", "normalize_rewards")):
            return self.one == "false"  # a resume may switch it on, and not off
        return any(_begins(self.path, pattern) for pattern in _OF_ANOTHER_RUN)

    def __str__(self) -> str:
        if self.path[:2] == ("notify", "url"):
            return f"{show_path(self.path)} is another"  # it may hold a secret
        return f"{show_path(self.path)} is {self.one}, there {self.other}"


def differences(one: RunConfig, other: RunConfig) -> Sequence[Difference]:
    """Returns the options in which they differ, except the name of the run and its folder."""
    found = _differences(one.model_dump(mode="json"), other.model_dump(mode="json"), ())
    return [each for each in found if each.path not in _OF_THE_FOLDER]


def _differences(one: Any, other: Any, path: OptionPath) -> Iterator[Difference]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in [*one, *(name for name in other if name not in one)]:
            yield from _differences(
                one.get(name, _MISSING), other.get(name, _MISSING), (*path, name)
            )
    elif one != other:
        yield Difference(path, _text(one), _text(other))


def _text(value: Any) -> str:
    if value is _MISSING:
        return "-"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _begins(path: OptionPath, pattern: tuple[str, ...]) -> bool:
    return len(path) >= len(pattern) and all(
        part in {"*", name} for name, part in zip(path, pattern, strict=False)
    )
