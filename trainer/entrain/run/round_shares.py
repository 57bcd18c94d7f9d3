"""How much of a round's time each part takes. A round lasts from one update to the next.

Shares are computed from the metrics of `round_metrics`, so that a display and a reader of a run's
files agree. This module knows no remedies.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal, Self, TypeAlias

import numpy as np

from entrain.metrics import SECONDS, STEPS_PER_SECOND
from entrain.replay_metrics import STEPS_RATIO
from entrain.round_metrics import (
    TIME_ACT,
    TIME_CHECKPOINT,
    TIME_DECODE,
    TIME_ENCODE,
    TIME_LEARN,
    TIME_OBSERVE,
    TIME_RECORD,
    TIME_REPORT,
    TIME_WAIT,
    UPDATE_SECONDS,
)
from entrain.run.replay_pace import ReplayPace, pace_text
from entrain.run.table import Series

Limit: TypeAlias = Literal["simulators", "updates", "acting", "other", "none"]
"""The part that takes at least half of the time; acting is all work on batches."""

HALF = 0.5

RECENT = 20
"""Rounds that are looked at, unless a user says otherwise."""


@dataclass(frozen=True, kw_only=True)
class RoundShares:
    """Shares of the time of one round, or of several; together they are 1."""

    waiting: float
    """For simulators; and for the other policies, if there are several."""

    acting: float
    """Evaluating the policy and sampling actions."""

    recording: float
    """Storing steps to learn from, while simulators go on."""

    messages: float
    """Reading and writing the messages of all simulators."""

    updates: float
    """Until an update was done, while the simulators waited."""

    other: float
    """Checkpoints, files of metrics, the time before the first batch."""

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, float]) -> Self:
        """Makes the shares of one round from its metrics; what they lack was not measured: 0."""
        part = {name: value for name, value in metrics.items() if math.isfinite(value)}
        wait = part.get(TIME_WAIT.name, 0.0)
        messages = part.get(TIME_DECODE.name, 0.0) + part.get(TIME_ENCODE.name, 0.0)
        beside = part.get(TIME_REPORT.name, 0.0) + part.get(TIME_CHECKPOINT.name, 0.0)
        # Messages are read and written while the policy waits.
        parts = {
            "waiting": max(0.0, wait - messages),
            "acting": part.get(TIME_OBSERVE.name, 0.0) + part.get(TIME_ACT.name, 0.0),
            "recording": part.get(TIME_RECORD.name, 0.0),
            "messages": messages,
            "updates": part.get(TIME_LEARN.name, 0.0),
        }
        rest = 1.0 - sum(parts.values()) - beside
        return cls._of({**parts, "other": beside + max(0.0, rest)})

    @classmethod
    def mean(cls, shares: Sequence[Self], weights: Sequence[float]) -> Self:
        """Makes the shares of several rounds, each with the weight of how long it was."""
        return cls._of(
            {
                name: sum(
                    weight * getattr(each, name)
                    for each, weight in zip(shares, weights, strict=True)
                )
                for name in PARTS
            }
        )

    @classmethod
    def of_all(cls, policies: Sequence[Self]) -> Self:
        """Makes the shares of a run, in which other policies wait during one policy's work."""
        if len(policies) == 1:
            return policies[0]
        parts = {
            name: sum(getattr(each, name) for each in policies)
            for name in ("acting", "recording", "updates")
        }
        # Of these each policy's round has its share of the same.
        for name in ("messages", "other"):
            parts[name] = sum(getattr(each, name) for each in policies) / len(policies)
        return cls._of({**parts, "waiting": max(0.0, 1.0 - sum(parts.values()))})

    @classmethod
    def _of(cls, parts: Mapping[str, float]) -> Self:
        total = sum(parts.values())
        return cls(**{name: parts[name] / total for name in PARTS})

    @property
    def serving(self) -> float:
        """Share of the trainer's work on batches: acting, recording and messages."""
        return self.acting + self.recording + self.messages

    @property
    def percents(self) -> Mapping[str, int]:
        """{part: whole percent}, rounded so that they add up to 100."""
        exact = {name: 100 * getattr(self, name) for name in PARTS}
        whole = {name: math.floor(value) for name, value in exact.items()}
        most_cut = sorted(PARTS, key=lambda name: whole[name] - exact[name])
        for name in most_cut[: 100 - sum(whole.values())]:
            whole[name] += 1
        return whole

    @property
    def limit(self) -> Limit:
        """The part that takes at least half of the time; "none" if no part does."""
        shares: Mapping[Limit, float] = {
            "simulators": self.waiting,
            "updates": self.updates,
            "acting": self.serving,
            "other": self.other,
        }
        return next((limit for limit, share in shares.items() if share >= HALF), "none")


