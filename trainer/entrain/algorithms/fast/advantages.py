"""Advantages normalised over each minibatch of an epoch, all minibatches at once."""

from itertools import pairwise

import numpy as np
import torch

from entrain.algorithms.losses import normalized
from entrain.inference.arrays import AnyArray, FloatArray, view
from entrain.ranks import ALONE, Ranks

EPSILON = 1e-8
"""As in `losses.normalized`."""


def normalized_by_minibatch(
    advantage: FloatArray, starts: AnyArray, *, ranks: Ranks, weight: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """`losses.normalized` for each of K minibatches.

    Args:
        advantage: [N] in the order of an epoch.
        starts: [K + 1] int64, where each minibatch starts, then N.
        ranks: mean and deviation of a minibatch are those over the steps of all of them.
        weight: [N] see `Estimate.weight`: mean and deviation leave steps of weight 0 out.

    Returns:
        advantage: [N].
        scale: [K] what those of each minibatch were divided by.
    """
    sizes = np.diff(starts)
    if weight is None and ranks is ALONE and sizes.min() < 2:
        return _one_by_one(advantage, starts)
    numbers = advantage.astype(np.float64)
    counted = None if weight is None else (weight > 0.0).astype(np.float64)
    sums = np.stack(
        [sizes.astype(np.float64), _sums(numbers, starts)]
        if counted is None
        else [_sums(counted, starts), _sums(numbers * counted, starts)]
    )
    counts, totals = ranks.sum(torch.from_numpy(sums)).numpy()
    mean = totals / np.maximum(counts, 1.0)
    deviation = numbers - np.repeat(mean, sizes)
    squared = deviation * deviation if counted is None else deviation * deviation * counted
    squares = ranks.sum(torch.from_numpy(_sums(squared, starts))).numpy()
    # A minibatch of a single step, over all ranks, stays as it is.
    has_spread = counts >= 2
    std = np.sqrt(squares / np.maximum(counts - 1, 1.0)).astype(advantage.dtype)
    scale = std + EPSILON * np.abs(mean).astype(advantage.dtype)
    scale = np.where((scale > 0.0) & has_spread, scale, scale.dtype.type(1.0))
    if not has_spread.all():
        deviation = numbers - np.repeat(np.where(has_spread, mean, 0.0), sizes)
    return (deviation / np.repeat(scale, sizes)).astype(advantage.dtype), scale


def _sums(numbers: FloatArray, starts: AnyArray) -> FloatArray:
    """[K] the sum over each minibatch; 0 of one without a step on this rank."""
    sums = np.zeros(len(starts) - 1)
    has_steps = np.diff(starts) > 0
    if has_steps.any():
        sums[has_steps] = np.add.reduceat(numbers, starts[:-1][has_steps])
    return sums


def _one_by_one(advantage: FloatArray, starts: AnyArray) -> tuple[FloatArray, FloatArray]:
    pieces, scales = [], []
    for first, last in pairwise(starts):
        piece, scale = normalized(torch.from_numpy(advantage[first:last]), None)
        pieces.append(view(piece))
        scales.append(float(scale))
    return np.concatenate(pieces), np.array(scales, advantage.dtype)
