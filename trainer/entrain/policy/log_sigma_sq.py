"""How far a continuous policy strays: free parameters, kept smoothly between a floor and a ceiling.

Nothing here knows of observations: the spread is the same wherever the agent is.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class BoundedLogSigmaSq(nn.Module):
    """The logarithm of the variance of each of D action dimensions.

        log_sigma_sq = logaddexp(parameter, minimum) - softplus(parameter - maximum)

    lies between minimum and maximum, and away from them equals the parameter, with slope 1. A hard
    clamp would have slope 0 beyond a bound, and a dimension that got there could never return.
    """

    def __init__(self, size: int, *, initial: float, minimum: float, maximum: float) -> None:
        """Start every dimension at exactly `initial`, which lies between the bounds.

        With m the minimum and M the maximum, the parameter that gives `initial` is

            initial + ln(1 - exp(m - initial)) - ln(1 - exp(initial - M))
        """
        super().__init__()
        parameter = (
            initial
            + math.log(-math.expm1(minimum - initial))
            - math.log(-math.expm1(initial - maximum))
        )
        self.parameter = nn.Parameter(torch.full((size,), parameter))
        self._maximum = maximum
        self.minimum: Tensor
        self.register_buffer("minimum", torch.tensor(minimum), persistent=False)

    def forward(self) -> Tensor:
        """[D] the effective log_sigma_sq."""
        above_floor = torch.logaddexp(self.parameter, self.minimum)
        return above_floor - functional.softplus(self.parameter - self._maximum)
