"""The minGRUs of a plain policy, and their gradient, in numpy.

The formulas are those of `policy/mingru.py`; a property test holds whole updates to torch's. Here
they take 0.6 of the time, for a step of all sequences is a few thousand numbers, for which a call
of numpy costs less, and the gradient of the gates is written over the gates themselves.

Shapes: L steps of M sequences, C = L * M cells; R of these are steps, the rest is padding; G
groups; F features in and H units.
"""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from entrain.algorithms.fast.memory import MEMORY, SequenceSteps
from entrain.inference.arrays import AnyArray, FloatArray, sigmoid, view


class PlainMinGRUs:
    """Views of a memory and of its gradient. A forward is followed by at most one backward."""

    def __init__(
        self, count: int, weights: Mapping[str, Tensor], gradient: Mapping[str, Tensor]
    ) -> None:
        """Take views.

        Args:
            count: of layers.
            weights: {name of a parameter: its memory}.
            gradient: {name of a parameter: where its gradient goes}.
        """
        names = [f"{MEMORY}.layers.{index}" for index in range(count)]
        self._layers = [_Layer(weights, gradient, name) for name in names]
        self._groups = len(weights[f"{names[0]}.weight_input"])
        self._cells = 0
        self._places: AnyArray | None = None

    def forward(self, hidden: FloatArray, steps: SequenceSteps) -> FloatArray:
        """[G, R, F], or [1, R, F] for all groups, to [G, R, H]."""
        reset, is_step = view(steps.reset), view(steps.mask)
        self._cells = reset.size
        self._places = None if is_step.all() else np.flatnonzero(is_step)
        x = np.broadcast_to(hidden, (self._groups, *hidden.shape[1:]))
        if self._places is not None:
            x = self._spread(x)
        # [layers, G, M, H]
        shape = (reset.shape[1], self._groups, len(self._layers), -1)
        initial = view(steps.state).reshape(shape).transpose(2, 1, 0, 3)
        for layer, before in zip(self._layers, initial, strict=True):
            x = layer.forward(x, before, reset)
        return x if self._places is None else x[:, self._places]

    def backward(self, output: FloatArray) -> FloatArray:
        """Write the gradient of every weight; return that of what `forward` was given.

        Args:
            output: [G, R, H] gradient of the loss.
        """
        gradient = output.copy() if self._places is None else self._spread(output)
        for layer in reversed(self._layers):
            gradient = layer.backward(gradient)
        return gradient if self._places is None else gradient[:, self._places]

    def _spread(self, x: FloatArray) -> FloatArray:
        """[G, R, F] to [G, C, F], zero in padding."""
        cells = np.zeros((len(x), self._cells, x.shape[2]), x.dtype)
        cells[:, self._places] = x
        return cells


class _Layer:
    """Weight and bias of one layer, their gradients, and what its last forward kept."""

    def __init__(
        self, weights: Mapping[str, Tensor], gradient: Mapping[str, Tensor], name: str
    ) -> None:
        self._weight: FloatArray = view(weights[f"{name}.weight_input"])
        self._bias: FloatArray = view(weights[f"{name}.bias"])
        self._weight_gradient: FloatArray = view(gradient[f"{name}.weight_input"])
        self._bias_gradient: FloatArray = view(gradient[f"{name}.bias"])
        nothing: FloatArray = np.zeros((0, 0, 0))
        self._x = self._gates = self._change = nothing
        self._reset: AnyArray = np.zeros((0, 0), np.bool_)

    def forward(self, x: FloatArray, initial: FloatArray, reset: AnyArray) -> FloatArray:
        """[G, C, F], [G, M, H] and [L, M] to [G, C, H]."""
        gates = np.matmul(x, self._weight.transpose(0, 2, 1))
        gates += self._bias
        self._x, self._gates, self._reset = x, gates, reset
        update, candidate = self._by_step(gates)
        sigmoid(update, out=update)
        output = np.empty(update.shape, update.dtype)
        # candidate - before: how far each step moves, but for the share `update`.
        self._change = np.empty_like(output)
        before = initial
        for step in range(len(reset)):
            if reset[step].any():
                before = np.where(reset[step, :, np.newaxis], 0.0, before).astype(before.dtype)
            after, change = output[:, step], self._change[:, step]
            np.subtract(candidate[:, step], before, out=change)
            np.multiply(change, update[:, step], out=after)
            after += before
            before = after
        return output.reshape(len(x), reset.size, -1)

    def backward(self, gradient: FloatArray) -> FloatArray:
        """From [G, C, H], which is used up, to [G, C, F]; writes the gradient of the weights."""
        update, candidate = self._by_step(self._gates)
        total = gradient.reshape(update.shape)
        # From here on the gates are overwritten by their gradient, the candidate first.
        carried = np.empty_like(total[:, 0])
        for step in range(len(self._reset) - 1, -1, -1):
            np.multiply(total[:, step], update[:, step], out=candidate[:, step])
            if step:
                np.subtract(total[:, step], candidate[:, step], out=carried)
                if self._reset[step].any():
                    carried[:, self._reset[step]] = 0.0
                total[:, step - 1] += carried
        self._change *= candidate
        np.subtract(1.0, update, out=update)
        update *= self._change
        gates = self._gates
        ones = np.ones((1, gates.shape[1]), gates.dtype)
        np.matmul(gates.transpose(0, 2, 1), self._x, out=self._weight_gradient)
        # A sum over rows, which a product with ones is quicker at.
        np.matmul(ones, gates, out=self._bias_gradient)
        of_inputs: FloatArray = np.matmul(gates, self._weight)
        return of_inputs

    def _by_step(self, gates: FloatArray) -> tuple[FloatArray, FloatArray]:
        """[G, C, 2 * H] as [G, L, M, H] of the update gate and of the candidate."""
        by_step = gates.reshape(len(gates), *self._reset.shape, gates.shape[2])
        size = gates.shape[2] // 2
        return by_step[..., :size], by_step[..., size:]
