"""Log-probability, entropy and divergence of actions, and their gradients by hand.

Shapes: R rows; D continuous dimensions, N branches, C choices of all of them, M of the largest;
A = D + N parts of an action, dimensions first; O = D + C outputs of the action head.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from entrain.inference.arrays import AnyArray, FloatArray, view
from entrain.policy.action_head import ActionHead
from entrain.policy.categorical import Branches
from entrain.policy.gaussian import LOG_2_PI, QUADRATURE_NODES, normal_quadrature
from entrain.policy.spread import ParameterSpread

SPREAD = "action_head.spread.parameter"
"""The name of the parameter behind log_sigma_sq."""

LINEAR_FROM = 20.0
"""Above this torch's softplus(x) is x."""


@dataclass(frozen=True)
class ActionRows:
    """The actions of R steps, and what else is constant during an update."""

    dimensions: FloatArray
    """[R, D] as sampled."""

    choices: AnyArray
    """[R, N] int64."""

    allowed: AnyArray | None
    """[R, C] bool; None if all are allowed in every row."""

    prior_mean: FloatArray | None
    """[R, D] of the prior policy, if learning stays near one."""

    prior_log_probs: FloatArray | None
    """[R, N, M] of the prior policy."""

    def __getitem__(self, rows: slice | AnyArray) -> "ActionRows":
        return ActionRows(
            self.dimensions[rows],
            self.choices[rows],
            None if self.allowed is None else self.allowed[rows],
            None if self.prior_mean is None else self.prior_mean[rows],
            None if self.prior_log_probs is None else self.prior_log_probs[rows],
        )


class ActionPart(Protocol):
    """The dimensions of an action, or its branches. Methods are called in the order written."""

    num_parts: int
    """D or N."""

    num_outputs: int
    """D or C."""

    def begin(self) -> None:
        """Read the weights of this gradient step, and forget the gradient of the one before."""
        ...

    def evaluate(self, outputs: FloatArray, actions: ActionRows) -> FloatArray:
        """[R, parts] log-probabilities of the actions, from this part's [R, outputs]."""
        ...

    def entropy(self) -> FloatArray:
        """[R] nats, or [1] if it is the same in all rows."""
        ...

    def divergence(self) -> FloatArray:
        """[R] nats from the prior."""
        ...

    def backward(self, log_prob: FloatArray) -> FloatArray:
        """[R, outputs] gradient, from [R, parts] or [R, 1], of the log-probabilities."""
        ...

    def add_entropy(self, gradient: FloatArray, weight: float | FloatArray) -> None:
        """Add that of `weight` times the entropy of every row to [R, outputs].

        Args:
            gradient: [R, outputs].
            weight: of every row, or [R, 1].
        """
        ...

    def add_divergence(self, gradient: FloatArray, weight: float | FloatArray) -> None:
        """Add that of `weight` times the divergence of every row to [R, outputs]."""
        ...

    def end(self) -> None:
        """Write the gradient of the state-independent parameters, and forget the rows."""
        ...


