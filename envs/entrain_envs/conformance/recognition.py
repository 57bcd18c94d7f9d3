"""Recognises usual mistakes in bytes: other dtypes, other byte orders, other counts, other layouts.

Each is a guess by what the numbers would be if they were read in another way; its rule is said at
the function that makes it.
"""

import math
from collections import Counter

import numpy as np
import numpy.typing as npt

from entrain_envs.spec import ObservationSpec

Numbers = npt.NDArray[np.float64]

_SMALLEST, _LARGEST = 1e-9, 1e9
"""Between these the numbers of nearly all simulators lie, zero apart."""

_SUBNORMAL = 2.0**-126
"""Below it float32 has fewer digits; no simulator means such a number."""

_ODD_SHARE = 0.3
"""Share of the nonzero numbers that must be outside the bounds before byte order is suspected."""

_LARGE_ID = 2**40
_USUAL_ID = 2**32

_FIRST, _MID = 1, 2
"""Step types of the wire."""

_CLEAR_JUMP = 0.4
"""Share of all change that is at least in an agent that begins an episode, if read rightly."""

_TIMES_MORE = 2.0
"""How many times larger that is than in the other reading."""

_DENSE = 0.75
"""Share of the agent's numbers that change then: a few of many may do so by chance."""

_MOST_GROUPS = 16
"""Sets of agents whose rows are remembered."""

_CLEARLY = 4.0
"""How many times more one reading must explain than the other."""


def are_usual(values: npt.NDArray[np.generic]) -> bool:
    """Whether all are finite, and each is zero or of a usual size."""
    size = np.abs(values.astype(np.float64))
    return bool(np.all((size == 0.0) | ((size > _SMALLEST) & (size < _LARGEST))))


def floats_are_swapped(values: npt.NDArray[np.float32]) -> bool:
    """Whether the bytes of each float are in the other order.

    So it is taken if at least 30 % of the numbers that are not 0 are no number or of an odd size
    (below 1e-9 or above 1e9), and all are usual once their bytes are swapped, and then nearer to
    each other in size: numbers that are truly tiny are so together.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.abs(values.astype(np.float64).reshape(-1))
        other = values.byteswap().astype(np.float64)
    size = size[size != 0.0]
    if not len(size):
        return False
    odd = ~((size > _SMALLEST) & (size < _LARGEST))
    if odd.mean() < _ODD_SHARE or not are_usual(other):
        return False
    return _spread(size) > _spread(np.abs(other[other != 0.0])) or bool(np.any(size < _SUBNORMAL))


def _spread(sizes: Numbers) -> float:
    """How many powers of ten lie between the smallest and the largest."""
    if not len(sizes) or not np.isfinite(sizes).all():
        return math.inf
    return float(np.ptp(np.log10(sizes)))


def ids_are_swapped(agent_id: npt.NDArray[np.int64]) -> bool:
    """Whether the bytes of each id are in the other order.

    So it is taken if all ids but 0 are beyond 2^40, and all below 2^32 once swapped.
    """
    ids = agent_id[agent_id != 0].astype(np.int64)
    if not len(ids):
        return False
    swapped = ids.byteswap()
    return bool(np.all(_beyond(ids, _LARGE_ID)) and not np.any(_beyond(swapped, _USUAL_ID)))


def _beyond(ids: npt.NDArray[np.int64], bound: int) -> npt.NDArray[np.bool_]:
    return (ids > bound) | (ids < -bound)


def rows_meant(counts: list[float]) -> int:
    """How many rows a message has by most of its arrays, the first one where they are divided."""
    whole = [int(count) for count in counts if count == int(count)]
    if not whole:
        return 0
    votes = Counter(whole)
    most = max(votes.values())
    return next(count for count in whole if votes[count] == most)


def other_dtype(spec: ObservationSpec, content: bytes, rows: int) -> str:
    """The dtype that `content` has instead of the spec's; empty if none explains its length."""
    numbers = rows * spec.size
    if not numbers:
        return ""
    for name, size in (("float64", 8), ("float32", 4), ("float16", 2), ("uint8", 1)):
        if name == spec.dtype or len(content) != numbers * size:
            continue
        if name == "float64" and not are_usual(np.frombuffer(content, "<f8")):
            # The bytes of half as many float32 again are an unlikely row of doubles.
            return "int64" if _are_small(content) else ""
        return name
    return ""


def _are_small(content: bytes) -> bool:
    return bool(np.all(np.abs(np.frombuffer(content, "<i8")) < _USUAL_ID))


