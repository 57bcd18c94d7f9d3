"""A Gaussian action, as it is sampled, bounded and judged: forward, and backward by hand, in numpy.

    u        = mean + sigma * normal,  sigma^2 = exp(log_sigma_sq)
    a        = tanh(u) where it is squashed, else u within its bounds, from -1 to 1 in its range
    log_prob = -1/2 sum_d (normal_d^2 + log_sigma_sq_d + ln 2 pi) - sum_squashed ln(1 - tanh(u_d)^2)

The formulas, and their sources, are those of `policy.gaussian`, `spread` and `action_bounds`.

Shapes: R rows, D dimensions. Where the spread depends on no state its arrays are [D].
"""

import math

import numpy as np

from entrain.inference.arrays import FloatArray, sigmoid, view
from entrain.policy.action_bounds import ActionBounds
from entrain.policy.spread import BoundedLogSigmaSq

LOG_2_PI = math.log(2.0 * math.pi)


class SoftGaussian:
    """Samples of R rows; keeps those of the newest `sample` for `backward`."""

    def __init__(
        self, spread: BoundedLogSigmaSq, bounds: ActionBounds, squashed: FloatArray
    ) -> None:
        """Of a policy.

        Args:
            spread: its bounds of log-variances.
            bounds: its bounds of actions.
            squashed: [D] 1 where tanh is applied, 0 elsewhere.
        """
        self._least, self._most = float(spread.minimum), spread.maximum
        self._squashed, self._is_squashed = squashed, squashed > 0.0
        self._scale = view(bounds.half_range) / view(bounds.unit)
        self._center, self._half = view(bounds.center), view(bounds.half_range)
        self._low, self._high = view(bounds.low), view(bounds.high)
        self.continuous: FloatArray = np.zeros((0, len(squashed)))
        """[R, D] u."""
        self.log_sigma_sq: FloatArray = self.continuous
        """[R, D] or [D]."""
        self._deviation = self._tanh = self._slope_of_spread = self._slope = self.continuous

    def sample(
        self, mean: FloatArray, free: FloatArray, normal: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Sample an action in each row.

        Args:
            mean: [R, D] of u.
            free: [R, D] or [D], from which the log-variances are computed.
            normal: [R, D] standard normal.

        Returns:
            action: [R, D] a, as critics read it.
            log_prob: [R] nats.
        """
        above, below = free - self._least, free - self._most
        self.log_sigma_sq = np.logaddexp(free, self._least) - np.logaddexp(below, 0.0)
        self._slope_of_spread = sigmoid(above) - sigmoid(below)
        self._deviation = np.exp(0.5 * self.log_sigma_sq) * normal
        u = self.continuous = mean + self._deviation
        constant = self.log_sigma_sq + LOG_2_PI
        log_prob = -0.5 * (normal * normal + constant).sum(axis=1)
        self._tanh = np.tanh(u)
        log_slope = 2.0 * (math.log(2.0) - u - np.logaddexp(-2.0 * u, 0.0))
        return self._bounded(u), log_prob - log_slope @ self._squashed

    def _bounded(self, u: FloatArray) -> FloatArray:
        """[R, D] a; keeps its slope by u."""
        squashed, self._slope = self._tanh, 1.0 - self._tanh * self._tanh
        if self._is_squashed.all():
            return squashed
        scaled = self._center + self._scale * u
        bounded = np.clip(scaled, self._low, self._high)
        is_inside = (bounded == scaled) * (self._scale / self._half)
        self._slope = np.where(self._is_squashed, self._slope, is_inside)
        relative = (bounded - self._center) / self._half
        return np.where(self._is_squashed, squashed, relative)

    def backward(self, of_action: FloatArray, *, alpha: float) -> tuple[FloatArray, FloatArray]:
        """The gradient of the mean over rows of alpha log_prob - value.

            d/du            = 2 alpha tanh(u) where it is squashed - d value/da da/du
            d/dlog_sigma_sq = 1/2 (d/du (u - mean) - alpha)

        Args:
            of_action: [R, D] that of the value by the action.
            alpha: the temperature.

        Returns:
            mean: [R, D] that of the mean.
            free: [R, D] or [D] that of `free`.
        """
        count = len(of_action)
        of_u = (2.0 * alpha * self._squashed) * self._tanh - of_action * self._slope
        of_u /= count
        of_spread = 0.5 * (of_u * self._deviation - alpha / count)
        if self.log_sigma_sq.ndim == 1:
            of_spread = of_spread.sum(axis=0)
        return of_u, of_spread * self._slope_of_spread
