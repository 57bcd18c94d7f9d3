"""Arrays that are the memory of tensors, and names of their types."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
"""Of the dtype that the policy's weights have."""

AnyArray: TypeAlias = npt.NDArray[Any]

quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
"""Silences numpy where numbers become infinite, as torch does without a word: the end of the epoch
finds them."""


def view(tensor: Tensor) -> AnyArray:
    """The memory of a tensor on the CPU."""
    array: AnyArray = tensor.detach().numpy()
    return array
