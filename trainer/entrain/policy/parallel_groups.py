"""Runs two independent computations at the same time, and their gradients too.

torch's kernel for sequences keeps one core busy for milliseconds; meanwhile a second core can run
the critic's sequences. The two threads wait for each other twice per minibatch, and a waiting
thread sleeps. OpenMP's threads would synchronise at every step of every sequence, and spin: equally
fast on idle cores, but many times slower than a single thread on cores that others use too.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from typing import Any, Self, TypeAlias, cast

import torch
from torch import Tensor

MIN_NUMBERS = 2**15
"""In each result. With fewer, waking a thread takes longer than the computation."""

Arguments: TypeAlias = Sequence[Tensor | None]

Tensors: TypeAlias = tuple[Tensor, ...]

Work: TypeAlias = Callable[..., Tensors]


class ParallelGroups:
    """A second thread, which sleeps until there are two jobs. Owned by a part of a network."""

    def __init__(self) -> None:
        self._second = ThreadPoolExecutor(1, thread_name_prefix="parallel-groups")

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A new one: a copy of the network gets a thread of its own."""
        return type(self)()

    def __call__(self, work: Work, jobs: Sequence[Arguments], *, numbers: int) -> Sequence[Tensors]:
        """[work(*job) for job in jobs], with two large jobs on two cores.

        The numbers are the same (up to rounding for oneDNN's LSTM in double precision). On a GPU
        the jobs run one after the other, because it queues operations anyway; so they do if torch
        splits each operation among threads, because another thread would only compete with those.
        Gradients can be computed once, and are not differentiable themselves.

        Args:
            work: may use no tensors that need gradients except its arguments.
            jobs: the arguments, equally many in each job, the first one a tensor.
            numbers: how many the first result of each job has.
        """
        if not are_two_large(jobs, numbers=numbers):
            return [work(*job) for job in jobs]
        first, second = jobs
        if not torch.is_grad_enabled():
            return self.run(partial(_unrecorded, work), first, second)
        outputs: Tensors = _Both.apply(self.run, work, *first, *second)  # type: ignore[no-untyped-call]
        half = len(outputs) // 2
        return outputs[:half], outputs[half:]

    def run(self, work: Work, first: Sequence[Any], second: Sequence[Any]) -> tuple[Any, Any]:
        """Both results: the second job runs in the other thread."""
        others = self._second.submit(work, *second)
        try:
            mine = work(*first)
        finally:
            # Also after an error: no thread may still read weights that the caller then changes.
            wait([others])
        return mine, others.result()


def are_two_large(jobs: Sequence[Sequence[object]], *, numbers: int) -> bool:
    """Whether jobs gain by a second thread; see `ParallelGroups`."""
    are_large = len(jobs) == 2 and numbers >= MIN_NUMBERS
    is_on_cpu = cast("Tensor", jobs[0][0]).device.type == "cpu"
    return are_large and is_on_cpu and torch.get_num_threads() == 1


def _unrecorded(work: Work, *arguments: Tensor | None) -> Tensors:
    # Each thread has a gradient mode of its own, and that of the second thread is on.
    with torch.no_grad():
        return work(*arguments)


class _Both(torch.autograd.Function):
    """Each thread records its own job, and later computes that job's gradients."""

    @staticmethod
    def forward(
        ctx: Any, run: Callable[..., tuple[Any, Any]], work: Work, *arguments: Tensor | None
    ) -> Tensors:
        inputs = [
            tensor if tensor is None else tensor.detach().requires_grad_(is_wanted)
            for tensor, is_wanted in zip(arguments, ctx.needs_input_grad[2:], strict=True)
        ]

        def recorded(*part: Tensor | None) -> Tensors:
            # Each thread has a gradient mode of its own, and inside `forward` it is off.
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
    """Of each input, given the gradients of the outputs; None for an input without one."""
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
