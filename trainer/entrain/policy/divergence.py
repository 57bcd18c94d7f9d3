"""Exact Kullback-Leibler divergences between action distributions.

Shapes: [...] are the leading dimensions of both, usually [T, B].
"""

from torch import Tensor

from entrain.policy.categorical import MultiCategorical
from entrain.policy.distributions import ActionDistribution, Hybrid
from entrain.policy.gaussian import DiagonalGaussian, SquashedGaussian
from entrain_envs.shapes import Float


def kl_divergence(p: ActionDistribution, q: ActionDistribution) -> Float[Tensor, "*rows"]:
    """[...] nats, KL(p || q) = E_p[ln p(a) - ln q(a)], summed over dimensions and branches.

    tanh is a bijection, so the divergence of two squashed Gaussians is that of the Gaussians.

    Args:
        p: a distribution.
        q: of the same actions and with the same mask: no choice may be allowed in p alone.

    Raises:
        TypeError: they are of different kinds.
    """
    if isinstance(p, Hybrid) and isinstance(q, Hybrid):
        return kl_divergence(p.continuous, q.continuous) + kl_divergence(p.discrete, q.discrete)
    if isinstance(p, MultiCategorical) and isinstance(q, MultiCategorical):
        return _of_categoricals(p, q)
    are_alike = isinstance(p, SquashedGaussian) == isinstance(q, SquashedGaussian)
    if isinstance(p, DiagonalGaussian) and isinstance(q, DiagonalGaussian) and are_alike:
        return _of_gaussians(p, q)
    raise TypeError(
        f"a {type(p).__name__} has no KL divergence from a {type(q).__name__}; both must be of "
        "one kind"
    )


def _of_gaussians(p: DiagonalGaussian, q: DiagonalGaussian) -> Tensor:
    """1/2 * sum_d ((sigma_p^2 + (mean_p - mean_q)^2) / sigma_q^2 - 1 - ln(sigma_p^2/sigma_q^2))."""
    spread = (p.sigma_sq + (p.mean - q.mean).square()) / q.sigma_sq
    return 0.5 * (spread - 1.0 - p.log_sigma_sq + q.log_sigma_sq).sum(dim=-1)


def _of_categoricals(p: MultiCategorical, q: MultiCategorical) -> Tensor:
    """sum_c p_c (ln p_c - ln q_c); a masked choice adds nothing, because both have it masked."""
    return (p.log_probs.exp() * (p.log_probs - q.log_probs)).flatten(-2).sum(dim=-1)
