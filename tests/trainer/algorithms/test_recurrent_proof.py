"""Proof: the masked loss of padded sequences equals that of the same sequences one by one.

In float64, so that only rounding may differ: loss and every parameter's gradient agree to 1e-9.
"""

import itertools
import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from entrain.algorithms.ppo import PPO
from entrain.experience import Minibatch, Rollout
from made_rollouts import permuted_columns
from recurrent_cases import (
    COEFFICIENTS,
    DISCOUNT,
    Case,
    Gradients,
    assert_same,
    cases,
    config,
    each,
    gradients_of,
    loss_of,
    padded,
    poisoned,
    policy_of,
    tensors_of,
    whole,
)
from slow_ppo import slow_loss, slow_steps

pytestmark = pytest.mark.usefixtures("both_ways")

NORMALIZATION = st.sampled_from(["minibatch", "rollout", "none"])


def found(ppo: PPO, minibatch: Minibatch) -> tuple[Tensor, Gradients]:
    loss = loss_of(ppo, minibatch)
    return loss.detach(), gradients_of(ppo, loss)


def slowly_found(ppo: PPO, rollout: Rollout, normalization: str) -> tuple[Tensor, Gradients]:
    options = config(advantage_normalization=normalization)
    steps = slow_steps(policy_of(ppo), rollout, options, discount=DISCOUNT)
    loss = slow_loss(steps, options, COEFFICIENTS.entropy_coefficient)
    return loss.detach(), gradients_of(ppo, loss)


@settings(max_examples=40)
@given(cases(), NORMALIZATION, st.sampled_from([0.0, math.nan, 1e9]))
def test_loss_and_gradients_are_those_of_the_sequences_one_by_one(
    case: Case, normalization: Literal["minibatch", "rollout", "none"], filler: float
) -> None:
    ppo = case.ppo(advantage_normalization=normalization)
    rollout = case.rollout(filler=filler, extra_rows=3)
    assert_same(found(ppo, whole(ppo, rollout)), slowly_found(ppo, rollout, normalization))


@settings(max_examples=25)
@given(cases(), st.integers(0, 12), st.sampled_from([math.nan, math.inf, 1e9]))
def test_padding_that_grows_or_holds_something_else_changes_nothing(
    case: Case, rows: int, number: float
) -> None:
    ppo = case.ppo()
    minibatch = whole(ppo, case.rollout())
    expected = found(ppo, minibatch)
    for other in (poisoned(minibatch, number), poisoned(padded(minibatch, rows), number)):
        assert_same(found(ppo, other), expected)


