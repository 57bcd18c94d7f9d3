"""Takes back what an update has changed, if it ends early."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from entrain.algorithms.optimizer import Adam
from entrain.policy.value_normalization import ValueNormalizer


@contextmanager
def all_or_nothing(
    optimizer: Adam, generator: torch.Generator, statistics: ValueNormalizer
) -> Iterator[None]:
    """Restore all that an update changes if the block ends early, whatever the reason.

    Args:
        optimizer: with the weights and their moments.
        generator: of the order of minibatches.
        statistics: of the returns.
    """
    moments, order = optimizer.snapshot(), generator.get_state()
    before = {name: buffer.clone() for name, buffer in statistics.named_buffers()}
    try:
        yield
    except BaseException:
        optimizer.restore(moments)
        generator.set_state(order)
        statistics.load_state_dict(before)
        raise
