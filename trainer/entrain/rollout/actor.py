"""Lets a policy act: evaluates each batch of timesteps, and samples an action for each agent.

One forward over all rows of a batch serves two ends: the values of outcomes, which collectors
store, and the actions of the rows that need one. It is run again only if new weights were
published before the batch is answered.

An actor keeps, per slot: whether an episode runs, recurrent state, the previous action, and how
many actions were given. The last decides the noise, so that an agent's actions do not depend on
which agents share its batches. No statement here is executed once per agent.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from entrain.inference.numpy_distributions import Action, ArrayDistribution
from entrain.inference.policy import InferencePolicy
from entrain.requests import SlotTimesteps
from entrain.rollout.action_noise import ActionNoise
from entrain.rollout.evaluation import ALL_ROWS, Evaluation, Rows, Sampled, rows_where
from entrain.rollout.history import History
from entrain.rollout.slot_arrays import grow, read_array
from entrain.state import State
from entrain_envs.timestep import (
    Array,
    BoolArray,
    Float32Array,
    Int64Array,
    StepType,
    allows_all,
)

_FIRST = int(StepType.FIRST)
_MID = int(StepType.MID)


class Actor:
    """Evaluates and samples. Owned by the policy's loop, single-threaded.

    `evaluate` and `refreshed` may be called again for the same batch; `act` moves the agents on,
    and is called once.
    """

    def __init__(self, policy: InferencePolicy, *, seed: int, deterministic: bool = False) -> None:
        """Begin without agents.

        Args:
            policy: acts; this actor owns it.
            seed: of the noise.
            deterministic: take each distribution's mode instead of a sample.
        """
        self.policy = policy
        self._noise = ActionNoise(seed, policy.noise_size, policy.prepare_noise)
        self._history = History(policy.spec.action, policy.config.network)
        self._shows_history = self._history.is_shown
        self._is_deterministic = deterministic
        self._has_memory = policy.state_size > 0
        self._is_running = np.zeros(0, np.bool_)
        self._recurrent_state = np.zeros((0, policy.state_size), np.float32)
        self._steady: tuple[Int64Array, ...] = ()
        """The slots of the last batch, and of the one before, if each was given an action and none
        left since: two groups of agents may act in turns."""

    def __repr__(self) -> str:
        return f"<Actor of {self.policy}: {np.count_nonzero(self._is_running)} episodes run>"

    def evaluate(self, batch: SlotTimesteps) -> Evaluation:
        """One forward over all rows, with what each agent remembers."""
        if batch.num_slots > len(self._is_running):
            self._grow(batch.num_slots)
        if len(batch.released):
            self.release(batch.released)
        slot, timesteps = batch.slot, batch.timesteps
        is_usual = batch.steady is not None and any(batch.steady is each for each in self._steady)
        begins = timesteps.step_type == _FIRST
        if not is_usual:
            begins |= ~self._is_running[slot]
        observation = timesteps.observation
        if self._shows_history:
            observation = self._history.beside(
                observation,
                slot=slot,
                begins=begins,
                reward=timesteps.earned,
                late=timesteps.late,
            )
        return self._evaluated(batch, begins, observation, self._recurrent_state[slot], is_usual)

    def refreshed(self, evaluation: Evaluation) -> Evaluation:
        """The evaluation by the policy's newest weights: itself, unless others were published."""
        if evaluation.policy_version == self.policy.version:
            return evaluation
        return self._evaluated(
            evaluation.batch,
            evaluation.begins,
            evaluation.observation,
            evaluation.recurrent_state,
            evaluation.is_usual,
        )

    def _evaluated(
        self,
        batch: SlotTimesteps,
        begins: BoolArray,
        observation: Mapping[str, Array],
        state: Float32Array,
        is_usual: bool,
    ) -> Evaluation:
        distribution, value, next_state = self.policy.evaluate(observation, state, begins)
        version = self.policy.version
        return Evaluation(
            batch, begins, observation, state, distribution, value, next_state, version, is_usual
        )

    def act(self, evaluation: Evaluation) -> Sampled:
        """Choose an action for each FIRST and MID row, in order, and move their agents on."""
        batch = evaluation.batch
        rows, slot = self._move_on(batch, is_usual=evaluation.is_usual)
        distribution = _masked(evaluation)
        action = (
            distribution.mode()
            if self._is_deterministic
            # Noise of end rows is drawn and not used: only acting rows move their slot on.
            else distribution.sample(self._noise.draw(batch.slot, slot))
        )
        if self._has_memory:
            self._recurrent_state[slot] = evaluation.next_recurrent_state[rows]
        if self._shows_history:
            self._history.note(slot, action, rows)
        chosen = self.policy.environment_action(action)
        return Sampled(
            continuous=_sent(chosen, "continuous", rows, len(slot), np.float32),
            discrete=_sent(chosen, "discrete", rows, len(slot), np.int32),
            policy_version=evaluation.policy_version,
            rows=rows,
            slot=slot,
            distribution=distribution,
            action=action,
        )

    def _move_on(self, batch: SlotTimesteps, *, is_usual: bool) -> tuple[Rows, Int64Array]:
        """End and begin the episodes that do; returns which rows need an action, and their slots.

        Once it returns, they are given one.
        """
        if is_usual and batch.are_mid:
            return ALL_ROWS, batch.slot
        needs_action = batch.timesteps.step_type <= _MID
        rows = rows_where(needs_action)
        slot = batch.slot[rows]
        if is_usual:
            return rows, slot
        if batch.steady is not None:
            self._steady = (batch.steady, *self._steady[:1])
        else:
            self._steady = (batch.slot,) if rows is ALL_ROWS else ()
            self._is_running[batch.slot[~needs_action]] = False
        self._is_running[slot] = True
        return rows, slot

    def look_ahead(self) -> None:
        """Draw the noise that the same slots will want next, while their simulators compute."""
        if not self._is_deterministic:
            self._noise.draw_ahead()

    def release(self, slot: Int64Array) -> None:
        """The agents of these slots left: forget their episodes."""
        self._steady = ()
        self._is_running[slot] = False

    def release_all(self) -> None:
        """Forget all episodes: each begins, for us, with the agent's next row."""
        self._steady = ()
        self._is_running[:] = False

    def _grow(self, num_slots: int) -> None:
        self._is_running = grow(self._is_running, num_slots)
        self._recurrent_state = grow(self._recurrent_state, num_slots)
        self._noise.grow(num_slots)
        self._history.grow(num_slots)

    def state(self) -> State:
        """All that decides the next actions, except the policy's weights."""
        return {
            **self._noise.state(),
            "is_running": self._is_running.copy(),
            "recurrent_state": self._recurrent_state.copy(),
            "history": self._history.state(),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another spec or policy."""
        is_running = read_array(state, "is_running", np.bool_, shape=(None,))
        slots = len(is_running)
        recurrent_state = read_array(
            state, "recurrent_state", np.float32, shape=(slots, self._recurrent_state.shape[1])
        )
        self._noise.load_state(state, num_slots=slots)
        self._history.load_state(state["history"])
        self._is_running, self._recurrent_state = is_running, recurrent_state
        self._steady = ()


def _masked(evaluation: Evaluation) -> ArrayDistribution:
    timesteps = evaluation.batch.timesteps
    action_mask = timesteps.action_mask
    if action_mask.shape[1] == 0 or allows_all(action_mask):
        return evaluation.distribution
    if evaluation.is_usual and evaluation.batch.are_mid:
        return evaluation.distribution.masked(action_mask)
    needs_action = timesteps.step_type <= _MID
    # Whatever the mask of an end row says, no action is taken there: allow everything, so that
    # the distribution is well defined.
    return evaluation.distribution.masked(action_mask | ~needs_action[:, np.newaxis])


def _sent(
    action: Action, name: str, rows: Rows, count: int, dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """[count, ...] those rows of an action, in memory as they are sent."""
    if name not in action:
        return np.zeros((count, 0), dtype)
    return np.ascontiguousarray(action[name][rows], dtype)
