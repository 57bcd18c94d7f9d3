"""Counts the return and length of each agent's episode, and keeps those of episodes that ended.

Returns are sums of raw rewards: not discounted, not scaled, whatever learning does with them.
Everything is an array indexed by slot; a batch costs the same statements at any size.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from entrain.metrics import (
    EPISODE_LENGTH_MEAN,
    EPISODE_RETURN_LAST,
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_MIN,
    EPISODE_RETURN_STD,
    EPISODES,
    REWARD_PER_STEP,
)
from entrain.rollout.return_statistics import ReturnStatistics
from entrain.rollout.slot_arrays import grow, read_array
from entrain.state import State
from entrain_envs.timestep import Float32Array, Int64Array, StepType, UInt8Array

Float64Array = NDArray[np.float64]
Names = NDArray[np.object_]
_MID = int(StepType.MID)

MOST_UNADDED = 64
"""Batches whose rewards are added up at once; batches of more agents are added one by one."""


@dataclass(frozen=True)
class ClosedEpisodes:
    """N episodes that ended, or were dropped because their agents left, at the same moment."""

    first_number: int
    """Of the first of them; a policy's episodes are numbered from 1."""

    env_steps: int
    """Outcomes that the policy had received."""

    returns: Float64Array
    """[N] sums of raw rewards."""

    lengths: Int64Array
    """[N] steps."""

    endings: UInt8Array
    """[N] TERMINATED or TRUNCATED; MID if dropped."""

    simulators: Names
    """[N] whose agent it was."""

    began: Int64Array
    """[N] how many batches the policy had had when it began."""

    reported: Names
    """[N] the watcher's words for what its simulator had reported last; "" of dropped ones."""


class EpisodeWatcher(Protocol):
    """Is told of each episode of a policy."""

    due: int
    """Env steps at which it wants to be told that they are reached."""

    def reach(self, env_steps: int) -> None:
        """The policy has had so many env steps, which are `due`."""
        ...

    def simulators_of(self, slot: Int64Array) -> Names:
        """Returns the names of the simulators whose agents have these slots [N] now."""
        ...

    @property
    def has_reports(self) -> bool:
        """Whether a simulator has reported any statistics."""
        ...

    def reported_by(self, slot: Int64Array) -> Names:
        """Returns words for what the simulators of these slots [N] reported last."""
        ...

    def note(self, episodes: ClosedEpisodes) -> None:
        """Some episodes are over."""
        ...


class NoWatcher:
    """A watcher that does nothing."""

    due = sys.maxsize
    has_reports = False

    def reach(self, env_steps: int) -> None:
        """Is never called."""

    def simulators_of(self, slot: Int64Array) -> Names:
        """Returns empty names."""
        return nameless(slot)

    def reported_by(self, slot: Int64Array) -> Names:
        """Returns empty words."""
        return nameless(slot)

    def note(self, episodes: ClosedEpisodes) -> None:
        """Forgets them."""


def nameless(slot: Int64Array) -> Names:
    """Returns "" for each of these slots [N]."""
    return np.full(len(slot), "", np.object_)


