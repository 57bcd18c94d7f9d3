"""How fast a policy learns from its replay beside its collecting, and which of the two waits.

Both are measured, for options say only what should be: the ratio of steps since learning started,
the waiting over the newest rounds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from entrain.metric import number
from entrain.quoting import shortened


@dataclass(frozen=True, kw_only=True)
class ReplayPace:
    """The pace of one policy."""

    steps_ratio: float
    """Gradient steps for each env step, since learning started."""

    waits_for_learning: float
    """Share of the time in which collecting waited for an update."""

    waits_for_collecting: float
    """Share of the time in which no update ran; NaN if it is not known."""

    @property
    def words(self) -> str:
        """`1 gradient step for each env step; collecting waits for learning 62% of the time`."""
        ratio = number(self.steps_ratio, ".3g")
        noun = "gradient step" if ratio == "1" else "gradient steps"
        words = (
            f"{ratio} {noun} for each env step; collecting waits for learning "
            f"{100 * self.waits_for_learning:.0f}% of the time"
        )
        if math.isnan(self.waits_for_collecting):
            return words
        return f"{words}, learning for collecting {100 * self.waits_for_collecting:.0f}%"


def pace_text(paces: Mapping[str, ReplayPace]) -> str:
    """The words for a run with these policies, by name; empty if none has a replay."""
    if len(paces) == 1:
        return "".join(pace.words for pace in paces.values())
    return "; ".join(f"'{shortened(name)}': {pace.words}" for name, pace in paces.items())
