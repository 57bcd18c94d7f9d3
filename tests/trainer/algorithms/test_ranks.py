"""Two processes that learn together learn the same as one that has the steps of both.

In float64, from rollouts whose columns are divided between them. A minibatch of all steps is the
same set however steps are shuffled; smaller ones are the same sets if steps stay in their order.
"""

import itertools

import numpy as np
import pytest
import torch

from entrain.ranks import ALONE
from ranks_in_processes import CASES, Results, learn_alone, part_of, run_ranks


@pytest.fixture(scope="module")
def by_rank(tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    """{part/name: array} of each of two ranks."""
    return run_ranks(tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("case", CASES)
def test_ranks_never_differ_by_a_bit(by_rank: list[Results], case: str) -> None:
    first, second = (part_of(results, case) for results in by_rank)
    assert first.keys() == second.keys()
    for name, array in first.items():
        assert np.isfinite(array).all(), name
        np.testing.assert_array_equal(array, second[name], err_msg=name)


@pytest.mark.parametrize("case", [name for name in CASES if "shuffled" not in name])
def test_ranks_learn_what_one_learns_from_all_steps(by_rank: list[Results], case: str) -> None:
    tolerance = 1e-10 if CASES[case].updates == 1 else 1e-6
    alone, together = learn_alone(CASES[case]), part_of(by_rank[0], case)
    assert together.keys() == alone.keys()
    # Weights, and Adam's mean, which after one update is made of its gradients alone.
    assert any(name.startswith("optimizer/mean/") for name in alone)
    assert any(name.endswith("encoder.mean") or "normalizer" in name for name in alone)
    for name, array in together.items():
        np.testing.assert_allclose(array, alone[name], rtol=0, atol=tolerance, err_msg=name)


def test_the_cases_reach_what_they_are_for() -> None:
    def epochs(case: str) -> set[float]:
        found = learn_alone(CASES[case])
        return {float(array) for name, array in found.items() if name.endswith("/update/epochs")}

    assert min(epochs("early end")) < 3.0
    assert min(epochs("lstm, 100 and 37 steps")) < 3.0
    assert epochs("ten updates") == {3.0}


def test_what_is_agreed_on_by_hand(by_rank: list[Results]) -> None:
    first, second = (part_of(results, "primitives") for results in by_rank)
    # Rank 0 has [1, 2], rank 1 twice that, with weights 3 and 1: (3 * 1 + 1 * 2) / 4.
    assert first["mean"].tolist() == [1.25, 2.5]
    # What has no weight may hold any number.
    assert first["mean without weight"].tolist() == [1.0, 2.0]
    assert first["sum"].tolist() == [3.0, 6.0]
    assert first["total"] == 5 + 6
    # 1, 3, 5, 7, 9: squared deviations 16 + 4 + 0 + 4 + 16 = 40, over 4.
    assert first["mean of numbers"] == 5.0
    assert first["std"] == pytest.approx(10.0**0.5)
    # One number on the first rank, none on the second.
    assert not first["has spread"]
    assert first["any"].tolist() == [True, False, True]
    assert first["least"] == 0.25
    for name in first.keys() - {"x"}:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    # Only `broadcast` writes into what it is given.
    assert second["x"].tolist() == [2.0, 4.0]


def test_an_update_that_one_rank_gives_up_changes_nothing_on_any(by_rank: list[Results]) -> None:
    first, second = (part_of(results, "cancelled") for results in by_rank)
    assert first["same"]
    assert second["same"]
    # The third answer went along with the third gradient step: the update ended before the fourth.
    assert first["asked"] == second["asked"] == 4
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def test_one_rank_copies_nothing() -> None:
    x = torch.arange(3.0)
    assert ALONE.mean(x, weight=0) is x
    assert ALONE.sum(x) is x
    before = x.clone()
    ALONE.broadcast(x)
    assert torch.equal(x, before)
    assert ALONE.total(7) == 7
    assert ALONE.least(0.5) == 0.5
    assert [ALONE.any(flag) for flag in (True, False)] == [True, False]


def test_the_statistics_of_one_rank_are_torchs() -> None:
    x = torch.randn(100, generator=torch.Generator().manual_seed(0))
    statistics = ALONE.std_mean(x)
    assert statistics is not None
    for found, expected in itertools.zip_longest(statistics, torch.std_mean(x)):
        assert torch.equal(found, expected)
    assert ALONE.std_mean(x[:1]) is None
    assert ALONE.std_mean(x[:0]) is None
