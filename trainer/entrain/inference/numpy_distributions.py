"""Action distributions in numpy; their numbers are those of `policy.distributions`, up to rounding.

Noise is what `prepare_noise` makes of uniform numbers: normal for dimensions, uniform for choices.

Shapes: K rows, D continuous dimensions, N branches, C choices of all of them, M of the largest.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from entrain.policy.action_bounds import ActionBounds, SquashedActionBounds
from entrain.policy.action_head import ActionHead
from entrain.policy.categorical import Branches
from entrain.policy.gaussian import LOG_2_PI
from entrain.policy.spread import BoundedLogSigmaSq, ParameterSpread
from entrain_envs.timestep import BoolArray, Float32Array

Action: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""{"continuous": [K, D], "discrete": [K, N]}, with only the keys that the behaviour has."""

Noise: TypeAlias = npt.NDArray[Any]
"""[K, D + N]."""

quiet = np.errstate(over="ignore", invalid="ignore")
"""Silences numpy where huge numbers are cut or become infinite, as torch does without a word."""

HALF, TWO, LOG_2 = np.float32(0.5), np.float32(2.0), math.log(2.0)
FORBIDDEN = np.finfo(np.float32).min
"""In place of the logit of a choice that must not be taken: its exponential is exactly zero."""


class ArrayDistribution(Protocol):
    """A distribution over the joint action of each of K rows; see `ActionDistribution`."""

    def masked(self, action_mask: BoolArray) -> "ArrayDistribution":
        """With only the choices where `action_mask`, [K, C], is true."""
        ...

    def sample(self, noise: Noise) -> Action:
        """The action at `noise`; a pure function of it."""
        ...

    def mode(self) -> Action:
        """The most likely action."""
        ...

    def log_prob(self, action: Action) -> Float32Array:
        """[K] nats, of all dimensions and branches together."""
        ...

    def log_prob_per_dimension(self, action: Action) -> Float32Array:
        """[K, D + N] nats of each dimension, then of each branch."""
        ...


class NumpyHead:
    """An `ActionHead` in numpy: turns what the networks put out into a distribution."""

    def __init__(self, head: ActionHead, bounds: ActionBounds) -> None:
        self._spread = head.spread
        self._squashed = head.squashed.numpy() if isinstance(bounds, SquashedActionBounds) else None
        self._dimensions = len(bounds.center)
        self._branches = None if head.branches is None else ArrayBranches(head.branches)
        self._center, self._half_range = bounds.center.numpy(), bounds.half_range.numpy()
        self._unit = bounds.unit.numpy() if bounds.has_unit else None
        self._low, self._high = bounds.low.numpy(), bounds.high.numpy()
        self._log_sigma_sq = self._sigma = np.zeros(0, np.float32)
        self.refresh()

    def refresh(self) -> None:
        """Compute what depends on the weights alone; call it whenever they have changed."""
        if isinstance(self._spread, ParameterSpread):
            with torch.inference_mode():
                self._log_sigma_sq = self._spread().numpy()
            self._sigma = np.exp(HALF * self._log_sigma_sq)

    def distribution(self, outputs: Float32Array) -> ArrayDistribution:
        """Over actions of K rows, from what `NumpyNetwork` puts out: [K, D + C], or [K, D + C + D].

        The last D, if a network computes log-variances, are not bounded yet.
        """
        if self._spread is None:
            assert self._branches is not None
            return ArrayCategorical(outputs, self._branches)
        log_sigma_sq, sigma = self._log_sigma_sq, self._sigma
        if not isinstance(self._spread, ParameterSpread):
            outputs, unbounded = np.split(outputs, [-self._dimensions], axis=1)
            log_sigma_sq = bounded(unbounded, self._spread)
            sigma = np.exp(HALF * log_sigma_sq)
        if self._branches is None:
            return ArrayGaussian(outputs, log_sigma_sq, sigma, self._squashed)
        mean, logits = outputs[:, : self._dimensions], outputs[:, self._dimensions :]
        return ArrayHybrid(
            ArrayGaussian(mean, log_sigma_sq, sigma, self._squashed),
            ArrayCategorical(logits, self._branches),
        )

    def prepare_noise(self, uniform: npt.NDArray[np.float64]) -> Noise:
        """[K, D + N] in (0, 1) to what is sampled with: the first D columns normal."""
        if self._branches is None:
            normal: Noise = torch.special.ndtri(torch.from_numpy(uniform)).float().numpy()
            return normal
        if self._dimensions:
            dimensions = torch.from_numpy(uniform)[:, : self._dimensions]
            dimensions.copy_(torch.special.ndtri(dimensions))
        return uniform

    @quiet
    def environment_action(self, action: Action) -> Action:
        """See `ActionBounds.forward`."""
        if "continuous" not in action:
            return action
        continuous = action["continuous"]
        if self._squashed is not None:
            continuous = np.where(self._squashed > 0, np.tanh(continuous), continuous)
        if self._unit is not None:
            continuous = continuous / self._unit
        scaled = self._center + self._half_range * continuous
        return {**action, "continuous": np.minimum(np.maximum(scaled, self._low), self._high)}


