"""Batch renormalisation: by hand, beside torch's batch normalisation, and over ranks."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from entrain.config.sac import BatchNormConfig
from entrain.policy.batch_renorm import (
    D_MAX,
    EPSILON,
    R_MAX,
    BatchRenormalisedLayers,
    GroupedBatchRenorm,
    running_statistics,
    take_over_batch,
)
from entrain.ranks import Ranks
from ranks_in_threads import together

WARM = BatchNormConfig(warmup_steps=0)


def random_rows(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3.0 * torch.randn(*shape, generator=generator, dtype=torch.float64) + 1.0


def made_norm(groups: int, size: int, config: BatchNormConfig) -> GroupedBatchRenorm:
    """In float64, with random scale and shift."""
    norm = GroupedBatchRenorm(groups, size, config).double()
    with torch.no_grad():
        norm.weight.copy_(random_rows(groups, 1, size, seed=1))
        norm.bias.copy_(random_rows(groups, 1, size, seed=2))
    return norm


def test_a_batch_by_hand() -> None:
    # One feature, rows 1 and 5: mean 3, variance 4. weight 2, bias 1.
    norm = GroupedBatchRenorm(1, 1, BatchNormConfig(momentum=0.75)).double()
    nn.init.constant_(norm.weight, 2.0)
    nn.init.constant_(norm.bias, 1.0)
    rows = torch.tensor([[[1.0], [5.0]]], dtype=torch.float64)
    size = 2 * 2 / (4 + EPSILON) ** 0.5
    assert norm(rows).flatten().tolist() == pytest.approx([1 - size, 1 + size])
    take_over_batch(norm, rows=2)
    # 0.75 * 0 + 0.25 * 3, and 0.75 * 1 + 0.25 * 4.
    assert norm.running_mean.item() == pytest.approx(0.75)
    assert norm.running_variance.item() == pytest.approx(1.75)
    assert norm.num_batches.item() == 1
    norm.eval()
    judged = norm(torch.tensor([[[2.75]]], dtype=torch.float64)).item()
    assert judged == pytest.approx(1 + 2 * 2 / (1.75 + EPSILON) ** 0.5)


@pytest.mark.parametrize(
    ("rows", "r", "d"),
    [
        # Running mean 0 and sigma 2. Of the batch: mean and sigma within the bounds,
        ((-1.0, 3.0), 1.0, 0.5),
        # a sigma of 20, ten times as large,
        ((-20.0, 20.0), R_MAX, 0.0),
        # one of 0.02, a hundredth, about a mean of 4,
        ((3.98, 4.02), 1 / R_MAX, 2.0),
        # and means of plus and minus 40, twenty times sigma away.
        ((38.0, 42.0), 1.0, D_MAX),
        ((-42.0, -38.0), 1.0, -D_MAX),
    ],
)
def test_the_correction_is_that_of_the_paper_within_its_bounds(
    rows: tuple[float, float], r: float, d: float
) -> None:
    norm = GroupedBatchRenorm(1, 1, WARM).double()
    norm.running_variance.fill_(4.0)
    mean, sigma = sum(rows) / 2, abs(rows[1] - rows[0]) / 2
    expected = [(x - mean) / (sigma**2 + EPSILON) ** 0.5 * r + d for x in rows]
    found = norm(torch.tensor(rows, dtype=torch.float64).view(1, 2, 1))
    assert found.flatten().tolist() == pytest.approx(expected, abs=1e-3)


def test_within_the_bounds_a_batch_is_normalised_by_running_statistics() -> None:
    norm, rows = made_norm(2, 3, WARM), random_rows(2, 9, 3)
    norm.running_mean.fill_(0.5)
    norm.running_variance.fill_(6.0)
    training = norm(rows)
    torch.testing.assert_close(training, norm.eval()(rows))


def by_torch(x: Tensor, norm: GroupedBatchRenorm, group: int) -> Tensor:
    """[R, F] of one group: torch's batch normalisation, corrected by constants of numpy."""
    batch = x.detach().numpy()
    sigma = np.sqrt(norm.running_variance[group, 0].numpy() + EPSILON)
    r = np.clip(np.sqrt(batch.var(axis=0) + EPSILON) / sigma, 1 / R_MAX, R_MAX)
    d = np.clip((batch.mean(axis=0) - norm.running_mean[group, 0].numpy()) / sigma, -D_MAX, D_MAX)
    normalised = functional.batch_norm(x, None, None, training=True, eps=EPSILON)
    corrected = normalised * torch.from_numpy(r) + torch.from_numpy(d)
    return corrected * norm.weight[group] + norm.bias[group]


