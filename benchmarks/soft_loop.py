"""A gradient step of soft actor-critic as one loop in numpy: the limit of our own.

Gradients by hand, Adam over flat vectors, for one vector that is seen, hidden layers of relu, a
squashed Gaussian with a spread by network, two critics and an adapted temperature. Nothing is
recorded, no option asked for, no number checked.

Shapes: R rows; S numbers seen, D dimensions, U units; 2 critics.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
LOG_2_PI = np.float32(np.log(2.0 * np.pi))
LOG_2 = np.float32(np.log(2.0))


@dataclass(frozen=True)
class Batch:
    """R steps of a replay."""

    seen: FloatArray
    action: FloatArray
    reward: FloatArray
    following: FloatArray
    bootstrap: FloatArray


@dataclass(frozen=True)
class Settings:
    """The options, by their names in `SACConfig` and `ActionConfig`."""

    learning_rate: float = 3e-4
    target_rate: float = 0.005
    entropy_target: float = 0.0
    least_spread: float = -20.0
    most_spread: float = 4.0


class Flat:
    """Weights of one network as views of one vector, with Adam's moments."""

    def __init__(self, arrays: Mapping[str, FloatArray]) -> None:
        sizes = np.cumsum([array.size for array in arrays.values()])
        self.vector = np.concatenate([array.ravel() for array in arrays.values()])
        self.gradient = np.zeros_like(self.vector)
        self._mean, self._squares, self._scratch = (np.zeros_like(self.vector) for _ in range(3))
        shapes = [array.shape for array in arrays.values()]
        self.weights = _views(self.vector, shapes, sizes)
        self.gradients = _views(self.gradient, shapes, sizes)
        self._count = 0

    def descend(self, rate: float) -> None:
        """One step of Adam."""
        self._count += 1
        gradient, scratch = self.gradient, self._scratch
        self._mean *= np.float32(0.9)
        np.multiply(gradient, np.float32(0.1), out=scratch)
        self._mean += scratch
        gradient *= gradient
        gradient *= np.float32(0.001)
        self._squares *= np.float32(0.999)
        self._squares += gradient
        correction = (1.0 - 0.999**self._count) ** 0.5
        np.sqrt(self._squares, out=scratch)
        scratch += np.float32(1e-8 * correction)
        np.divide(self._mean, scratch, out=scratch)
        scratch *= np.float32(rate * correction / (1.0 - 0.9**self._count))
        self.vector -= scratch


class Critics:
    """Two critics of one hidden layer and another."""

    def __init__(self, flat: Flat, rows: int) -> None:
        self._flat = flat
        units = flat.weights[2].shape[-1]
        self._first, self._second, self._back = (
            np.empty((2, rows, units), np.float32) for _ in range(3)
        )

    def forward(self, read: FloatArray) -> FloatArray:
        """[2, R] of [R, S + D]."""
        w1, b1, w2, b2, w3, b3 = self._flat.weights
        _layer(read, w1, b1, self._first)
        _layer(self._first, w2, b2, self._second)
        values: FloatArray = np.matmul(self._second, w3)[..., 0] + b3[..., 0]
        return values

    def backward(self, read: FloatArray, along: FloatArray) -> None:
        """The gradient of all weights, from [2, R] that of the values."""
        g1, gb1, g2, gb2, g3, gb3 = self._flat.gradients
        first, second, back = self._first, self._second, self._back
        np.matmul(second.transpose(0, 2, 1), along[..., np.newaxis], out=g3)
        gb3[:, 0, 0] = along.sum(axis=1)
        self._through_the_second(along)
        np.matmul(first.transpose(0, 2, 1), back, out=g2)
        gb2[:, 0] = back.sum(axis=1)
        self._through_the_first()
        np.matmul(read.T, self._second, out=g1)
        gb1[:, 0] = self._second.sum(axis=1)

    def of_read(self, along: FloatArray) -> FloatArray:
        """[R, S + D] the gradient of what was read, from [2, R] that of the values."""
        self._through_the_second(along)
        self._through_the_first()
        w1 = self._flat.weights[0]
        of_read: FloatArray = np.matmul(self._second, w1.transpose(0, 2, 1)).sum(axis=0)
        return of_read

    def _through_the_second(self, along: FloatArray) -> None:
        w3 = self._flat.weights[4]
        np.multiply(along[..., np.newaxis], w3.transpose(0, 2, 1), out=self._back)
        self._back *= self._second > 0.0

    def _through_the_first(self) -> None:
        # What the second layer said is not needed any more.
        np.matmul(self._back, self._flat.weights[2].transpose(0, 2, 1), out=self._second)
        self._second *= self._first > 0.0


