"""Converts the policy's actions to the environment's units, within the environment's bounds.

A dimension that is bounded on both sides is [-clip, clip] to the policy, usually [-1, 1]; any other
is in the environment's own units. Nothing here is learned.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from entrain_envs.shapes import Bool, Float, Shaped
from entrain_envs.spec import ActionSpec

NEAR_BOUND = 0.99
"""A squashed action in (-1, 1) counts as clipped beyond this."""


class ActionBounds(nn.Module):
    """Scales the policy's continuous actions, then clips them.

    A dimension with two bounds maps [-clip, clip] to [low, high], where `clip` is the option
    `action.clip`; any other is only clipped at the bound it may have. Discrete choices stay as they
    are.
    """

    unit: Tensor
    """[D] the sampled value that reaches a bound; 1 without a range."""

    center: Tensor
    """[D] the middle of the range; 0 without a range."""

    half_range: Tensor
    """[D] half the width of the range; 1 without a range."""

    low: Tensor
    """[D] the lower bounds, -inf where there is none."""

    high: Tensor
    """[D] the upper bounds, inf where there is none."""

    def __init__(self, action: ActionSpec, *, clip: float = 1.0) -> None:
        """Of a behaviour's actions; `clip` is the sampled value that reaches a bound."""
        super().__init__()
        self.has_unit = clip != 1.0
        """Whether sampled values are divided by `unit`, which otherwise is 1."""
        ranges = [
            ((low + high) / 2, (high - low) / 2) if bounded else (0.0, 1.0)
            for low, high, bounded in zip(action.low, action.high, has_range(action), strict=True)
        ]
        buffers = {
            "center": [center for center, _ in ranges],
            "half_range": [half_range for _, half_range in ranges],
            "unit": [clip if bounded else 1.0 for bounded in has_range(action)],
            "low": list(action.low),
            "high": list(action.high),
        }
        for name, values in buffers.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(
        self, action: Mapping[str, Shaped[Tensor, "*rows _"]]
    ) -> Mapping[str, Shaped[Tensor, "*rows _"]]:
        """{"continuous": [..., D], "discrete": [..., N]} as the environment takes it."""
        if "continuous" not in action:
            return action
        return {**action, "continuous": self.bounded(action["continuous"])}

    def bounded(self, continuous: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows D"]:
        """[..., D] within [low, high]."""
        return torch.clamp(self._scaled(continuous), self.low, self.high)

    def relative(self, continuous: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows D"]:
        """[..., D] what the environment gets, from -1 to 1 where there is a range.

        (bounded - center) / half_range
        """
        return (self.bounded(continuous) - self.center) / self.half_range

    def is_clipped(self, continuous: Float[Tensor, "*rows D"]) -> Bool[Tensor, "*rows D"]:
        """[..., D] bool: whether the sampled number lies beyond a bound, and is clipped."""
        scaled = self._scaled(continuous)
        return (scaled < self.low) | (scaled > self.high)

    def _scaled(self, continuous: Tensor) -> Tensor:
        if self.has_unit:
            continuous = continuous / self.unit
        return torch.addcmul(self.center, self.half_range, continuous)


class SquashedActionBounds(ActionBounds):
    """For a squashed Gaussian: applies tanh where there is a range, then scales and clips."""

    squashed: Tensor
    """[D] bool, true where both bounds are finite."""

    def __init__(self, action: ActionSpec) -> None:
        super().__init__(action)
        self.register_buffer("squashed", torch.tensor(has_range(action)), persistent=False)

    def bounded(self, continuous: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows D"]:
        """[..., D] within [low, high]; tanh reaches the bounds only by rounding."""
        return super().bounded(torch.where(self.squashed, torch.tanh(continuous), continuous))

    def is_clipped(self, continuous: Float[Tensor, "*rows D"]) -> Bool[Tensor, "*rows D"]:
        """[..., D] bool: clipped at a bound, or beyond `NEAR_BOUND` where tanh is applied."""
        return torch.where(
            self.squashed, torch.tanh(continuous).abs() > NEAR_BOUND, super().is_clipped(continuous)
        )


def has_range(action: ActionSpec) -> list[bool]:
    """[D] whether the dimension is bounded on both sides."""
    return [
        math.isfinite(low) and math.isfinite(high)
        for low, high in zip(action.low, action.high, strict=True)
    ]
