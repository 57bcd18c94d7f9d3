"""Action noise: uniform, independent, and a pure function of slot and number of actions."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.policy.noise import STREAM_BITS, uniform_noise

NUM_BINS = 64


def noise_of(
    *, seed: int = 7, num_slots: int = 512, num_counters: int = 64, size: int = 4
) -> npt.NDArray[np.float64]:
    """[slots, counters, size], every slot with every counter."""
    slot, counter = np.meshgrid(np.arange(num_slots), np.arange(num_counters), indexing="ij")
    flat = uniform_noise(seed, slot.ravel(), counter.ravel(), size)
    return flat.reshape(num_slots, num_counters, size)


def chi_square(counts: npt.NDArray[np.int64]) -> float:
    """Distance from the value for independent uniform draws, in standard deviations."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    return float((statistic - freedom) / np.sqrt(2 * freedom))


def test_it_is_the_published_generator() -> None:
    # The first outputs of SplitMix64 seeded with 1234567, as its reference code prints them.
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    noise = uniform_noise(1234567, np.array([0]), np.array([0]), 5)
    assert [int(number * 2**52) for number in noise[0]] == [number >> 12 for number in published]


def test_each_slot_reads_its_own_stretch_and_each_action_the_next_numbers_of_it() -> None:
    # Slot 2's third and fourth action, three numbers each, are numbers 6 to 11 of its stretch.
    start = 2 * 2**STREAM_BITS + 6
    apart = uniform_noise(9, np.array([2, 2]), np.array([2, 3]), 3)
    in_a_row = uniform_noise(9, np.zeros(6, np.int64), np.arange(start, start + 6), 1)
    np.testing.assert_array_equal(apart.ravel(), in_a_row.ravel())


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    slot=st.integers(0, 2**24 - 1),
    counter=st.integers(0, 2**36),
    size=st.integers(1, 9),
)
def test_every_number_is_strictly_between_zero_and_one(
    seed: int, slot: int, counter: int, size: int
) -> None:
    noise = uniform_noise(seed, np.array([slot]), np.array([counter]), size)
    assert noise.shape == (1, size)
    assert noise.dtype == np.float64
    numerators = noise * 2.0**53
    np.testing.assert_array_equal(numerators, np.round(numerators))
    np.testing.assert_array_equal(numerators % 2, 1)
    assert (noise > 0).all()
    assert (noise < 1).all()


@settings(deadline=None)
@given(order=st.permutations(range(8)), size=st.integers(1, 4))
def test_an_agents_noise_does_not_depend_on_who_acts_beside_it(order: list[int], size: int) -> None:
    slot = np.array([5, 0, 3, 3, 9, 1, 7, 2])
    counter = np.array([0, 4, 1, 2, 100, 0, 3, 8])
    together = uniform_noise(1, slot, counter, size)
    np.testing.assert_array_equal(
        uniform_noise(1, slot[order], counter[order], size), together[order]
    )
    alone = uniform_noise(1, slot[3:4], counter[3:4], size)
    np.testing.assert_array_equal(alone, together[3:4])


def test_nobody_acting_draws_nothing() -> None:
    nobody = np.zeros(0, np.int64)
    assert uniform_noise(1, nobody, nobody, 3).shape == (0, 3)


def test_asking_changes_neither_slot_nor_counter() -> None:
    slot, counter = np.array([1, 2]), np.array([3, 4])
    uniform_noise(1, slot, counter, 2)
    assert slot.tolist() == [1, 2]
    assert counter.tolist() == [3, 4]


def test_numbers_are_uniform() -> None:
    noise = noise_of().ravel()
    counts = np.bincount((noise * NUM_BINS).astype(np.int64), minlength=NUM_BINS)
    assert abs(chi_square(counts)) < 4
    # The largest distance of the empirical distribution from the uniform one; 1.95 / sqrt(n) is
    # passed once in a thousand.
    ranks = (np.arange(noise.size) + 0.5) / noise.size
    assert np.abs(np.sort(noise) - ranks).max() < 1.95 / np.sqrt(noise.size)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["slots", "counters", "dimensions"])
def test_neighbours_are_independent(axis: int) -> None:
    noise = np.moveaxis(noise_of(num_slots=256, num_counters=256), axis, 0)
    first, second = noise[:-1].ravel(), noise[1:].ravel()
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(first.size)
    # Jointly too: pairs fall evenly into a grid.
    cell = (first * 16).astype(np.int64) * 16 + (second * 16).astype(np.int64)
    assert abs(chi_square(np.bincount(cell, minlength=256))) < 4


def test_neighbouring_seeds_are_independent() -> None:
    first, second = noise_of(seed=1).ravel(), noise_of(seed=2).ravel()
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(first.size)
    assert not np.isin(first, second).any()


def test_flipping_the_slot_flips_half_of_the_bits() -> None:
    bits = (noise_of(num_slots=4096, num_counters=1, size=1).ravel() * 2**52).astype(np.uint64)
    flipped = bits[0::2] ^ bits[1::2]
    for bit in range(52):
        share = float(((flipped >> np.uint64(bit)) & np.uint64(1)).mean())
        assert abs(share - 0.5) < 5 * 0.5 / np.sqrt(2048), f"bit {bit} flips {share:.1%}"


def test_no_number_comes_twice() -> None:
    noise = noise_of(num_slots=1000, num_counters=100, size=3).ravel()
    assert len(np.unique(noise)) == noise.size


def test_the_inverse_normal_of_it_has_the_moments_of_a_gaussian() -> None:
    normal = torch.special.ndtri(torch.from_numpy(noise_of().ravel())).numpy()
    error = 4 / np.sqrt(normal.size)
    # Variances of z, z^2, z^3 and z^4 under N(0, 1) are 1, 2, 15 and 96.
    assert abs(normal.mean()) < error
    assert abs((normal**2).mean() - 1) < error * np.sqrt(2)
    assert abs((normal**3).mean()) < error * np.sqrt(15)
    assert abs((normal**4).mean() - 3) < error * np.sqrt(96)
