"""The metrics of an update: means over valid steps, whatever minibatch they were in."""

import math

import pytest
import torch
from torch import Tensor

from entrain.algorithms.telemetry import EpochLog, LossTerms, mean_over_epochs


def row(*numbers: float) -> Tensor:
    return torch.tensor([numbers], dtype=torch.float64)


def terms(*, policy: Tensor, value: Tensor, entropy: Tensor, ratio: Tensor) -> LossTerms:
    """The regularizer is ten below the entropy."""
    return LossTerms(
        policy=policy,
        value=value,
        regularization=entropy - 10.0,
        scale=torch.ones(()),
        entropy=entropy,
        log_ratio=ratio.log(),
        features=torch.zeros(1, 1, 1),
    )


def test_metrics_are_means_over_the_steps_of_all_minibatches_by_hand() -> None:
    nan = math.nan
    log = EpochLog()
    log.add(
        terms(
            policy=row(1, 2, nan),
            value=row(10, 20, nan),
            entropy=row(0.5, 1.5, nan),
            ratio=row(1.0, 2.0, nan),
        ),
        torch.tensor([[True, True, False]]),
        torch.tensor(3.0, dtype=torch.float64),
    )
    log.add(
        terms(policy=row(6), value=row(60), entropy=row(4), ratio=row(0.5)),
        torch.tensor([[True]]),
        torch.tensor(5.0, dtype=torch.float64),
    )
    log.head_squares = torch.tensor([3.0, 1.0], dtype=torch.float64)
    assert log.metrics(clip_range=0.2) == pytest.approx(
        {
            "value/gradient_share": 0.75,
            "loss/policy": 3.0,
            "loss/value": 30.0,
            "loss/entropy": 8.0,
            "policy/entropy": 2.0,
            # (r - 1) - ln r of 1, 2, 1/2: 0, 1 - ln 2, ln 2 - 1/2.
            "policy/kl": 0.5 / 3.0,
            "policy/clip_fraction": 2.0 / 3.0,
            # A minibatch has one gradient, however many steps it has.
            "policy/gradient_norm": 4.0,
        }
    )


def test_ratios_of_dimensions_make_one_kl_and_are_counted_one_by_one() -> None:
    # Ratios of two steps' two dimensions: (1/2, 2), jointly 1 with KL 0, and (1, 2), jointly 2 with
    # KL 1 - ln 2. Of the four, three are beyond 0.2.
    log = EpochLog()
    ratio = torch.tensor([[[0.5, 2.0], [1.0, 2.0], [9.0, 9.0]]], dtype=torch.float64)
    nothing = row(0, 0, 0)
    log.add(
        terms(policy=nothing, value=nothing, entropy=nothing, ratio=ratio),
        torch.tensor([[True, True, False]]),
        torch.tensor(1.0, dtype=torch.float64),
    )
    found = log.metrics(clip_range=0.2)
    assert found["policy/kl"] == pytest.approx(0.5 * (1.0 - math.log(2.0)))
    assert found["policy/clip_fraction"] == pytest.approx(0.75)


def test_a_minibatch_without_a_step_counts_for_the_gradient_norm_alone() -> None:
    log, one = EpochLog(), row(1)
    log.add(terms(policy=one, value=one, entropy=one, ratio=one), one > 0, torch.tensor(3.0))
    log.add_empty(torch.tensor(5.0))
    metrics = log.metrics(clip_range=0.2)
    assert metrics["loss/policy"] == 1.0
    assert metrics["policy/gradient_norm"] == 4.0


def test_every_metric_is_a_plain_number() -> None:
    log = EpochLog()
    ones = row(1, 1).requires_grad_()
    log.add(
        terms(policy=ones, value=ones, entropy=ones, ratio=ones),
        torch.tensor([[True, True]]),
        torch.tensor(1.0, dtype=torch.float64),
    )
    assert {type(value) for value in log.metrics(clip_range=0.2).values()} == {float}


def test_a_number_that_is_not_finite_is_reported_as_it_is() -> None:
    # The update is refused because of it.
    log = EpochLog()
    log.add(
        terms(policy=row(math.inf), value=row(0), entropy=row(0), ratio=row(1)),
        torch.tensor([[True]]),
        torch.tensor(1.0, dtype=torch.float64),
    )
    assert log.metrics(clip_range=0.2)["loss/policy"] == math.inf


def test_epochs_weigh_equally() -> None:
    assert mean_over_epochs([{"a": 1.0, "b": 0.0}, {"a": 3.0, "b": 5.0}]) == {"a": 2.0, "b": 2.5}
