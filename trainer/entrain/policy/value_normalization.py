"""Turns a critic's normalised outputs into values in units of the reward, and back.

A critic that learns returns of 1e6 or 1e-6 as they are has an error, and so a gradient, of another
size than its policy's. So it predicts (return - mean) / deviation, with a running mean and
deviation of the returns of each value stream: whatever the rewards' unit, it learns the same.

Source: van Hasselt et al. 2016, "Learning values across many orders of magnitude"
(arXiv:1602.07714); the head that keeps its values while the statistics change is in `critic`.

Shapes: N steps, V value streams.
"""

import numpy as np
import torch
from torch import Tensor, nn

from entrain.ranks import ALONE, Ranks
from entrain.state import State
from entrain_envs.shapes import Float

PREFIX = "value_head.normalizer."
"""Of the names of its statistics among the weights of a policy."""

WINDOW = 10
"""Rollouts whose returns decide, each as much as the others. Returns grow as a policy improves, so
statistics of the whole run would lag behind; and what a simulator once sent by mistake, or in
another unit, is forgotten."""

LEAST_DEVIATION = 1e-4
"""Of a stream, in units of its mean. Returns that are all equal have none; values in float32 are
exact to a thousandth of this."""


class ValueNormalizer(nn.Module):
    """value = shift + scale * output, for the outputs of V value streams.

    `update` makes shift the mean of a stream's returns in the last rollouts, and scale their
    standard deviation. Until a stream had a return other than zero its scale is 0: a critic that
    has seen no reward does not know of what size values are, and says 0. Without `normalize`
    outputs are values.
    """

    count: Tensor
    """[] int64, rollouts that were added."""

    means: Tensor
    """[WINDOW, V] float64, of the returns of each of the last rollouts."""

    variances: Tensor
    """[WINDOW, V] float64."""

    shift: Tensor
    """[V] float32. It and `scale` follow from the statistics, but are saved with them, so that
    loading needs no further step."""

    scale: Tensor
    """[V] float32."""

    def __init__(self, num_streams: int, *, normalize: bool) -> None:
        super().__init__()
        self.normalizes = normalize
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        for name in ("means", "variances"):
            self.register_buffer(name, torch.zeros(WINDOW, num_streams, dtype=torch.float64))
        self.register_buffer("shift", torch.zeros(num_streams))
        self.register_buffer("scale", torch.full((num_streams,), 0.0 if normalize else 1.0))

    def forward(self, output: Float[Tensor, "*rows V"]) -> Float[Tensor, "*rows V"]:
        """Values in units of the reward."""
        return torch.addcmul(self.shift, output, self.scale)

    def normalized(self, value: Float[Tensor, "*rows V"]) -> Float[Tensor, "*rows V"]:
        """The output that stands for `value`; 0 in a stream without a scale.

        In float64 in between: returns may all be close to a mean that is far from zero.
        """
        distance = value.double() - self.shift
        scale = self.scale.double()
        return torch.where(scale > 0.0, distance / scale, 0.0).to(value.dtype)

    @torch.no_grad()
    def update(self, return_: Float[Tensor, "N V"], *, ranks: Ranks = ALONE) -> None:
        """Add the returns of one rollout, N steps of each rank, to the statistics.

            shift   = mean of the rollouts' means
            scale^2 = mean of the rollouts' variances + variance of their means

        No number here has a unit, so returns of 1e-30 are treated as those of 1e30.
        """
        rows = ranks.total(len(return_))
        if rows == 0 or not self.normalizes:
            return
        returns = return_.double()
        mean = ranks.mean(returns.mean(dim=0), weight=len(returns))
        place = int(self.count) % WINDOW
        self.means[place] = mean
        self.variances[place] = ranks.sum((returns - mean).square().sum(dim=0)) / rows
        self.count += 1
        means, variances = (each[: int(self.count)] for each in (self.means, self.variances))
        shift = means.mean(dim=0)
        variance = variances.mean(dim=0) + means.var(dim=0, correction=0)
        scale = (variance + (LEAST_DEVIATION * shift).square()).sqrt()
        # Below this, float32 cannot hold it: both stay what they were.
        has_scale = scale > torch.finfo(torch.float32).tiny
        self.shift.copy_(torch.where(has_scale, shift, self.shift))
        self.scale.copy_(torch.where(has_scale, scale, self.scale))

    @torch.no_grad()
    def multiply(self, stream: int, factor: float) -> None:
        """Let all returns of a stream, and so its values, have been so many times as large.

        Without `normalize` a critic's outputs are values, and nothing is changed.
        """
        if self.normalizes:
            for each in (self.means, self.shift, self.scale):
                each[..., stream] *= factor
            self.variances[..., stream] *= factor * factor

    @torch.no_grad()
    def forget(self) -> None:
        """Let the next rollout decide alone; until then shift and scale stay as they are."""
        self.count.zero_()


def completed(arrays: State, num_streams: int) -> State:
    """The arrays of a policy that was saved before there was a normalizer: outputs were values.

    Args:
        arrays: {name: array} of parameters and buffers, or of buffers alone.
        num_streams: V.
    """
    identity = ValueNormalizer(num_streams, normalize=False)
    buffers = {
        f"{PREFIX}{name}": np.array(buffer.numpy()) for name, buffer in identity.named_buffers()
    }
    return {**buffers, **arrays}