@quiet
def bounded(unbounded: Float32Array, spread: BoundedLogSigmaSq) -> Float32Array:
    """`BoundedLogSigmaSq.bounded` in numpy."""
    above_floor = np.logaddexp(unbounded, np.float32(spread.minimum))
    beyond = np.logaddexp(unbounded - np.float32(spread.maximum), np.float32(0))
    log_sigma_sq: Float32Array = above_floor - beyond
    return log_sigma_sq


class ArrayGaussian:
    """`DiagonalGaussian` or `SquashedGaussian` in numpy: both are sampled alike, before tanh."""

    def __init__(
        self,
        mean: Float32Array,
        log_sigma_sq: Float32Array,
        sigma: Float32Array,
        squashed: Float32Array | None,
    ) -> None:
        """Hold [K, D] means; [D] or [K, D] log-variance and sigma; [D] 1 where tanh is applied."""
        self._mean = mean
        self._log_sigma_sq = log_sigma_sq
        self._sigma = sigma
        self._squashed = squashed

    @property
    def num_dimensions(self) -> int:
        """D."""
        return int(self._sigma.shape[-1])

    def masked(self, action_mask: BoolArray) -> "ArrayGaussian":
        """Itself: there are no choices."""
        del action_mask
        return self

    @quiet
    def sample(self, noise: Noise) -> Action:
        """[K, D] mean + sigma * noise."""
        return {"continuous": self._mean + self._sigma * noise}

    def mode(self) -> Action:
        """The means."""
        return {"continuous": self._mean}

    @quiet
    def log_prob(self, action: Action) -> Float32Array:
        """[K] log-density, after tanh where it is applied."""
        continuous = action["continuous"]
        deviation = (continuous - self._mean) / self._sigma
        exponent = deviation * deviation + (self._log_sigma_sq + LOG_2_PI)
        log_prob: Float32Array = -HALF * exponent.sum(axis=-1)
        if self._squashed is not None:
            softplus = np.logaddexp(-TWO * continuous, np.float32(0))
            log_prob -= (TWO * (LOG_2 - continuous - softplus)) @ self._squashed
        return log_prob

    @classmethod
    def joined(cls, parts: Sequence["ArrayGaussian"]) -> "ArrayGaussian | None":
        """See `joined_log_prob`."""
        first = parts[0]
        # The product with `squashed` is rounded in another way for another number of rows. Rows
        # with sigmas of their own have one array in each part.
        if first._squashed is not None or any(part._sigma is not first._sigma for part in parts):
            return None
        mean = np.concatenate([part._mean for part in parts])
        return cls(mean, first._log_sigma_sq, first._sigma, None)

    @quiet
    def log_prob_per_dimension(self, action: Action) -> Float32Array:
        """[K, D] log-density of each dimension, whose sum is `log_prob`."""
        continuous = action["continuous"]
        deviation = (continuous - self._mean) / self._sigma
        parts: Float32Array = -HALF * (deviation * deviation + (self._log_sigma_sq + LOG_2_PI))
        if self._squashed is not None:
            softplus = np.logaddexp(-TWO * continuous, np.float32(0))
            parts -= (TWO * (LOG_2 - continuous - softplus)) * self._squashed
        return parts


