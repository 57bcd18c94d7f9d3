"""Activations and their slopes, both written over an array that is there already.

Shapes are any.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from entrain.inference.arrays import FloatArray, elu, relu, sigmoid
from entrain.policy.layers import Activation


class ActivationFunction(Protocol):
    """One activation, in two directions."""

    def forward(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Apply it.

        Args:
            x: its input; it may be overwritten.

        Returns:
            y: the output.
            kept: what `backward` needs.
        """
        ...

    def backward(self, gradient: FloatArray, y: FloatArray, kept: FloatArray) -> FloatArray:
        """Turn the gradient of the output into that of the input, in place.

        Args:
            gradient: of y; it is overwritten.
            y: as `forward` returned it; it may be overwritten.
            kept: as `forward` returned it; it may be overwritten.
        """
        ...


class _Tanh:
    """1 - y^2."""

    def forward(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        y: FloatArray = np.tanh(x, out=x)
        return y, y

    def backward(self, gradient: FloatArray, y: FloatArray, kept: FloatArray) -> FloatArray:
        del kept
        y *= y
        y *= gradient
        gradient -= y
        return gradient


class _Relu:
    """1 where y is above 0, else 0."""

    def forward(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        y = relu(x, out=x)
        return y, y

    def backward(self, gradient: FloatArray, y: FloatArray, kept: FloatArray) -> FloatArray:
        del kept
        gradient *= y > 0.0
        return gradient


class _Elu:
    """1 where x is above 0, else e^x, which is y + 1."""

    def forward(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        y = elu(x, out=x)
        return y, y

    def backward(self, gradient: FloatArray, y: FloatArray, kept: FloatArray) -> FloatArray:
        del kept
        one = y.dtype.type(1.0)
        y += one
        gradient *= np.minimum(y, one, out=y)
        return gradient


class _Silu:
    """s + y (1 - s), with s = 1 / (1 + e^-x)."""

    def forward(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        share = sigmoid(x)
        x *= share
        return x, share

    def backward(self, gradient: FloatArray, y: FloatArray, kept: FloatArray) -> FloatArray:
        slope = y * (kept.dtype.type(1.0) - kept)
        slope += kept
        gradient *= slope
        return gradient


ACTIVATION_FUNCTIONS: Mapping[Activation, ActivationFunction] = {
    "tanh": _Tanh(),
    "relu": _Relu(),
    "elu": _Elu(),
    "silu": _Silu(),
}
