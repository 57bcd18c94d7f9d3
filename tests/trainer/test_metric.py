"""A number that people read is short, and not rounded to something else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain.metric import number


def test_what_is_not_known_is_a_dash() -> None:
    assert number(math.nan, ".1f") == "-"
    assert number(-math.inf, ".1f") == "-"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234.56, "1,234.6"),
        (34.06, "34.1"),
        (5.0, "5.0"),
        (0.0, "0.0"),
        (0.5, "0.5"),
        # One decimal would say 1.0, 1.0, -0.1 and 0.0.
        (0.965, "0.965"),
        (1.04, "1.04"),
        (-0.0621, "-0.0621"),
        (1e-9, "1e-09"),
        (-2.5e6, "-2,500,000.0"),
        (1e300, "1e+300"),
    ],
)
def test_small_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value, ",.1f") == text


def test_a_format_of_whole_numbers_is_kept() -> None:
    assert number(57.6, ",.0f") == "58"


@given(st.floats(-1e12, 1e12, allow_subnormal=False))
def test_no_text_is_further_from_its_number_than_half_a_percent(value: float) -> None:
    shown = float(number(value, ",.1f").replace(",", ""))
    assert shown == pytest.approx(value, rel=0.0051, abs=0.0)