@pytest.mark.parametrize("config", [BatchNormConfig(), WARM])
def test_values_and_gradients_are_those_of_torchs_batch_normalisation_corrected_by_constants(
    config: BatchNormConfig,
) -> None:
    norm, rows = made_norm(2, 3, config), random_rows(2, 7, 3).requires_grad_()
    norm.running_mean.copy_(random_rows(2, 1, 3, seed=4))
    norm.running_variance.copy_(random_rows(2, 1, 3, seed=5).square())
    factors = random_rows(7, 3, seed=3)
    for group in range(2):
        expected = by_torch(rows[group], norm, group)
        if config != WARM:
            expected = functional.batch_norm(
                rows[group],
                None,
                None,
                norm.weight[group, 0],
                norm.bias[group, 0],
                True,
                0,
                EPSILON,
            )
        found = norm(rows)[group]
        torch.testing.assert_close(found, expected)
        for own, other in zip(
            torch.autograd.grad((found * factors).sum(), [rows, norm.weight, norm.bias]),
            torch.autograd.grad((expected * factors).sum(), [rows, norm.weight, norm.bias]),
            strict=True,
        ):
            torch.testing.assert_close(own, other)


def test_running_statistics_are_those_of_torch_but_for_dividing_by_all_rows() -> None:
    norm, reference = made_norm(1, 3, BatchNormConfig(momentum=0.9)), nn.BatchNorm1d(3).double()
    for seed in range(4):
        rows = random_rows(1, 8, 3, seed=seed)
        norm(rows)
        take_over_batch(norm, rows=8)
        reference(rows[0])
    mean, variance = reference.running_mean, reference.running_var
    assert mean is not None
    assert variance is not None
    torch.testing.assert_close(norm.running_mean[0, 0], mean)
    # torch divides by 7 of 8 rows; the initial variance of 1 has a share of 0.9^4 in both.
    first = 0.9**4
    torch.testing.assert_close(
        norm.running_variance[0, 0] - first, (variance - first) * (7 / 8), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("shares", [(3, 2), (0, 4), (5, 0, 1)])
def test_running_statistics_are_of_the_rows_of_all_ranks(shares: tuple[int, ...]) -> None:
    rows = random_rows(1, sum(shares), 2)

    def learn(rank: int, ranks: Ranks) -> GroupedBatchRenorm:
        norm = made_norm(1, 2, BatchNormConfig())
        before = sum(shares[:rank])
        own = rows[:, before : before + shares[rank]]
        assert torch.isfinite(norm(own)).all()
        take_over_batch(norm, rows=shares[rank], ranks=ranks)
        return norm

    alone = made_norm(1, 2, BatchNormConfig())
    alone(rows)
    take_over_batch(alone, rows=sum(shares))
    for norm in together(learn, size=len(shares)):
        torch.testing.assert_close(norm.running_mean, alone.running_mean)
        torch.testing.assert_close(norm.running_variance, alone.running_variance)


def test_inputs_and_the_outputs_of_every_activation_are_normalised() -> None:
    layers = BatchRenormalisedLayers(
        2,
        3,
        (5, 4),
        BatchNormConfig(),
        activation="relu",
        generator=torch.Generator().manual_seed(1),
    ).double()
    rows = random_rows(9, 3)
    hidden = layers(rows)
    assert hidden.shape == (2, 9, 4)
    expected = []
    for group in range(2):
        values = functional.batch_norm(rows, None, None, training=True, eps=EPSILON)
        for layer in layers.layers:
            weight, bias = (it[group] for it in layer.parameters())
            values = torch.relu(values @ weight + bias)
            values = functional.batch_norm(values, None, None, training=True, eps=EPSILON)
        expected.append(values)
    torch.testing.assert_close(hidden, torch.stack(expected))
    take_over_batch(layers, rows=9)
    statistics = running_statistics(layers)
    assert len(statistics) == 9
    torch.testing.assert_close(
        statistics["norms.0.running_mean"], 0.01 * rows.mean(dim=0).expand(2, 1, 3)
    )
    for name in ("norms.0", "norms.1", "norms.2"):
        assert statistics[f"{name}.num_batches"] == 1