class Dimensions:
    """Normal dimensions, squashed or not, with a state-independent log_sigma_sq."""

    def __init__(
        self,
        head: ActionHead,
        weights: Mapping[str, Tensor],
        gradient: Mapping[str, Tensor],
        *,
        is_squashed: bool,
        prior_log_sigma_sq: FloatArray | None,
    ) -> None:
        """Take views of the parameter and of its gradient.

        Args:
            head: of the policy.
            weights: {name of a parameter: its memory}.
            gradient: {name of a parameter: where its gradient goes}.
            is_squashed: whether bounded dimensions go through tanh.
            prior_log_sigma_sq: [D] of the prior policy, if learning stays near one.
        """
        assert isinstance(head.spread, ParameterSpread)
        self._parameter, self._gradient = view(weights[SPREAD]), view(gradient[SPREAD])
        self._bounds = np.array([[float(head.spread.minimum)], [head.spread.maximum]])
        self.num_parts = self.num_outputs = len(self._parameter)
        dtype = self._parameter.dtype
        self._squashed = view(head.squashed).astype(dtype) if is_squashed else None
        nodes, node_weights = normal_quadrature(QUADRATURE_NODES)
        self._nodes, self._node_weights = (
            view(nodes).astype(dtype),
            view(node_weights).astype(dtype),
        )
        self._prior_log_sigma_sq = prior_log_sigma_sq
        nothing = np.zeros(self.num_parts, dtype)
        self._log_sigma_sq = self._slope = self._precision = self._constant = nothing
        self._of_log_sigma_sq = nothing
        self._mean = self._scaled = self._squares = np.zeros((0, 0), dtype)
        self._prior_mean: FloatArray | None = None
        self._inside: FloatArray = self._mean

    def begin(self) -> None:
        """See `ActionPart.begin`.

        log_sigma_sq = minimum + softplus(p - minimum) - softplus(p - maximum)
        """
        # One row above the lower bound, one above the upper bound.
        beyond = self._parameter - self._bounds
        softplus = np.logaddexp(beyond, 0.0)
        slope = np.exp(beyond - softplus)
        dtype = self._parameter.dtype
        self._log_sigma_sq = (self._bounds[0] + softplus[0] - softplus[1]).astype(dtype)
        self._slope = (slope[0] - slope[1]).astype(dtype)
        self._precision = np.exp(-self._log_sigma_sq)
        self._constant = self._log_sigma_sq + LOG_2_PI
        self._of_log_sigma_sq = np.zeros_like(self._parameter)

    def evaluate(self, outputs: FloatArray, actions: ActionRows) -> FloatArray:
        """See `ActionPart.evaluate`; of u, if the action is tanh(u)."""
        self._mean, self._prior_mean = outputs, actions.prior_mean
        deviation = actions.dimensions - outputs
        self._scaled = deviation * self._precision
        self._squares = np.multiply(deviation, self._scaled, out=deviation)
        log_prob: FloatArray = self._squares + self._constant
        log_prob *= log_prob.dtype.type(-0.5)
        return log_prob

    def entropy(self) -> FloatArray:
        """See `ActionPart.entropy`."""
        normal: FloatArray = 0.5 * (self._constant + 1.0).sum(keepdims=True)
        if self._squashed is None:
            return normal
        sigma = np.exp(0.5 * self._log_sigma_sq)
        u = self._mean[..., np.newaxis] + sigma[:, np.newaxis] * self._nodes
        self._inside = np.tanh(u)
        entropy: FloatArray = (log_tanh_slope(u) @ self._node_weights) @ self._squashed
        entropy += normal
        return entropy

    def divergence(self) -> FloatArray:
        """See `ActionPart.divergence`."""
        assert self._prior_mean is not None and self._prior_log_sigma_sq is not None
        deviation = self._mean - self._prior_mean
        precision = np.exp(-self._prior_log_sigma_sq)
        spread = (np.exp(self._log_sigma_sq) + deviation * deviation) * precision
        each = spread - 1.0 - self._log_sigma_sq + self._prior_log_sigma_sq
        divergence: FloatArray = 0.5 * each.sum(axis=1)
        return divergence

    def backward(self, log_prob: FloatArray) -> FloatArray:
        """See `ActionPart.backward`.

        d ln p_d / d mean_d         = (a_d - mean_d) / sigma_d^2
        d ln p_d / d log_sigma_sq_d = ((a_d - mean_d)^2 / sigma_d^2 - 1) / 2
        """
        weighted = self._squares
        weighted *= log_prob
        self._of_log_sigma_sq += 0.5 * (weighted.sum(axis=0) - log_prob.sum(axis=0))
        gradient: FloatArray = np.multiply(self._scaled, log_prob, out=self._scaled)
        return gradient

    def add_entropy(self, gradient: FloatArray, weight: float | FloatArray) -> None:
        """See `ActionPart.add_entropy`.

        With u_i = mean + sigma * node_i, and d ln(1 - tanh(u)^2) / du = -2 tanh(u):

            d H / d mean         = sum_i weight_i * -2 tanh(u_i)
            d H / d log_sigma_sq = 1/2 + sum_i weight_i * -tanh(u_i) * sigma * node_i
        """
        self._of_log_sigma_sq += 0.5 * _over_rows(weight, len(gradient))
        if self._squashed is None:
            return
        sigma = np.exp(0.5 * self._log_sigma_sq)
        factor = weight * self._squashed
        gradient -= 2.0 * factor * (self._inside @ self._node_weights)
        outward = self._inside @ (self._node_weights * self._nodes)
        if isinstance(weight, np.ndarray):
            self._of_log_sigma_sq -= sigma * (factor * outward).sum(axis=0)
        else:
            self._of_log_sigma_sq -= factor * sigma * outward.sum(axis=0)

    def add_divergence(self, gradient: FloatArray, weight: float | FloatArray) -> None:
        """See `ActionPart.add_divergence`.

        d KL / d mean         = (mean - mean') / sigma'^2
        d KL / d log_sigma_sq = (sigma^2 / sigma'^2 - 1) / 2
        """
        assert self._prior_mean is not None and self._prior_log_sigma_sq is not None
        precision = np.exp(-self._prior_log_sigma_sq)
        gradient += weight * precision * (self._mean - self._prior_mean)
        ratio = np.exp(self._log_sigma_sq) * precision
        self._of_log_sigma_sq += 0.5 * _over_rows(weight, len(gradient)) * (ratio - 1.0)

    def end(self) -> None:
        """See `ActionPart.end`."""
        np.multiply(self._of_log_sigma_sq, self._slope, out=self._gradient)
        self._prior_mean = None


