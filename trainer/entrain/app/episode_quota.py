"""Counts the same number of episodes for every agent, with their returns, lengths and ends.

The first N episodes to end would contain too many short ones, so every agent must play a share.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from entrain.app.told_simulators import AllKnow
from entrain.metric import number
from entrain.requests import SlotTimesteps
from entrain.rollout.evaluation import Evaluation, Sampled
from entrain.rollout.slot_arrays import grow
from entrain.run.quantities import counted
from entrain_envs.timestep import Int64Array, StepType, UInt8Array

Names: TypeAlias = npt.NDArray[np.object_]
"""[N] of simulators."""

ROUNDING = 1e-12
"""A spread that is smaller, as a share of the largest return, is rounding alone."""


def no_names(slot: Int64Array) -> Names:
    """Returns an empty name for each of these slots."""
    return np.full(len(slot), "", np.object_)


@dataclass(frozen=True)
class Scores:
    """N episodes of one policy, in the order in which they ended."""

    returns: npt.NDArray[np.float64]
    """[N] undiscounted sums of rewards."""

    lengths: npt.NDArray[np.int64]
    """[N] steps."""

    endings: UInt8Array
    """[N] TERMINATED, TRUNCATED, or MID of an episode that has not ended."""

    simulators: Names
    """[N] whose agent it was."""

    def __len__(self) -> int:
        return len(self.returns)

    @property
    def reward_per_step(self) -> float:
        """Mean over all steps of all episodes; NaN without any."""
        steps = int(self.lengths.sum())
        return float(self.returns.sum()) / steps if steps else math.nan

    @property
    def return_text(self) -> str:
        """`return 499.75 +- 0.97`: mean and standard deviation."""
        mean, spread = self.returns.mean(), self.returns.std()
        # What is left of equal returns is the rounding of their sum, and tells nothing.
        is_rounding = spread <= ROUNDING * np.abs(self.returns).max()
        return f"return {number(mean, '.2f')} +- {number(0.0 if is_rounding else spread, '.2f')}"

    def __str__(self) -> str:
        return (
            f"{self.return_text} (least {number(self.returns.min(), '.2f')}, "
            f"most {number(self.returns.max(), '.2f')}), length {self.lengths.mean():.1f}, "
            f"over {counted(len(self), 'episode')}"
        )


class EpisodeQuota:
    """The collector of an evaluation: counts the same number of episodes for every agent.

    Each agent of the first batch gets a share of the episodes; agents that come later get none.
    If an agent leaves, the rest of its share goes to the first agent without a share that begins an
    episode, which is often the same agent after a reconnect. If there is none for as many batches
    as the longest episode had steps, the agents that are present share the rest equally.

    An episode counts only if its agent's share was not used up when it began. Episodes that are
    running at a given moment are longer than the average, so counting those would be biased. Nor
    does it count if it began with environment parameters that have changed.
    """

    def __init__(
        self,
        episodes: int,
        *,
        max_steps: int = sys.maxsize,
        simulators_of: Callable[[Int64Array], Names] = no_names,
        told: AllKnow | None = None,
    ) -> None:
        """Count nothing yet.

        Args:
            episodes: to count, at least.
            max_steps: of all agents together, after which no more is counted.
            simulators_of: the names of the simulators whose agents have these slots [N] now.
            told: which of them know of the environment parameters; None: all do.
        """
        self.env_steps = 0
        """Outcomes received so far."""
        self._episodes = episodes
        self._max_steps = max_steps
        self._simulators_of = simulators_of
        self._told = told or AllKnow()
        self._has_begun = False
        self._has_share = np.zeros(0, np.bool_)
        self._owed = np.zeros(0, np.int64)
        self._left_over = np.zeros(0, np.int64)
        self._idle_batches = 0
        self._counts = np.zeros(0, np.bool_)
        self._return = np.zeros(0, np.float64)
        self._length = np.zeros(0, np.int64)
        self._simulator: Names = np.zeros(0, np.object_)
        self._longest = 0
        self._ended: list[Scores] = []

    def receive(self, evaluation: Evaluation) -> None:
        """See `Collector.receive`."""
        self.take_in(evaluation.batch)

    def record(self, evaluation: Evaluation, actions: Sampled) -> None:
        """Does nothing: `receive` has counted everything."""

    def ended(self) -> "EpisodeQuota":
        """Returns itself: after the last episode, agents are served but not counted."""
        return self

    def take_in(self, batch: SlotTimesteps) -> None:
        """Add up rewards, and count the episodes that end."""
        if self.is_at_limit:
            return
        self._grow(batch.num_slots)
        self.release(batch.released)
        if not self._has_begun and len(batch.slot):
            self._give_shares(np.unique(batch.slot))
        timesteps = batch.timesteps
        outcome = timesteps.step_type > StepType.FIRST
        slot = batch.slot[outcome]
        self.env_steps += len(slot)
        self._return[slot] += timesteps.earned[outcome]
        self._length[slot] += 1
        ends = timesteps.step_type > StepType.MID
        self._end(batch.slot[ends], timesteps.step_type[ends])
        beginning = batch.slot[~outcome]
        self._reassign(beginning[~self._has_share[beginning]])
        self._share_out()
        self._begin(beginning)
        self._told.note(batch.slot)

    def begin_with(self, slot: Int64Array, unanswered: SlotTimesteps | None) -> None:
        """Give the agents that are there a share each; before any batch is taken in.

        Args:
            slot: [A] of these agents; those that come later get none, unless there are none yet.
            unanswered: the batch before, which is answered now: its episodes that have just begun
                are the first that may count. None if there is none.
        """
        self._grow(int(slot.max(initial=-1)) + 1)
        if len(slot):
            self._give_shares(slot)
        if unanswered is not None:
            self._grow(unanswered.num_slots)
            self._begin(unanswered.slot[unanswered.timesteps.step_type == StepType.FIRST])
            self._told.note(unanswered.slot)

    def _grow(self, num_slots: int) -> None:
        self._has_share = grow(self._has_share, num_slots)
        self._owed = grow(self._owed, num_slots)
        self._counts = grow(self._counts, num_slots)
        self._return = grow(self._return, num_slots)
        self._length = grow(self._length, num_slots)
        self._simulator = grow(self._simulator, num_slots)

    def release(self, slot: Int64Array) -> None:
        """Drop running episodes of agents that left, and keep the rest of their shares."""
        owed = self._owed[slot]
        self._left_over = np.concatenate([self._left_over, owed[owed > 0]])
        self._owed[slot] = 0
        self._has_share[slot] = False
        self._counts[slot] = False

    def _give_shares(self, slot: Int64Array) -> None:
        self._has_begun = True
        self._has_share[slot] = True
        self._owed[slot] = math.ceil(self._episodes / len(slot))

    def _end(self, slot: Int64Array, ending: UInt8Array) -> None:
        is_due = self._counts[slot]
        due = slot[is_due]
        if len(due):
            self._ended.append(self._scores(due, ending[is_due]))
        self._longest = int(self._length[due].max(initial=self._longest))
        self._owed[due] -= 1
        self._counts[due] = False

    def _scores(self, slot: Int64Array, ending: UInt8Array) -> Scores:
        return Scores(self._return[slot], self._length[slot], ending, self._simulator[slot])

    def _reassign(self, newcomers: Int64Array) -> None:
        """Give each newcomer the rest of the share of one agent that left."""
        successors = newcomers[: len(self._left_over)]
        self._has_share[successors] = True
        self._owed[successors] = self._left_over[: len(successors)]
        self._left_over = self._left_over[len(successors) :]

    def _share_out(self) -> None:
        """Divide the shares that no newcomer took over, once all other episodes are done."""
        is_idle = len(self._left_over) > 0 and self._has_share.any() and not self._owed.any()
        self._idle_batches = self._idle_batches + 1 if is_idle else 0
        if self._idle_batches > self._longest:
            share = self._left_over.sum() / self._has_share.sum()
            self._owed[self._has_share] = math.ceil(share)
            self._left_over = self._left_over[:0]

    def _begin(self, slot: Int64Array) -> None:
        self._counts[slot] = (self._owed[slot] > 0) & self._told.know(slot)
        self._return[slot] = 0.0
        self._length[slot] = 0
        # Now: at the end of the evaluation, simulators may have left.
        self._simulator[slot] = self._simulators_of(slot)

    @property
    def is_complete(self) -> bool:
        """Whether all shares are used up, or the limit is met."""
        return self.is_at_limit or (
            self._has_begun and not len(self._left_over) and not self._owed.any()
        )

    @property
    def is_at_limit(self) -> bool:
        """Whether as many steps were received as are allowed."""
        return self.env_steps >= self._max_steps

    @property
    def num_ended(self) -> int:
        """Episodes that were counted."""
        return sum(map(len, self._ended))

    @property
    def num_owed(self) -> int:
        """Episodes that are still to end."""
        if not self._has_begun:
            return self._episodes
        return int(self._owed.sum() + self._left_over.sum())

    @property
    def scores(self) -> Scores:
        """Those of the episodes that count, in the order in which they ended."""
        no_slot = np.zeros(0, np.int64)
        parts = [self._scores(no_slot, np.zeros(0, np.uint8)), *self._ended]
        return Scores(
            np.concatenate([part.returns for part in parts]),
            np.concatenate([part.lengths for part in parts]),
            np.concatenate([part.endings for part in parts]),
            np.concatenate([part.simulators for part in parts]),
        )

    @property
    def unfinished(self) -> Scores:
        """Returns and lengths so far of the episodes that count and have not ended."""
        slot = np.flatnonzero(self._counts & (self._length > 0))
        return self._scores(slot, np.full(len(slot), StepType.MID, np.uint8))
