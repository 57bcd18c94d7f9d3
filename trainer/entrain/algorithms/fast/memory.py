"""The LSTMs or GRUs of a plain policy: torch's kernels, with numpy around them.

Only the kernels are left to torch, because they take little longer than their matrix products.
Steps are put into sequences, and their gradients taken out, in numpy.

Shapes: L steps of M sequences, of whose cells R are steps and the rest padding; N rows, which are
more than L if reset rows are put before episodes that begin inside sequences; G groups; F features
in and H out; S numbers of recurrent state.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from entrain.inference.arrays import AnyArray, FloatArray, view
from entrain.policy.parallel_groups import ParallelGroups, Tensors, are_two_large
from entrain.policy.recurrence import LibraryMemory
from entrain.policy.recurrent_layers import LibraryLayer
from entrain.policy.reset_rows import ResetRows

MEMORY = "backbone.memory"
"""Prefix of the names of its weights."""


@dataclass(frozen=True)
class SequenceSteps:
    """The steps of a minibatch in the order of its rows."""

    mask: Tensor
    """[L, M] bool, true where there is a step."""

    reset: Tensor
    """[L, M] bool, true where the state is cleared before the step; false in padding."""

    state: Tensor
    """[M, S] before the first step."""


class PlainMemory:
    """LSTMs or GRUs: one kernel for each group and layer, which is all that autograd records.

    A forward is followed by at most one backward.
    """

    def __init__(
        self, memory: LibraryMemory, weights: Mapping[str, Tensor], gradient: Mapping[str, Tensor]
    ) -> None:
        """Take views of weights and gradients.

        Args:
            memory: whose layers compute.
            weights: {name of a parameter of the policy: its memory}.
            gradient: {name of a parameter of the policy: where its gradient goes}.
        """
        self._layers = cast("Sequence[LibraryLayer]", memory.layers)
        self._size = memory.feature_size
        self._second_thread = ParallelGroups()
        self._weights = _by_group(memory, weights)
        for weight in (weight for group in self._weights for weight in group):
            weight.requires_grad_()
        self._gradients = _by_group(memory, gradient)
        self._places = _Places(0, 0, None, None)
        self._recorded: Sequence[Tensors] = []
        """Of each group what the kernels were given and what they gave."""

    def forward(self, hidden: FloatArray, steps: SequenceSteps) -> FloatArray:
        """[G, R, F], or [1, R, F] for all groups, to [G, R, H]."""
        groups, places = len(self._weights), _Places.with_reset_rows(steps)
        state = steps.state
        if steps.reset[0].any():
            state = state.masked_fill(steps.reset[:1].t(), 0.0)
        # [G, layers, P, M, H]
        parts = state.view(places.columns, groups, len(self._layers), -1, self._size)
        parts = parts.permute(1, 2, 3, 0, 4)
        flags = None if places.flags is None else places.flags.to(state.dtype)
        shape = (len(hidden), places.rows, places.columns, hidden.shape[2])
        given = torch.from_numpy(places.put_in(hidden)).view(shape).expand(groups, -1, -1, -1)
        # A tensor of its own for each group: its gradient is, too.
        jobs = [(given[g].detach(), parts[g], flags, g) for g in range(groups)]
        self._places = places
        numbers = places.rows * places.columns * self._size
        self._recorded = self._each(self._unrolled, jobs, numbers=numbers)
        return places.take_out([view(output) for _, output in self._recorded])

    def backward(self, output: FloatArray) -> FloatArray:
        """Write the gradient of every weight; return that of what `forward` was given.

        Args:
            output: [G, R, H] gradient of the loss.
        """
        along = torch.from_numpy(self._places.put_in(output))
        jobs = [
            (given, out, gradient.view_as(out), group)
            for group, ((given, out), gradient) in enumerate(
                zip(self._recorded, along, strict=True)
            )
        ]
        self._recorded = []
        found = self._each(self._gradients_of, jobs, numbers=along[0].numel())
        return self._places.take_out([view(of_given) for (of_given,) in found])

    def _each(
        self, work: Callable[..., Tensors], jobs: Sequence[tuple[object, ...]], *, numbers: int
    ) -> Sequence[Tensors]:
        """[work(*job) for job in jobs], with two large jobs on two cores."""
        if are_two_large(jobs, numbers=numbers):
            return self._second_thread.run(work, *jobs)
        return [work(*job) for job in jobs]

    def _unrolled(self, x: Tensor, state: Tensor, flags: Tensor | None, group: int) -> Tensors:
        """The first layer's input [N, M, F] and the last layer's output [N, M, H], for autograd."""
        weights = self._weights[group]
        count = len(weights) // len(self._layers)
        # Each thread has a gradient mode of its own.
        with torch.enable_grad():
            output = x.requires_grad_()
            for index, layer in enumerate(self._layers):
                own = weights[index * count : (index + 1) * count]
                output, _ = layer.unroll(own, output, state[index].unbind(), flags)
        return x, output

    def _gradients_of(self, x: Tensor, output: Tensor, along: Tensor, group: int) -> Tensors:
        """[N, M, F] with respect to x; those of weights are written."""
        of_x, *found = torch.autograd.grad(output, [x, *self._weights[group]], along)
        for gradient, each in zip(self._gradients[group], found, strict=True):
            gradient.copy_(each)
        return (of_x,)


@dataclass(frozen=True)
class _Places:
    """Where R steps lie in N rows of M columns."""

    rows: int
    """N."""

    columns: int
    """M."""

    places: AnyArray | None
    """[R] int64 the place n * M + m of each step; None if every place is that of a step."""

    flags: Tensor | None
    """[N, M, 2] see `ResetRows`; None without reset rows."""

    @classmethod
    def of(cls, steps: SequenceSteps) -> "_Places":
        """In as many rows as there are steps."""
        is_step = view(steps.mask)
        rows, columns = is_step.shape
        return cls(rows, columns, None if is_step.all() else np.flatnonzero(is_step), None)

    @classmethod
    def with_reset_rows(cls, steps: SequenceSteps) -> "_Places":
        """With a row before every reset but those at the top."""
        if not view(steps.reset)[1:].any():
            return cls.of(steps)
        rows = ResetRows(steps.reset)
        columns = steps.mask.shape[1]
        return cls(rows.count, columns, view(rows.places)[view(steps.mask).ravel()], rows.flags)

    def put_in(self, steps: FloatArray) -> FloatArray:
        """[G, R, X] to [G, N * M, X], zero where there is no step."""
        if self.places is None:
            return steps
        placed = np.zeros((len(steps), self.rows * self.columns, steps.shape[2]), steps.dtype)
        for group, given in zip(placed, steps, strict=True):
            group[self.places] = given
        return placed

    def take_out(self, placed: Sequence[FloatArray]) -> FloatArray:
        """G times [..., X], N * M of them, to [G, R, X]."""
        groups = [group.reshape(-1, group.shape[-1]) for group in placed]
        if self.places is not None:
            groups = [group.take(self.places, axis=0) for group in groups]
        return groups[0][np.newaxis] if len(groups) == 1 else np.stack(groups)


def _by_group(memory: LibraryMemory, tensors: Mapping[str, Tensor]) -> Sequence[Sequence[Tensor]]:
    """For each group, the weights of all layers in order, as `unroll` takes them."""
    layers = [
        [
            tensors[f"{MEMORY}.layers.{index}.{name}"].detach()
            for name in ("weight_input", "weight_recurrent", "bias")
        ]
        for index, _ in enumerate(memory.layers)
    ]
    groups = len(layers[0][0])
    return [
        [
            weight
            for from_input, recurrent, bias in layers
            for weight in (from_input[group], recurrent[group], bias[group, 0])
        ]
        for group in range(groups)
    ]