class Choices:
    """Categorical branches, some choices of which may be forbidden."""

    def __init__(self, branches: Branches, dtype: "np.dtype[np.floating]") -> None:
        """Prepare for branches whose logits are of `dtype`."""
        index = view(branches.index)
        self.num_parts = len(branches)
        self.num_outputs = int(index.max()) + 1 if not branches.is_ragged else _count(index)
        self._index = index if branches.is_ragged else None
        self._width = branches.width
        self._forbidden = np.finfo(dtype).min
        # Where each choice lies among the padded ones.
        self._place = np.flatnonzero(index < self.num_outputs)
        self._allowed: AnyArray | None = None
        self._chosen = np.zeros(0, np.int64)
        self._first = np.zeros(0, np.int64)
        self._log_probs = self._probs = self._entropies = np.zeros((0, 0, 0), dtype)
        self._prior_log_probs: FloatArray | None = None
        self._divergences: FloatArray = self._log_probs

    def begin(self) -> None:
        """Nothing: there are no state-independent parameters."""

    def evaluate(self, outputs: FloatArray, actions: ActionRows) -> FloatArray:
        """See `ActionPart.evaluate`."""
        self._allowed, self._prior_log_probs = actions.allowed, actions.prior_log_probs
        if self._allowed is not None:
            outputs = np.where(self._allowed, outputs, self._forbidden)
        logits = self._padded(outputs)
        log_probs: FloatArray = logits - logits.max(axis=-1, keepdims=True)
        self._probs = np.exp(log_probs)
        total = self._probs.sum(axis=-1, keepdims=True)
        log_probs -= np.log(total)
        self._probs /= total
        self._log_probs = log_probs
        count = len(outputs) * self.num_parts
        if len(self._first) < count:
            self._first = np.arange(count) * self._width
        self._chosen = self._first[:count] + actions.choices.ravel()
        return log_probs.ravel()[self._chosen].reshape(-1, self.num_parts)

    def entropy(self) -> FloatArray:
        """See `ActionPart.entropy`."""
        self._entropies = -(self._probs * self._log_probs).sum(axis=-1, keepdims=True)
        entropy: FloatArray = self._entropies.sum(axis=(1, 2))
        return entropy

    def divergence(self) -> FloatArray:
        """See `ActionPart.divergence`."""
        assert self._prior_log_probs is not None
        distance = self._log_probs - self._prior_log_probs
        self._divergences = (self._probs * distance).sum(axis=-1, keepdims=True)
        divergence: FloatArray = self._divergences.sum(axis=(1, 2))
        return divergence

    def backward(self, log_prob: FloatArray) -> FloatArray:
        """See `ActionPart.backward`.

        d ln p_chosen / d logit_c = [c is chosen] - p_c
        """
        gradient = self._probs * -log_prob[:, :, np.newaxis]
        rows = len(gradient)
        of_chosen = np.broadcast_to(log_prob, (rows, self.num_parts))
        gradient.reshape(-1)[self._chosen] += of_chosen.ravel()
        return self._unpadded(gradient)

    def add_entropy(self, gradient: FloatArray, weight: float | FloatArray) -> None:
        """See `ActionPart.add_entropy`.

        d H / d logit_c = -p_c (ln p_c + H)
        """
        each = self._log_probs + self._entropies
        each *= self._probs
        gradient -= weight * self._unpadded(each)

    def add_divergence(self, gradient: FloatArray, weight: float | FloatArray) -> None:
        """See `ActionPart.add_divergence`.

        d KL / d logit_c = p_c (ln p_c - ln p'_c - KL)
        """
        each = self._log_probs - self._prior_log_probs
        each -= self._divergences
        each *= self._probs
        gradient += weight * self._unpadded(each)

    def end(self) -> None:
        """Forget the rows: there are no state-independent parameters."""
        self._allowed = self._prior_log_probs = None

    def _padded(self, choices: FloatArray) -> FloatArray:
        """[R, C] to [R, N, M]."""
        if self._index is not None:
            filler = np.full((len(choices), 1), self._forbidden, choices.dtype)
            # Not by [:, index], which would lay the result out by columns.
            choices = np.concatenate([choices, filler], axis=1).take(self._index, axis=1)
        return choices.reshape(len(choices), self.num_parts, self._width)

    def _unpadded(self, gradient: FloatArray) -> FloatArray:
        """[R, N, M] gradient to [R, C]; zero where a choice was forbidden."""
        gradient = gradient.reshape(len(gradient), -1)
        if self._index is not None:
            gradient = gradient.take(self._place, axis=1)
        if self._allowed is not None:
            gradient = gradient * self._allowed
        return gradient


