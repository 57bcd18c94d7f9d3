"""One recurrent layer of G networks that are computed together: LSTM or GRU.

Shapes: G groups, N sequences of T steps, F input features, H units, K gates of H units each, P
parts of state: the layer's output and, for an LSTM, its cells.

Two methods compute the same numbers. `step` is written out and takes all groups in one call: for
acting, where the number of calls matters, and for export. `unroll` runs one group through torch's
kernel for whole sequences: for learning. A layer without such a kernel is in `mingru`.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from entrain.policy.reset_rows import NUM_FLAGS

HOLD = 1e30
"""So large that the sigmoid of plus or minus it is exactly 1 or 0, whatever else is added."""

ONE_LAYER = (True, 1, 0.0, True, False, False)
"""Arguments of torch's kernels: biases, one layer, no dropout, training, one way, time first."""


class RecurrentLayer(nn.Module):
    """The weights of one layer and the computations with them.

    Each gate reads input @ weight_input.T + bias.
    """

    gates: ClassVar[int]
    """K, the number of gates."""

    parts: ClassVar[int]
    """P, the parts of the state."""

    weight_input: nn.Parameter
    """[G, K * H, F]."""

    bias: nn.Parameter
    """[G, 1, K * H]."""

    def __init__(self, groups: int, inputs: int, size: int, *, generator: torch.Generator) -> None:
        """Draw orthogonal matrices, one per gate; the bias is the subclass's."""
        super().__init__()
        self._size = size
        self.weight_input = nn.Parameter(self._orthogonal(groups, inputs, generator))

    def _orthogonal(self, groups: int, inputs: int, generator: torch.Generator) -> Tensor:
        """[G, K * H, inputs], one orthogonal matrix per gate.

        Source: Saxe, McClelland & Ganguli 2014, arXiv:1312.6120.
        """
        weight = torch.empty(groups, self.gates, self._size, inputs)
        for matrix in weight.flatten(0, 1):
            nn.init.orthogonal_(matrix, generator=generator)
        return weight.flatten(1, 2)

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """One timestep of all groups.

        Args:
            x: [G, N, F].
            state: P times [G, N, H].

        Returns:
            the state after it, whose first part is the layer's output.
        """
        raise NotImplementedError


