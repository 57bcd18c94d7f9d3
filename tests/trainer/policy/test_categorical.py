"""Masked branches of choices: probabilities, masks, samples and gradients."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entrain.policy.categorical import Branches, MultiCategorical
from entrain.policy.noise import uniform_noise

EQUAL, RAGGED = (3, 3), (2, 4, 1)


def uniform(rows: int, branches: int, *, seed: int = 3) -> Tensor:
    counter = np.arange(rows)
    return torch.from_numpy(uniform_noise(seed, np.zeros_like(counter), counter, branches))


def random_mask(rows: int, sizes: tuple[int, ...]) -> Tensor:
    """[rows, C], at least one choice of each branch allowed."""
    masks = []
    for size in sizes:
        mask = torch.rand(rows, size) < 0.5
        mask[torch.arange(rows), torch.randint(0, size, (rows,))] = True
        masks.append(mask)
    return torch.cat(masks, dim=-1)


def test_branches_of_unequal_size_are_padded_to_the_largest() -> None:
    rows = Branches(RAGGED).pad(torch.arange(7.0), -1.0)
    assert rows.tolist() == [[0, 1, -1, -1], [2, 3, 4, 5], [6, -1, -1, -1]]


def test_branches_of_equal_size_are_only_looked_at_differently() -> None:
    choices = torch.arange(12.0).view(2, 6)
    rows = Branches(EQUAL).pad(choices, -1.0)
    assert rows.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]
    assert rows.data_ptr() == choices.data_ptr()


def test_log_probability_and_entropy_by_hand() -> None:
    # Branch 0: 1/4, 3/4. Branch 1 of one choice is certain.
    logits = torch.tensor([[0.0, math.log(3), 5.0]])
    distribution = MultiCategorical(logits, Branches((2, 1)))
    log_prob = distribution.log_prob({"discrete": torch.tensor([[1, 0]])})
    assert log_prob.item() == pytest.approx(math.log(0.75), abs=1e-6)
    entropy = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    assert distribution.entropy().item() == pytest.approx(entropy, abs=1e-6)


@pytest.mark.parametrize("sizes", [(4,), EQUAL, RAGGED])
def test_log_probability_and_entropy_are_sums_of_torchs_over_branches(
    sizes: tuple[int, ...],
) -> None:
    logits = torch.randn(2, 5, sum(sizes))
    distribution = MultiCategorical(logits, Branches(sizes))
    action = distribution.sample(uniform(10, len(sizes)).view(2, 5, -1))
    references: list[Any] = [
        torch.distributions.Categorical(logits=branch)
        for branch in torch.split(logits, list(sizes), dim=-1)
    ]
    log_prob = sum(
        reference.log_prob(choice)
        for reference, choice in zip(references, action["discrete"].unbind(-1), strict=True)
    )
    entropy = sum(reference.entropy() for reference in references)
    torch.testing.assert_close(distribution.log_prob(action), log_prob)
    torch.testing.assert_close(distribution.entropy(), entropy)
    assert distribution.log_prob(action).shape == distribution.entropy().shape == (2, 5)


@pytest.mark.parametrize("sizes", [(4,), EQUAL, RAGGED])
def test_a_mask_that_allows_everything_changes_nothing(sizes: tuple[int, ...]) -> None:
    distribution = MultiCategorical(torch.randn(6, sum(sizes)), Branches(sizes))
    masked = distribution.masked(torch.ones(6, sum(sizes), dtype=torch.bool))
    torch.testing.assert_close(masked.log_probs, distribution.log_probs, atol=0, rtol=0)


@pytest.mark.parametrize("sizes", [(4,), EQUAL, RAGGED])
def test_forbidden_choices_have_probability_zero_and_the_others_keep_their_ratios(
    sizes: tuple[int, ...],
) -> None:
    branches = Branches(sizes)
    logits, mask = torch.randn(64, sum(sizes)), random_mask(64, sizes)
    probability = MultiCategorical(logits, branches).masked(mask).log_probs.exp()
    allowed = branches.pad(mask.to(torch.float32), 0.0) > 0
    assert (probability[~allowed] == 0).all()
    torch.testing.assert_close(probability.sum(-1), torch.ones(64, len(sizes)))
    expected = MultiCategorical(logits, branches).log_probs.exp() * allowed
    expected /= expected.sum(-1, keepdim=True)
    torch.testing.assert_close(probability, expected)


@pytest.mark.parametrize("sizes", [(4,), EQUAL, RAGGED])
def test_masks_leave_entropy_and_gradients_finite_and_forbidden_logits_alone(
    sizes: tuple[int, ...],
) -> None:
    logits = (50 * torch.randn(64, sum(sizes))).requires_grad_()
    mask = random_mask(64, sizes)
    distribution = MultiCategorical(logits, Branches(sizes)).masked(mask)
    entropy = distribution.entropy()
    log_prob = distribution.log_prob(distribution.sample(uniform(64, len(sizes))))
    torch.autograd.backward((entropy + log_prob).sum())
    assert entropy.isfinite().all()
    assert (entropy >= -1e-5).all()
    assert log_prob.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[~mask] == 0).all()


def test_gradients_agree_with_finite_differences_under_a_mask() -> None:
    branches, mask = Branches(RAGGED), random_mask(3, RAGGED)
    logits = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)

    def entropy_and_log_prob(x: Tensor) -> Tensor:
        distribution = MultiCategorical(x, branches).masked(mask)
        return distribution.entropy() + distribution.log_prob(distribution.mode())

    assert torch.autograd.gradcheck(entropy_and_log_prob, (logits,))


def test_one_allowed_choice_is_certain() -> None:
    mask = torch.tensor([[False, False, True, True, False]])
    distribution = MultiCategorical(torch.randn(1, 5), Branches((3, 2))).masked(mask)
    for noise in (2.0**-53, 0.5, 1 - 2.0**-53):
        action = distribution.sample(torch.full((1, 2), noise, dtype=torch.float64))
        assert action["discrete"].tolist() == [[2, 0]]
        assert distribution.log_prob(action).item() == 0
    assert distribution.entropy().item() == 0


def test_masking_twice_forbids_what_either_forbids() -> None:
    first, second = torch.tensor([True, True, False]), torch.tensor([False, True, True])
    distribution = MultiCategorical(torch.zeros(3), Branches((3,)))
    probability = distribution.masked(first).masked(second).log_probs.exp()
    assert probability.tolist() == [[0, 1, 0]]


def test_choices_come_as_often_as_they_are_probable() -> None:
    rows = 40_000
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0, 0.7, 0.1]).expand(rows, -1)
    mask = torch.tensor([True, True, True, False, True, True]).expand(rows, -1)
    distribution = MultiCategorical(logits, Branches((2, 4))).masked(mask)
    action = distribution.sample(uniform(rows, 2))["discrete"]
    assert action.dtype == torch.int64
    for branch, size in enumerate((2, 4)):
        frequency = torch.bincount(action[:, branch], minlength=size) / rows
        probability = distribution.log_probs[0, branch, :size].exp()
        error = 4 * (probability * (1 - probability) / rows).sqrt()
        assert (abs(frequency - probability) <= error).all()


@settings(deadline=None)
@given(
    noise=st.floats(0, 1, exclude_min=True, exclude_max=True),
    scale=st.sampled_from([0.1, 1.0, 30.0, 1000.0]),
    seed=st.integers(0, 1000),
)
def test_a_sample_is_always_allowed_whatever_the_noise(
    noise: float, scale: float, seed: int
) -> None:
    torch.manual_seed(seed)
    mask = random_mask(8, RAGGED)
    distribution = MultiCategorical(scale * torch.randn(8, 7), Branches(RAGGED)).masked(mask)
    action = distribution.sample(torch.full((8, 3), noise, dtype=torch.float64))["discrete"]
    first_choice = torch.tensor([0, 2, 6])
    assert (action < torch.tensor(RAGGED)).all()
    assert mask.gather(-1, action + first_choice).all()


def test_the_mode_is_the_likeliest_allowed_choice() -> None:
    logits = torch.tensor([[1.0, 5.0, 0.0, 3.0, 2.0]])
    mask = torch.tensor([[True, False, True, True, True]])
    distribution = MultiCategorical(logits, Branches((3, 2)))
    assert distribution.mode()["discrete"].tolist() == [[1, 0]]
    assert distribution.masked(mask).mode()["discrete"].tolist() == [[0, 0]]


def test_padding_with_everything_forbidden_stays_finite_and_touches_no_other_row() -> None:
    logits = torch.randn(2, 4, requires_grad=True)
    mask = torch.tensor([[True] * 4, [False] * 4])
    distribution = MultiCategorical(logits, Branches((3, 1))).masked(mask)
    value = distribution.entropy() + distribution.log_prob(distribution.mode())
    assert value.isfinite().all()
    torch.autograd.backward(value.sum())
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    alone = MultiCategorical(logits[:1], Branches((3, 1))).entropy()
    torch.testing.assert_close(distribution.entropy()[:1], alone)


def test_exported_logits_show_what_is_forbidden() -> None:
    distribution = MultiCategorical(torch.tensor([1.0, 2.0]), Branches((2,)))
    masked = distribution.masked(torch.tensor([True, False])).parameters()["logits"]
    assert masked.tolist() == [1.0, torch.finfo(torch.float32).min]