def _over_rows(weight: float | FloatArray, rows: int) -> float:
    """The sum of a weight over rows."""
    return float(weight.sum()) if isinstance(weight, np.ndarray) else weight * rows


def log_tanh_slope(u: FloatArray) -> FloatArray:
    """ln(1 - tanh(u)^2), finite for every finite u; see `policy.gaussian.log_tanh_slope`."""
    twice = u * u.dtype.type(-2.0)
    softplus = np.where(twice > LINEAR_FROM, twice, np.logaddexp(twice, u.dtype.type(0.0)))
    slope: FloatArray = (math.log(2.0) - u - softplus) * u.dtype.type(2.0)
    return slope


def make_parts(
    head: ActionHead,
    weights: Mapping[str, Tensor],
    gradient: Mapping[str, Tensor],
    *,
    is_squashed: bool,
    prior_log_sigma_sq: FloatArray | None,
) -> Sequence[ActionPart]:
    """The parts of the actions of a policy: dimensions, then branches; see `Dimensions`."""
    parts: list[ActionPart] = []
    if head.spread is not None:
        parts.append(
            Dimensions(
                head,
                weights,
                gradient,
                is_squashed=is_squashed,
                prior_log_sigma_sq=prior_log_sigma_sq,
            )
        )
    if head.branches is not None:
        dtype = view(head.weight).dtype
        parts.append(Choices(head.branches, dtype))
    return parts


def _count(index: AnyArray) -> int:
    """C, from the padded index of ragged branches, whose padding is C."""
    return int(index.max())
