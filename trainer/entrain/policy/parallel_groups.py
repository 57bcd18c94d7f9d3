"""Two computations that do not need each other, done at the same time, and their gradients too.

A library's kernel for sequences keeps one processor busy for milliseconds; a second one can go
through the critic's sequences meanwhile. The two threads meet twice for each minibatch, and who is
early sleeps. OpenMP's threads would meet at every step of every sequence, and spin: that is as fast
on processors that nobody else uses, and many times slower than one thread where others compute too.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any, Self, TypeAlias, cast

import torch
from torch import Tensor

MIN_NUMBERS = 2**15
"""Of each result. Of fewer, waking a thread takes longer than what it does."""

Arguments: TypeAlias = Sequence[Tensor | None]

Tensors: TypeAlias = tuple[Tensor, ...]

Work: TypeAlias = Callable[..., Tensors]


class ParallelGroups:
    """A second thread, which sleeps until there is work for two. Owned by a part of a network."""

    def __init__(self) -> None:
        self._second = ThreadPoolExecutor(1, thread_name_prefix="parallel-groups")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy of the network has a thread of its own."""
        return type(self)()

    def __call__(self, work: Work, jobs: Sequence[Arguments], *, numbers: int) -> Sequence[Tensors]:
        """[work(*job) for job in jobs], and sooner if two large ones have processors.

        The same numbers (of oneDNN's LSTM in double precision, up to rounding). A GPU queues them
        anyway; and where torch splits each operation among threads, a further thread would only be
        in the way. Gradients can be taken once, and have none of their own.

        Args:
            work: must reach no tensor that has a gradient but those it is given.
            jobs: its arguments, tensors first, as many in each job.
            numbers: in the first result of each job.
        """
        are_large = len(jobs) == 2 and numbers >= MIN_NUMBERS
        device = cast("Tensor", jobs[0][0]).device.type
        if not are_large or device != "cpu" or torch.get_num_threads() > 1:
            return [work(*job) for job in jobs]
        first, second = jobs
        if not torch.is_grad_enabled():
            return self.run(partial(_unrecorded, work), first, second)
        outputs: Tensors = _Both.apply(self.run, work, *first, *second)  # type: ignore[no-untyped-call]
        half = len(outputs) // 2
        return outputs[:half], outputs[half:]

    def run(self, work: Work, first: Sequence[Any], second: Sequence[Any]) -> tuple[Any, Any]:
        """Both results, without a gradient from one thread to the other."""
        others = self._second.submit(work, *second)
        try:
            mine = work(*first)
        finally:
            # Whatever comes of it, nobody is left at work on weights that others may then change.
            wait([others])
        return mine, others.result()


def _unrecorded(work: Work, *arguments: Tensor | None) -> Tensors:
    # Whether gradients are wanted is a thread's own affair, and the second one would want them.
    with torch.no_grad():
        return work(*arguments)


class _Both(torch.autograd.Function):
    """Each thread records what it does, and later goes back over it."""

    @staticmethod
    def forward(
        ctx: Any, run: Callable[..., tuple[Any, Any]], work: Work, *arguments: Tensor | None
    ) -> Tensors:
        inputs = [
            tensor if tensor is None else tensor.detach().requires_grad_(is_wanted)
            for tensor, is_wanted in zip(arguments, ctx.needs_input_grad[2:], strict=True)
        ]

        def recorded(*part: Tensor | None) -> Tensors:
            # Each thread has a mode of its own, and this method's is not to record.
            with torch.enable_grad():
                return work(*part)

        half = len(inputs) // 2
        mine, others = run(recorded, inputs[:half], inputs[half:])
        ctx.run, ctx.inputs, ctx.outputs = run, inputs, (*mine, *others)
        ctx.set_materialize_grads(False)
        return tuple(output.detach() for output in ctx.outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        half, middle = len(ctx.outputs) // 2, len(ctx.inputs) // 2
        mine, others = ctx.run(
            _gradients,
            (ctx.inputs[:middle], ctx.outputs[:half], gradients[:half]),
            (ctx.inputs[middle:], ctx.outputs[half:], gradients[half:]),
        )
        return None, None, *mine, *others


def _gradients(
    inputs: Arguments, outputs: Tensors, gradients: Sequence[Tensor | None]
) -> Sequence[Tensor | None]:
    """Of each input, given those of the outputs; None where there is none."""
    given = [
        (output, gradient)
        for output, gradient in zip(outputs, gradients, strict=True)
        if gradient is not None and output.requires_grad
    ]
    wanted = {
        index: tensor
        for index, tensor in enumerate(inputs)
        if tensor is not None and tensor.requires_grad
    }
    if not given or not wanted:
        return [None] * len(inputs)
    reached, along = zip(*given, strict=True)
    found = torch.autograd.grad(reached, list(wanted.values()), along, allow_unused=True)
    by_index = dict(zip(wanted, found, strict=True))
    return [by_index.get(index) for index in range(len(inputs))]
