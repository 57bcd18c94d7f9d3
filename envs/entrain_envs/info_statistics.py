"""Reports numbers in environments' `info` as statistics.

A key is a name in `info`, or a path: `episode/r` is info["episode"]["r"]. Its value counts at each
step that has one, or only at the last step of each episode. Wrappers that begin the next episode
by themselves leave `final_info`, which counts as the last step's info. This module does not know
Gymnasium or PettingZoo.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entrain_envs.faults import quoted
from entrain_envs.statistics import MOST_VALUES, Aggregation, Statistic

logger = logging.getLogger(__name__)

FINAL = "final_info"

PATIENCE = 1000
"""Infos after which an absent key is reported as missing, if no episode has ended before."""

MOST_SHOWN = 20
"""Most keys that a message lists."""

_MOST_KNOWN = 1000
_ABSENT = object()


@dataclass(frozen=True)
class InfoKey:
    """A key of `info` whose values are reported, and how."""

    name: str
    """A key, or a path with `/`; also the statistic's name."""

    aggregation: Aggregation = "mean"

    at_end: bool = False
    """Whether only the last step of each episode counts."""


class InfoStatistics:
    """Collects the values of some keys. Owned by an environment's adapter."""

    def __init__(self, keys: Sequence[InfoKey], *, where: str) -> None:
        """Start without values.

        Args:
            keys: to look up.
            where: names the environment in log messages, and begins them.
        """
        self._keys = tuple(keys)
        self._where = where
        self._missing = {key.name for key in keys}
        """Keys that were in no info yet, and of which that was not said."""
        self._said: set[str] = set()
        self._known: dict[str, None] = {}
        self._num_infos = 0
        self._waiting: list[Statistic] = []

    def __repr__(self) -> str:
        return f"<InfoStatistics: {', '.join(key.name for key in self._keys)}>"

    def take(self) -> Sequence[Statistic]:
        """Return the values noted since the last call, and forget them."""
        taken, self._waiting = self._waiting, []
        return taken

    def note(self, info: Any, *, is_end: bool) -> None:
        """Note the values in the info of a reset or step.

        Args:
            info: of one agent; ignored if it is not a mapping.
            is_end: whether it belongs to the last step of an episode.
        """
        if not isinstance(info, Mapping):
            return
        final = info.get(FINAL)
        if isinstance(final, Mapping):
            info, is_end = {**info, **final}, True
        for key in self._keys:
            if key.at_end and not is_end:
                continue
            value = _look_up(info, key.name)
            if value is not _ABSENT:
                self._missing.discard(key.name)
                # None: it is there, and has no value now.
                if value is not None:
                    self._note_value(key, value)
        if self._missing:
            self._look_for_missing(info, is_end=is_end)

    def _note_value(self, key: InfoKey, value: Any) -> None:
        if type(value) is float or type(value) is int:
            self._add(key, value)
            return
        numbers = _numbers(value)
        if numbers is None:
            self._say_what_it_is(key.name, value)
            return
        for number in numbers[:MOST_VALUES].tolist():
            self._add(key, number)

    def _add(self, key: InfoKey, value: float) -> None:
        # One more than are sent, so that the client says that there are too many.
        if len(self._waiting) <= MOST_VALUES:
            self._waiting.append(Statistic(key.name, value, key.aggregation))

    def _say_what_it_is(self, name: str, value: Any) -> None:
        if name in self._said:
            return
        self._said.add(name)
        what = f"is {quoted(value)}, which is no number"
        remedy = "left out, like others that are none"
        if isinstance(value, Mapping):
            what = "holds values of its own"
            remedy = f"name one of them: {_listed([f'{name}/{key}' for key in value])}"
        logger.warning("%s: info['%s'] %s; %s", self._where, name, what, remedy)

    def _look_for_missing(self, info: Mapping[str, Any], *, is_end: bool) -> None:
        """Warn once about each key that is missing, and list the keys that were seen."""
        self._num_infos += 1
        if len(self._known) < _MOST_KNOWN:
            self._known.update(dict.fromkeys(_names(info)))
        if not is_end and self._num_infos < PATIENCE:
            return
        since = "until an episode's end" if is_end else f"in {PATIENCE:,} steps"
        waits_for_end = {key.name for key in self._keys if key.at_end and not is_end}
        for name in sorted(self._missing - waits_for_end):
            self._missing.discard(name)
            logger.warning(
                "%s: --info asks for '%s', which was not in info %s; there are: %s",
                self._where,
                name,
                since,
                _listed(list(self._known)) or "none",
            )


def _look_up(info: Mapping[str, Any], name: str) -> Any:
    """The value of a key or path; _ABSENT if there is none."""
    if name in info:
        return info[name]
    value: Any = info
    for part in name.split("/"):
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _numbers(value: Any) -> Any:
    """[N] numbers; None if it holds anything else."""
    try:
        numbers = np.ravel(np.asarray(value))
    except (TypeError, ValueError, RuntimeError):
        return None
    return numbers if numbers.dtype.kind in "biuf" else None


def _names(info: Mapping[str, Any]) -> Sequence[str]:
    """The keys of an info, and one level below them."""
    names: list[str] = []
    for key, value in info.items():
        if isinstance(value, Mapping) and key != FINAL:
            names.extend(f"{key}/{each}" for each in value)
        elif key != FINAL:
            names.append(str(key))
    return names


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_SHOWN])
    more = len(names) - MOST_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown
