"""Progress survives a checkpoint and tells schedules where they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain.errors import CheckpointError
from entrain.run.progress import Progress

counts = st.integers(0, 2**62)


@given(counts, counts, counts, st.floats(0, 1e9))
def test_progress_goes_through_a_state_unchanged(
    env_steps: int, updates: int, episodes: int, seconds: float
) -> None:
    progress = Progress(env_steps=env_steps, updates=updates, episodes=episodes, seconds=seconds)
    assert Progress.from_state(progress.state()) == progress


@pytest.mark.parametrize(
    ("env_steps", "fraction"), [(0, 0.0), (250, 0.25), (1000, 1.0), (1024, 1.0)]
)
def test_the_fraction_done_ends_at_one(env_steps: int, fraction: float) -> None:
    assert Progress(env_steps=env_steps).fraction(1000) == fraction


@pytest.mark.parametrize("value", [-1, float("nan")])
def test_negative_progress_is_a_mistake(value: float) -> None:
    with pytest.raises(ValueError, match=r"seconds is .*; progress is never negative"):
        Progress(seconds=value)


@pytest.mark.parametrize("state", [{"steps": 3}, {"env_steps": -3}, {"env_steps": "many"}])
def test_a_state_of_another_shape_is_refused(state: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="the checkpoint's progress cannot be read"):
        Progress.from_state(state)
