"""What a policy carries from one timestep to the next.

Shapes: T steps, B columns, G groups (policy and critic, or both as one), F features, S numbers of
state per column. The state is stored with the experience and given back by the caller.
"""

import torch
from torch import Tensor, nn

from entrain.config import MemoryConfig


class NoMemory(nn.Module):
    """Carries nothing. A policy with memory puts another module of this interface in its place."""

    state_size = 0

    def __init__(self, feature_size: int) -> None:
        super().__init__()
        self.feature_size = feature_size

    def keep_first_group(self) -> None:
        """There is nothing to forget."""

    def forward(self, hidden: Tensor, state: Tensor, reset: Tensor) -> tuple[Tensor, Tensor]:
        """Pass everything through.

        Args:
            hidden: [G, T * B, F].
            state: [B, S] before the first step.
            reset: [T, B] bool, true where the state is cleared before the step.

        Returns:
            hidden: [G, T * B, F] with what is remembered.
            state: [B, S] after the last step.
        """
        del reset
        return hidden, state


def make_memory(
    config: MemoryConfig, groups: int, inputs: int, *, generator: torch.Generator
) -> NoMemory:
    """The memory of G networks whose bodies give `inputs` features each."""
    del config, groups, generator
    return NoMemory(inputs)
