"""Runs a policy on each batch of timesteps and remembers what came of its actions.

The rows of a batch are read twice: as outcomes, each of which closes the step that its agent had
open, and as situations: each FIRST or MID row is given an action, and thereby opens a step. When
enough steps are closed, `observe` cuts a rollout, from which the policy may learn before `act`.
Whatever can wait is written down by `record`, which the policy's loop calls once the actions are on
their way: simulators and trainer are busy at the same time.

One forward over all rows serves both; only after a cut is it run again, with the new weights.
Action noise is a pure function of (seed, slot, how many actions that slot was given), so that it
does not depend on which agents share a batch. No statement here is executed once per agent.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from entrain.experience import Rollout
from entrain.inference.numpy_distributions import Action, ArrayDistribution
from entrain.inference.policy import ActingPolicy, acting
from entrain.requests import SlotTimesteps
from entrain.rollout.action_noise import ActionNoise
from entrain.rollout.buffer import RolloutBuffer
from entrain.rollout.episodes import EpisodeLog
from entrain.rollout.evaluation import Given, Outcomes, Pending, Rows
from entrain.rollout.history import History
from entrain.rollout.ledger import Ledger
from entrain.rollout.reward_scaling import RawRewards, RewardScaler, RewardScaling
from entrain.rollout.slot_arrays import grow, read_array
from entrain.state import State
from entrain_envs.timestep import (
    ActionBatch,
    Array,
    BoolArray,
    Float32Array,
    Int64Array,
    StepType,
)

_FIRST = int(StepType.FIRST)
_MID = int(StepType.MID)


class Actor:
    """One policy's acting and collecting. Owned by the policy's loop, single-threaded.

    `observe`, `act` and `record` follow one another; `record` may be left out, for whatever needs
    its work does it first. The policy must not change between `observe` and `act` unless `observe`
    returned a rollout, not between `act` and `record`, and not while any of them runs.
    """

    policy_version: int
    """How many updates the policy has seen; written into every step. Set by the policy's loop."""

    def __init__(
        self,
        policy: ActingPolicy,
        *,
        rollout_steps: int,
        seed: int,
        discount: float,
        normalize_rewards: bool,
        reward_clip: float,
        collect: bool = True,
        deterministic: bool = False,
    ) -> None:
        self.policy_version = 0
        self._episodes = EpisodeLog()
        self._acting = acting(policy)
        self._rollout_steps = rollout_steps
        self._noise = ActionNoise(seed, policy.noise_size, self._acting.prepared_noise)
        self._collect = collect
        self._is_deterministic = deterministic
        network = policy.config.network
        self._buffer = RolloutBuffer(
            policy.inputs,
            num_values=policy.num_values,
            state_size=policy.state_size,
            sequence_length=network.memory.sequence_length,
            burn_in=network.memory.burn_in,
        )
        self._history = History(policy.spec.action, network)
        self._rewards: RewardScaling = (
            RewardScaler(discount=discount, clip=reward_clip) if normalize_rewards else RawRewards()
        )
        self._awaits_outcome = np.zeros(0, np.bool_)
        self._recurrent_state = np.zeros((0, policy.state_size), np.float32)
        self._has_memory = policy.state_size > 0
        self._pending: Pending | None = None
        self._outcomes: Outcomes | None = None
        self._given: Given | None = None

    def __repr__(self) -> str:
        return f"<Actor: policy version {self.policy_version}, {self._buffer}, {self._episodes}>"

    @property
    def episodes(self) -> EpisodeLog:
        """Raw returns and lengths. It goes on whether or not steps are collected."""
        self.record()
        return self._episodes

    @property
    def ledger(self) -> Ledger:
        """Steps opened, closed and dropped while collecting."""
        self.record()
        return self._buffer.ledger

    @property
    def env_steps(self) -> int:
        """Steps closed while collecting, written down or not."""
        return self._buffer.ledger.closed + self._num_unwritten

    @property
    def _num_unwritten(self) -> int:
        return 0 if self._outcomes is None or not self._collect else len(self._outcomes.slot)

    @property
    def collect(self) -> bool:
        """Whether steps are stored and counted. Without, the actor only acts, and logs episodes."""
        return self._collect

    @collect.setter
    def collect(self, collect: bool) -> None:
        self.record()
        if self._collect and not collect:
            self._buffer.drop(np.flatnonzero(self._buffer.is_open))
        if collect and not self._collect:
            # What was not collected from its beginning begins, for us, with its next row.
            self.release(np.arange(len(self._awaits_outcome)))
        self._collect = collect

    def observe(self, batch: SlotTimesteps) -> Rollout | None:
        """Take in what became of earlier actions.

        Open steps of released slots are dropped, then each row that is the outcome of an open step
        counts as closing it; the rows that need an action wait for `act`. An end row of a slot that
        has no step open is ignored; a MID row of such a slot begins an episode, like FIRST.

        Returns:
            A rollout once `rollout_steps` are closed, else None. The policy may learn from it
            before `act`, which then uses the new weights.
        """
        if self._pending is not None:
            raise RuntimeError("observe() was called twice; answer the batch with act() first")
        self.record()
        self._grow(batch.num_slots)
        if len(batch.released):
            self.release(batch.released)
        is_first = batch.timesteps.step_type == _FIRST
        begins = is_first | ~self._episodes.running[batch.slot]
        pending = self._pending = self._evaluate(batch, begins)
        outcome = _rows_where(self._awaits_outcome[batch.slot] & ~is_first)
        self._outcomes = Outcomes(
            batch.slot[outcome],
            batch.timesteps.step_type[outcome],
            batch.timesteps.reward[outcome],
            pending.look.value[outcome],
        )
        if self._buffer.num_closed + self._num_unwritten < self._rollout_steps or not self._collect:
            return None
        self._close()
        pending.is_stale = True
        return self._buffer.cut()

    def act(self) -> ActionBatch:
        """Choose an action for each FIRST and MID row of the batch last observed, in order."""
        pending = self._pending
        if pending is None:
            raise RuntimeError("act() was called without a batch; call observe() first")
        if pending.is_stale:
            pending = self._evaluate(pending.batch, pending.begins)
        acting = _rows_where(pending.batch.timesteps.step_type <= _MID)
        slot = pending.batch.slot[acting]
        distribution = self._distribution(pending)
        action = (
            distribution.mode()
            if self._is_deterministic
            # Noise of end rows is drawn and not used: only acting rows move their slot on.
            else distribution.sample(self._noise.draw(pending.batch.slot, slot))
        )
        chosen = self._acting.environment_action(action)
        self._pending = None
        self._given = Given(pending, acting, distribution, action)
        return ActionBatch(
            continuous=_sent(chosen, "continuous", acting, len(slot), np.float32),
            discrete=_sent(chosen, "discrete", acting, len(slot), np.int32),
            policy_version=self.policy_version,
        )

    def record(self) -> None:
        """Close the steps whose outcomes came, open one for each action that `act` gave.

        Nothing if that is done.
        """
        self._close()
        given, self._given = self._given, None
        if given is None:
            return
        acting, pending = given.acting, given.pending
        slot = pending.batch.slot[acting]
        beginning = slot[pending.begins[acting]]
        if len(beginning):
            self._episodes.begin(beginning)
            self._rewards.begin(beginning)
        sampled = {name: values[acting] for name, values in given.action.items()}
        if self._collect:
            log_prob = given.distribution.log_prob(given.action)[acting]
            self._open(pending, acting, sampled, log_prob)
        self._history.note(slot, sampled)
        if self._has_memory:
            self._recurrent_state[slot] = pending.look.state[acting]
        self._awaits_outcome[slot] = True
        if not self._is_deterministic:
            self._noise.draw_ahead()

    def _close(self) -> None:
        outcomes, self._outcomes = self._outcomes, None
        if outcomes is None:
            return
        slot = outcomes.slot
        self._awaits_outcome[slot] = False
        self._episodes.record(slot, outcomes.step_type, outcomes.reward)
        if self._collect:
            self._buffer.close(
                slot,
                step_type=outcomes.step_type,
                reward=self._rewards.scale(slot, outcomes.reward),
                value=outcomes.value,
            )

    def state(self) -> State:
        """Everything that decides what comes next: steps, noise, statistics, running episodes.

        It may be taken at any moment. Between `observe` and `act` it holds the batch, whose
        outcomes are in and whose actions are not chosen yet: whoever goes on from there calls
        `act`. A rollout that `observe` returned is not in it; it is its receiver's to keep.
        """
        self.record()
        pending = self._pending
        return {
            **self._noise.state(),
            "policy_version": self.policy_version,
            "collect": self._collect,
            "awaits_outcome": self._awaits_outcome.copy(),
            "recurrent_state": self._recurrent_state.copy(),
            "episodes": self._episodes.state(),
            "rewards": self._rewards.state(),
            "history": self._history.state(),
            "buffer": self._buffer.state(),
            "pending": None
            if pending is None
            else {"batch": pending.batch.state(), "begins": pending.begins.copy()},
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another spec or policy."""
        awaits_outcome = read_array(state, "awaits_outcome", np.bool_, shape=(None,))
        slots = len(awaits_outcome)
        recurrent_state = read_array(
            state, "recurrent_state", np.float32, shape=(slots, self._recurrent_state.shape[1])
        )
        self._noise.load_state(state, num_slots=slots)
        self._buffer.load_state(state["buffer"])
        self._rewards.load_state(state["rewards"])
        self._history.load_state(state["history"])
        self._episodes.load_state(state["episodes"])
        self._awaits_outcome, self._recurrent_state = awaits_outcome, recurrent_state
        self.policy_version = int(state["policy_version"])
        self._collect = bool(state["collect"])
        self._given = self._outcomes = None
        self._pending = self._restored(state["pending"])

    def _restored(self, state: State | None) -> Pending | None:
        if state is None:
            return None
        pending = self._evaluate(SlotTimesteps.from_state(state["batch"]), state["begins"])
        # The weights may be set only after this, and learn once more before `act`.
        pending.is_stale = True
        return pending

    def _grow(self, num_slots: int) -> None:
        self._noise.grow(num_slots)
        self._awaits_outcome = grow(self._awaits_outcome, num_slots)
        self._recurrent_state = grow(self._recurrent_state, num_slots)
        self._episodes.grow(num_slots)
        self._rewards.grow(num_slots)
        self._history.grow(num_slots)
        self._buffer.grow(num_slots)

    def release(self, slot: Int64Array) -> None:
        """The agents of these slots left: drop their open steps, forget their episodes."""
        self.record()
        self._buffer.drop(slot)
        self._awaits_outcome[slot] = False
        self._episodes.forget(slot)

    def _evaluate(self, batch: SlotTimesteps, begins: BoolArray) -> Pending:
        timesteps = batch.timesteps
        observation = self._history.beside(
            timesteps.observation, slot=batch.slot, begins=begins, reward=timesteps.reward
        )
        recurrent_state = self._recurrent_state[batch.slot]
        look = self._acting.look(observation, recurrent_state, begins)
        return Pending(batch, begins, observation, recurrent_state, look)

    def _distribution(self, pending: Pending) -> ArrayDistribution:
        timesteps = pending.batch.timesteps
        if timesteps.action_mask.shape[1] == 0:
            return pending.look.distribution
        # Whatever the mask of an end row says, no action is taken there: allow everything, so that
        # the distribution is well defined.
        mask = timesteps.action_mask | (timesteps.step_type > _MID)[:, np.newaxis]
        return pending.look.distribution.masked(mask)

    def _open(
        self, pending: Pending, acting: Rows, action: Mapping[str, Array], log_prob: Float32Array
    ) -> None:
        self._buffer.open(
            pending.batch.slot[acting],
            observation={name: values[acting] for name, values in pending.observation.items()},
            action=action,
            action_mask=pending.batch.timesteps.action_mask[acting],
            log_prob=log_prob,
            value=pending.look.value[acting],
            reset=pending.begins[acting],
            recurrent_state=pending.recurrent_state[acting],
            policy_version=self.policy_version,
        )


def _rows_where(is_wanted: BoolArray) -> Rows:
    """What indexes these rows. Usually it is all of them, and then nothing need be gathered."""
    if np.count_nonzero(is_wanted) == len(is_wanted):
        return slice(None)
    return np.flatnonzero(is_wanted)


def _sent(
    action: Action, name: str, rows: Rows, count: int, dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    """[count, ...] those rows of an action, in memory as they are sent."""
    if name not in action:
        return np.zeros((count, 0), dtype)
    return np.ascontiguousarray(action[name][rows], dtype)