PARTS = tuple(field.name for field in fields(RoundShares))
"""The names of the shares, in the order in which they are told."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """The measurements of one round."""

    seconds: float
    """How long it was."""

    update_s: float
    """How long its update took, waited for or not; NaN if that was not measured."""

    env_steps_per_second: float
    """NaN if that was not measured."""

    shares: RoundShares

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, float], *, seconds: float) -> Self:
        """Makes it from the metrics of the update that ended it."""
        return cls(
            seconds=seconds,
            update_s=metrics.get(UPDATE_SECONDS.name, math.nan),
            env_steps_per_second=metrics.get(STEPS_PER_SECOND.name, math.nan),
            shares=RoundShares.from_metrics(metrics),
        )


class RecentRounds:
    """The newest rounds of one policy, and their shares. Owned by its caller.

    The first round after a start or a resume includes the wait for the first simulators, so it is
    dropped as soon as there is another.
    """

    def __init__(self, most: int = RECENT) -> None:
        """Start empty; keep at most `most` rounds."""
        self._rounds: deque[Round] = deque(maxlen=most)
        self._has_first = False

    def add(self, round_: Round, *, is_first: bool) -> None:
        """Remember the newest round; `is_first` if simulators joined during it."""
        if self._has_first:
            self._rounds.clear()
        self._has_first = is_first
        self._rounds.append(round_)

    def __len__(self) -> int:
        return len(self._rounds)

    @property
    def seconds(self) -> float:
        """Duration of all rounds together."""
        return sum(each.seconds for each in self._rounds)

    @property
    def shares(self) -> RoundShares:
        """Of all of them together; there must be one."""
        return RoundShares.mean([each.shares for each in self._rounds], self._weights)

    @property
    def update_share(self) -> float:
        """Share of the time in which an update ran, waited for or not; NaN if it is not known."""
        seconds = self.seconds
        return sum(each.update_s for each in self._rounds) / seconds if seconds > 0 else math.nan

    @property
    def idle_share(self) -> float:
        """Share of the time in which no update ran; NaN if it is not known."""
        # Two clocks measure the time, so the rest may come out below 0.
        share = self.update_share
        return share if math.isnan(share) else max(0.0, 1.0 - share)

    @property
    def env_steps_per_second(self) -> float:
        """Of all of them together; NaN if it is not known."""
        steps = sum(
            weight * each.env_steps_per_second
            for weight, each in zip(self._weights, self._rounds, strict=True)
        )
        return steps / sum(self._weights)

    @property
    def _weights(self) -> Sequence[float]:
        # A round of no time, which a clock that was set can make, must not be divided by.
        return [max(each.seconds, 1e-9) for each in self._rounds]


class RunRounds:
    """The newest rounds of all policies of a run that goes on. Owned by its caller."""

    def __init__(self) -> None:
        self._rounds: dict[str, RecentRounds] = {}
        self._shares: dict[str, RoundShares] = {}
        self._ends: dict[str, float] = {}
        self._paces: dict[str, ReplayPace] = {}

    @property
    def pace(self) -> str:
        """Who waits for whom, in words; empty if no policy learns from a replay yet."""
        return pace_text(self._paces)

    def add(
        self, behaviour: str, metrics: Mapping[str, float], *, now_s: float
    ) -> Mapping[str, RoundShares]:
        """Remember a round, which an update has ended now.

        Returns:
            {behaviour: where the time of its newest rounds went}.
        """
        is_first = behaviour not in self._ends
        lasted_s = 0.0 if is_first else now_s - self._ends[behaviour]
        self._ends[behaviour] = now_s
        rounds = self._rounds.setdefault(behaviour, RecentRounds())
        rounds.add(Round.from_metrics(metrics, seconds=lasted_s), is_first=is_first)
        self._shares[behaviour] = rounds.shares
        ratio = metrics.get(STEPS_RATIO.name, math.nan)
        if ratio > 0.0:
            self._paces[behaviour] = ReplayPace(
                steps_ratio=ratio,
                waits_for_learning=rounds.shares.updates,
                waits_for_collecting=rounds.idle_share,
            )
        return self._shares


def rounds_in(series: Series, *, most: int = RECENT) -> RecentRounds:
    """Returns the newest rounds in the file of a run's metrics.

    Args:
        series: the rows of one policy; there is at least one.
        most: how many.
    """
    end_s = series.columns.get(SECONDS.name, series.wall_time)
    seconds = np.diff(end_s, prepend=0.0 if SECONDS.name in series.columns else end_s[0])
    rounds = RecentRounds(most)
    for row in range(max(0, len(end_s) - most), len(end_s)):
        metrics = {name: float(column[row]) for name, column in series.columns.items()}
        lasted_s = float(seconds[row])
        rounds.add(
            Round.from_metrics(metrics, seconds=lasted_s if lasted_s > 0 else 0.0),
            is_first=row == 0,
        )
    return rounds
