"""The memory of a plain policy: torch's kernels for sequences, amid what is done by hand.

Those kernels come close to what the products of their matrices take, so only they are left to
torch; see benchmarks/log. Gradients of the memory's weights are torch's too.

Shapes: L steps of M sequences; R of these L * M cells are steps, the rest is padding; G groups; F
features in and H out; S numbers of recurrent state.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from entrain.algorithms.fast.arrays import FloatArray, view
from entrain.policy.recurrence import RecurrentMemory

MEMORY = "backbone.memory"
"""Of the names of its weights."""


@dataclass(frozen=True)
class PlacedSteps:
    """Where R steps of a minibatch lie in its sequences."""

    reset: Tensor
    """[L, M] bool, true where the state is cleared before the step."""

    state: Tensor
    """[M, S] before the first step."""

    places: Tensor | None
    """[R] int64 the cell l * M + m of each step, in order; None if every cell is one."""

    @classmethod
    def of(cls, mask: Tensor, reset: Tensor, state: Tensor) -> "PlacedSteps":
        """The steps where `mask`, [L, M] bool, is true, row by row."""
        if mask.all():
            return cls(reset, state, None)
        return cls(reset & mask, state, mask.flatten().nonzero().squeeze(1))


class PlainMemory:
    """Views of a memory and of its gradient. A forward is followed by at most one backward."""

    def __init__(self, memory: RecurrentMemory, gradient: Mapping[str, Tensor]) -> None:
        """Take views.

        Args:
            memory: whose parameters' `grad` are those of `gradient`.
            gradient: {name of a parameter: where its gradient goes}.
        """
        self._memory = memory
        names = (f"{MEMORY}.{name}" for name, _ in memory.named_parameters())
        self._gradients = [gradient[name] for name in names]
        self._input = self._output = torch.zeros(0)

    def forward(self, hidden: FloatArray, steps: PlacedSteps, *, groups: int) -> FloatArray:
        """[G, R, F], or [1, R, F] for all groups, to [G, R, H]."""
        self._input = torch.from_numpy(hidden).requires_grad_()
        x = self._input.expand(groups, -1, -1)
        if steps.places is not None:
            cells = x.new_zeros(groups, steps.reset.numel(), x.shape[-1])
            x = cells.index_copy(1, steps.places, x)
        output, _ = self._memory(x, steps.state, steps.reset)
        if steps.places is not None:
            output = output.index_select(1, steps.places)
        self._output = output
        return view(output)

    def backward(self, output: FloatArray) -> FloatArray:
        """Write the gradient of every weight; return that of what `forward` was given.

        Args:
            output: [G, R, H] gradient of the loss.
        """
        for gradient in self._gradients:
            gradient.zero_()
        self._output.backward(torch.from_numpy(output))  # type: ignore[no-untyped-call]
        assert self._input.grad is not None
        of_hidden: FloatArray = view(self._input.grad)
        self._input = self._output = torch.zeros(0)
        return of_hidden