@settings(max_examples=25)
@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_columns_changes_nothing(case: Case, random: object) -> None:
    ppo, rollout = case.ppo(), case.rollout(filler=math.nan)
    order = list(range(len(case.lengths)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert_same(
        found(ppo, whole(ppo, permuted_columns(rollout, order))), found(ppo, whole(ppo, rollout))
    )


@settings(max_examples=15)
@given(cases(), st.integers(1, 12))
def test_the_minibatches_of_an_epoch_add_up_to_the_rollout(case: Case, size: int) -> None:
    # Each is a mean over its own steps; weighed by their number they are the mean over all.
    rollout = case.rollout(filler=math.nan)
    ppo = case.ppo(minibatch_size=size, advantage_normalization="rollout")
    minibatches = list(ppo.minibatches(rollout).epoch(torch.Generator().manual_seed(case.seed)))
    loss = sum(
        (loss_of(ppo, m) * (m.mask.sum().item() / sum(case.lengths)) for m in minibatches),
        start=torch.zeros((), dtype=torch.float64),
    )
    in_one = case.ppo(advantage_normalization="rollout")
    assert_same((loss.detach(), gradients_of(ppo, loss)), found(in_one, whole(in_one, rollout)))


# Where sequences are cut, and where episodes end


def test_where_sequences_are_cut_changes_how_far_gradients_reach_but_not_the_loss() -> None:
    # States are made anew by the weights that learn, so that a cut does not alter what is known.
    losses, gradients = [], []
    for sequence_length in (1, 2, 5, 12, 100):
        case = Case(sequence_length=sequence_length, refresh_states=True)
        ppo = case.ppo()
        loss, gradient = found(ppo, whole(ppo, case.rollout(filler=math.nan)))
        losses.append(loss)
        gradients.append(gradient["backbone.memory.layers.0.weight_recurrent"])
    for loss in losses:
        torch.testing.assert_close(loss, losses[0], rtol=0, atol=1e-9)
    for one, other in itertools.pairwise(gradients[:4]):
        assert (one - other).abs().max() > 1e-6
    torch.testing.assert_close(gradients[3], gradients[4], rtol=0, atol=1e-9)


@pytest.mark.parametrize("end", ["termination", "truncation"])
@pytest.mark.parametrize("kind", ["lstm", "gru", "mingru"])
def test_an_episode_that_ends_inside_a_sequence_might_as_well_be_a_column_of_its_own(
    kind: Literal["lstm", "gru", "mingru"], end: str
) -> None:
    # Rows 0-2 end an episode, rows 3-6 are the next one, in one sequence of 7 or in two columns:
    # the second of these starts from a state of zeros.
    case = Case(lengths=(7,), kind=kind, sequence_length=7, shared=False)
    ppo = case.ppo()
    boundary = torch.zeros(7, 1, dtype=torch.bool)
    boundary[[2, 6]] = True
    reset = torch.zeros(7, 1, dtype=torch.bool)
    reset[3] = True
    rollout = replace(case.rollout(), boundary=boundary, reset=reset)
    rollout.next_value[2] = 0.0 if end == "termination" else 1.5
    expected = found(ppo, whole(ppo, rollout))
    assert_same(found(ppo, whole(ppo, in_two_columns(rollout, 3))), expected)
    # Without the reset the second episode would remember the first.
    leaking = found(ppo, whole(ppo, replace(rollout, reset=reset & False)))
    assert (leaking[0] - expected[0]).abs() > 1e-6


def in_two_columns(rollout: Rollout, cut: int) -> Rollout:
    """A rollout's only column above and below `cut`, side by side; NaN or true behind the first."""

    def side_by_side(name: str, tensor: Tensor) -> Tensor:
        if name == "sequence_state":
            return torch.cat([tensor, torch.zeros_like(tensor)], dim=1)
        filler = math.nan if tensor.is_floating_point() else 0
        missing = tensor.new_full((len(tensor) - 2 * cut, *tensor.shape[1:]), filler)
        return torch.cat([torch.cat([tensor[:cut], missing]), tensor[cut:]], dim=1)

    return each(rollout, side_by_side)


def test_a_termination_and_a_truncation_differ_by_what_follows_them() -> None:
    case = Case(lengths=(7,), sequence_length=7)
    ppo, rollout = case.ppo(advantage_normalization="none"), case.rollout()
    boundary = torch.zeros(7, 1, dtype=torch.bool)
    boundary[[2, 6]] = True
    returns = []
    for following in (0.0, 1.5):
        rollout.next_value[2] = following
        returns.append(whole(ppo, replace(rollout, boundary=boundary)).estimate.return_[:, 0, 0])
    # Of row 2 by discount * 1.5; of row 1 by discount * lambda * that, ...; of row 3 not at all.
    carry = 0.9 * 0.7
    difference = torch.tensor([carry**2, carry, 1.0, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(returns[1] - returns[0], 0.9 * 1.5 * difference)


@settings(max_examples=15)
@given(cases())
def test_looking_at_experience_does_not_change_it(case: Case) -> None:
    ppo, rollout = case.ppo(), case.rollout()
    minibatch = whole(ppo, rollout)
    before = tensors_of(rollout), tensors_of(minibatch)
    found(ppo, minibatch)
    torch.testing.assert_close((tensors_of(rollout), tensors_of(minibatch)), before, rtol=0, atol=0)
