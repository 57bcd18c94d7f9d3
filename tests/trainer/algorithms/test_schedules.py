"""Options over a run."""

import pytest

from entrain.algorithms.schedules import scheduled


def test_a_constant_stays() -> None:
    assert [scheduled(0.3, "constant", progress=p) for p in (0.0, 0.5, 1.0)] == [0.3, 0.3, 0.3]


def test_linear_falls_from_its_value_to_zero() -> None:
    values = [scheduled(8.0, "linear", progress=p) for p in (0.0, 0.25, 0.5, 1.0)]
    assert values == pytest.approx([8.0, 6.0, 4.0, 0.0])
