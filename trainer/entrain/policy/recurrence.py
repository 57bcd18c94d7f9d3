"""What a policy carries from one timestep to the next.

Shapes: T steps, B columns, G groups (policy and critic, or both as one), F features, S numbers of
state per column. The state is stored with the experience and given back by the caller.
"""

from torch import Tensor, nn


class NoMemory(nn.Module):
    """Carries nothing. A policy with memory puts another module of this interface in its place."""

    state_size = 0

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
