"""A module's weights in three forms: its own tensors, one vector, and named arrays on disk.

The vector and the tensors are the same memory, so whatever changes one changes the other.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from entrain.errors import CheckpointError
from entrain.state import State


class FlatWeights:
    """All P parameters of a module as one vector, and all their gradients as another.

    An optimizer's step, a gradient norm or a copy is then one call instead of one for each
    parameter tensor. From here on the module may be neither moved nor cast, and `gradient` is
    zeroed instead of setting `.grad` to None.
    """

    def __init__(self, module: nn.Module) -> None:
        """Move the module's parameters and their gradients into one vector each."""
        self._shape_by_name = {name: tensor.shape for name, tensor in module.named_parameters()}
        self.weights = nn.utils.parameters_to_vector(module.parameters()).detach()
        """[P]; operations on it record no gradient."""

        self.gradient = torch.zeros_like(self.weights)
        """[P], into which every backward adds."""

        weights, gradients = self.named(self.weights), self.named(self.gradient)
        for name, parameter in module.named_parameters():
            parameter.data = weights[name]
            parameter.grad = gradients[name]

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """Views of `vector`, [P], in the shapes of the module's parameters."""
        sizes = [shape.numel() for shape in self._shape_by_name.values()]
        return {
            name: piece.view(shape)
            for (name, shape), piece in zip(
                self._shape_by_name.items(), torch.split(vector, sizes), strict=True
            )
        }


def weights_of(module: nn.Module) -> State:
    """Copies of all parameters and saved buffers, by name."""
    return as_arrays(module.state_dict())


def load_weights(module: nn.Module, state: State) -> None:
    """Set all parameters and saved buffers in place; CheckpointError if they do not fit."""
    load_tensors(module.state_dict(), state, "weight")


def take_weights(module: nn.Module, state: State) -> bool:
    """Set all parameters and saved buffers in place, and say so; none if one does not fit."""
    try:
        load_weights(module, state)
    except CheckpointError:
        return False
    return True


def as_arrays(tensors: Mapping[str, Tensor]) -> State:
    """Copies of tensors as arrays, by name."""
    return {name: np.array(tensor.numpy(force=True)) for name, tensor in tensors.items()}


def load_tensors(tensors: Mapping[str, Tensor], state: State, kind: str) -> None:
    """Overwrite each tensor by the array of its name: all of them, or none.

    Args:
        tensors: {name: tensor}, written in place.
        state: {name: array}.
        kind: what they are, for the message.

    Raises:
        CheckpointError: names, shapes or dtypes differ.
    """
    arrays = {name: _fitting(state, name, tensor, kind) for name, tensor in tensors.items()}
    for name in state:
        if name not in tensors:
            raise CheckpointError(
                f"the checkpoint has a {kind} '{name}', which this run's policy does not have; "
                f"{_REMEDY}"
            )
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(arrays[name])


_REMEDY = "resume with the network and the behaviour that it was made for"


def _fitting(state: State, name: str, tensor: Tensor, kind: str) -> Tensor:
    if name not in state:
        raise CheckpointError(
            f"the checkpoint has no {kind} '{name}', which this run's policy has; {_REMEDY}"
        )
    array: np.ndarray[Any, np.dtype[Any]] = state[name]
    stored = torch.from_numpy(np.array(array))
    if stored.shape != tensor.shape or stored.dtype != tensor.dtype:
        raise CheckpointError(
            f"the checkpoint's {kind} '{name}' is {stored.dtype}{list(stored.shape)}, this run's "
            f"policy has {tensor.dtype}{list(tensor.shape)}; {_REMEDY}"
        )
    return stored
