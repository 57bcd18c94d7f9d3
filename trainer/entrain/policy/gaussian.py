"""Gaussian action distributions: plain, and squashed into (-1, 1) by tanh.

Shapes: [...] are the leading dimensions of the mean, usually [T, B]; D action dimensions.
`sample` and `log_prob` treat the action as a constant, as policy gradients want it; `rsample`
returns an action and a log-probability that are differentiable in mean and log_sigma_sq.
"""

import math
from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from entrain_envs.shapes import Bool, Float, Shaped

LOG_2_PI = math.log(2.0 * math.pi)
QUADRATURE_NODES = 72
"""Enough for an entropy within 1e-4 and gradients within 1e-3 for every sigma up to e^2 = 7.4, the
default ceiling, and for an entropy within 1e-6 up to sigma = 4. Above the ceiling the error grows:
the entropy is off by 0.01 at sigma = 20."""

QUADRATURE_REACH = 5.5
"""In units of sigma. The probability beyond it, 4e-8, is ignored."""


def entropy_per_dimension(log_sigma_sq: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows D"]:
    """[..., D] nats of each normal dimension: 1/2 * (ln(2 pi e) + log_sigma_sq)."""
    return 0.5 * (log_sigma_sq + (1.0 + LOG_2_PI))


class DiagonalGaussian:
    """Independent normal dimensions, a ~ N(mean, sigma^2), with sigma^2 = exp(log_sigma_sq)."""

    def __init__(self, mean: Float[Tensor, "*rows D"], log_sigma_sq: Float[Tensor, "*_ D"]) -> None:
        """Hold the parameters.

        Args:
            mean: [..., D].
            log_sigma_sq: [D], the same for every observation, or [..., D].
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

    def masked(self, action_mask: Bool[Tensor, "*rows 0"]) -> "DiagonalGaussian":
        """Itself: a Gaussian has no choices to forbid. `action_mask` is [..., 0]."""
        del action_mask
        return self

    def sample(self, noise: Float[Tensor, "*rows D"]) -> Mapping[str, Float[Tensor, "*rows D"]]:
        """[..., D] mean + sigma * ndtri(noise), noise [..., D] float64 uniform in (0, 1)."""
        return {"continuous": self._sample(noise)}

    def rsample(
        self, noise: Float[Tensor, "*rows D"]
    ) -> tuple[Mapping[str, Float[Tensor, "*rows D"]], Float[Tensor, "*rows"]]:
        """The action that `sample` draws and its log-probability, both differentiable.

            a_d = mean_d + sigma_d * ndtri(noise_d)

        with the gradients of the action, noise being a constant,

            d a_d / d mean_d         = 1
            d a_d / d log_sigma_sq_d = (a_d - mean_d) / 2

        and of the log-probability both directly and through the action.

        Returns:
            action: {"continuous": [..., D]}.
            log_prob: [...] nats, equal to `log_prob(action)`.

        Source: Kingma & Welling 2014, "Auto-encoding variational Bayes", section 2.4
        (arXiv:1312.6114).
        """
        continuous = self._sample(noise)
        return {"continuous": continuous}, self._log_density(continuous)

    def mode(self) -> Mapping[str, Tensor]:
        """The most likely action, [..., D]."""
        return {"continuous": self.mean}

    def log_prob(self, action: Mapping[str, Shaped[Tensor, "*rows _"]]) -> Float[Tensor, "*rows"]:
        """[...] log-density of the joint action.

            ln p(a) = -1/2 * sum_d ((a_d - mean_d)^2 / sigma_d^2 + log_sigma_sq_d + ln 2 pi)

        with the gradients, a being a constant,

            d ln p / d mean_d         = (a_d - mean_d) / sigma_d^2
            d ln p / d log_sigma_sq_d = ((a_d - mean_d)^2 / sigma_d^2 - 1) / 2
        """
        return self._log_density(action["continuous"].detach())

    def _sample(self, noise: Tensor) -> Tensor:
        normal = torch.special.ndtri(noise).to(self.mean.dtype)
        return torch.addcmul(self.mean, self.sigma_sq.sqrt(), normal)

    def _log_density(self, continuous: Tensor) -> Tensor:
        """[...] ln p(a), differentiable in the action too."""
        deviation = continuous - self.mean
        constant = self.log_sigma_sq + LOG_2_PI
        exponent = torch.addcdiv(constant, deviation * deviation, self.sigma_sq)
        return -0.5 * exponent.sum(dim=-1)

    def log_prob_per_dimension(
        self, action: Mapping[str, Shaped[Tensor, "*rows _"]]
    ) -> Float[Tensor, "*rows D"]:
        """[..., D] log-density of each dimension, whose sum is `log_prob`."""
        deviation = action["continuous"].detach() - self.mean
        return -0.5 * (deviation * deviation / self.sigma_sq + self.log_sigma_sq + LOG_2_PI)

    def entropy(self) -> Tensor:
        """[...] nats: 1/2 * sum_d (ln(2 pi e) + log_sigma_sq_d)."""
        entropy = entropy_per_dimension(self.log_sigma_sq).sum(dim=-1)
        return entropy.expand(self.mean.shape[:-1])

    def mean_entropy(self) -> Tensor:
        """[...] `entropy` divided by the number of dimensions."""
        return self.entropy() / self.mean.shape[-1]


class SquashedGaussian(DiagonalGaussian):
    """tanh(u) of a Gaussian u, in the dimensions where the action is bounded on both sides.

    Its methods take and return u, the action before tanh, so that the log-probability is exact
    even where tanh(u) rounds to 1. `SquashedActionBounds` applies tanh on the way to the
    environment.
    """

    def __init__(
        self,
        mean: Float[Tensor, "*rows D"],
        log_sigma_sq: Float[Tensor, "*_ D"],
        squashed: Float[Tensor, " D"],
    ) -> None:
        """Hold the parameters.

        Args:
            mean: [..., D] of u.
            log_sigma_sq: [D] or [..., D] of u.
            squashed: [D] 1 where tanh is applied, 0 where u is the action itself.
        """
        super().__init__(mean, log_sigma_sq)
        self._squashed = squashed

    def _log_density(self, continuous: Tensor) -> Tensor:
        """[...] log-density of tanh(u), given u: ln p(u) - sum_d ln(1 - tanh(u_d)^2)."""
        correction = log_tanh_slope(continuous) @ self._squashed
        return super()._log_density(continuous) - correction

    def log_prob_per_dimension(
        self, action: Mapping[str, Shaped[Tensor, "*rows _"]]
    ) -> Float[Tensor, "*rows D"]:
        """[..., D] log-density of tanh(u) in each dimension, given u."""
        correction = log_tanh_slope(action["continuous"].detach()) * self._squashed
        return super().log_prob_per_dimension(action) - correction

    def entropy(self) -> Tensor:
        """[...] nats: H(u) + sum_d E[ln(1 - tanh(u_d)^2)], by quadrature.

        E[f(u)] ~ sum_i weight_i * f(mean + sigma * node_i)
        """
        nodes, weights = normal_quadrature(QUADRATURE_NODES)
        sigma = self.sigma_sq.sqrt()
        u = self.mean.unsqueeze(-1) + sigma.unsqueeze(-1) * nodes.to(self.mean)
        correction = log_tanh_slope(u) @ weights.to(self.mean)
        return super().entropy() + correction @ self._squashed


def log_tanh_slope(u: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """ln(1 - tanh(u)^2) = 2 (ln 2 - u - softplus(-2u)), finite for every finite u."""
    return 2.0 * (math.log(2.0) - u - functional.softplus(-2.0 * u))


@cache
def normal_quadrature(num_nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights, both [num_nodes] float64, of an expectation under N(0, 1).

    The trapezoidal rule: nodes at equal distances h, weights in proportion to the density. The
    poles of ln(1 - tanh(u)^2) are pi/2 away from the real line, so the error falls like
    exp(-pi^2 / (sigma * h)). Gauss-Hermite quadrature, which is exact for polynomials, places many
    nodes in tails of negligible weight: at sigma = e^2 its error with as many nodes is hundreds of
    times as large.

    Source: Trefethen & Weideman 2014, "The exponentially convergent trapezoidal rule", theorem 5.1.
    """
    nodes = torch.linspace(-QUADRATURE_REACH, QUADRATURE_REACH, num_nodes, dtype=torch.float64)
    return nodes, torch.softmax(-0.5 * nodes.square(), dim=0)
