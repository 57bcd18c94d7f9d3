"""Divides rollouts into minibatches: padding is dropped, and steps are shuffled anew each epoch.

Without memory every step is a sequence of its own. With memory, a column's valid rows are cut at
multiples of the sequence length from its top; a sequence that ends early is padded at its end.

Shapes: T steps, B columns of the rollout; N valid steps; C sequences of L steps, U steps of burn-in
before a sequence; M sequences of one minibatch; S numbers of recurrent state.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from entrain.algorithms.sequence_cuts import Cuts, cut_sequences
from entrain.algorithms.unrolling import refresh_states
from entrain.experience import BurnIn, Estimate, Minibatch, Rollout, without_state
from entrain.policy.actor_critic import ActorCritic
from entrain.ranks import ALONE, Ranks
from entrain.tensor_fields import in_a_row, map_tensors, named_tensors, pick, pick_each
from entrain_envs.timestep import Int64Array

MAX_GATHERED_BYTES = 256 * 2**20
"""How much of a rollout is copied, in its new order, at a time. Vectors of a whole epoch are far
below this; images are gathered a few minibatches at a time."""


class Minibatches(Protocol):
    """The minibatches of one rollout, in another order each epoch."""

    all_steps: Minibatch
    """All N valid steps in order, [1, N], without recurrent state."""

    def __len__(self) -> int:
        """Minibatches in an epoch."""
        ...

    def epoch(self, generator: torch.Generator) -> Iterator[Minibatch]:
        """Every valid step once, in an order that `generator` decides."""
        ...

    def order(self, generator: torch.Generator) -> "EpochOrder":
        """The order of the next epoch, in place of `epoch`."""
        ...

    def in_order(self) -> Iterator[tuple[Tensor, Minibatch]]:
        """Every valid step once, not shuffled.

        Yields:
            [L, M] int64 which of the N steps, on the CPU; and those steps.
        """
        ...


@dataclass(frozen=True)
class Sequences:
    """Where the steps of one minibatch lie in its sequences, and the states before them."""

    rows: Tensor
    """[L, M] int64, of the N steps, on the CPU; any of them in padding."""

    mask: Tensor
    """[L, M] bool, false in padding, on the CPU."""

    state: Tensor
    """[M, S] before the burn-in or, without one, the first step."""

    burn_in: BurnIn
    """Steps that are run first."""


@dataclass(frozen=True)
class EpochOrder:
    """The order of the steps of one epoch."""

    steps: Int64Array
    """[N] indices of all steps in the epoch's order; a minibatch has them row by row."""

    starts: Int64Array
    """[K + 1] where each of K minibatches starts in `steps`, then N."""

    sequences: Iterable[Sequences | None]
    """K, made lazily; each is None without memory."""


def make_minibatches(
    rollout: Rollout,
    estimate: Estimate,
    policy: ActorCritic,
    *,
    size: int,
    device: torch.device,
    ranks: Ranks = ALONE,
) -> Minibatches:
    """Divide the valid steps of a rollout, of which there is at least one.

    With several ranks, each shuffles its own steps, and a minibatch is the union of the ranks'
    parts. All ranks make the same number of minibatches; where steps are unequally many, so are
    those of each part, down to none at all.

    Args:
        rollout: of this rank.
        estimate: of its steps.
        policy: that will learn; its options say how sequences are cut.
        size: valid steps of one minibatch, of all ranks together.
        device: where the policy is.
        ranks: at least one of which has a valid step.
    """
    memory = policy.config.network.memory
    if policy.state_size == 0:
        return StepMinibatches(rollout, estimate, size=size, device=device, ranks=ranks)

    def sequence_state() -> Tensor:
        if memory.refresh_states:
            return refresh_states(policy, rollout)
        return rollout.sequence_state

    return SequenceMinibatches(
        rollout,
        estimate,
        sequence_length=memory.sequence_length,
        burn_in=memory.burn_in,
        sequence_state=sequence_state,
        size=size,
        device=device,
        ranks=ranks,
    )