def in_words(spec: ObservationSpec, content: bytes, rows: int) -> str:
    """How the length of `content` differs from `rows` rows of the spec."""
    arrived, size = len(content) / spec.numpy_dtype.itemsize, spec.size
    if rows and arrived % rows == 0:
        each = int(arrived) // rows
        off = abs(each - size) == 1 or any(
            each == math.prod((*spec.shape[:axis], length + step, *spec.shape[axis + 1 :]))
            for axis, length in enumerate(spec.shape)
            for step in (-1, 1)
        )
        return f"each row has {each} numbers" + (", off by one in a dimension" if off else "")
    if arrived % size == 0:
        return f"that is {int(arrived) // size} rows of {size} numbers, for {rows} agents"
    missing = arrived - rows * size
    more = "too many" if missing > 0 else "missing"
    return f"{abs(missing):g} numbers are {more}, so no whole number of rows"


class Layout:
    """Whether [K, F] floats are row after row, or column after column by mistake.

    Two signs are counted, each for one reading and against the other. (1) Where of three agents or
    more exactly one begins an episode, at least 40 % of all change is in its numbers, nearly all of
    which change, and twice as much as if they are read in the other way. (2) Where bounds differ
    between the numbers of a row, the numbers are within them. A reading is taken once it
    has three signs, and four times as many as the other.
    """

    def __init__(self, spec: ObservationSpec) -> None:
        self._before: dict[bytes, tuple[Numbers, Numbers]] = {}
        """{the agents: their newest rows, in both readings}."""
        self.rows_signs = 0
        self.columns_signs = 0
        low, high = np.asarray(spec.low), np.asarray(spec.high)
        self._bounds = (low, high) if len(low) == spec.size and _differ(low, high) else None

    def look(
        self,
        values: npt.NDArray[np.generic],
        agent_id: npt.NDArray[np.int64],
        step_type: npt.NDArray[np.uint8],
    ) -> None:
        """Compare the rows of a Step with the newest ones of the same agents.

        Args:
            values: [K, F] as they are read, row after row.
            agent_id: [K].
            step_type: [K].
        """
        rows = values.astype(np.float64)
        count, size = rows.shape
        if count < 2 or size < 2:
            return
        columns = rows.reshape(size, count).T
        if self._bounds is not None:
            self._count(self._outside(rows), self._outside(columns))
        goes_on = np.flatnonzero(step_type <= _MID)
        order = goes_on[np.argsort(agent_id[goes_on], kind="stable")]
        ids, begins = agent_id[order], step_type[order] == _FIRST
        before = self._before.get(ids.tobytes())
        if len(self._before) >= _MOST_GROUPS:
            self._before.clear()
        self._before[ids.tobytes()] = rows[order], columns[order]
        if before is not None and len(ids) > 2 and begins.sum() == 1:
            self._count_jump(rows[order] - before[0], columns[order] - before[1], begins)

    def _count_jump(self, rows: Numbers, columns: Numbers, begins: npt.NDArray[np.bool_]) -> None:
        """A sign only where one reading is clear, and nearly all numbers of the agent changed."""
        jumps = _jump_of(rows, begins), _jump_of(columns, begins)
        if max(jumps) < max(_CLEAR_JUMP, _TIMES_MORE * min(jumps)):
            return
        better = rows if jumps[0] > jumps[1] else columns
        if np.mean(better[begins] != 0.0) >= _DENSE:
            self._count(-jumps[0], -jumps[1])

    def _outside(self, values: Numbers) -> float:
        assert self._bounds is not None
        low, high = self._bounds
        return float(np.mean((values < low) | (values > high)))

    def _count(self, rows_cost: float, columns_cost: float) -> None:
        if rows_cost < columns_cost:
            self.rows_signs += 1
        elif columns_cost < rows_cost:
            self.columns_signs += 1

    @property
    def is_in_rows(self) -> bool:
        """Whether the signs say that it is right."""
        return self.rows_signs >= max(3.0, _CLEARLY * self.columns_signs)

    @property
    def is_in_columns(self) -> bool:
        """Whether the signs say that it is wrong."""
        return self.columns_signs >= max(3.0, _CLEARLY * self.rows_signs)


def _differ(low: Numbers, high: Numbers) -> bool:
    return bool(len(low) > 1 and (np.ptp(low) > 0 or np.ptp(high) > 0) and np.isfinite(low).any())


def _jump_of(jump: Numbers, begins: npt.NDArray[np.bool_]) -> float:
    """The share of all change that is in rows which begin an episode, from 0 to 1."""
    size = np.abs(jump)
    total = float(size.sum())
    return float(size[begins].sum()) / total if total > 0.0 else 0.0
