"""Which simulators know of new environment parameters: those that were answered since.

New values come with an answer. A simulator may have one more Step on its way then, whose episodes
began with the values before; so it is known to know once two of its Steps were answered.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from entrain_envs.timestep import BoolArray, Int64Array

_ANSWERS: Final = 2


class AllKnow:
    """For parameters that have not changed: every simulator has the newest."""

    def note(self, slot: Int64Array) -> None:
        """The agents of these slots [N] are answered."""

    def know(self, slot: Int64Array) -> BoolArray:
        """[N] whether the simulators of these slots [N] began what begins now with new values."""
        return np.ones(len(slot), np.bool_)


class ToldSimulators(AllKnow):
    """Of parameters that have just changed. Owned by the round for which they did."""

    def __init__(self, owners: Callable[[Int64Array], npt.NDArray[np.object_]]) -> None:
        """None was answered yet.

        Args:
            owners: the simulators of slots [N], by names or numbers that tell them apart.
        """
        self._owners = owners
        self._answers: Counter[object] = Counter()

    def note(self, slot: Int64Array) -> None:
        """See `AllKnow`."""
        self._answers.update(np.unique(self._owners(slot)).tolist())

    def know(self, slot: Int64Array) -> BoolArray:
        """See `AllKnow`."""
        owners, position = np.unique(self._owners(slot), return_inverse=True)
        answers = np.array([self._answers[owner] for owner in owners.tolist()], np.int64)
        is_told: BoolArray = (answers >= _ANSWERS)[position]
        return is_told
