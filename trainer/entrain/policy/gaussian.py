"""Gaussian action distributions: plain, and squashed into (-1, 1) by tanh.

Shapes: [...] are the leading dimensions of the mean, usually [T, B]; D action dimensions.
A sampled action is a constant in `log_prob`: gradients flow to mean and log_sigma_sq alone.
"""

import math
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

LOG_2_PI = math.log(2.0 * math.pi)
QUADRATURE_NODES = 72
"""Enough for an entropy within 1e-4 and gradients within 1e-3 at every sigma up to e^2 = 7.4, the
default ceiling; an entropy within 1e-6 up to sigma = 4. Beyond the ceiling both grow wrong: the
entropy by 0.01 at sigma = 20."""

QUADRATURE_REACH = 5.5
"""In sigma. The density beyond, 4e-8, is left out."""


def entropy_per_dimension(log_sigma_sq: Tensor) -> Tensor:
    """[D] nats of each normal dimension: 1/2 * (ln(2 pi e) + log_sigma_sq)."""
    return 0.5 * (log_sigma_sq + (1.0 + LOG_2_PI))


class DiagonalGaussian:
    """Independent normal dimensions, a ~ N(mean, sigma^2), with sigma^2 = exp(log_sigma_sq)."""

    def __init__(self, mean: Tensor, log_sigma_sq: Tensor) -> None:
        """Hold the parameters.

        Args:
            mean: [..., D].
            log_sigma_sq: [D], the same wherever the agent is.
        """
        self.mean = mean
        self.log_sigma_sq = log_sigma_sq
        self.sigma_sq = log_sigma_sq.exp()

    def parameters(self) -> Mapping[str, Tensor]:
        """{"action_mean": [..., D], "log_sigma_sq": [..., D]}, before any bounds."""
        return {
            "action_mean": self.mean,
            "log_sigma_sq": self.log_sigma_sq.expand_as(self.mean),
        }

    def masked(self, action_mask: Tensor) -> "DiagonalGaussian":
        """Itself: there are no choices to forbid. `action_mask` is [..., 0]."""
        del action_mask
        return self

    def sample(self, noise: Tensor) -> Mapping[str, Tensor]:
        """[..., D] mean + sigma * ndtri(noise), noise [..., D] float64 uniform in (0, 1)."""
        normal = torch.special.ndtri(noise).to(self.mean.dtype)
        return {"continuous": torch.addcmul(self.mean, self.sigma_sq.sqrt(), normal)}

    def mode(self) -> Mapping[str, Tensor]:
        """The most likely action, [..., D]."""
        return {"continuous": self.mean}

    def log_prob(self, action: Mapping[str, Tensor]) -> Tensor:
        """[...] log-density of the joint action.

            ln p(a) = -1/2 * sum_d ((a_d - mean_d)^2 / sigma_d^2 + log_sigma_sq_d + ln 2 pi)

        with the gradients, a being a constant,

            d ln p / d mean_d         = (a_d - mean_d) / sigma_d^2
            d ln p / d log_sigma_sq_d = ((a_d - mean_d)^2 / sigma_d^2 - 1) / 2
        """
        deviation = action["continuous"].detach() - self.mean
        constant = self.log_sigma_sq + LOG_2_PI
        exponent = torch.addcdiv(constant, deviation * deviation, self.sigma_sq)
        return -0.5 * exponent.sum(dim=-1)

    def entropy(self) -> Tensor:
        """[...] nats: 1/2 * sum_d (ln(2 pi e) + log_sigma_sq_d), wherever the agent is."""
        entropy = entropy_per_dimension(self.log_sigma_sq).sum()
        return entropy.expand(self.mean.shape[:-1])


class SquashedGaussian(DiagonalGaussian):
    """tanh(u) of a Gaussian u, in the dimensions where the action is bounded on both sides.

    The action it samples and is asked about is u, before tanh: then its log-probability is exact
    even where tanh(u) rounds to 1. `ActionBounds` applies tanh on the way to the environment.
    """

    def __init__(self, mean: Tensor, log_sigma_sq: Tensor, squashed: Tensor) -> None:
        """Hold the parameters.

        Args:
            mean: [..., D] of u.
            log_sigma_sq: [D] of u.
            squashed: [D] 1 where tanh is applied, 0 where u is the action itself.
        """
        super().__init__(mean, log_sigma_sq)
        self._squashed = squashed

    def log_prob(self, action: Mapping[str, Tensor]) -> Tensor:
        """[...] log-density of tanh(u), given u: ln p(u) - sum_d ln(1 - tanh(u_d)^2)."""
        correction = log_tanh_slope(action["continuous"].detach()) @ self._squashed
        return super().log_prob(action) - correction

    def entropy(self) -> Tensor:
        """[...] nats: H(u) + sum_d E[ln(1 - tanh(u_d)^2)], by quadrature.

        E[f(u)] ~ sum_i weight_i * f(mean + sigma * node_i)
        """
        nodes, weights = normal_quadrature(QUADRATURE_NODES)
        sigma = self.sigma_sq.sqrt()
        u = self.mean.unsqueeze(-1) + sigma.unsqueeze(-1) * nodes.to(self.mean)
        correction = log_tanh_slope(u) @ weights.to(self.mean)
        return super().entropy() + correction @ self._squashed


def log_tanh_slope(u: Tensor) -> Tensor:
    """ln(1 - tanh(u)^2) = 2 (ln 2 - u - softplus(-2u)), finite for every finite u."""
    return 2.0 * (math.log(2.0) - u - functional.softplus(-2.0 * u))


@cache
def normal_quadrature(num_nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights, both [num_nodes] float64, of an expectation under N(0, 1).

    The trapezoidal rule: equal distances h, weights in proportion to the density. For
    ln(1 - tanh(u)^2), whose poles are pi/2 off the real line, its error falls like
    exp(-pi^2 / (sigma * h)). Gauss-Hermite nodes, being exact for polynomials, reach out far into
    tails that weigh nothing: at sigma = e^2 as many of them are hundreds of times as wrong.

    Source: Trefethen & Weideman 2014, "The exponentially convergent trapezoidal rule", theorem 5.1.
    """
    nodes = torch.linspace(-QUADRATURE_REACH, QUADRATURE_REACH, num_nodes, dtype=torch.float64)
    return nodes, torch.softmax(-0.5 * nodes.square(), dim=0)
