"""Which slot stands for which agent, against a slow table of dicts and by hand."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.serving.slots import SlotTable, find


def ids(*numbers: int) -> npt.NDArray[np.int64]:
    return np.array(numbers, np.int64)


class SlowTable:
    """What SlotTable promises, one agent at a time."""

    def __init__(self) -> None:
        self.slot: dict[tuple[str, int], int] = {}
        self.num_slots = 0
        self.released: set[int] = set()

    def assign(self, owner: str, agents: list[int]) -> list[int]:
        for agent in sorted(set(agents)):
            if (owner, agent) not in self.slot:
                free = set(range(self.num_slots)) - set(self.slot.values())
                slot = min(free, default=self.num_slots)
                self.num_slots = max(self.num_slots, slot + 1)
                self.slot[owner, agent] = slot
        return [self.slot[owner, agent] for agent in agents]

    def release_agents(self, owner: str, agents: list[int]) -> None:
        for agent in set(agents):
            if (owner, agent) in self.slot:
                self.released.add(self.slot.pop((owner, agent)))

    def release(self, owner: str) -> int:
        agents = [agent for holder, agent in self.slot if holder == owner]
        self.release_agents(owner, agents)
        return len(agents)


OWNER = st.sampled_from(["a", "b", "c"])
AGENTS = st.lists(st.integers(-3, 9), max_size=8)
OPERATION = st.one_of(
    st.tuples(st.just("assign"), OWNER, AGENTS),
    st.tuples(st.just("release_agents"), OWNER, AGENTS),
    st.tuples(st.just("release"), OWNER, st.just([0])),
    st.tuples(st.just("take_released"), OWNER, st.just([0])),
    st.tuples(st.just("save"), OWNER, st.just([0])),
)


@settings(deadline=None, max_examples=300)
@given(st.lists(OPERATION, max_size=40))
def test_it_does_what_a_slow_table_does(operations: list[tuple[str, str, list[int]]]) -> None:
    table, slow = SlotTable(), SlowTable()
    for name, owner, agents in operations:
        if name == "assign":
            assert table.assign(owner, ids(*agents)).tolist() == slow.assign(owner, agents)
        elif name == "release_agents":
            table.release_agents(owner, ids(*agents))
            slow.release_agents(owner, agents)
        elif name == "release":
            assert table.release(owner) == slow.release(owner)
        elif name == "take_released":
            assert table.take_released().tolist() == sorted(slow.released)
            slow.released.clear()
        else:
            saved, table = table.state(), SlotTable()
            table.load_state(saved)
        assert table.num_slots == slow.num_slots
        assert table.num_agents == len(slow.slot)
        held = [(owner, agent) in slow.slot for agent in agents]
        assert table.holds(owner, ids(*agents)).tolist() == held


@settings(deadline=None)
@given(st.lists(st.integers(-5, 5), unique=True), st.lists(st.integers(-6, 6)))
def test_find_says_where_each_wanted_id_stands(known: list[int], wanted: list[int]) -> None:
    position, is_known = find(ids(*sorted(known)), ids(*wanted))
    assert is_known.tolist() == [number in known for number in wanted]
    for at, number in zip(position[is_known], ids(*wanted)[is_known], strict=True):
        assert sorted(known)[at] == number


def test_newcomers_get_the_lowest_slots_in_the_order_of_their_ids() -> None:
    table = SlotTable()
    assert table.assign("sim", ids(30, 10, 20)).tolist() == [2, 0, 1]
    assert table.num_slots == 3


def test_the_lowest_free_slot_is_given_first_whoever_gave_it_back() -> None:
    table = SlotTable()
    for owner in ("a", "b", "c"):
        table.assign(owner, ids(1))
    for owner in ("c", "a"):
        table.release(owner)
    assert table.assign("d", ids(1)).tolist() == [0]
    assert table.assign("e", ids(1)).tolist() == [2]


def test_an_agent_keeps_its_slot_while_others_come_and_go() -> None:
    table = SlotTable()
    table.assign("sim", ids(1, 2, 3))
    table.release_agents("sim", ids(1, 2))
    assert table.assign("sim", ids(3, 4)).tolist() == [2, 0]
    assert table.num_slots == 3


def test_both_rows_of_an_agent_have_its_slot() -> None:
    assert SlotTable().assign("sim", ids(5, 6, 5)).tolist() == [0, 1, 0]


def test_agents_of_two_simulators_with_one_id_never_share_a_slot() -> None:
    table = SlotTable()
    assert table.assign("left", ids(1, 2)).tolist() == [0, 1]
    assert table.assign("right", ids(1, 2)).tolist() == [2, 3]


def test_the_same_ids_again_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    table = SlotTable()
    slots = table.assign("sim", ids(4, 2))
    monkeypatch.setattr("entrain.serving.slots.find", None)
    assert table.assign("sim", ids(4, 2)) is slots


def test_the_short_cut_ends_when_an_agent_of_the_last_message_is_released() -> None:
    table = SlotTable()
    table.assign("sim", ids(1, 2))
    table.release_agents("sim", ids(1))
    table.assign("other", ids(9))
    assert table.assign("sim", ids(1, 2)).tolist() == [2, 1]


def test_released_slots_are_told_once() -> None:
    table = SlotTable()
    table.assign("sim", ids(1, 2, 3))
    table.release_agents("sim", ids(2))
    table.release("sim")
    assert table.take_released().tolist() == [0, 1, 2]
    assert table.take_released().tolist() == []


def test_two_groups_in_turns_keep_their_slots_until_one_of_them_leaves() -> None:
    table = SlotTable()
    for _ in range(2):
        assert table.assign("sim", ids(5, 6)).tolist() == [0, 1]
        assert table.assign("sim", ids(7, 8)).tolist() == [2, 3]
    table.release_agents("sim", ids(5))
    assert table.assign("other", ids(1)).tolist() == [0]
    assert table.assign("sim", ids(5, 6)).tolist() == [4, 1]
    assert table.assign("sim", ids(7, 8)).tolist() == [2, 3]


def test_releasing_agents_without_a_slot_changes_nothing() -> None:
    table = SlotTable()
    table.assign("sim", ids(1))
    table.release_agents("sim", ids(7))
    table.release_agents("nobody", ids(1))
    assert table.release("nobody") == 0
    assert table.take_released().tolist() == []
    assert table.num_agents == 1


def test_a_state_is_a_copy() -> None:
    table = SlotTable()
    table.assign("sim", ids(1, 2))
    table.release_agents("sim", ids(1))
    state = table.state()
    table.assign("sim", ids(1, 3))
    table.release("sim")
    restored = SlotTable()
    restored.load_state(state)
    assert restored.take_released().tolist() == [0]
    assert restored.assign("sim", ids(2, 8)).tolist() == [1, 0]


def test_a_thousand_agents_run_no_more_statements_than_two(
    count_statements: Callable[[Callable[[], object]], int],
) -> None:
    def statements(agents: npt.NDArray[np.int64]) -> int:
        table = SlotTable()

        def run() -> None:
            table.assign("sim", agents)
            table.assign("sim", agents[::-1].copy())
            table.release_agents("sim", agents[:1])

        return count_statements(run)

    assert statements(np.arange(1024)) == statements(np.arange(2)) > 10


def test_the_taken_slots_are_those_of_the_agents_that_are_there() -> None:
    table = SlotTable()
    assert table.taken.tolist() == []
    table.assign("alpha", ids(5, 6))
    table.assign("beta", ids(5))
    table.release_agents("alpha", ids(5))
    assert sorted(table.taken.tolist()) == [1, 2]
