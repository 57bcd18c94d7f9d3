"""A policy's actions in R situations, in the form that critics and gradients take.

A continuous action is one sample, which is differentiable. Discrete choices are not sampled: all
are judged, each weighed by its chance.

Shapes: G critics, R rows, D continuous dimensions; N branches of M choices at most, C choices of
all; Q outputs of a critic: C, or 1 without branches.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from entrain.policy.categorical import Branches
from entrain.policy.distributions import (
    ActionDistribution,
    DiagonalGaussian,
    Hybrid,
    MultiCategorical,
)
from entrain_envs.shapes import Bool, Float


@dataclass(frozen=True)
class SoftActions:
    """One continuous sample in each row, together with every choice."""

    continuous: Float[Tensor, "R D"]
    """[R, D] as sampled, before bounds; D = 0 without dimensions."""

    chances: Float[Tensor, "R N M"]
    """[R, N, M] of the choices of each branch, 0 where one is forbidden; N = 0 without branches."""

    log_prob: Float[Tensor, " R"]
    """[R] nats: of the sample, plus the expectation of that of the choices. Its own expectation is
    minus the entropy."""


def soft_actions(distribution: ActionDistribution, noise: Float[Tensor, "R D"]) -> SoftActions:
    """Act in each of R rows.

        log_prob = ln p(a_continuous) + sum_b sum_c p_b(c) ln p_b(c)

    Args:
        distribution: of R rows, masked.
        noise: [R, D] float64 in (0, 1).

    Raises:
        TypeError: the distribution's samples are not differentiable.
    """
    if isinstance(distribution, Hybrid):
        continuous = soft_actions(distribution.continuous, noise)
        discrete = soft_actions(distribution.discrete, noise[:, :0])
        log_prob = continuous.log_prob + discrete.log_prob
        return SoftActions(continuous.continuous, discrete.chances, log_prob)
    if isinstance(distribution, MultiCategorical):
        chances = distribution.log_probs.exp()
        return SoftActions(chances.new_zeros(len(noise), 0), chances, -distribution.entropy())
    if isinstance(distribution, DiagonalGaussian):
        action, log_prob = distribution.rsample(noise)
        sampled = action["continuous"]
        return SoftActions(sampled, sampled.new_zeros(len(noise), 0, 1), log_prob)
    raise TypeError(f"a {type(distribution).__name__} has no differentiable samples")


def expected_values(
    values: Float[Tensor, "G R Q"], chances: Float[Tensor, "R N M"], branches: Branches | None
) -> Float[Tensor, "G R"]:
    """[G, R] what each critic expects of the actions of a policy: exact over the choices.

        sum_b sum_c p_b(c) Q_b(s, a_continuous, c)

    A choice that has no chance does not count, whatever its value.

    Args:
        values: [G, R, Q] of the continuous action together with each choice.
        chances: [R, N, M] of the choices.
        branches: which choices belong together; None without any.
    """
    if branches is None:
        return values.squeeze(-1)
    padded = torch.where(chances > 0.0, branches.pad(values, 0.0), 0.0)
    return (padded * chances).flatten(-2).sum(dim=-1)


def log_num_allowed(allowed: Bool[Tensor, "R C"], branches: Branches | None) -> Float[Tensor, " R"]:
    """[R] nats, the largest entropy that the choices of each row can have.

        sum_b ln (number of allowed choices of branch b)

    Args:
        allowed: [R, C] bool; at least one of each branch.
        branches: which choices belong together; None without any.
    """
    if branches is None:
        return torch.zeros(len(allowed), device=allowed.device)
    return branches.pad(allowed.float(), 0.0).sum(dim=-1).log().sum(dim=-1)