class ArrayBranches:
    """`Branches` in numpy, choice before row: [M, N, K], so that a call's inner loop is over rows.

    Over a row's few choices instead, numpy starts a loop for each row.
    """

    def __init__(self, branches: Branches) -> None:
        self._shape = (len(branches), branches.width)
        self._index = branches.index.numpy() if branches.is_ragged else None
        self._cells = np.zeros((len(branches), 0), np.int64)

    def arrange(self, choices: Float32Array) -> Float32Array:
        """[K, C] to [M, N, K], forbidden where a branch has no such choice. Not to be written."""
        by_choice = choices.T
        if self._index is not None:
            filler = np.full((1, len(choices)), FORBIDDEN)
            by_choice = np.concatenate((by_choice, filler))[self._index]
        branches = by_choice.reshape(*self._shape, len(choices)).swapaxes(0, 1)
        return np.ascontiguousarray(branches)

    def cells(self, choice: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where the choices of K rows, [K, N], lie in [M, N, K] flattened: [N, K]."""
        if self._cells.shape[1] != len(choice):
            count = self._shape[0]
            self._cells = np.arange(count * len(choice)).reshape(count, len(choice))
        return choice.T * self._cells.size + self._cells


class ArrayCategorical:
    """`MultiCategorical` in numpy."""

    def __init__(self, logits: Float32Array, branches: ArrayBranches) -> None:
        """Hold [K, C] logits; nothing is computed before it is asked for."""
        self._logits = logits
        self._branches = branches
        self._known: Float32Array | None = None

    @property
    def _log_probs(self) -> Float32Array:
        """[M, N, K] normalised."""
        if self._known is None:
            self._known = self._normalized()
        return self._known

    @quiet
    def _normalized(self) -> Float32Array:
        logits = self._branches.arrange(self._logits)
        shifted: Float32Array = logits - np.maximum.reduce(logits)
        shifted -= np.log(row_sum(np.exp(shifted)))
        return shifted

    def masked(self, action_mask: BoolArray) -> "ArrayCategorical":
        """See `ArrayDistribution.masked`."""
        return ArrayCategorical(np.where(action_mask, self._logits, FORBIDDEN), self._branches)

    def sample(self, noise: Noise) -> Action:
        """Invert each branch's cumulative distribution at noise, [K, N]."""
        cumulative = np.add.accumulate(np.exp(self._log_probs))
        is_passed = cumulative <= noise.T * cumulative[-1]
        return {"discrete": np.add.reduce(is_passed, dtype=np.int64).T}

    def mode(self) -> Action:
        """The most likely choice of each branch."""
        return {"discrete": self._log_probs.argmax(axis=0).T}

    @classmethod
    def joined(cls, parts: Sequence["ArrayCategorical"]) -> "ArrayCategorical":
        """See `joined_log_prob`."""
        joined = cls(parts[0]._logits[:0], parts[0]._branches)
        joined._known = np.concatenate([part._log_probs for part in parts], axis=-1)
        return joined

    def log_prob(self, action: Action) -> Float32Array:
        """[K] of the choices together."""
        return row_sum(self._chosen(action))

    def log_prob_per_dimension(self, action: Action) -> Float32Array:
        """[K, N] of each branch's choice."""
        return self._chosen(action).T

    def _chosen(self, action: Action) -> Float32Array:
        """[N, K] of each branch's choice."""
        chosen: Float32Array = self._log_probs.take(self._branches.cells(action["discrete"]))
        return chosen


def row_sum(values: Float32Array) -> Float32Array:
    """[n, ...] to [...], to the bit what numpy makes of n numbers that lie in a row."""
    # It adds fewer than eight in order, which it does here too; of more it makes eight sums.
    if len(values) >= 8:
        values = np.ascontiguousarray(np.moveaxis(values, 0, -1))
        return np.asarray(np.add.reduce(values, axis=-1))
    return np.asarray(np.add.reduce(values))


class ArrayHybrid:
    """`Hybrid` in numpy."""

    def __init__(self, continuous: ArrayGaussian, discrete: ArrayCategorical) -> None:
        self._continuous = continuous
        self._discrete = discrete

    def masked(self, action_mask: BoolArray) -> "ArrayHybrid":
        """With only the allowed choices; the continuous part is unchanged."""
        return ArrayHybrid(self._continuous, self._discrete.masked(action_mask))

    def sample(self, noise: Noise) -> Action:
        """The first D columns of noise draw the dimensions, the rest the choices."""
        dimensions = self._continuous.num_dimensions
        normal = noise[:, :dimensions].astype(np.float32)
        return {
            **self._continuous.sample(normal),
            **self._discrete.sample(noise[:, dimensions:]),
        }

    def mode(self) -> Action:
        """Both modes."""
        return {**self._continuous.mode(), **self._discrete.mode()}

    def log_prob(self, action: Action) -> Float32Array:
        """[K] ln p(continuous) + ln p(discrete)."""
        return self._continuous.log_prob(action) + self._discrete.log_prob(action)

    def log_prob_per_dimension(self, action: Action) -> Float32Array:
        """[K, D + N] of the dimensions, then of the branches."""
        parts = [each.log_prob_per_dimension(action) for each in (self._continuous, self._discrete)]
        return np.concatenate(parts, axis=-1)

    @classmethod
    def joined(cls, parts: Sequence["ArrayHybrid"]) -> "ArrayHybrid | None":
        """See `joined_log_prob`."""
        continuous = ArrayGaussian.joined([part._continuous for part in parts])
        if continuous is None:
            return None
        return cls(continuous, ArrayCategorical.joined([part._discrete for part in parts]))


def joined_log_prob(
    distributions: Sequence[ArrayDistribution], actions: Sequence[Action]
) -> Float32Array:
    """[K of all] the log-probability of each action by its distribution, to the bit.

    In one call where they are of one kind and of the same weights, as usual.

    Args:
        distributions: at least one.
        actions: one of each.
    """
    both = _joined(distributions) if len(distributions) > 1 else None
    if both is None:
        pairs = zip(distributions, actions, strict=True)
        return np.concatenate([each.log_prob(action) for each, action in pairs])
    return both.log_prob(
        {name: np.concatenate([action[name] for action in actions]) for name in actions[0]}
    )


def _joined(parts: Sequence[ArrayDistribution]) -> ArrayDistribution | None:
    """One distribution over the actions of the rows of all; None if there is none to the bit."""
    gaussians = [part for part in parts if isinstance(part, ArrayGaussian)]
    if len(gaussians) == len(parts):
        return ArrayGaussian.joined(gaussians)
    choices = [part for part in parts if isinstance(part, ArrayCategorical)]
    if len(choices) == len(parts):
        return ArrayCategorical.joined(choices)
    hybrids = [part for part in parts if isinstance(part, ArrayHybrid)]
    return ArrayHybrid.joined(hybrids) if len(hybrids) == len(parts) else None