class EpisodeLog:
    """Running return and length per slot. Owned by the collector.

    An episode is logged from its FIRST row to its end row. One whose agent leaves before the end
    is dropped and never counts: the slot's next episode begins with zeros.
    """

    def __init__(self) -> None:
        self.statistics = ReturnStatistics()
        self.num_closed = 0
        """Episodes that ended or were dropped."""
        self.num_batches = 0
        """Whose outcomes were recorded."""
        self._watcher: EpisodeWatcher = NoWatcher()
        self._return = np.zeros(0, np.float64)
        self._length = np.zeros(0, np.int64)
        self._began = np.zeros(0, np.int64)
        self._is_running = np.zeros(0, np.bool_)
        self._simulator: Names = np.zeros(0, np.object_)
        self._unadded: list[tuple[Int64Array, Float32Array]] = []
        """Slots and rewards of outcomes that returns and lengths do not contain yet."""
        self._reported: Names | None = None
        """Of the episodes that end with the next outcomes to be recorded, if anything is."""
        self._ended_returns: list[Float64Array] = []
        self._ended_lengths: list[Int64Array] = []
        self._env_steps = 0
        self._measured_steps = 0
        """Outcomes until `measure` was last called."""
        self._unmeasured_reward = 0.0
        """Of episodes that are over since then, minus what running ones had before."""

    def __repr__(self) -> str:
        return f"<EpisodeLog: {self.statistics.count} ended>"

    def begin_at(self, env_steps: int) -> None:
        """Count on from so many steps, which another program has collected."""
        self._env_steps = self._measured_steps = env_steps

    def watch(self, watcher: EpisodeWatcher) -> None:
        """Tell `watcher` of each episode from now on."""
        self._watcher = watcher

    def grow(self, num_slots: int) -> None:
        """Make room for slots below `num_slots`."""
        known = len(self._simulator)
        self._return = grow(self._return, num_slots)
        self._length = grow(self._length, num_slots)
        self._began = grow(self._began, num_slots)
        self._is_running = grow(self._is_running, num_slots)
        self._simulator = grow(self._simulator, num_slots)
        self._simulator[known:] = ""

    def begin(self, slot: Int64Array) -> None:
        """An episode begins in these slots [N]."""
        self.release(slot)
        self._simulator[slot] = self._watcher.simulators_of(slot)
        self.begin_again(slot)

    def begin_again(self, slot: Int64Array) -> None:
        """The next episode begins in these slots [N], whose agents stayed as one ended."""
        self._return[slot] = 0.0
        self._length[slot] = 0
        self._began[slot] = self.num_batches
        self._is_running[slot] = True

    def expect(self, slot: Int64Array, step_type: UInt8Array) -> None:
        """These outcomes came and are recorded next: note what simulators had reported by then.

        Later they may have reported more. The arguments are those of `record`.
        """
        if self._watcher.has_reports:
            ended = slot[step_type > _MID]
            self._reported = self._watcher.reported_by(ended) if len(ended) else None

    def go_on(self, slot: Int64Array, reward: Float32Array) -> None:
        """`record` outcomes that end no episode. They are added up with later ones."""
        self.num_batches += 1
        self._env_steps += len(slot)
        self._unadded.append((slot, reward))
        if len(self._unadded) >= MOST_UNADDED or len(slot) >= MOST_UNADDED:
            self._add_up()
        if self._env_steps >= self._watcher.due:
            self._watcher.reach(self._env_steps)

    def _add_up(self) -> None:
        """Add the rewards that are not added yet, in their order."""
        unadded, self._unadded = self._unadded, []
        if len(unadded) == 1:
            ((slot, reward),) = unadded
            self._return[slot] += reward
            self._length[slot] += 1
        elif unadded:
            slot = np.concatenate([slot for slot, _ in unadded])
            np.add.at(self._return, slot, np.concatenate([reward for _, reward in unadded]))
            np.add.at(self._length, slot, 1)

    def record(self, slot: Int64Array, step_type: UInt8Array, reward: Float32Array) -> None:
        """Add the outcomes of actions to their episodes.

        Args:
            slot: [N] no slot twice.
            step_type: [N] MID, TERMINATED or TRUNCATED.
            reward: [N] raw.
        """
        self._add_up()
        self.num_batches += 1
        self._return[slot] += reward
        self._length[slot] += 1
        self._env_steps += len(slot)
        ends = step_type > _MID
        ended = slot[ends]
        if len(ended):
            self._end(ended, step_type[ends])
        if self._env_steps >= self._watcher.due:
            self._watcher.reach(self._env_steps)

    def _end(self, slot: Int64Array, ending: UInt8Array) -> None:
        returns = self._return[slot]
        self._ended_returns.append(returns)
        self._ended_lengths.append(self._length[slot])
        self.statistics.add(returns)
        reported, self._reported = self._reported, None
        self._close(slot, ending, nameless(slot) if reported is None else reported)

    def release(self, slot: Int64Array) -> None:
        """Drop the episodes that run in these slots [N]."""
        self._add_up()
        dropped = slot[self._is_running[slot]]
        if len(dropped):
            self._close(dropped, np.full(len(dropped), _MID, np.uint8), nameless(dropped))

    def _close(self, slot: Int64Array, ending: UInt8Array, reported: Names) -> None:
        """Tell the watcher of episodes that are over, but of no dropped one without a step."""
        self._is_running[slot] = False
        self._unmeasured_reward += float(self._return[slot].sum())
        lived = self._length[slot] > 0
        if np.count_nonzero(lived) < len(slot):
            slot, ending, reported = slot[lived], ending[lived], reported[lived]
        closed = ClosedEpisodes(
            self.num_closed + 1,
            self._env_steps,
            self._return[slot],
            self._length[slot],
            ending,
            self._simulator[slot],
            self._began[slot],
            reported,
        )
        self.num_closed += len(slot)
        if len(slot):
            self._watcher.note(closed)

    def take(self) -> tuple[Float64Array, Int64Array]:
        """Returns [N] and lengths [N] (steps) of the episodes that ended since the last `take`."""
        returns = np.concatenate([np.zeros(0, np.float64), *self._ended_returns])
        lengths = np.concatenate([np.zeros(0, np.int64), *self._ended_lengths])
        self._ended_returns.clear()
        self._ended_lengths.clear()
        return returns, lengths

    def measure(self) -> Mapping[str, float]:
        """Returns the metrics of the steps and episodes since this was last called."""
        returns, lengths = self.take()
        self._add_up()
        metrics = dict(episode_metrics(returns, lengths))
        if self.statistics.count:
            metrics[EPISODE_RETURN_LAST.name] = self.statistics.last_mean
        running = float(self._return[self._is_running].sum())
        steps = self._env_steps - self._measured_steps
        if steps:
            metrics[REWARD_PER_STEP.name] = (self._unmeasured_reward + running) / steps
        self._unmeasured_reward, self._measured_steps = -running, self._env_steps
        return metrics

    @property
    def num_running(self) -> int:
        """Episodes that have not ended."""
        return int(np.count_nonzero(self._is_running))

    @property
    def longest_running(self) -> int:
        """Steps of the longest episode that has not ended; 0 if none runs."""
        self._add_up()
        return int(self._length[self._is_running].max(initial=0))

    def state(self) -> State:
        """Running and ended episodes."""
        self._add_up()
        simulators, simulator = np.unique(self._simulator, return_inverse=True)
        return {
            "return": self._return.copy(),
            "length": self._length.copy(),
            "is_running": self._is_running.copy(),
            "began": self._began.copy(),
            "num_batches": self.num_batches,
            "simulators": simulators.tolist(),
            "simulator": simulator.astype(np.int64),
            "ended_returns": np.concatenate([np.zeros(0, np.float64), *self._ended_returns]),
            "ended_lengths": np.concatenate([np.zeros(0, np.int64), *self._ended_lengths]),
            "env_steps": self._env_steps,
            "measured_steps": self._measured_steps,
            "unmeasured_reward": self._unmeasured_reward,
            "num_closed": self.num_closed,
            "statistics": self.statistics.state(),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; CheckpointError if it is of another shape."""
        return_ = read_array(state, "return", np.float64, shape=(None,))
        length = read_array(state, "length", np.int64, shape=(len(return_),))
        is_running = read_array(state, "is_running", np.bool_, shape=(len(return_),))
        # Checkpoints of before there were curricula have none.
        state = {"began": np.zeros(len(return_), np.int64), "num_batches": 0, **state}
        began = read_array(state, "began", np.int64, shape=(len(return_),))
        simulator = read_array(state, "simulator", np.int64, shape=(len(return_),))
        ended_returns = read_array(state, "ended_returns", np.float64, shape=(None,))
        ended_lengths = read_array(state, "ended_lengths", np.int64, shape=(len(ended_returns),))
        self._unadded = []
        self._return, self._length, self._is_running = return_, length, is_running
        self._began, self.num_batches = began, int(state["num_batches"])
        self._simulator = np.array(state["simulators"], np.object_)[simulator]
        self._ended_returns, self._ended_lengths = [ended_returns], [ended_lengths]
        self._env_steps = int(state["env_steps"])
        self._measured_steps = int(state["measured_steps"])
        self._unmeasured_reward = float(state["unmeasured_reward"])
        self.num_closed = int(state["num_closed"])
        self.statistics.load_state(state["statistics"])


def episode_metrics(returns: Float64Array, lengths: Int64Array) -> Mapping[str, float]:
    """Returns mean, spread and length of finished episodes; only their number, if there are none.

    Args:
        returns: [N] undiscounted sums of rewards.
        lengths: [N] steps.
    """
    if not len(returns):
        return {EPISODES.name: 0.0}
    return {
        EPISODES.name: float(len(returns)),
        EPISODE_RETURN_MEAN.name: float(returns.mean()),
        EPISODE_RETURN_STD.name: float(returns.std()),
        EPISODE_RETURN_MIN.name: float(returns.min()),
        EPISODE_RETURN_MAX.name: float(returns.max()),
        EPISODE_LENGTH_MEAN.name: float(lengths.mean()),
    }
