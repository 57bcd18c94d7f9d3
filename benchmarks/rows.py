"""The rows of the table: what is measured, beside whom, and which ratio is wanted.

A row knows no measurement. Its two sides are names of contenders within one group, and what is
measured of a group is {contender: a value for each pair}.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.contenders import Absence


@dataclass(frozen=True)
class Row:
    """One thing that is compared."""

    name: str
    what: str
    group: str
    """Rows of one group are measured together, in turns."""

    ours: str
    peer: str
    """Contenders of the group."""

    unit: str
    wanted: float | None = None
    aim: float | None = None
    less_is_better: bool = False


@dataclass(frozen=True)
class Measured:
    """A row with what came of it."""

    row: Row
    ours: Sequence[float]
    """One value for each pair."""

    peer: Sequence[float]

    @property
    def ratios(self) -> Sequence[float]:
        """Ours beside the peer's, pair by pair."""
        return [mine / its for mine, its in zip(self.ours, self.peer, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the pairs."""
        return statistics.median(self.ratios)

    def achieved(self, bar: float) -> float:
        """How far the ratio is above a bar: 1 is just reached, 2 is twice as good."""
        return bar / self.ratio if self.row.less_is_better else self.ratio / bar

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.row.wanted is None:
            return ""
        if self.row.aim is not None and self.achieved(self.row.aim) >= 1.0:
            return "best"
        return "reached" if self.achieved(self.row.wanted) >= 1.0 else "missed"


@dataclass(frozen=True)
class Unmeasured:
    """A row that could not be measured."""

    row: Row
    why: str
    failed: bool = False
    """Whether that is a fault, and not something that is not there."""


Outcome = Measured | Unmeasured


def outcomes(
    rows: Sequence[Row], values: Mapping[str, Sequence[float]], absent: Mapping[str, Absence]
) -> Sequence[Outcome]:
    """What came of the rows of one group.

    Args:
        rows: all of that group.
        values: {contender: a value for each pair}.
        absent: {contender: why it has none}.
    """
    came: list[Outcome] = []
    for row in rows:
        lacking = [absent[side] for side in (row.ours, row.peer) if side in absent]
        if lacking:
            why = "; ".join(each.why for each in lacking)
            came.append(Unmeasured(row, why, failed=any(each.is_fault for each in lacking)))
        else:
            came.append(Measured(row, values[row.ours], values[row.peer]))
    return came


def chosen(rows: Sequence[Row], names: Sequence[str]) -> Sequence[Row]:
    """The rows whose names are, or begin with, one of `names`; ValueError if one fits none."""
    for name in names:
        if not any(row.name.startswith(name) for row in rows):
            raise ValueError(
                f"no row is named '{name}', and no name begins with it; there are: "
                f"{', '.join(row.name for row in rows)}"
            )
    return [row for row in rows if any(row.name.startswith(name) for name in names)]


RATE = "env steps/s"
UPDATES = [
    Row(
        f"update-{size}",
        f"PPO update, minibatch {size:,}, beside a bare loop in numpy",
        f"update-{size}",
        "by hand",
        "loop",
        "us processor time a gradient step",
        wanted=1.25,
        aim=1.0,
        less_is_better=True,
    )
    for size in (64, 512, 2048)
]


def _cheetah(
    size: int, ours: str, peer: str, *, wanted: float | None = None, aim: float | None = None
) -> Row:
    side = "exactly on-policy" if ours == "exact" else "policy_lag: 1"
    return Row(
        f"cheetah-{size}-{ours}-{peer}",
        f"HalfCheetah 8 x 256, minibatch {size}, {side}, beside {peer}",
        f"cheetah-{size}",
        ours,
        peer,
        RATE,
        wanted,
        aim,
    )


CHEETAHS = [
    _cheetah(64, "exact", "sb3", wanted=1.8, aim=2.5),
    _cheetah(64, "exact", "sbx", wanted=1.2),
    _cheetah(64, "exact", "skrl"),
    _cheetah(64, "lag", "sb3", wanted=2.4, aim=3.0),
    _cheetah(64, "lag", "sbx", wanted=1.6, aim=2.0),
    _cheetah(512, "exact", "sb3", wanted=1.0, aim=1.1),
    _cheetah(512, "exact", "sbx"),
    _cheetah(512, "exact", "skrl"),
    _cheetah(512, "lag", "sb3", wanted=1.25, aim=1.6),
]


def _memory(ours: str, what: str, peer: str, wanted: float, aim: float) -> Row:
    return Row(
        f"memory-{ours}",
        f"CartPole without velocities, {what}, beside {peer}",
        "memory",
        ours,
        peer,
        RATE,
        wanted,
        aim,
    )


MEMORIES = [
    _memory("lstm-own", "LSTM 128, critic has its own", "sb3-contrib", 4.5, 5.0),
    _memory("lstm-shared", "LSTM 128 shared", "rl_games", 0.9, 1.2),
    _memory("lstm-shared-lag", "LSTM 128 shared, policy_lag: 1", "rl_games", 1.4, 2.0),
    _memory("mingru", "minGRU 128 shared", "rl_games", 1.6, 3.0),
    _memory("mingru-lag", "minGRU 128 shared, policy_lag: 1", "rl_games", 2.0, 3.0),
]
EXCHANGES = [
    Row(
        f"exchange-{agents}",
        f"trainer's processor time an exchange, agents: {agents}, beside an echo's server",
        f"exchange-{agents}",
        "trainer",
        "echo",
        "us processor time a message",
        wanted,
        aim=2.0,
        less_is_better=True,
    )
    for agents, wanted in ((1, 3.0), (64, 3.5))
]
BALLS = [
    Row(
        f"mlagents-{name}",
        f"ML-Agents wire, 3DBall's settings, {what}, beside mlagents-learn",
        f"mlagents-{name}",
        "entrain",
        "mlagents-learn",
        "agent steps/s",
        wanted,
        aim,
    )
    for name, what, wanted, aim in (
        ("12", "12 agents", 3.5, 5.0),
        ("64", "64 agents", 4.5, 6.0),
        ("lstm", "12 agents, LSTM", 3.0, 5.0),
        ("64-lag", "64 agents, policy_lag: 1", 6.0, 8.0),
    )
]
ROWS: Sequence[Row] = [*UPDATES, *CHEETAHS, *MEMORIES, *EXCHANGES, *BALLS]
