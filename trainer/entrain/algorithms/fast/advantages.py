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
    advantage: FloatArray, starts: AnyArray, *, ranks: Ranks
) -> tuple[FloatArray, FloatArray]:
    """`losses.normalized` for each of K minibatches.

    Args:
        advantage: [N] in the order of an epoch.
        starts: [K + 1] int64, where each minibatch starts, then N.
        ranks: mean and deviation of a minibatch are those over the steps of all of them.

    Returns:
        advantage: [N].
        scale: [K] what those of each minibatch were divided by.
    """
    sizes = np.diff(starts)
    if ranks is not ALONE or sizes.min() < 2:
        return _one_by_one(advantage, starts, ranks)
    numbers = advantage.astype(np.float64)
    mean = np.add.reduceat(numbers, starts[:-1]) / sizes
    deviation = numbers - np.repeat(mean, sizes)
    squares = np.add.reduceat(deviation * deviation, starts[:-1])
    std = np.sqrt(squares / (sizes - 1)).astype(advantage.dtype)
    scale = std + EPSILON * np.abs(mean).astype(advantage.dtype)
    scale = np.where(scale > 0.0, scale, scale.dtype.type(1.0))
    return (deviation / np.repeat(scale, sizes)).astype(advantage.dtype), scale


def _one_by_one(
    advantage: FloatArray, starts: AnyArray, ranks: Ranks
) -> tuple[FloatArray, FloatArray]:
    pieces, scales = [], []
    for first, last in pairwise(starts):
        piece, scale = normalized(torch.from_numpy(advantage[first:last]), None, ranks=ranks)
        pieces.append(view(piece))
        scales.append(float(scale))
    return np.concatenate(pieces), np.array(scales, advantage.dtype)