class StepMinibatches:
    """Every valid step by itself, a sequence of length 1: for policies without memory."""

    def __init__(
        self,
        rollout: Rollout,
        estimate: Estimate,
        *,
        size: int,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        """Collect the valid steps on `device`; arguments are those of `make_minibatches`.

        The number of minibatches is the one that brings their size closest to `size`; they are
        equally large, but for one step where it does not divide evenly. So no epoch ends with a
        gradient from the few steps that happened to be left over.
        """
        self.all_steps = _all_steps(rollout, estimate, device)
        self._count = _num_minibatches(self.all_steps, size, ranks)

    def __len__(self) -> int:
        """Minibatches in an epoch."""
        return self._count

    def epoch(self, generator: torch.Generator) -> Iterator[Minibatch]:
        """Every valid step once, in an order that `generator` decides."""
        order = self._order(generator)
        return _gather(self.all_steps, order.unsqueeze(0).tensor_split(self._count, dim=1))

    def order(self, generator: torch.Generator) -> EpochOrder:
        """The order of the next epoch, in place of `epoch`."""
        order = self._order(generator).numpy()
        sizes = [len(part) for part in np.array_split(order, self._count)]
        return EpochOrder(order, np.cumsum([0, *sizes]), [None] * self._count)

    def in_order(self) -> Iterator[tuple[Tensor, Minibatch]]:
        """See `Minibatches.in_order`; views of the steps."""
        index = torch.arange(self.all_steps.mask.shape[1]).unsqueeze(0)
        for rows in index.tensor_split(self._count, dim=1):
            piece = slice(int(rows[0, 0]), int(rows[0, -1]) + 1)
            yield rows, self.all_steps.sequences(piece)

    def _order(self, generator: torch.Generator) -> Tensor:
        return torch.randperm(self.all_steps.mask.shape[1], generator=generator)


class SequenceMinibatches:
    """Every valid step in a sequence, which is unrolled from the state before it."""

    def __init__(
        self,
        rollout: Rollout,
        estimate: Estimate,
        *,
        sequence_length: int,
        burn_in: int,
        sequence_state: Callable[[], Tensor],
        size: int,
        device: torch.device,
        ranks: Ranks = ALONE,
    ) -> None:
        """Collect the valid steps on `device`, and find where each sequence lies among them.

        The number of minibatches is the one that brings their valid steps closest to `size`; they
        have equally many sequences, but for one where it does not divide evenly.

        Args:
            rollout: see `make_minibatches`; estimate, size, device and ranks too.
            estimate: of its steps.
            sequence_length: rows at whose multiples columns are cut; L, or more than the rollout
                has.
            burn_in: steps that are run before all but a column's first sequence, at most
                `sequence_length`.
            sequence_state: called before every epoch for the states that sequences start from, in
                the form of `Rollout.sequence_state`.
            size: valid steps of one minibatch.
            device: where the policy is.
            ranks: each of which has sequences of its own.
        """
        self.all_steps = _all_steps(rollout, estimate, device)
        self._cuts = cut_sequences(
            rollout.valid.cpu(), sequence_length=sequence_length, burn_in=burn_in
        )
        self._sequence_state = sequence_state
        self._device = device
        sequence = self._cuts.sequence
        needed = 1 + int(sequence.max()) // rollout.valid.shape[1] if len(sequence) else 0
        if len(rollout.sequence_state) < needed:
            raise ValueError(
                f"the rollout has states of {len(rollout.sequence_state)} sequences, but makes "
                f"{needed} of at most {sequence_length} steps"
            )
        self._count = min(_num_minibatches(self.all_steps, size, ranks), ranks.total(len(sequence)))

    def __len__(self) -> int:
        """Minibatches in an epoch."""
        return self._count

    def epoch(self, generator: torch.Generator) -> Iterator[Minibatch]:
        """Every valid step once, in sequences whose order `generator` decides."""
        return self._made_of(self._shuffled(generator))

    def in_order(self) -> Iterator[tuple[Tensor, Minibatch]]:
        """See `Minibatches.in_order`."""
        rows = self._cuts.rows.tensor_split(self._count, dim=1)
        return zip(rows, self._made_of(self._cuts), strict=True)

    def _made_of(self, cuts: Cuts) -> Iterator[Minibatch]:
        rows = cuts.rows.tensor_split(self._count, dim=1)
        for minibatch, sequences in zip(
            _gather(self.all_steps, rows), self._sequences(cuts), strict=True
        ):
            yield Minibatch(
                replace(
                    minibatch.steps,
                    valid=sequences.mask.to(self._device),
                    sequence_state=sequences.state.unsqueeze(0),
                ),
                minibatch.estimate,
                sequences.burn_in,
                is_padded=not bool(sequences.mask.all()),
            )

    def order(self, generator: torch.Generator) -> EpochOrder:
        """The order of the next epoch, in place of `epoch`."""
        cuts = self._shuffled(generator)
        parts = zip(
            cuts.rows.tensor_split(self._count, dim=1),
            cuts.mask.tensor_split(self._count, dim=1),
            strict=True,
        )
        steps = [rows[mask].numpy() for rows, mask in parts]
        starts = np.cumsum([0, *map(len, steps)])
        return EpochOrder(np.concatenate(steps), starts, self._sequences(cuts))

    def _shuffled(self, generator: torch.Generator) -> Cuts:
        order = torch.randperm(len(self._cuts.sequence), generator=generator)
        return self._cuts.reordered(order)

    def _sequences(self, cuts: Cuts) -> Iterator[Sequences]:
        """Of each minibatch of an epoch, in which `cuts` are in order."""
        states = self._sequence_state().to(self._device).flatten(0, 1)
        states = states.index_select(0, cuts.sequence.to(self._device))
        for rows, mask, state, burn_in in zip(
            cuts.rows.tensor_split(self._count, dim=1),
            cuts.mask.tensor_split(self._count, dim=1),
            states.tensor_split(self._count),
            self._burn_ins(cuts),
            strict=True,
        ):
            yield Sequences(rows, mask, state, burn_in)

    def _burn_ins(self, cuts: Cuts) -> Iterator[BurnIn]:
        """Of each minibatch of an epoch, in which `cuts` are in order."""
        for has_burn_in, rows in zip(
            cuts.has_burn_in.tensor_split(self._count),
            cuts.burn_in_rows.tensor_split(self._count, dim=1),
            strict=True,
        ):
            if len(rows) == 0:
                yield BurnIn.nothing(self._device)
                continue
            steps = self.all_steps.steps
            before = pick(_Inputs(steps.observation, steps.reset), rows[:, has_burn_in])
            sequence = has_burn_in.nonzero().squeeze(1).to(self._device)
            yield BurnIn(before.observation, before.reset, sequence)


@dataclass(frozen=True)
class _Inputs:
    """The fields of steps that a forward of the policy reads."""

    observation: Mapping[str, Tensor]
    reset: Tensor


def _all_steps(rollout: Rollout, estimate: Estimate, device: torch.device) -> Minibatch:
    """All N valid steps on `device`, [1, N]: row t * B + b is step t of column b.

    Without gaps they are the rollout's own memory, which nothing may write to.
    """
    stateless = replace(rollout, sequence_state=without_state(rollout.valid))
    if rollout.valid.all():
        steps, its_estimate = in_a_row(stateless), in_a_row(estimate)
    else:
        valid = rollout.valid.flatten().nonzero().t()
        steps, its_estimate = pick(stateless, valid), pick(estimate, valid)
    return Minibatch(
        map_tensors(steps, lambda tensor: tensor.to(device)),
        map_tensors(its_estimate, lambda tensor: tensor.to(device)),
        BurnIn.nothing(device),
        is_padded=False,
    )


def _num_minibatches(all_steps: Minibatch, size: int, ranks: Ranks) -> int:
    """The number that brings the size of minibatches closest to `size`."""
    num_steps = ranks.total(all_steps.num_steps)
    if num_steps == 0:
        raise ValueError("the rollout has no valid step; there is nothing to learn from")
    return max(1, round(num_steps / size))


def _gather(all_steps: Minibatch, rows: Sequence[Tensor]) -> Iterator[Minibatch]:
    """A minibatch of the steps at each of `rows`, each [L, M] int64 on the CPU."""
    steps, estimate = all_steps.steps, all_steps.estimate
    num_bytes = sum(tensor.nbytes for _, tensor in named_tensors(steps))
    bytes_per_minibatch = rows[0].numel() * num_bytes // max(1, all_steps.num_steps)
    count = max(1, MAX_GATHERED_BYTES // max(1, bytes_per_minibatch))
    for first in range(0, len(rows), count):
        block = rows[first : first + count]
        for picked, its_estimate in zip(
            pick_each(steps, block), pick_each(estimate, block), strict=True
        ):
            yield Minibatch(picked, its_estimate, all_steps.burn_in, is_padded=False)
