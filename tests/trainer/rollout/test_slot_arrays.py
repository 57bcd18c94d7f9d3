"""Arrays indexed by slot: room doubles, contents stay, and checkpoints are held against a shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain.errors import CheckpointError
from entrain.rollout.slot_arrays import fitting, grow, read_array, read_array_list


def test_an_array_with_room_enough_is_itself() -> None:
    array = np.arange(4)
    assert grow(array, 4) is array
    assert grow(array, 0) is array


@given(st.lists(st.integers(1, 300), max_size=20))
def test_growing_keeps_what_is_there_and_fills_up_with_zeros(sizes: list[int]) -> None:
    array = np.zeros((0, 2), np.float32)
    written = 0
    for size in sizes:
        array = grow(array, size)
        assert len(array) >= size
        assert (array[:written] == 7).all()
        assert (array[written:] == 0).all()
        written = max(written, size)
        array[:written] = 7


def test_a_thousand_slots_that_arrive_one_by_one_cost_ten_copies() -> None:
    array, copies = np.zeros(1), 0
    for slots in range(1, 1025):
        longer = grow(array, slots)
        copies += longer is not array
        array = longer
    assert copies == 10


def test_what_is_read_from_a_state_is_a_copy() -> None:
    state = {"count": np.arange(3)}
    array = read_array(state, "count", np.int64, shape=(None,))
    array[0] = 9
    assert state["count"][0] == 0


def test_a_missing_array_is_named_beside_those_there_are() -> None:
    with pytest.raises(CheckpointError, match=r"has no 'length' \(it has: a, b\)"):
        read_array({"b": 0, "a": 0}, "length", np.int64, shape=(None,))


@pytest.mark.parametrize(
    "array", [np.zeros((3, 2), np.float64), np.zeros((3, 4), np.float32), np.zeros(3, np.float32)]
)
def test_an_array_that_does_not_fit_is_shown_beside_what_would(
    array: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    with pytest.raises(CheckpointError, match=r"value is float.*, this run needs float32\[any, 2"):
        fitting(array, "value", np.float32, shape=(None, 2))


def test_a_list_of_another_length_is_refused() -> None:
    arrays = [np.zeros(1), np.zeros(2)]
    assert read_array_list({"x": arrays}, "x", length=2) is arrays
    with pytest.raises(CheckpointError, match="2 arrays of x, this run needs 3"):
        read_array_list({"x": arrays}, "x", length=3)
