"""The noise that actions are sampled with: a stream of numbers for each slot.

Noise is a pure function of (seed, slot, actions given to it), so it can be drawn before it is
needed: for several actions of a slot at once, and while simulators compute.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from entrain.inference.numpy_distributions import Noise
from entrain.policy.noise import uniform_noise
from entrain.rollout.slot_arrays import grow, read_array
from entrain.state import State
from entrain_envs.timestep import Int64Array

MOST_ACTIONS_AHEAD = 32
"""Drawing noise for so many actions of a few slots takes hardly longer than for one action."""

MOST_NUMBERS_AHEAD = 2**18
"""Of all slots together: where there are many agents, one call for each action costs little."""


class ActionNoise:
    """One stream of numbers per slot. Owned by the actor."""

    def __init__(
        self, seed: int, size: int, prepare: Callable[[npt.NDArray[np.float64]], Noise]
    ) -> None:
        """Begin every stream.

        Args:
            seed: of the policy's run.
            size: numbers for one action.
            prepare: [K, size] uniform in (0, 1) to noise as it is wanted.
        """
        self._seed = seed
        self._size = size
        self._prepare = prepare
        self._actions_given = np.zeros(0, np.int64)
        self._slot = np.zeros(0, np.int64)
        """Of the last batch."""
        self._drawn_from = np.zeros(0, np.int64)
        """[slots] how many actions a slot had been given when noise was last drawn for it. If none
        was drawn, it is so low that all of the noise counts as used."""
        self._num_ahead = 1
        self._ahead: Noise = np.zeros((1, 0, size))
        """[actions, slots, size] noise of the next actions from then on."""
        self._is_due = False

    def grow(self, num_slots: int) -> None:
        """Make room for slots below `num_slots`."""
        self._actions_given = grow(self._actions_given, num_slots)
        self._forget_drawn()

    def draw(self, slot: Int64Array, acting: Int64Array) -> Noise:
        """[K, size] noise of the rows of `slot`, [K]; only the slots `acting`, [N], move on."""
        self._slot = slot
        used = self._actions_given[slot] - self._drawn_from[slot]
        most = np.maximum.reduce(used, initial=0)
        if most >= self._num_ahead:
            self._draw_for(slot)
            used[:] = most = 0
        self._actions_given[acting] += 1
        self._is_due = most + 1 >= self._num_ahead
        noise: Noise = self._ahead[used, slot]
        return noise

    def draw_ahead(self) -> None:
        """Draw noise for the slots of the last batch now, if they have none left."""
        if self._is_due:
            self._is_due = False
            self._draw_for(self._slot)

    def _draw_for(self, slot: Int64Array) -> None:
        """Draw for the next actions of these slots, one of which has none left."""
        given = self._actions_given[slot]
        count = np.add.outer(np.arange(self._num_ahead), given)
        each = np.tile(slot, self._num_ahead)
        noise = self._prepare(uniform_noise(self._seed, each, count.reshape(-1), self._size))
        if noise.dtype != self._ahead.dtype:
            self._ahead = self._ahead.astype(noise.dtype)
        self._ahead[:, slot] = noise.reshape(self._num_ahead, len(slot), self._size)
        self._drawn_from[slot] = given

    def _forget_drawn(self) -> None:
        """Throw away what was drawn, because slots were added or their counts changed."""
        slots = len(self._actions_given)
        most = MOST_NUMBERS_AHEAD // max(1, slots * self._size)
        self._num_ahead = min(max(1, most), MOST_ACTIONS_AHEAD)
        self._ahead = np.zeros((self._num_ahead, slots, self._size), self._ahead.dtype)
        self._drawn_from = self._actions_given - self._num_ahead
        self._is_due = False

    def state(self) -> State:
        """The position in every stream."""
        return {"seed": self._seed, "actions_given": self._actions_given.copy()}

    def load_state(self, state: State, *, num_slots: int) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another number of slots."""
        self._actions_given = read_array(state, "actions_given", np.int64, shape=(num_slots,))
        self._seed = int(state["seed"])
        self._forget_drawn()
