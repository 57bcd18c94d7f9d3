"""The log-variances of continuous actions, kept smoothly between two bounds.

    log_sigma_sq = logaddexp(p, minimum) - softplus(p - maximum)

lies between minimum and maximum; away from them it equals p, with slope 1. A hard clamp would have
slope 0 beyond a bound, and a dimension beyond it could never return. p is a free parameter of each
dimension, or an output of the policy's network.

Shapes: R rows of F features; D dimensions.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from entrain.config.policy import ActionConfig
from entrain_envs.shapes import Float

SPREAD_GAIN = 0.01
"""Of the initial weights of a network's log-variances: like the means (see `POLICY_GAIN`), they do
not depend on the observation at first."""


class BoundedLogSigmaSq(nn.Module):
    """The function that bounds log-variances, and its inverse."""

    minimum: Tensor
    """[]"""

    def __init__(self, *, minimum: float, maximum: float) -> None:
        """Bound by `minimum` and `maximum`, the greater one."""
        super().__init__()
        self.maximum = maximum
        self.register_buffer("minimum", torch.tensor(minimum), persistent=False)

    def bounded(self, unbounded: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows D"]:
        """[..., D] log_sigma_sq of p."""
        # logaddexp(p, minimum). Under its name it would be exported as ln(exp(p) + exp(minimum)),
        # which is infinite from p = 89 on, and whose small second term the exporter leaves out.
        apart = (unbounded - self.minimum).abs()
        above_floor = torch.maximum(unbounded, self.minimum) + functional.softplus(-apart)
        return above_floor - functional.softplus(unbounded - self.maximum)

    def unbounded(self, log_sigma_sq: float) -> float:
        """The p that gives `log_sigma_sq`, which lies between the bounds.

        With m the minimum and M the maximum,

            p = l + ln(1 - exp(m - l)) - ln(1 - exp(l - M))
        """
        return (
            log_sigma_sq
            + math.log(-math.expm1(float(self.minimum) - log_sigma_sq))
            - math.log(-math.expm1(log_sigma_sq - self.maximum))
        )


class ParameterSpread(BoundedLogSigmaSq):
    """State-independent: one number for each dimension, whatever is observed."""

    def __init__(self, size: int, *, initial: float, minimum: float, maximum: float) -> None:
        """Start each of D = `size` dimensions at exactly `initial`."""
        super().__init__(minimum=minimum, maximum=maximum)
        self.parameter = nn.Parameter(torch.full((size,), self.unbounded(initial)))

    def forward(self, features: Float[Tensor, "R F"] | None = None) -> Float[Tensor, " D"]:
        """[D] the effective log_sigma_sq; `features` have no effect."""
        del features
        return self.bounded(self.parameter)


class NetworkSpread(BoundedLogSigmaSq):
    """State-dependent: p is a linear layer of the features that the means are computed from."""

    def __init__(
        self,
        size: int,
        inputs: int,
        *,
        initial: float,
        minimum: float,
        maximum: float,
        generator: torch.Generator,
    ) -> None:
        """Start each of D = `size` dimensions near `initial`, from F = `inputs` features."""
        super().__init__(minimum=minimum, maximum=maximum)
        weight = torch.empty(size, inputs)
        nn.init.orthogonal_(weight, gain=SPREAD_GAIN, generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.full((size,), self.unbounded(initial)))

    def forward(self, features: Float[Tensor, "R F"]) -> Float[Tensor, "R D"]:
        """[R, D] the effective log_sigma_sq."""
        return self.bounded(functional.linear(features, self.weight, self.bias))


def make_spread(
    size: int, config: ActionConfig, inputs: int, *, generator: torch.Generator
) -> ParameterSpread | NetworkSpread:
    """The log-variances of `size` dimensions that the options describe, of `inputs` features."""
    if config.log_sigma_sq == "network":
        return NetworkSpread(
            size,
            inputs,
            initial=config.initial_log_sigma_sq,
            minimum=config.min_log_sigma_sq,
            maximum=config.max_log_sigma_sq,
            generator=generator,
        )
    return ParameterSpread(
        size,
        initial=config.initial_log_sigma_sq,
        minimum=config.min_log_sigma_sq,
        maximum=config.max_log_sigma_sq,
    )