class Actor:
    """Means and log-variances from two hidden layers."""

    def __init__(self, flat: Flat, rows: int, settings: Settings) -> None:
        self._flat = flat
        self._settings = settings
        units = flat.weights[2].shape[-1]
        self._first, self._second, self._back = (
            np.empty((rows, units), np.float32) for _ in range(3)
        )
        self.normal = self.sigma = self.action = np.zeros(0, np.float32)
        self._slope = self._read = self.action

    def act(self, seen: FloatArray, normal: FloatArray) -> tuple[FloatArray, FloatArray]:
        """[R, D] actions tanh(u), and [R] their log-probabilities."""
        w1, b1, w2, b2, wm, bm, ws, bs = self._flat.weights
        self._read = seen
        _layer(seen, w1[0], b1[0], self._first)
        _layer(self._first, w2[0], b2[0], self._second)
        mean = self._second @ wm.T + bm
        free = self._second @ ws.T + bs
        least, most = (np.float32(each) for each in self._bounds)
        spread = np.logaddexp(free, least) - np.logaddexp(free - most, np.float32(0.0))
        self._slope = 1.0 / (1.0 + np.exp(least - free)) - 1.0 / (1.0 + np.exp(most - free))
        self.normal, self.sigma = normal, np.exp(np.float32(0.5) * spread)
        u = mean + self.sigma * normal
        self.action = np.tanh(u)
        log_slope = np.float32(2.0) * (LOG_2 - u - np.logaddexp(np.float32(-2.0) * u, 0.0))
        density = np.float32(-0.5) * (normal * normal + spread + LOG_2_PI)
        return self.action, (density - log_slope).sum(axis=1)

    def backward(self, of_action: FloatArray, alpha: float) -> None:
        """The gradient of all weights, from [R, D] that of the values by the action.

        Of the mean over rows of alpha log_prob - value.
        """
        g1, gb1, g2, gb2, gm, gbm, gs, gbs = self._flat.gradients
        _, _, w2, _, wm, _, ws, _ = self._flat.weights
        action, scale = self.action, np.float32(1.0 / len(self.action))
        of_u = np.float32(2.0 * alpha) * action - of_action * (1.0 - action * action)
        of_u *= scale
        of_free = np.float32(0.5) * self._slope * (of_u * self.sigma * self.normal - alpha * scale)
        np.matmul(of_u.T, self._second, out=gm)
        gbm[:] = of_u.sum(axis=0)
        np.matmul(of_free.T, self._second, out=gs)
        gbs[:] = of_free.sum(axis=0)
        np.matmul(of_u, wm, out=self._back)
        self._back += of_free @ ws
        self._back *= self._second > 0.0
        np.matmul(self._first.T, self._back, out=g2[0])
        gb2[0, 0] = self._back.sum(axis=0)
        np.matmul(self._back, w2[0].T, out=self._second)
        self._second *= self._first > 0.0
        np.matmul(self._read.T, self._second, out=g1[0])
        gb1[0, 0] = self._second.sum(axis=0)

    @property
    def _bounds(self) -> tuple[float, float]:
        return self._settings.least_spread, self._settings.most_spread


class SoftLoop:
    """The gradient steps: see the module."""

    def __init__(
        self,
        actor: Mapping[str, FloatArray],
        critics: Mapping[str, FloatArray],
        *,
        rows: int,
        log_alpha: float,
        settings: Settings,
    ) -> None:
        """Begin with these weights, in the order in which layers come; targets with the critics'.

        Args:
            actor: two hidden layers [1, in, out] with biases [1, 1, out], the heads [D, U], [D].
            critics: three layers [2, in, out] with biases [2, 1, out].
            rows: R.
            log_alpha: of the first temperature.
            settings: constants.
        """
        self._settings = settings
        self.actor, self.critics, target = Flat(actor), Flat(critics), Flat(critics)
        self.target, self.target_weights = target.vector, target.weights
        self._act = Actor(self.actor, rows, settings)
        self._judge, self._judge_later = Critics(self.critics, rows), Critics(target, rows)
        self.temperature = Flat({"log_alpha": np.full(1, log_alpha, np.float32)})

    def step(self, batch: Batch, later_normal: FloatArray, normal: FloatArray) -> None:
        """Critics, actor and temperature, in this order, then the targets.

        Args:
            batch: R rows.
            later_normal: [R, D] for the actions that follow.
            normal: [R, D] for the actor's own actions.
        """
        rate, rows = self._settings.learning_rate, len(batch.reward)
        alpha = float(np.exp(self.temperature.vector[0]))

        action, log_prob = self._act.act(batch.following, later_normal)
        later = self._judge_later.forward(np.concatenate([batch.following, action], axis=1))
        wanted = batch.reward + batch.bootstrap * (later.min(axis=0) - alpha * log_prob)
        read = np.concatenate([batch.seen, np.tanh(batch.action)], axis=1)
        error = self._judge.forward(read) - wanted
        self._judge.backward(read, error * np.float32(1.0 / rows))
        self.critics.descend(rate)

        action, log_prob = self._act.act(batch.seen, normal)
        values = self._judge.forward(np.concatenate([batch.seen, action], axis=1))
        is_least = np.empty_like(values)
        is_least[0] = values[0] < values[1]
        is_least[1] = 1.0 - is_least[0]
        of_read = self._judge.of_read(is_least)
        self._act.backward(of_read[:, batch.seen.shape[1] :], alpha)
        self.actor.descend(rate)

        missing = log_prob.mean() + self._settings.entropy_target
        self.temperature.gradient[0] = -missing
        self.temperature.descend(rate)
        self.target += np.float32(self._settings.target_rate) * (self.critics.vector - self.target)


def _layer(read: FloatArray, weight: FloatArray, bias: FloatArray, into: FloatArray) -> None:
    """relu(read @ weight + bias)."""
    np.matmul(read, weight, out=into)
    into += bias
    np.maximum(into, np.float32(0.0), out=into)


def _views(
    vector: FloatArray, shapes: Sequence[tuple[int, ...]], ends: npt.NDArray[np.intp]
) -> list[FloatArray]:
    pieces = np.split(vector, ends[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
