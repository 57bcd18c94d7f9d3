"""From a rollout to minibatches: padding is left behind, the rest is shuffled anew each epoch.

Shapes: T steps, B columns of the rollout; N valid steps; L steps of M sequences in one minibatch.
Here every step is a sequence of its own; `sequences` has longer ones, for policies with memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from entrain.experience import BurnIn, Minibatch, Rollout

MAX_GATHERED_BYTES = 256 * 2**20
"""Of a rollout's steps that are copied, in their new order, at a time. Vectors of a whole epoch are
far below this; images are gathered a few minibatches at a time."""


class Minibatches(Protocol):
    """What every epoch over one rollout draws from."""

    steps: Minibatch
    """All N valid steps in order, [1, N], without states."""

    def __len__(self) -> int:
        """Minibatches in an epoch."""
        ...

    def epoch(self, generator: torch.Generator) -> Iterator[Minibatch]:
        """Every valid step once, in an order that `generator` decides."""
        ...


class StepMinibatches:
    """Every valid step by itself, a sequence of length 1: for policies without memory."""

    def __init__(
        self,
        rollout: Rollout,
        *,
        advantage: Tensor,
        return_: Tensor,
        size: int,
        device: torch.device,
    ) -> None:
        """Collect the valid steps on `device`.

        The number of minibatches is the one that brings their size closest to `size`; they are
        equally large, but for one step where it does not divide evenly. So no epoch ends with a
        gradient from the few steps that happened to be left over.

        Args:
            rollout: with at least one valid step.
            advantage: [T, B] of each action.
            return_: [T, B, V] the critic's targets.
            size: steps of one minibatch, M.
            device: where the policy is.
        """
        self.steps = valid_steps(rollout, advantage=advantage, return_=return_, device=device)
        self._count = num_minibatches(self.steps, size)

    def __len__(self) -> int:
        """Minibatches in an epoch."""
        return self._count

    def epoch(self, generator: torch.Generator) -> Iterator[Minibatch]:
        """Every valid step once, in an order that `generator` decides."""
        order = torch.randperm(self.steps.mask.shape[1], generator=generator)
        return gathered(self.steps, order.unsqueeze(0).tensor_split(self._count, dim=1))


def valid_steps(
    rollout: Rollout, *, advantage: Tensor, return_: Tensor, device: torch.device
) -> Minibatch:
    """All N valid steps of a rollout on `device`, [1, N]: row t * B + b is step t of column b.

    Args:
        rollout: with at least one valid step.
        advantage: [T, B] of each action.
        return_: [T, B, V] the critic's targets.
        device: where the policy is.
    """
    valid = rollout.valid.flatten().nonzero().squeeze(1)
    if len(valid) == 0:
        raise ValueError("the rollout has no valid step; there is nothing to learn from")

    def steps(tensor: Tensor) -> Tensor:
        """[T, B, ...] to [1, N, ...]: only valid rows, whatever the others hold."""
        return tensor.flatten(0, 1).index_select(0, valid).unsqueeze(0).to(device)

    return Minibatch(
        observation={name: steps(tensor) for name, tensor in rollout.observation.items()},
        action={name: steps(tensor) for name, tensor in rollout.action.items()},
        action_mask=steps(rollout.action_mask),
        log_prob=steps(rollout.log_prob),
        value=steps(rollout.value),
        advantage=steps(advantage),
        return_=steps(return_),
        reset=steps(rollout.reset),
        mask=steps(rollout.valid),
        initial_state=rollout.sequence_state.new_zeros(len(valid), 0, device=device),
        burn_in=BurnIn.nothing(device),
        is_padded=False,
    )


def num_minibatches(steps: Minibatch, size: int) -> int:
    """So many that `steps`, [1, N], make minibatches of as near to `size` steps as can be."""
    return max(1, round(steps.mask.shape[1] / size))


def gathered(steps: Minibatch, rows: Sequence[Tensor]) -> Iterator[Minibatch]:
    """A minibatch of the steps at each of `rows`, without states.

    Args:
        steps: [1, N].
        rows: each [L, M] int64 on the CPU, of the N steps.
    """
    count = max(1, MAX_GATHERED_BYTES // _bytes_per_step(steps) // rows[0].numel())
    for first in range(0, len(rows), count):
        block = rows[first : first + count]
        pick = Pick(block, steps.mask.device)
        for fields in zip(
            pick.named(steps.observation),
            pick.named(steps.action),
            pick(steps.action_mask),
            pick(steps.log_prob),
            pick(steps.value),
            pick(steps.advantage),
            pick(steps.return_),
            pick(steps.reset),
            pick(steps.mask),
            [steps.initial_state[: piece.shape[1]] for piece in block],
            [steps.burn_in] * len(block),
            [steps.is_padded] * len(block),
            strict=True,
        ):
            yield Minibatch(*fields)


class Pick:
    """Takes the same steps out of several fields: one gather of each, then views of it."""

    def __init__(self, rows: Sequence[Tensor], device: torch.device) -> None:
        """Remember `rows`, each [L, M] of N steps, any number of them."""
        self._shapes = [piece.shape for piece in rows]
        self._sizes = [piece.numel() for piece in rows]
        self._are_single_steps = all(length == 1 for length, _ in self._shapes)
        self._index = torch.cat([piece.flatten() for piece in rows]).to(device)

    def __call__(self, tensor: Tensor) -> Sequence[Tensor]:
        """[1, N, ...] to [L, M, ...] for each of the rows."""
        picked = torch.split(tensor.index_select(1, self._index), self._sizes, dim=1)
        if self._are_single_steps:
            return picked
        return [
            piece.view(*shape, *tensor.shape[2:])
            for piece, shape in zip(picked, self._shapes, strict=True)
        ]

    def named(self, tensors: Mapping[str, Tensor]) -> Sequence[Mapping[str, Tensor]]:
        """The same of {name: tensor}."""
        columns = [self(tensor) for tensor in tensors.values()]
        return [dict(zip(tensors, row, strict=True)) for row in zip(*columns, strict=True)]


def _bytes_per_step(steps: Minibatch) -> int:
    fields = [*steps.observation.values(), *steps.action.values(), steps.action_mask, steps.value]
    return max(1, sum(field[0, 0].nbytes for field in fields))
