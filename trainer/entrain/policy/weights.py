"""A policy's weights on their way from where they are learned to where they act."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from entrain.errors import CheckpointError
from entrain.policy.value_normalization import PREFIX, completed
from entrain.state import State


@dataclass(frozen=True)
class PolicyWeights:
    """Everything of a policy that learning changes, as it is now: the tensors may change later."""

    parameters: Tensor
    """[P] all parameters as one vector, in the order of the module's `parameters()`."""

    buffers: Mapping[str, Tensor]
    """{name: tensor} all buffers, the statistics of observations among them."""

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """The weights of `module`. Its parameters are copied into one vector."""
        return cls(
            parameters=nn.utils.parameters_to_vector(module.parameters()).detach(),
            buffers=dict(module.named_buffers()),
        )

    def state(self) -> State:
        """A copy as arrays."""
        return {
            "parameters": self.parameters.numpy(force=True).copy(),
            "buffers": {
                name: np.array(buffer.numpy(force=True)) for name, buffer in self.buffers.items()
            },
        }

    def named(self, module: nn.Module) -> State:
        """{name: array} as `module` would save them, if these were its weights.

        Args:
            module: of the same kind; its own weights do not matter.
        """
        shapes = {name: tensor.shape for name, tensor in module.named_parameters()}
        pieces = torch.split(self.parameters, [shape.numel() for shape in shapes.values()])
        tensors = {
            **self.buffers,
            **{
                name: piece.view(shape)
                for (name, shape), piece in zip(shapes.items(), pieces, strict=True)
            },
        }
        return {name: np.array(tensors[name].numpy(force=True)) for name in module.state_dict()}

    @classmethod
    def from_state(cls, state: State, like: "PolicyWeights") -> Self:
        """The weights that `state` was taken of; CheckpointError if they do not fit `like`."""
        parameters = torch.from_numpy(state["parameters"])
        arrays = state["buffers"]
        if f"{PREFIX}scale" in like.buffers:
            arrays = completed(arrays, len(like.buffers[f"{PREFIX}scale"]))
        buffers = {name: torch.from_numpy(array) for name, array in arrays.items()}
        expected = {name: buffer.shape for name, buffer in like.buffers.items()}
        fits = {name: buffer.shape for name, buffer in buffers.items()} == expected
        if not fits or parameters.shape != like.parameters.shape:
            raise CheckpointError(
                "the checkpoint's acting weights are of another network than this run's policy; "
                "resume with the network and the behaviour that it was made for"
            )
        return cls(parameters, buffers)
