"""Maps agents to slots by array operations, without a Python loop over agents.

An agent gets a slot when its rows are first batched. The slot is taken back when the agent's
episode ends without a next one, or its simulator leaves. The lowest free slots are given first.
Nothing here knows of messages, participants or batches.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from entrain.state import State
from entrain_envs.timestep import BoolArray, Int64Array

NO_SLOTS: Int64Array = np.empty(0, np.int64)
"""No slots or agent ids. One array for all: an empty array has nothing to change."""


def find(sorted_ids: Int64Array, wanted: Int64Array) -> tuple[Int64Array, BoolArray]:
    """Look up every one of `wanted` at once.

    Args:
        sorted_ids: [N] ascending, each once.
        wanted: [K] any order.

    Returns:
        [K] positions in `sorted_ids`, and [K] whether it stands there (if not, ignore position).
    """
    if not len(sorted_ids):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.bool_)
    position = np.minimum(np.searchsorted(sorted_ids, wanted), len(sorted_ids) - 1)
    return position, sorted_ids[position] == wanted


@dataclass
class _Holding:
    """The agents of one owner. `last_*` are those of its last message, as a short cut, and
    `before_*` those of the message before that: two groups may send in turns.
    """

    agent_id: Int64Array = field(default_factory=lambda: NO_SLOTS)
    slot: Int64Array = field(default_factory=lambda: NO_SLOTS)
    last_content: bytes = b""
    last_slot: Int64Array = field(default_factory=lambda: NO_SLOTS)
    before_content: bytes = b""
    before_slot: Int64Array = field(default_factory=lambda: NO_SLOTS)

    def turn(self) -> None:
        """Swap the last message's agents with those of the message before."""
        self.last_content, self.before_content = self.before_content, self.last_content
        self.last_slot, self.before_slot = self.before_slot, self.last_slot


class SlotTable:
    """(owner, agent id) -> slot, for one behaviour. Owned by the event loop.

    An owner is a participant's id. Agents of two owners never share a slot.
    """

    def __init__(self) -> None:
        self._holdings: dict[str, _Holding] = {}
        self._free = NO_SLOTS
        self._released: list[Int64Array] = []
        self.num_slots = 0
        """One more than the highest slot ever given."""
        self._owner = np.zeros(0, np.object_)

    def __repr__(self) -> str:
        return f"<SlotTable {self.num_agents} agents of {len(self._holdings)} owners>"

    @property
    def num_agents(self) -> int:
        """Agents that have a slot now."""
        return self.num_slots - len(self._free)

    @property
    def taken(self) -> Int64Array:
        """[A] the slots of the agents that have one now, in no order."""
        return np.concatenate([NO_SLOTS, *(holding.slot for holding in self._holdings.values())])

    def assign(self, owner: str, agent_id: Int64Array) -> Int64Array:
        """Slots of these agents; those who have none are given one.

        Args:
            owner: the participant they belong to.
            agent_id: [K], an agent may stand there twice.

        Returns:
            [K] slots.
        """
        holding = self._holdings.get(owner)
        if holding is None:
            holding = self._holdings[owner] = _Holding()
        # Compared as bytes: for a few agents numpy's array_equal costs more than all else here.
        content = agent_id.tobytes()
        if content == holding.last_content:
            return holding.last_slot
        holding.turn()
        if content == holding.last_content:
            return holding.last_slot
        position, known = find(holding.agent_id, agent_id)
        if not known.all():
            self._add(owner, holding, np.unique(agent_id[~known]))
            position, _ = find(holding.agent_id, agent_id)
        holding.last_content = content
        holding.last_slot = holding.slot[position]
        return holding.last_slot

    def holds(self, owner: str, agent_id: Int64Array) -> BoolArray:
        """[K] which of these agents of `owner` have a slot now."""
        holding = self._holdings.get(owner, _Holding())
        _, known = find(holding.agent_id, agent_id)
        return known

    def _add(self, owner: str, holding: _Holding, newcomers: Int64Array) -> None:
        reused, self._free = self._free[: len(newcomers)], self._free[len(newcomers) :]
        grown = self.num_slots + len(newcomers) - len(reused)
        slot = np.concatenate([reused, np.arange(self.num_slots, grown)])
        self.num_slots = grown
        self._note_owner(slot, owner)
        agent_id = np.concatenate([holding.agent_id, newcomers])
        order = np.argsort(agent_id)
        holding.agent_id = agent_id[order]
        holding.slot = np.concatenate([holding.slot, slot])[order]

    def _note_owner(self, slot: Int64Array, owner: str) -> None:
        if self.num_slots > len(self._owner):
            longer = np.full(max(self.num_slots, 2 * len(self._owner)), "", np.object_)
            longer[: len(self._owner)] = self._owner
            self._owner = longer
        self._owner[slot] = owner

    def owners(self, slot: Int64Array) -> NDArray[np.object_]:
        """[N] ids of the owners of these slots [N]; of a free slot, its last owner."""
        return self._owner[slot]

    def release_agents(self, owner: str, agent_id: Int64Array) -> None:
        """Take back the slots of these agents of `owner`; those without one are ignored."""
        holding = self._holdings.get(owner)
        if holding is None:
            return
        leaving = np.isin(holding.agent_id, agent_id)
        self._give_back(holding.slot[leaving])
        holding.agent_id = holding.agent_id[~leaving]
        holding.slot = holding.slot[~leaving]
        holding.last_content, holding.last_slot = b"", NO_SLOTS
        holding.before_content, holding.before_slot = b"", NO_SLOTS

    def release(self, owner: str) -> int:
        """Take back all slots of `owner`; returns how many."""
        holding = self._holdings.pop(owner, None)
        if holding is None:
            return 0
        self._give_back(holding.slot)
        return len(holding.slot)

    def _give_back(self, slot: Int64Array) -> None:
        if len(slot):
            self._free = np.sort(np.concatenate([self._free, slot]))
            self._released.append(slot)

    def take_released(self) -> Int64Array:
        """[R] slots taken back since the last call."""
        if not self._released:
            return NO_SLOTS
        released = np.unique(np.concatenate(self._released))
        self._released = []
        return released

    def state(self) -> State:
        """The holders of slots, the free slots, and those released since `take_released`."""
        return {
            "num_slots": self.num_slots,
            "free": self._free.copy(),
            "released": np.concatenate([NO_SLOTS, *self._released]),
            "owners": {
                owner: {"agent_id": holding.agent_id.copy(), "slot": holding.slot.copy()}
                for owner, holding in self._holdings.items()
            },
        }

    def load_state(self, state: State) -> None:
        """Go on as the table that `state` was taken of."""
        self.num_slots = state["num_slots"]
        self._free = state["free"].copy()
        self._released = [state["released"].copy()] if len(state["released"]) else []
        self._holdings = {
            owner: _Holding(agent_id=holding["agent_id"].copy(), slot=holding["slot"].copy())
            for owner, holding in state["owners"].items()
        }
        for owner, holding in self._holdings.items():
            self._note_owner(holding.slot, owner)