class LibraryLayer(RecurrentLayer):
    """A layer whose sequences torch has a kernel for.

    Each gate also reads output @ weight_recurrent.T.
    """

    weight_recurrent: nn.Parameter
    """[G, K * H, H]."""

    no_bias: Tensor
    """[K * H] zeros: torch's kernels take a second bias, which would only add to the first."""

    def __init__(self, groups: int, inputs: int, size: int, *, generator: torch.Generator) -> None:
        """Draw orthogonal matrices, one per gate; biases are zero."""
        super().__init__(groups, inputs, size, generator=generator)
        self.weight_recurrent = nn.Parameter(self._orthogonal(groups, size, generator))
        self.bias = nn.Parameter(torch.zeros(groups, 1, self.gates * size))
        self.register_buffer("no_bias", torch.zeros(self.gates * size), persistent=False)

    def unroll(
        self,
        weights: Sequence[Tensor],
        x: Tensor,
        state: tuple[Tensor, ...],
        flags: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Whole sequences of one group.

        Args:
            weights: the group's, of `weights_of`.
            x: [T, N, F].
            state: P times [N, H] before the first step.
            flags: [T, N, 2] mark the rows that are not steps, in which x is zero: (1, 0) where the
                whole state becomes exactly zero, (0, 1) where the cells stay exactly as they are;
                None if every row is a step. See `reset_rows`.

        Returns:
            output: [T, N, H]; meaningless in rows that are not steps.
            cells: P - 1 times [N, H], the other parts of the state after the last row.
        """
        raise NotImplementedError

    def weights_of(self, group: int) -> Sequence[Tensor]:
        """[K * H, F] input, [K * H, H] recurrent weights and [K * H] bias of one group."""
        return (
            self.weight_input.unbind()[group],
            self.weight_recurrent.unbind()[group],
            self.bias.unbind()[group].squeeze(0),
        )


class LSTMLayer(LibraryLayer):
    """Long short-term memory with forget gates.

        i, f, o = sigmoid(gate)     g = tanh(gate)
        cell    = f * cell + i * g
        output  = o * tanh(cell)

    The gates are in torch's order: i, f, g, o.

    Source: Gers, Schmidhuber & Cummins 2000, "Learning to forget", eq. 2.1-2.7.
    """

    gates = 4
    parts = 2

    flag_weights: Tensor
    """[K * H, 2] what the flags add to the gates: both close the input gate; the first also closes
    the forget gate, which clears the cell and so the output, the second opens it fully."""

    def __init__(self, groups: int, inputs: int, size: int, *, generator: torch.Generator) -> None:
        """As every layer, but the forget gate's bias is 1, so that a new network remembers.

        Source: Jozefowicz, Zaremba & Sutskever 2015, "An empirical exploration of recurrent
        network architectures", section 2.1.
        """
        super().__init__(groups, inputs, size, generator=generator)
        enter, forget = 0, 1
        flag_weights = torch.zeros(4, size, NUM_FLAGS)
        flag_weights[enter] = -HOLD
        flag_weights[forget] = torch.tensor([-HOLD, HOLD])
        self.register_buffer("flag_weights", flag_weights.flatten(0, 1), persistent=False)
        with torch.no_grad():
            self.bias[..., size : 2 * size] = 1.0

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """See `RecurrentLayer.step`."""
        output, cell = state
        gates = torch.baddbmm(self.bias, x, self.weight_input.transpose(1, 2))
        gates = torch.baddbmm(gates, output, self.weight_recurrent.transpose(1, 2))
        _, _, candidate, _ = gates.chunk(4, dim=-1)
        # The sigmoid of the candidate is wasted: one call is cheaper than two.
        enter, forget, _, leave = torch.sigmoid(gates).chunk(4, dim=-1)
        cell = torch.addcmul(forget * cell, enter, torch.tanh(candidate))
        return leave * torch.tanh(cell), cell

    def unroll(
        self,
        weights: Sequence[Tensor],
        x: Tensor,
        state: tuple[Tensor, ...],
        flags: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `LibraryLayer.unroll`."""
        from_input, recurrent, bias = weights
        if flags is not None:
            x = torch.cat([x, flags], dim=-1)
            from_input = torch.cat([from_input, self.flag_weights], dim=-1)
        initial = [part.unsqueeze(0) for part in state]
        library = [from_input, recurrent, bias, self.no_bias]
        output, _, cell = torch.lstm(x, initial, library, *ONE_LAYER)
        return output, (cell.squeeze(0),)


class GRULayer(LibraryLayer):
    """Gated recurrent units; the reset gate is applied after the recurrent weights, as in torch.

        r, z   = sigmoid(gate)
        n      = tanh(input's part of the gate + r * output's part)
        output = n + z * (output - n)

    The gates are in torch's order: r, z, n.

    Source: Cho et al. 2014, arXiv:1406.1078, eq. 5-8; the reset gate as in version 1 of that
    paper.
    """

    gates = 3
    parts = 1

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """See `RecurrentLayer.step`."""
        (output,) = state
        size = self._size
        from_input = torch.baddbmm(self.bias, x, self.weight_input.transpose(1, 2))
        from_output = torch.bmm(output, self.weight_recurrent.transpose(1, 2))
        both = torch.sigmoid(from_input[..., : 2 * size] + from_output[..., : 2 * size])
        reset, keep = both.chunk(2, dim=-1)
        candidate = torch.tanh(
            torch.addcmul(from_input[..., 2 * size :], reset, from_output[..., 2 * size :])
        )
        return (torch.lerp(candidate, output, keep),)

    def unroll(
        self,
        weights: Sequence[Tensor],
        x: Tensor,
        state: tuple[Tensor, ...],
        flags: Tensor | None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `LibraryLayer.unroll`."""
        from_input, recurrent, bias = weights
        (initial,) = state
        if flags is not None:
            x = torch.cat([x, flags], dim=-1)
            from_input = torch.cat([from_input, self._flag_weights(bias)], dim=-1)
        library = [from_input, recurrent, bias, self.no_bias]
        output, _ = torch.gru(x, initial.unsqueeze(0), library, *ONE_LAYER)
        return output, ()

    def _flag_weights(self, bias: Tensor) -> Tensor:
        """[K * H, 2] what the flags add to the gates: the first makes the output tanh(0).

        There are no cells for the second to hold. The first subtracts the candidate's bias, so that
        an inserted row contributes nothing to the gradient of the bias.
        """
        shut = bias.new_full((2 * self._size,), -HOLD)
        clear = torch.cat([shut, -bias[2 * self._size :]])
        return torch.stack([clear, torch.zeros_like(clear)], dim=-1)
