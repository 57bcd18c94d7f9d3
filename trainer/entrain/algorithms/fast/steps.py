"""The steps of a rollout as arrays: everything that stays the same while learning from them.

Shapes: N steps; F features; V value streams; P is 1, or A parts of an action if each has a
probability ratio of its own; the rest as in `actions`.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from entrain.algorithms.entropy import PriorDivergence, Regularizer
from entrain.algorithms.fast.actions import ActionRows
from entrain.algorithms.surrogates import importance
from entrain.algorithms.unrolling import MAX_STEPS
from entrain.experience import Minibatch, PerDimensionRollout, Rollout
from entrain.inference.arrays import AnyArray, FloatArray, view
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.categorical import MultiCategorical
from entrain.policy.distributions import ActionDistribution, Hybrid
from entrain.policy.gaussian import DiagonalGaussian, log_tanh_slope


@dataclass(frozen=True)
class PlainSteps:
    """N steps, in any order."""

    features: FloatArray
    """[N, F] what the networks read: normalised observations."""

    actions: ActionRows
    """The actions, as they were sampled."""

    log_prob: FloatArray
    """[N, P] under the policy that begins the update, of u if the action is tanh(u)."""

    importance: FloatArray | None
    """[N, P] by which the policy that acted weighs a step; None if it is the one that begins the
    update. See `surrogates`."""

    sampled_entropy: FloatArray
    """[N] minus the log-probability of the action, as collected."""

    value: FloatArray
    """[N, V] normalised values when the action was sampled."""

    is_unsaid: AnyArray
    """[N, V] bool, true where that value was 0 as of a critic that had seen no reward."""

    advantage: FloatArray
    """[N] as the loss takes it."""

    return_: FloatArray
    """[N, V] normalised targets."""

    weight: FloatArray | None
    """[N] see `Estimate.weight`."""

    def __getitem__(self, rows: slice | AnyArray) -> "PlainSteps":
        return PlainSteps(
            self.features[rows],
            self.actions[rows],
            self.log_prob[rows],
            None if self.importance is None else self.importance[rows],
            self.sampled_entropy[rows],
            self.value[rows],
            self.is_unsaid[rows],
            self.advantage[rows],
            self.return_[rows],
            None if self.weight is None else self.weight[rows],
        )

    def with_advantage(self, advantage: FloatArray) -> "PlainSteps":
        """The same steps with [N] other advantages."""
        return replace(self, advantage=advantage)


@torch.no_grad()
def plain_steps(all_steps: Minibatch, policy: ActorCritic, regularizer: Regularizer) -> PlainSteps:
    """The steps of a rollout as a policy learns from them.

    Args:
        all_steps: [1, N], on the CPU, returns normalised.
        policy: whose observation statistics are those that acted.
        regularizer: of the objective.
    """
    steps, before = all_steps.steps, all_steps.estimate.log_prob
    acted = _acted(steps)
    begins = acted if before is None else before.view_as(acted)
    dtype = view(policy.action_head.weight).dtype
    normalizer = policy.value_head.normalizer
    rows = all_steps.mask.shape[1]

    def array(tensor: Tensor) -> FloatArray:
        return view(tensor[0]).astype(dtype, copy=False)

    return PlainSteps(
        features=view(policy.normalizer(steps.observation, rows)).astype(dtype, copy=False),
        actions=_actions(steps, regularizer, dtype),
        log_prob=_without_slope(begins, steps, policy).astype(dtype, copy=False),
        importance=None if before is None else array(importance(begins, acted)),
        sampled_entropy=-array(steps.log_prob),
        value=array(normalizer.normalized(steps.value)),
        is_unsaid=view(steps.value[0] == 0.0) & normalizer.normalizes,
        advantage=array(all_steps.estimate.advantage),
        return_=array(all_steps.estimate.return_),
        weight=None if (weight := all_steps.estimate.weight) is None else array(weight),
    )


def _actions(
    steps: Rollout, regularizer: Regularizer, dtype: "np.dtype[np.floating]"
) -> ActionRows:
    rows = steps.valid.shape[1]
    mask = view(steps.action_mask[0])
    nothing = torch.zeros(1, rows, 0)
    prior_mean, prior_log_probs = None, None
    if isinstance(regularizer, PriorDivergence):
        prior_mean, prior_log_probs = _of_prior(steps, regularizer)
    return ActionRows(
        dimensions=view(steps.action.get("continuous", nothing)[0]).astype(dtype, copy=False),
        choices=view(steps.action.get("discrete", nothing.long())[0]),
        allowed=None if mask.all() else mask,
        prior_mean=prior_mean,
        prior_log_probs=prior_log_probs,
    )


def _acted(steps: Rollout) -> Tensor:
    """[1, N, P] log-probabilities under the policy that acted."""
    if isinstance(steps, PerDimensionRollout):
        return steps.log_prob_per_dimension
    return steps.log_prob.unsqueeze(-1)


def _without_slope(log_prob: Tensor, steps: Rollout, policy: ActorCritic) -> FloatArray:
    """[N, P] of u, from [1, N, P] of the action tanh(u): the slope of tanh is a constant."""
    dimensions = policy.spec.action.continuous_size
    if policy.config.action.distribution == "squashed_gaussian" and dimensions:
        slope = log_tanh_slope(steps.action["continuous"].double()) * policy.action_head.squashed
        if isinstance(steps, PerDimensionRollout):
            slope = torch.nn.functional.pad(slope, (0, len(policy.spec.action.branches)))
        else:
            slope = slope.sum(dim=-1, keepdim=True)
        log_prob = log_prob + slope
    return view(log_prob[0])


def _of_prior(
    steps: Rollout, regularizer: PriorDivergence
) -> tuple[FloatArray | None, FloatArray | None]:
    """[N, D] means and [N, N, M] log-probabilities of the prior policy at each step."""
    pieces: list[tuple[Tensor | None, Tensor | None]] = []
    for first in range(0, steps.valid.shape[1], MAX_STEPS):
        rows = slice(first, first + MAX_STEPS)
        distribution = regularizer.distribution(
            {name: tensor[:, rows] for name, tensor in steps.observation.items()},
            steps.action_mask[:, rows],
        )
        pieces.append(_parameters(distribution))
    means, log_probs = zip(*pieces, strict=True)
    return _joined(means), _joined(log_probs)


def _parameters(distribution: ActionDistribution) -> tuple[Tensor | None, Tensor | None]:
    if isinstance(distribution, Hybrid):
        return distribution.continuous.mean, distribution.discrete.log_probs
    if isinstance(distribution, MultiCategorical):
        return None, distribution.log_probs
    assert isinstance(distribution, DiagonalGaussian)
    return distribution.mean, None


def _joined(pieces: "tuple[Tensor | None, ...]") -> FloatArray | None:
    tensors = [piece for piece in pieces if piece is not None]
    return view(torch.cat(tensors, dim=1)[0]) if tensors else None
