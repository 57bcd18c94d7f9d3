"""The noise that actions are sampled with: a stream of numbers for each slot.

Noise is a pure function of (seed, slot, actions given to it), so it can be drawn before it is
needed: while simulators compute, for the slots of the last batch, usually those of the next.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from entrain.inference.numpy_distributions import Noise
from entrain.policy.noise import uniform_noise
from entrain.rollout.slot_arrays import grow, read_array
from entrain.state import State
from entrain_envs.timestep import Int64Array


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
        self._ahead: Noise | None = None

    def grow(self, num_slots: int) -> None:
        """Make room for slots below `num_slots`."""
        self._actions_given = grow(self._actions_given, num_slots)

    def draw(self, slot: Int64Array, acting: Int64Array) -> Noise:
        """[K, size] noise of the rows of `slot`, [K]; only the slots `acting`, [N], move on."""
        noise, self._ahead = self._ahead, None
        if noise is None or not np.array_equal(slot, self._slot):
            noise = self._drawn(slot)
        self._actions_given[acting] += 1
        self._slot = slot
        return noise

    def draw_ahead(self) -> None:
        """Draw what `draw` returns if the same slots ask next."""
        if self._ahead is None:
            self._ahead = self._drawn(self._slot)

    def _drawn(self, slot: Int64Array) -> Noise:
        return self._prepare(uniform_noise(self._seed, slot, self._actions_given[slot], self._size))

    def state(self) -> State:
        """The position in every stream."""
        return {"seed": self._seed, "actions_given": self._actions_given.copy()}

    def load_state(self, state: State, *, num_slots: int) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another number of slots."""
        self._actions_given = read_array(state, "actions_given", np.int64, shape=(num_slots,))
        self._seed = int(state["seed"])
        self._ahead = None
