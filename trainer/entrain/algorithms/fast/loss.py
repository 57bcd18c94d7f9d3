"""The loss of PPO over rows of plain steps, and its gradient; `ppo_loss` is the same in torch.

Shapes: R rows; V value streams; O outputs of the action head; P is 1, or A parts of an action.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from entrain.algorithms.coefficients import Coefficients
from entrain.algorithms.entropy import Entropy, MeanEntropy, PriorDivergence, Regularizer
from entrain.algorithms.fast.actions import ActionPart, Dimensions
from entrain.algorithms.fast.steps import PlainSteps
from entrain.config.algorithm import PPOConfig
from entrain.inference.arrays import FloatArray


@dataclass(frozen=True)
class Terms:
    """The parts of the loss in R rows, [R] each but for the last; see `LossTerms`."""

    policy: FloatArray
    value: FloatArray
    regularization: FloatArray
    entropy: FloatArray
    log_ratio: FloatArray
    """[R, P]."""

    @classmethod
    def empty(cls, rows: int, num_ratios: int, dtype: "np.dtype[np.floating]") -> "Terms":
        """Room for those of R rows."""
        policy, value, regularization, entropy = (np.empty(rows, dtype) for _ in range(4))
        log_ratio = np.empty((rows, num_ratios), dtype)
        return cls(policy, value, regularization, entropy, log_ratio)

    def put(self, rows: slice, terms: "Terms") -> None:
        """Write those of some rows."""
        self.policy[rows] = terms.policy
        self.value[rows] = terms.value
        self.regularization[rows] = terms.regularization
        self.entropy[rows] = terms.entropy
        self.log_ratio[rows] = terms.log_ratio


@dataclass(frozen=True)
class OutputGradients:
    """Of the loss with respect to what the heads put out."""

    action: FloatArray
    """[R, O]."""

    value: FloatArray
    """[R, V], of normalised values."""


class PlainLoss:
    """The mean over steps of (policy + c_v * value - alpha * w)."""

    def __init__(
        self,
        config: PPOConfig,
        parts: Sequence[ActionPart],
        regularizer: Regularizer,
        *,
        is_squashed: bool,
    ) -> None:
        """Take the parts of actions, whose `begin` was called when this is."""
        self._config = config
        self._parts = parts
        self._regularizer = regularizer
        self._is_squashed = is_squashed
        self._is_joint = config.surrogate == "joint"
        self._weights = [
            1.0 / part.num_parts
            if isinstance(regularizer, MeanEntropy) and isinstance(part, Dimensions)
            else 1.0
            for part in parts
        ]
        """Of each part's entropy in the regularizer."""

    def __call__(
        self,
        outputs: FloatArray,
        value: FloatArray,
        rows: PlainSteps,
        coefficients: Coefficients,
        *,
        count: int,
        scale: float,
    ) -> tuple[Terms, OutputGradients]:
        """Terms and gradients in R rows.

        Args:
            outputs: [R, O] of the action head.
            value: [R, V] normalised.
            rows: what is learned from.
            coefficients: of the loss.
            count: steps of the whole minibatch, over which the loss is a mean.
            scale: by which the regularizer is divided.
        """
        log_ratio = self._log_ratio(outputs, rows)
        if rows.weight is not None:
            log_ratio[rows.weight == 0.0] = 0.0
        policy, of_log_ratio = self._surrogate(log_ratio, rows, coefficients.clip_range, count)
        alpha = coefficients.entropy_coefficient
        regularization, entropy = self._regularization_and_entropy(rows, is_weighted=alpha > 0.0)
        weight: float | FloatArray = -alpha / (scale * count)
        if rows.weight is not None:
            of_log_ratio *= rows.weight[:, np.newaxis]
            weight = weight * rows.weight[:, np.newaxis] if weight else 0.0
        of_action = self._of_outputs(of_log_ratio, weight=weight)
        error, of_value = self._value_error(value, rows, coefficients.value_clip_range, count)
        terms = Terms(policy, error, regularization, entropy, log_ratio)
        return terms, OutputGradients(of_action, of_value)

    def _log_ratio(self, outputs: FloatArray, rows: PlainSteps) -> FloatArray:
        """[R, P]."""
        log_probs, first = [], 0
        for part in self._parts:
            last = first + part.num_outputs
            log_probs.append(part.evaluate(outputs[:, first:last], rows.actions))
            first = last
        log_prob = log_probs[0] if len(log_probs) == 1 else np.concatenate(log_probs, axis=1)
        if self._is_joint:
            log_prob = log_prob.sum(axis=1, keepdims=True)
        log_prob -= rows.log_prob
        return log_prob

    @staticmethod
    def _surrogate(
        log_ratio: FloatArray, rows: PlainSteps, clip_range: float, count: int
    ) -> tuple[FloatArray, FloatArray]:
        """[R] loss, and [R, P] the gradient of its mean with respect to the log-ratio."""
        cost = -rows.advantage[:, np.newaxis]
        if rows.importance is not None:
            cost = cost * rows.importance
        surrogate = np.exp(log_ratio)
        surrogate *= cost
        limit = cost - clip_range * np.abs(cost)
        loss = np.maximum(surrogate, limit)
        loss = loss[:, 0] if loss.shape[1] == 1 else loss.mean(axis=1)
        surrogate *= surrogate >= limit
        surrogate *= 1.0 / (count * log_ratio.shape[1])
        return loss, surrogate

    def _of_outputs(self, of_log_ratio: FloatArray, *, weight: float | FloatArray) -> FloatArray:
        """[R, O], from [R, P], and the weight of the regularizer in the loss, if it has any."""
        is_weighted = isinstance(weight, np.ndarray) or weight != 0.0
        gradients, first = [], 0
        for part, factor in zip(self._parts, self._weights, strict=True):
            last = first + part.num_parts
            gradient = part.backward(
                of_log_ratio if self._is_joint else of_log_ratio[:, first:last]
            )
            if is_weighted and isinstance(self._regularizer, PriorDivergence):
                part.add_divergence(gradient, -weight)
            elif is_weighted:
                part.add_entropy(gradient, weight * factor)
            gradients.append(gradient)
            first = last
        return gradients[0] if len(gradients) == 1 else np.concatenate(gradients, axis=1)

    def _regularization_and_entropy(
        self, rows: PlainSteps, *, is_weighted: bool
    ) -> tuple[FloatArray, FloatArray]:
        """[R] or [1] each; see `PPOLoss`."""
        is_entropy = is_weighted and isinstance(self._regularizer, Entropy)
        is_needed = is_weighted and not isinstance(self._regularizer, PriorDivergence)
        if is_needed or not self._is_squashed:
            entropies = [part.entropy() for part in self._parts]
        entropy = rows.sampled_entropy
        if is_entropy or not self._is_squashed:
            entropy = sum(entropies[1:], start=entropies[0])
        if is_entropy or not is_weighted:
            return entropy, entropy
        if not is_needed:
            divergences = [part.divergence() for part in self._parts]
            return -sum(divergences[1:], start=divergences[0]), entropy
        weighted = [factor * each for factor, each in zip(self._weights, entropies, strict=True)]
        return sum(weighted[1:], start=weighted[0]), entropy

    def _value_error(
        self, value: FloatArray, rows: PlainSteps, clip_range: float, count: int
    ) -> tuple[FloatArray, FloatArray]:
        """[R] of all value streams together, and [R, V] the gradient of its weighted mean."""
        error = value - rows.return_
        squares = error * error
        gradient = np.multiply(error, 2.0 * self._config.value_coefficient / count, out=error)
        if clip_range > 0.0:
            distance = value - rows.value
            near = rows.value + np.clip(distance, -clip_range, clip_range) - rows.return_
            near *= near
            is_held = (near > squares) & ~rows.is_unsaid
            squares = np.where(is_held, near, squares)
            # Nearer than the range both errors are the same one, up to rounding.
            gradient *= ~(is_held & (np.abs(distance) > clip_range))
        return squares.sum(axis=1), gradient
