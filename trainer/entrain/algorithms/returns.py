"""Advantages and returns, as pure functions of time-major tensors.

Shapes: T steps, B columns. Row t of a [T, B] tensor is step t of every column.
Nothing here knows of networks, simulators or threads.
"""

import torch
from torch import Tensor

from entrain_envs.shapes import Bool, Float


def generalized_advantage(
    reward: Float[Tensor, "T B"],
    value: Float[Tensor, "T B"],
    next_value: Float[Tensor, "T B"],
    boundary: Bool[Tensor, "T B"],
    *,
    discount: float,
    gae_lambda: float,
) -> Float[Tensor, "T B"]:
    """Estimate how much better each action did than the critic expected.

        delta[t] = reward[t] + discount * next_value[t] - value[t]
        A[t]     = delta[t] + discount * gae_lambda * (not boundary[t]) * A[t+1]

    Args:
        reward: [T, B] received for the action at t.
        value: [T, B] critic's value of the observation the action was chosen from.
        next_value: [T, B] critic's value of the observation that followed: zero if the
            episode terminated there, but not if it was merely truncated.
        boundary: [T, B] bool, true where the next row does not continue this one: the
            episode ended here, or the rollout was cut here. Rows behind a boundary, padding
            for one, may hold any number, NaN too: they never reach the rows before it.
        discount: per step, in [0, 1].
        gae_lambda: in [0, 1]; 0 trusts the critic, 1 trusts the sampled rewards.

    Returns:
        [T, B] advantages. Adding `value` gives the critic's regression target.

    Source: Schulman et al. 2016, eq. 16 (arXiv:1506.02438).
    """
    delta = reward + discount * next_value - value
    carry = torch.full_like(delta, discount * gae_lambda).masked_fill_(boundary, 0.0)
    return _discounted_sums(delta, carry)


def cut_at_horizon(boundary: Bool[Tensor, "T B"], horizon: int) -> Bool[Tensor, "T B"]:
    """Boundaries that leave no more than `horizon` rows without one; 0 leaves all as they are.

    Rows are counted from the top of a column, and anew behind each boundary.

    Args:
        boundary: [T, B] bool. What is behind a column's last one is padding.
        horizon: at least 0.

    Returns:
        [T, B] bool, true where `boundary` is and after every `horizon` rows without one.
    """
    if horizon == 0 or len(boundary) == 0:
        return boundary
    row = torch.arange(len(boundary), device=boundary.device).unsqueeze(1)
    # first[t]: the row behind the last boundary before t; 0 if there is none.
    behind = torch.where(boundary, row + 1, 0).cummax(dim=0).values
    first = torch.cat([torch.zeros_like(behind[:1]), behind[:-1]])
    return boundary | ((row - first + 1) % horizon == 0)


def _discounted_sums(
    summand: Float[Tensor, "T B"], carry: Float[Tensor, "T B"]
) -> Float[Tensor, "T B"]:
    """y[t] = summand[t] + carry[t] * y[t+1], where y behind the last row is zero.

    By doubling: after k rounds y[t] sums the 2^k rows from t on and carry[t] is the product of
    their carries, so that the next round needs one look ahead, by 2^k. That is log2(T) rounds over
    whole tensors instead of T steps over rows, which for T = 2048 would cost 100 times as much.

    Args:
        summand: [T, B].
        carry: [T, B]; what lies behind a zero is selected away, as NaN * 0 is NaN.

    Source: Hillis & Steele 1986, "Data parallel algorithms".
    """
    total, carry = summand.clone(), carry.clone()
    stride = 1
    while stride < len(total) and bool(carry.any()):
        # Both right sides read only what the round before left: they are computed in full first.
        ahead = torch.where(carry[:-stride] != 0.0, carry[:-stride] * total[stride:], 0.0)
        product = carry[:-stride] * carry[stride:]
        total[:-stride] += ahead
        carry[:-stride] = product
        stride *= 2
    return total
