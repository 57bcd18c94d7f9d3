"""Shows policies that ask for it each agent's previous action and reward.

The simulator never sends it back: the action is kept here by slot from when it was given until the
next one, and the reward is that of the row itself. Where an episode begins, both are zero, so that
nothing of another episode or of a slot's last agent is seen. Where the action came too late it is
zero, too: another one was taken, which is not known here.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from entrain.config.policy import NetworkConfig
from entrain.policy.inputs import PREVIOUS_ACTION, PREVIOUS_REWARD
from entrain.rollout.slot_arrays import grow, read_array
from entrain.state import State
from entrain_envs.spec import ActionSpec
from entrain_envs.timestep import Array, BoolArray, Float32Array, Int64Array

LARGEST_ACTION = 10.0
"""Continuous actions are cut at plus and minus this, for they are shown as they were sampled: a
Gaussian has no bounds."""


class History:
    """The previous action of each slot. Owned by the actor.

    A policy that wants to see neither action nor reward pays for neither.
    """

    def __init__(self, spec: ActionSpec, network: NetworkConfig) -> None:
        """Keep what `network` says is shown of actions of `spec`: D dimensions, C choices."""
        self._shows_action = network.previous_action
        self._shows_reward = network.previous_reward
        self._dimensions = spec.continuous_size
        # Where the one-hot of each branch begins: behind the dimensions and the branches before.
        self._first_choice = spec.continuous_size + np.cumsum((0, *spec.branches[:-1]))
        width = spec.continuous_size + spec.num_choices if self._shows_action else 0
        self._action = np.zeros((0, width), np.float32)

    @property
    def is_shown(self) -> bool:
        """Whether the policy sees any of it; else nothing need be asked or noted."""
        return self._shows_action or self._shows_reward

    def grow(self, num_slots: int) -> None:
        """Make room for slots below `num_slots`."""
        if self._shows_action:
            self._action = grow(self._action, num_slots)

    def beside(
        self,
        observation: Mapping[str, Array],
        *,
        slot: Int64Array,
        begins: BoolArray,
        reward: Float32Array,
        late: BoolArray | None = None,
    ) -> Mapping[str, Array]:
        """Add what is shown of the step before to `observation`.

        Args:
            observation: {name: [K, *shape]} of the simulator.
            slot: [K].
            begins: [K] true where an episode begins.
            reward: [K] raw, of these rows.
            late: [K] true where the action before was not taken; None if every one was.

        Returns:
            Also "previous_action" [K, D + C] float32, the continuous dimensions as sampled (cut at
            `LARGEST_ACTION`), then a one-hot for each branch, and "previous_reward" [K, 1] float32.
        """
        shown: dict[str, Array] = {}
        zero = np.float32(0)
        if self._shows_action:
            nothing = begins if late is None else begins | late
            shown[PREVIOUS_ACTION] = np.where(nothing[:, np.newaxis], zero, self._action[slot])
        if self._shows_reward:
            shown[PREVIOUS_REWARD] = np.where(begins, zero, reward)[:, np.newaxis]
        return {**observation, **shown} if shown else observation

    def note(
        self, slot: Int64Array, action: Mapping[str, npt.NDArray[Any]], rows: Int64Array | slice
    ) -> None:
        """Remember the actions that were given.

        Args:
            slot: [N] no slot twice.
            action: {"continuous": [K, D] as sampled, "discrete": [K, branches]}.
            rows: of `action`, the N that were given.
        """
        if not self._shows_action:
            return
        encoded = np.zeros((len(slot), self._action.shape[1]), np.float32)
        if "continuous" in action:
            continuous = encoded[:, : self._dimensions]
            np.clip(action["continuous"][rows], -LARGEST_ACTION, LARGEST_ACTION, out=continuous)
        if "discrete" in action:
            each = np.arange(len(slot))[:, np.newaxis]
            encoded[each, self._first_choice + action["discrete"][rows]] = 1.0
        self._action[slot] = encoded

    def state(self) -> State:
        """The last actions."""
        return {"action": self._action.copy()}

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another policy."""
        width = self._action.shape[1]
        self._action = read_array(state, "action", np.float32, shape=(None, width))
