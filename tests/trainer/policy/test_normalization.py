"""Running statistics equal those of all rows at once; before the first, bounds decide."""

from collections.abc import Set

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.policy.normalization import ObservationNormalizer
from entrain_envs.spec import ObservationSpec

VECTOR = ObservationSpec("joints", (3,))
SCALAR = ObservationSpec("height", ())
GRID = ObservationSpec("map", (2, 2))
INF = float("inf")


def normalizer(
    *observations: ObservationSpec,
    normalize: bool = True,
    clip: float = 10.0,
    fixed: Set[str] = frozenset(),
) -> ObservationNormalizer:
    return ObservationNormalizer(observations, normalize=normalize, clip=clip, fixed=fixed)


def rows_of(count: int, *, seed: int = 0) -> npt.NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    scale = np.array([1e-2, 1.0, 1e3])
    rows = generator.normal(size=(count, 3)) * scale + np.array([5.0, -1.0, 1e4])
    return np.asarray(rows, dtype=np.float32)


@settings(deadline=None, max_examples=50)
@given(cuts=st.lists(st.integers(0, 40), max_size=6), seed=st.integers(0, 99))
def test_statistics_are_those_of_all_rows_however_they_are_split(
    cuts: list[int], seed: int
) -> None:
    rows = rows_of(40, seed=seed)
    ours = normalizer(VECTOR)
    for part in np.split(rows, sorted(cuts)):
        ours.update({"joints": torch.from_numpy(part)})
    exact = rows.astype(np.float64)
    assert ours.count.item() == 40
    np.testing.assert_allclose(ours.mean.numpy(), exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(ours.variance.numpy(), exact.var(axis=0), rtol=1e-9)


def test_a_small_spread_on_a_large_mean_keeps_its_digits() -> None:
    # The textbook formula E[x^2] - E[x]^2 has lost them all here, in float32 and in float64.
    ours = normalizer(SCALAR)
    for _ in range(3):
        ours.update({"height": torch.tensor([1e9, 1e9 + 64, 1e9 - 64])})
    assert ours.variance.item() == pytest.approx(64**2 * 2 / 3, rel=1e-6)


def test_normalised_rows_have_mean_zero_and_variance_one() -> None:
    rows = rows_of(500)
    ours = normalizer(VECTOR)
    ours.update({"joints": torch.from_numpy(rows)})
    normalised = ours({"joints": torch.from_numpy(rows)}, 500)
    assert normalised.dtype == torch.float32
    torch.testing.assert_close(normalised.mean(0), torch.zeros(3), atol=2e-3, rtol=0)
    torch.testing.assert_close(normalised.std(0, correction=0), torch.ones(3), atol=2e-3, rtol=0)


def test_before_the_first_update_floats_are_only_clipped() -> None:
    values = torch.tensor([[0.5, -3.0, 40.0]])
    assert normalizer(VECTOR)({"joints": values}, 1).tolist() == [[0.5, -3.0, 10.0]]
    assert normalizer(VECTOR).variance.tolist() == [1, 1, 1]


def test_outliers_are_cut_at_the_clip() -> None:
    ours = normalizer(SCALAR, clip=2.0)
    ours.update({"height": torch.tensor([0.0, 2.0])})
    # Mean 1, standard deviation 1.
    normalised = ours({"height": torch.tensor([1.5, 100.0, -100.0])}, 3)
    torch.testing.assert_close(normalised, torch.tensor([[0.5], [2.0], [-2.0]]))


def test_a_number_that_never_changes_is_normalised_to_zero() -> None:
    ours = normalizer(SCALAR)
    ours.update({"height": torch.full((9,), 7.0)})
    assert ours({"height": torch.tensor([7.0])}, 1).item() == 0


def test_an_update_with_no_rows_changes_nothing() -> None:
    ours = normalizer(VECTOR)
    ours.update({"joints": torch.zeros(0, 3)})
    assert ours.count.item() == 0
    assert ours.scale.tolist() == [1, 1, 1]


def bounded(
    dtype: str, low: tuple[float, ...], high: tuple[float, ...], size: int
) -> ObservationSpec:
    return ObservationSpec("board", (size,), dtype, "vector", low, high)


@pytest.mark.parametrize(
    ("spec", "seen", "expected"),
    [
        (bounded("uint8", (0.0,), (2.0,), 3), [0, 1, 2], [-1, 0, 1]),
        (bounded("uint8", (), (), 3), [0, 51, 255], [-1, -0.6, 1]),
        (bounded("float32", (-1.0,), (1.0,), 3), [-1, 0, 1], [-1, 0, 1]),
        (bounded("float32", (0.0, 10.0), (10.0, 14.0), 2), [5, 11], [0, -0.5]),
        # One without bounds, one that never changes, and the limits of int32.
        (bounded("float32", (0.0, 3.0), (INF, 3.0), 2), [5, 3], [5, 3]),
        (bounded("float32", (-(2.0**31),), (2.0**31 - 1,), 2), [5, 3], [5, 3]),
        (bounded("float32", (), (), 2), [5, 3], [5, 3]),
    ],
)
def test_bounds_become_minus_1_and_1_as_long_as_nothing_was_seen(
    spec: ObservationSpec, seen: list[float], expected: list[float]
) -> None:
    dtype = torch.uint8 if spec.dtype == "uint8" else torch.float32
    values = {"board": torch.tensor([seen]).to(dtype)}
    for normalize in (True, False):
        ours = normalizer(spec, normalize=normalize)
        torch.testing.assert_close(ours(values, 1), torch.tensor([expected]).float())
    # Without running statistics that is all.
    ours.update(values)
    torch.testing.assert_close(ours(values, 1), torch.tensor([expected]).float())


def test_bytes_are_normalised_by_what_was_seen_as_floats_are() -> None:
    rows = np.random.default_rng(0).integers(0, 3, (500, 9)).astype(np.uint8)
    as_bytes = normalizer(bounded("uint8", (0.0,), (2.0,), 9))
    as_floats = normalizer(bounded("float32", (), (), 9))
    for ours, values in ((as_bytes, rows), (as_floats, rows.astype(np.float32))):
        ours.update({"board": torch.from_numpy(values)})
    features = as_bytes({"board": torch.from_numpy(rows)}, 500)
    floats = as_floats({"board": torch.from_numpy(rows.astype(np.float32))}, 500)
    torch.testing.assert_close(features, floats)
    torch.testing.assert_close(features.std(0, correction=0), torch.ones(9))


def test_switched_off_it_neither_moves_nor_clips_floats() -> None:
    ours = normalizer(VECTOR, normalize=False)
    ours.update({"joints": torch.randn(10, 3)})
    values = torch.tensor([[1e6, -3.0, 0.0]])
    assert torch.equal(ours({"joints": values}, 1), values)


def test_observations_are_flattened_side_by_side_in_the_specs_order() -> None:
    ours = normalizer(GRID, SCALAR, VECTOR)
    features = ours(
        {
            "joints": torch.tensor([[[6.0, 7, 8]]]),
            "height": torch.tensor([[5.0]]),
            "map": torch.tensor([[[[1.0, 2], [3, 4]]]]),
        },
        1,
    )
    assert ours.feature_size == 8
    assert features.tolist() == [[1, 2, 3, 4, 5, 6, 7, 8]]


def test_each_feature_has_its_own_statistics() -> None:
    ours = normalizer(SCALAR, VECTOR)
    rows = rows_of(50)
    ours.update({"height": torch.arange(50.0), "joints": torch.from_numpy(rows)})
    expected = np.concatenate([[24.5], rows.astype(np.float64).mean(axis=0)])
    np.testing.assert_allclose(ours.mean.numpy(), expected, rtol=1e-12)


def test_normalising_leaves_the_observation_as_it_came() -> None:
    values = torch.full((2, 3), 100.0)
    normalizer(VECTOR)({"joints": values}, 2)
    assert (values == 100).all()


def test_statistics_are_saved_and_need_nothing_but_loading() -> None:
    ours, other = normalizer(VECTOR), normalizer(VECTOR)
    ours.update({"joints": torch.from_numpy(rows_of(30))})
    other.load_state_dict(ours.state_dict())
    probe = {"joints": torch.from_numpy(rows_of(4, seed=1))}
    assert torch.equal(ours(probe, 4), other(probe, 4))
    for each in (ours, other):
        each.update({"joints": torch.from_numpy(rows_of(7, seed=2))})
    assert torch.equal(ours.squares, other.squares)


def test_statistics_are_not_trained() -> None:
    assert not list(normalizer(VECTOR).parameters())
    features = normalizer(VECTOR)({"joints": torch.zeros(1, 3)}, 1)
    assert not features.requires_grad


def test_fixed_floats_stay_as_they_are_whatever_was_seen() -> None:
    ours = normalizer(VECTOR, SCALAR, fixed={"joints"})
    seen = {"joints": torch.tensor([[3.0, -4.0, 5.0]] * 2), "height": torch.tensor([1.0, 3.0])}
    ours.update(seen)
    assert ours(seen, 2)[:, :3].tolist() == [[3, -4, 5]] * 2
    torch.testing.assert_close(ours(seen, 2)[:, 3], torch.tensor([-1.0, 1.0]))


def test_features_are_split_back_into_their_observations() -> None:
    ours = normalizer(GRID, SCALAR, VECTOR)
    seen = {
        "map": torch.arange(8.0).view(2, 2, 2),
        "height": torch.tensor([8.0, 9.0]),
        "joints": torch.tensor([[1.0, 2, 3], [4, 5, 6]]),
    }
    split = ours.split(ours(seen, 2))
    assert split.keys() == seen.keys()
    for name, values in seen.items():
        assert torch.equal(split[name], values)


def test_without_vectors_there_are_no_features_and_nothing_to_learn() -> None:
    ours = normalizer()
    assert ours.feature_size == 0
    camera = {"camera": torch.zeros(3, 2, 1)}
    ours.update(camera)
    assert ours(camera, 3).shape == (3, 0)
    assert ours.split(ours(camera, 3)) == {}
