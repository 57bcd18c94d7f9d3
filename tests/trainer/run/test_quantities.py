"""Numbers that a person reads are short and never flatter."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain.run.quantities import compact, counted, duration


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (0, "0"),
        (950, "950"),
        (1000, "1k"),
        (1024, "1.02k"),
        (62_000, "62k"),
        (62_080, "62.0k"),
        (491_520, "491k"),
        (999_999, "999k"),
        (1_000_000, "1M"),
        (1_250_000, "1.25M"),
        (5_000_000_000_000, "5000G"),
    ],
)
def test_steps_are_three_digits_and_a_unit(steps: int, text: str) -> None:
    assert compact(steps) == text


@given(st.integers(0, 10**12))
def test_a_shortened_number_is_never_more_than_it_was(steps: int) -> None:
    text = compact(steps)
    size = {"k": 10**3, "M": 10**6, "G": 10**9}.get(text[-1], 1)
    shown = float(text.rstrip("kMG")) * size
    assert shown <= steps * (1 + 1e-12)
    assert shown >= steps * 0.99 - 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (41.6, "0:42"),
        (725, "12:05"),
        (3599.6, "1:00:00"),
        (10931, "3:02:11"),
        (2 * 86400 + 5 * 3600 + 59, "2 d 5 h"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_durations_are_read_like_a_clock(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_one_is_singular_and_thousands_are_grouped() -> None:
    assert counted(0, "agent") == "0 agents"
    assert counted(1, "agent") == "1 agent"
    assert counted(2048, "agent") == "2,048 agents"
