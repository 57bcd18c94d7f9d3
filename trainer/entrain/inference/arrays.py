"""Arrays that are the memory of tensors, and functions of arrays that acting and learning share."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from entrain.policy.layers import Activation

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
"""Of the dtype that the policy's weights have."""

AnyArray: TypeAlias = npt.NDArray[Any]

Function: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]
"""Of an array, which may be written to another of its shape, also to itself."""


def view(tensor: Tensor) -> AnyArray:
    """The memory of a tensor on the CPU."""
    array: AnyArray = tensor.detach().numpy()
    return array


def sigmoid(x: FloatArray, out: FloatArray | None = None) -> FloatArray:
    """1 / (1 + e^-x), by tanh, which overflows nowhere."""
    y: FloatArray = np.multiply(x, 0.5, out=out)
    np.tanh(y, out=y)
    y *= 0.5
    y += 0.5
    return y


def relu(x: FloatArray, out: FloatArray) -> FloatArray:
    """X where it is above 0, else 0."""
    return np.maximum(x, 0.0, out=out)


def elu(x: FloatArray, out: FloatArray) -> FloatArray:
    """X where it is above 0, else e^x - 1."""
    y = np.expm1(np.minimum(x, 0.0))
    np.maximum(x, 0.0, out=out)
    out += y
    return out


def silu(x: FloatArray, out: FloatArray) -> FloatArray:
    """X / (1 + e^-x)."""
    return np.multiply(x, sigmoid(x), out=out)


ACTIVATIONS: Mapping[Activation, Function] = {
    "tanh": np.tanh,
    "relu": relu,
    "elu": elu,
    "silu": silu,
}
