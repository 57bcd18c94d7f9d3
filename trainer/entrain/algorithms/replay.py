"""The replay: a ring of situations, each stored once, from which earlier steps are sampled.

A row of the ring holds what an agent saw and which choices it had. A row from which it acted also
holds the step: action, reward, and the number of the row that followed. So steps of one agent are
linked, and what followed one is stored once, as what the next was chosen from:

    row 7: seen, step -> row 8: seen, step -> row 9: seen          an agent that still acts
    row 3: seen, step -> row 6: seen, (the end of an episode)      nothing is chosen from there

New rows overwrite the oldest. What followed a step is always younger than the step, so a step that
is there can be learned from. Numbers stay as they came over the wire: images as uint8.

Shapes: N transitions, M rows of the ring, C choices. A row's *place* is where it lies in the ring;
its *number* counts all rows that were ever made, so place = number % M.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import RLock
from typing import Any
from weakref import WeakSet

import numpy as np
import torch

from entrain.algorithms.replay_rows import ReplayRows, Rows, link
from entrain.algorithms.replay_snapshot import ReplaySnapshot
from entrain.errors import CheckpointError
from entrain.state import State
from entrain.transitions import ReplayBatch, Transitions
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Int64Array

_RARE = 0.25
"""Share of rows with a learnable step, below which they are looked for instead of guessed."""

_GUESSES = 40
"""With a share of a quarter, a draw fails so often once in 100,000 times."""


@dataclass(frozen=True)
class Appended:
    """The content that an append has overwritten, for `undo`."""

    place: Int64Array
    rows: Mapping[str, Any]
    """What lay at those places."""

    end: int
    latest: Int64Array
    counts: tuple[int, int]


class Replay:
    """The newest steps of all agents, up to `capacity` rows. Owned by the algorithm."""

    def __init__(self, spec: BehaviourSpec, *, capacity: int, seed: int) -> None:
        """Begin empty; memory is taken by the system as rows are written.

        Args:
            spec: of the observations that the policy is shown, and of the actions.
            capacity: M, at least 2.
            seed: of what is sampled.
        """
        self._capacity = max(2, capacity)
        self._rows = ReplayRows(spec, self._capacity)
        self._end = 0
        """The number of the next row."""
        self._latest = np.full(0, -1, np.int64)
        """[streams] the number of the row that the stream's next step is chosen from; -1: none."""
        self._learnable, self._version_sum = 0, 0
        """Steps that can be learned from, and the sum of the versions that chose their actions."""
        self._generator = torch.Generator().manual_seed(seed)
        self._lock = RLock()
        """Held while rows change, and while a snapshot reads some."""
        self._snapshots: WeakSet[ReplaySnapshot] = WeakSet()
        """Those that somebody may still read."""

    def __repr__(self) -> str:
        return (
            f"<Replay: {self._learnable:,} steps in {self.num_rows:,} of {self._capacity:,} rows>"
        )

    @property
    def num_steps(self) -> int:
        """Steps that can be learned from."""
        return self._learnable

    @property
    def num_rows(self) -> int:
        """Rows in use."""
        return min(self._end, self._capacity)

    @property
    def mean_version(self) -> float:
        """Of the policies that chose the actions of its steps; 0 without steps."""
        return self._version_sum / max(1, self._learnable)

    @property
    def num_bytes(self) -> int:
        """Memory of a full replay."""
        return self._rows.num_bytes

    # Writing

    def append(self, transitions: Transitions) -> list[Appended]:
        """Add transitions, in their order; returns what `undo` needs, the oldest first."""
        # No step of a part may lose its row to a later one of the same part.
        size = self._capacity // 2
        count = transitions.num_steps
        with self._lock:
            return [
                self._append(transitions, slice(begin, begin + size))
                for begin in range(0, count, size)
            ]

    def _append(self, transitions: Transitions, part: slice) -> Appended:
        stream = transitions.stream[part].numpy()
        latest = self._latest.copy()
        self._reserve_streams(stream)
        linked = link(
            stream,
            transitions.continues[part].numpy(),
            latest=self._latest,
            end=self._end,
            capacity=self._capacity,
        )
        new = np.concatenate([linked.new_rows, linked.next_row]) % self._capacity
        row = linked.row % self._capacity
        place = np.concatenate([new, row])
        counts = self._learnable, self._version_sum
        before = Appended(place, self._taken(place), self._end, latest, counts)
        self._rows.make(
            linked.next_row % self._capacity,
            {name: each[part] for name, each in transitions.next_observation.items()},
            transitions.next_action_mask[part],
        )
        self._forget_steps(new, before)
        begins = torch.from_numpy(linked.begins)
        self._rows.make(
            linked.new_rows % self._capacity,
            {name: each[part][begins] for name, each in transitions.observation.items()},
            transitions.action_mask[part][begins],
        )
        self._rows.write_steps(row, transitions, part, linked.next_row % self._capacity)
        learnable = ~transitions.late[part]
        self._learnable += int(learnable.sum())
        self._version_sum += int(transitions.policy_version[part][learnable].sum())
        self._latest[stream[linked.is_last]] = linked.next_row[linked.is_last]
        self._end = linked.end
        return before

    def _forget_steps(self, new: Int64Array, before: Appended) -> None:
        """Count no more the steps that lay at the places where rows were made."""
        was_learnable = before.rows["is_learnable"][: len(new)]
        self._learnable -= int(np.count_nonzero(was_learnable))
        self._version_sum -= int(before.rows["policy_version"][: len(new)][was_learnable].sum())

    def undo(self, appended: list[Appended]) -> None:
        """Take back the newest append."""
        with self._lock:
            for each in reversed(appended):
                self._taken(each.place)
                self._rows.put(each.place, each.rows)
                self._end, self._latest = each.end, each.latest.copy()
                self._learnable, self._version_sum = each.counts

    def _taken(self, place: Int64Array) -> Rows:
        """A copy of the rows at these places, which are overwritten next, for snapshots too."""
        rows = self._rows.taken(place)
        for snapshot in self._snapshots:
            snapshot.keep(place, rows)
        return rows

    def forget_streams(self) -> None:
        """Steps that come next continue none that are here."""
        self._latest[:] = -1

    def scale_rewards(self, factor: float) -> None:
        """Multiply the reward of every step."""
        with self._lock:
            self._leave_to_snapshots()
            self._rows.reward *= np.float32(factor)

    def _reserve_streams(self, stream: Int64Array) -> None:
        missing = int(stream.max(initial=-1)) + 1 - len(self._latest)
        if missing > 0:
            more = np.full(max(missing, len(self._latest)), -1, np.int64)
            self._latest = np.concatenate([self._latest, more])

    # Reading

    def sample(self, size: int, *, n_step: int, discount: float) -> ReplayBatch:
        """Steps drawn with equal chances, with replacement; none if there are none.

            reward    = sum_(k < n) discount^k * reward[k]
            bootstrap = discount^n, or 0 if the last of the n steps terminated

        n is `n_step`, or less where an episode ends, the newest step is reached, or an action came
        too late.

        Source: Sutton & Barto 2018, section 7.1.
        """
        rows, place = self._rows, self._drawn(size if self._learnable else 0)
        reward, last, factor = rows.reward[place], place, np.full(len(place), discount, np.float32)
        goes_on = np.ones(len(place), np.bool_)
        for _ in range(n_step - 1):
            following = rows.next_place[last]
            goes_on &= rows.is_learnable[following]
            reward = np.where(goes_on, reward + factor * rows.reward[following], reward)
            factor = np.where(goes_on, factor * np.float32(discount), factor)
            last = np.where(goes_on, following, last)
        bootstrap = np.where(rows.terminated[last], np.float32(0), factor)
        return rows.batch(place, rows.next_place[last], reward, bootstrap)

    def _drawn(self, size: int) -> Int64Array:
        """[size] places of learnable steps. What is drawn depends on ages, not on places."""
        oldest = self._end - self.num_rows
        drawn = np.zeros(0, np.int64)
        is_rare = self._learnable < _RARE * self.num_rows
        for _ in range(0 if is_rare else _GUESSES):
            if len(drawn) == size:
                return drawn
            number = oldest + self._integers(self.num_rows, size - len(drawn))
            place = number % self._capacity
            drawn = np.concatenate([drawn, place[self._rows.is_learnable[place]]])
        return np.concatenate([drawn, self._looked_for(size - len(drawn))])

    def _looked_for(self, size: int) -> Int64Array:
        """The same, by a look at every row."""
        if not size:
            return np.zeros(0, np.int64)
        found = np.flatnonzero(self._rows.is_learnable[: self.num_rows])
        # By age: behind the ring's end lie the oldest.
        begin = np.searchsorted(found, self._end % self._capacity)
        is_full = self._end > self._capacity
        place: Int64Array = found[(self._integers(len(found), size) + begin * is_full) % len(found)]
        return place

    def _integers(self, below: int, size: int) -> Int64Array:
        drawn = torch.randint(below, (size,), generator=self._generator) if size else None
        return np.zeros(0, np.int64) if drawn is None else drawn.numpy()

    # State

    def state(self) -> State:
        """Everything, the oldest row first; rows are copied while they are read."""
        oldest = self._end - self.num_rows
        with self._lock:
            snapshot = ReplaySnapshot(self._rows, self._lock, oldest=oldest, end=self._end)
            self._snapshots.add(snapshot)
        return {
            "rows": snapshot.state(),
            "latest": np.where(self._latest < oldest, -1, self._latest - oldest),
            "generator": self._generator.get_state().numpy().copy(),
        }

    def _leave_to_snapshots(self) -> None:
        """Every row changes next."""
        for snapshot in self._snapshots:
            snapshot.keep_all()

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken; with another capacity, with the newest rows of it.

        Raises:
            CheckpointError: it is of another spec.
        """
        for name in ("rows", "latest", "generator"):
            if name not in state:
                raise CheckpointError(
                    f"the checkpoint's replay has no '{name}'; it was written by another version "
                    "of entrain"
                )
        with self._lock:
            self._leave_to_snapshots()
            count, left = self._rows.load(state["rows"])
        self._end = count
        latest = np.array(state["latest"], np.int64) - left
        self._latest = np.where(latest < 0, -1, latest)
        learnable = self._rows.is_learnable[:count]
        self._learnable = int(np.count_nonzero(learnable))
        self._version_sum = int(self._rows.policy_version[:count][learnable].sum())
        self._generator.set_state(torch.from_numpy(np.array(state["generator"])))

    @property
    def generator(self) -> torch.Generator:
        """Of what is sampled."""
        return self._generator
