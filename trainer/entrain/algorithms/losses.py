"""The terms of a policy-gradient loss, and measures of it, as pure functions.

Shapes: [...] are the leading dimensions of a minibatch, [L, M]. Each loss is per step;
`masked_mean` reduces it to one number, and is the only mean that is taken. A mask of None is true
everywhere: most minibatches have no padding, and looking for it costs as much as the loss.
"""

import torch
from torch import Tensor

from entrain.ranks import ALONE, Ranks
from entrain_envs.shapes import Bool, Float


def masked_mean(
    x: Float[Tensor, "*steps"], mask: Bool[Tensor, "*steps"] | None
) -> Float[Tensor, ""]:
    """Mean of `x` where `mask` is true; zero if it is true nowhere."""
    if mask is None:
        return x.mean()
    # Select padding away instead of multiplying it by zero: NaN * 0 is NaN.
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp(min=1)


def normalized(
    advantage: Float[Tensor, "*steps"],
    mask: Bool[Tensor, "*steps"] | None,
    *,
    ranks: Ranks = ALONE,
    epsilon: float = 1e-8,
) -> tuple[Float[Tensor, "*steps"], Float[Tensor, ""]]:
    """Shift and scale to mean 0 and standard deviation 1 over the steps where `mask` is true.

        (A - mean) / (std + epsilon * |mean|)

    A single step has no spread and stays as it is, and so do steps that are all zero; padding may
    come out as any number. Nothing here has a unit: the size of rewards makes no difference.

    Args:
        advantage: [...].
        mask: [...] bool, or None.
        ranks: mean and deviation are those over the steps of all of them.
        epsilon: keeps advantages that are all equal from being divided by zero. Others write
            std + epsilon, which rewards of 1e-8 and less would notice.

    Returns:
        advantage: [...].
        scale: [] what it was divided by; 1 where there is no spread.

    Source: Huang et al. 2022, "The 37 implementation details of PPO", detail 7.
    """
    statistics = ranks.std_mean(advantage.flatten() if mask is None else advantage[mask])
    if statistics is None:
        return advantage, advantage.new_ones(())
    std, mean = statistics
    scale = torch.add(std, mean.abs(), alpha=epsilon)
    scale = torch.where(scale > 0.0, scale, 1.0)
    return (advantage - mean) / scale, scale


def clipped_surrogate(
    ratio: Float[Tensor, "*steps"], advantage: Float[Tensor, "*steps"], *, clip_range: float
) -> Float[Tensor, "*steps"]:
    """The policy's loss per step, pessimistic about probability ratios far from 1.

        -min(ratio * A, clip(ratio, 1 - clip_range, 1 + clip_range) * A)

    which is, with half as many operations behind it,

        max(-ratio * A, -A - clip_range * |A|)

    Args:
        ratio: [...] p(a) / p_old(a).
        advantage: [...] a constant.
        clip_range: beyond 1 plus or minus this, moving further in the direction of the advantage
            gains nothing and has no gradient.

    Source: Schulman et al. 2017, eq. 7 (arXiv:1707.06347); the second form by Achiam 2018,
    "Simplified PPO-Clip objective".
    """
    cost = -advantage
    return (ratio * cost).clamp(min=torch.sub(cost, cost.abs(), alpha=clip_range))


def value_error(
    value: Float[Tensor, "*steps"], return_: Float[Tensor, "*steps"]
) -> Float[Tensor, "*steps"]:
    """The critic's loss per step: (V - return)^2.

    Source: Schulman et al. 2017, eq. 9; without the factor 1/2 that some programs put in.
    """
    error = value - return_
    # Not square(): its gradient takes four operations, that of a product two.
    return error * error


def clipped_value_error(
    value: Float[Tensor, "*steps"],
    old_value: Float[Tensor, "*steps"],
    return_: Float[Tensor, "*steps"],
    *,
    clip_range: float,
) -> Float[Tensor, "*steps"]:
    """The critic's loss per step, the larger one of V and of V held near its old estimate.

        max((V - return)^2, (V_old + clip(V - V_old, -clip_range, clip_range) - return)^2)

    Args:
        value: [...].
        old_value: [...] as estimated when the action was sampled.
        return_: [...] the target.
        clip_range: in units of the value; once V has moved this far there is no gradient to move
            it further.

    Source: Huang et al. 2022, detail 9, after OpenAI baselines' ppo2.
    """
    near = old_value + (value - old_value).clamp(-clip_range, clip_range)
    return torch.maximum(value_error(value, return_), value_error(near, return_))


def kl_estimate(log_ratio: Float[Tensor, "*steps"]) -> Float[Tensor, "*steps"]:
    """How far the policy has moved, per step of the old one: an estimate of KL(old || new) in nats.

        (r - 1) - ln r, with r = p(a) / p_old(a)

    Its mean over steps of the old policy is unbiased; unlike -ln r it is never negative.

    Args:
        log_ratio: [...] ln r.

    Source: Schulman 2020, "Approximating KL divergence", estimator k3.
    """
    return torch.expm1(log_ratio) - log_ratio


def is_clipped(ratio: Float[Tensor, "*steps"], *, clip_range: float) -> Bool[Tensor, "*steps"]:
    """[...] bool: whether the ratio has left the range in which the surrogate is not clipped."""
    return (ratio - 1.0).abs() > clip_range


def explained_variance(
    value: Float[Tensor, "N V"], return_: Float[Tensor, "N V"], *, ranks: Ranks = ALONE
) -> Float[Tensor, " V"]:
    """How much of the returns' variance the critic predicted: 1 - Var(return - V) / Var(return).

    1 is perfect, 0 no better than a constant, below 0 worse than that; 0 also if all returns are
    equal, when there is nothing to explain.

    Args:
        value: [N, V] of valid steps alone, for each of V value streams.
        return_: [N, V].
        ranks: over whose steps; N may be 0 on some.
    """
    # In float64 the mean of equal numbers is that number, so their variance is 0.
    numbers = torch.cat([return_, return_ - value], dim=1).double()
    sums = ranks.sum(torch.cat([numbers.sum(dim=0), numbers.new_tensor([len(numbers)])]))
    mean = sums[:-1] / sums[-1].clamp(min=1.0)
    total, unexplained = ranks.sum((numbers - mean).square().sum(dim=0)).chunk(2)
    share = torch.where(total > 0.0, 1.0 - unexplained / total.clamp(min=1e-300), 0.0)
    return share.to(return_.dtype)
