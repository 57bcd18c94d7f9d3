"""Noise that is drawn ahead is that of each action by itself."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.policy.noise import uniform_noise
from entrain.rollout import action_noise
from entrain.rollout.action_noise import MOST_ACTIONS_AHEAD, ActionNoise

SEED, SIZE, SLOTS = 7, 3, 5


def prepared(uniform: np.ndarray) -> np.ndarray:
    return (2 * uniform).astype(np.float32)


def made(slots: int = SLOTS) -> ActionNoise:
    noise = ActionNoise(SEED, SIZE, prepared)
    noise.grow(slots)
    return noise


def expected(slot: np.ndarray, given: np.ndarray) -> np.ndarray:
    return prepared(uniform_noise(SEED, slot, given[slot], SIZE))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.integers(0, SLOTS - 1), max_size=SLOTS, unique=True),
            st.integers(0, SLOTS),
            st.sampled_from(["", "", "", "ahead", "grow", "load"]),
        ),
        max_size=3 * MOST_ACTIONS_AHEAD,
    )
)
def test_it_is_the_noise_of_each_slot_and_count(
    batches: list[tuple[list[int], int, str]],
) -> None:
    noise, given, slots = made(), np.zeros(200, np.int64), SLOTS
    for chosen, acting, then in batches:
        slot = np.array(chosen, np.int64)
        # The first row once more: an agent whose episode ended and began again has two.
        rows = np.concatenate([slot, slot[:1]])
        assert noise.draw(rows, slot[:acting]).tolist() == expected(rows, given).tolist()
        given[slot[:acting]] += 1
        if then == "ahead":
            noise.draw_ahead()
        elif then == "grow":
            slots += 1
            noise.grow(slots)
        elif then == "load":
            state = noise.state()
            noise = ActionNoise(0, SIZE, prepared)
            noise.load_state(state, num_slots=len(state["actions_given"]))


def test_of_few_agents_it_is_drawn_for_many_actions_at_once() -> None:
    calls = list[int]()

    def counted(uniform: np.ndarray) -> np.ndarray:
        calls.append(len(uniform))
        return uniform

    noise, slot = ActionNoise(SEED, SIZE, counted), np.arange(2)
    noise.grow(2)
    for _ in range(4 * MOST_ACTIONS_AHEAD):
        before = len(calls)
        noise.draw(slot, slot)
        drawn_late = len(calls) - before
        noise.draw_ahead()
    assert drawn_late == 0, "the simulators' waiting time is when it is drawn"
    assert calls == [2 * MOST_ACTIONS_AHEAD] * 5


def test_of_many_agents_no_more_is_kept_than_a_limit() -> None:
    slots = action_noise.MOST_NUMBERS_AHEAD // (2 * SIZE)
    noise, slot = made(slots), np.arange(slots)
    given = np.zeros(slots, np.int64)
    for _ in range(4):
        assert np.array_equal(noise.draw(slot, slot), expected(slot, given))
        given += 1
        noise.draw_ahead()
