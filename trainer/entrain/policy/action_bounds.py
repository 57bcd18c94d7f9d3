"""The last step of an action on its way to the environment: its units, and never out of bounds.

The policy acts in [-1, 1] where a dimension is bounded on both sides, in the environment's own
units where it is not. Nothing here is learned.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from entrain_envs.spec import ActionSpec

NEAR_BOUND = 0.99
"""Of a squashed action in (-1, 1): beyond this it is as good as clipped."""


class ActionBounds(nn.Module):
    """Maps the policy's continuous action to the environment's: affinely, then clipped.

    A dimension with two bounds maps [-1, 1] to [low, high]; one with fewer passes through, and is
    clipped at the bound it has. Choices of discrete branches pass through.
    """

    center: Tensor
    """[D] middle of the range, 0 without one."""

    half_range: Tensor
    """[D] half the width of the range, 1 without one."""

    low: Tensor
    """[D] -inf where there is none."""

    high: Tensor
    """[D] inf where there is none."""

    def __init__(self, action: ActionSpec) -> None:
        super().__init__()
        ranges = [
            ((low + high) / 2, (high - low) / 2) if bounded else (0.0, 1.0)
            for low, high, bounded in zip(action.low, action.high, has_range(action), strict=True)
        ]
        buffers = {
            "center": [center for center, _ in ranges],
            "half_range": [half_range for _, half_range in ranges],
            "low": list(action.low),
            "high": list(action.high),
        }
        for name, values in buffers.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, action: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """{"continuous": [..., D], "discrete": [..., N]} as the environment takes it."""
        if "continuous" not in action:
            return action
        return {**action, "continuous": self.bounded(action["continuous"])}

    def bounded(self, continuous: Tensor) -> Tensor:
        """[..., D] within [low, high]."""
        scaled = torch.addcmul(self.center, self.half_range, continuous)
        return torch.clamp(scaled, self.low, self.high)

    def is_clipped(self, continuous: Tensor) -> Tensor:
        """[..., D] bool: whether the sampled number lies beyond a bound, and is cut to it."""
        scaled = torch.addcmul(self.center, self.half_range, continuous)
        return (scaled < self.low) | (scaled > self.high)


class SquashedActionBounds(ActionBounds):
    """The same for actions before tanh, which brings them into (-1, 1) where there is a range."""

    squashed: Tensor
    """[D] bool, true where both bounds are finite."""

    def __init__(self, action: ActionSpec) -> None:
        super().__init__(action)
        self.register_buffer("squashed", torch.tensor(has_range(action)), persistent=False)

    def bounded(self, continuous: Tensor) -> Tensor:
        """[..., D] within [low, high]; the bounds themselves are reached only by rounding."""
        return super().bounded(torch.where(self.squashed, torch.tanh(continuous), continuous))

    def is_clipped(self, continuous: Tensor) -> Tensor:
        """[..., D] bool: cut at a bound or, where tanh bounds, within the last hundredth to one."""
        return torch.where(
            self.squashed, torch.tanh(continuous).abs() > NEAR_BOUND, super().is_clipped(continuous)
        )


def has_range(action: ActionSpec) -> list[bool]:
    """[D] whether the dimension is bounded on both sides."""
    return [
        math.isfinite(low) and math.isfinite(high)
        for low, high in zip(action.low, action.high, strict=True)
    ]
