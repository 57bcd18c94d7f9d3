"""Curves of several runs in one chart."""

from pathlib import Path

import numpy as np
import pytest

from entrain.config.load import load_config
from entrain.supervise.charts import Line, groups, likeness


def line(run: str, x: list[float], y: list[float]) -> Line:
    return Line(run, np.array(x, np.float64), np.array(y, np.float64))


def test_the_mean_and_deviation_of_two_seeds_by_hand() -> None:
    one = line("walk-1", [0, 10], [0, 10])
    two = line("walk-2", [5, 20], [7, 22])
    (group,) = groups([one, two], {"walk-1": "a", "walk-2": "a"})
    assert group.label == "walk (2 seeds)"
    assert (group.x[0], group.x[-1]) == (5.0, 10.0)
    # At 5: 5 and 7, at 10: 10 and 12; each one away from the mean, so sqrt(1 + 1) apart over n - 1.
    assert (group.mean[0], group.mean[-1]) == (6.0, 11.0)
    np.testing.assert_allclose(group.deviation, np.sqrt(2.0))


def test_only_runs_that_differ_in_their_seed_alone_are_a_group() -> None:
    lines = [line(name, [0, 1], [1, 2]) for name in ("a", "b", "c", "d")]
    found = groups(lines, {"a": "x", "b": "x", "c": "y"})
    assert [group.runs for group in found] == [["a", "b"]]
    assert found[0].label == "a (2 seeds)"


def test_runs_that_never_overlap_have_a_mean_at_one_place() -> None:
    lines = [line("s-1", [0, 1], [1, 2]), line("s-2", [5, 6], [3, 4])]
    (group,) = groups(lines, {"s-1": "x", "s-2": "x"})
    assert set(group.x) == {5.0}
    assert np.isfinite(group.mean).all()


@pytest.mark.parametrize(
    ("change", "is_alike"),
    [
        ("seed=9", True),
        ("name=other", True),
        ("server.address=localhost:1", True),
        ("http.address=localhost:0", True),
        ("runs_directory=elsewhere", True),
        ("policies.ball.discount=0.5", False),
        ("server.lockstep=true", False),
    ],
)
def test_what_matters_to_learning_makes_runs_differ(
    tmp_path: Path, change: str, is_alike: bool
) -> None:
    settings = ["policies.ball.total_steps=5"]
    one, other = load_config(None, settings), load_config(None, [*settings, change])
    assert (likeness(one) == likeness(other)) == is_alike
