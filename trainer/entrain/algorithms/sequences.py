"""From a rollout to minibatches of sequences, for policies with memory.

A column's valid rows are cut at multiples of the sequence length from its top. A sequence that ends
early is padded at its end; every valid step is in one sequence.

Shapes: T steps, B columns of the rollout; N valid steps; C sequences of L steps, U steps of burn-in
before a sequence; M sequences of one minibatch; S numbers of recurrent state.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from entrain.algorithms.minibatch import (
    Minibatches,
    Pick,
    StepMinibatches,
    gathered,
    num_minibatches,
    valid_steps,
)
from entrain.algorithms.unrolling import refreshed_states
from entrain.experience import BurnIn, Minibatch, Rollout
from entrain.policy.actor_critic import ActorCritic


class SequenceMinibatches:
    """Every valid step in a sequence, which is unrolled from the state before it."""

    def __init__(
        self,
        rollout: Rollout,
        *,
        advantage: Tensor,
        return_: Tensor,
        sequence_length: int,
        burn_in: int,
        sequence_state: Callable[[], Tensor],
        size: int,
        device: torch.device,
    ) -> None:
        """Collect the valid steps on `device`, and find where each sequence lies among them.

        The number of minibatches is the one that brings their valid steps closest to `size`; they
        have equally many sequences, but for one where it does not divide evenly.

        Args:
            rollout: with at least one valid step.
            advantage: [T, B] of each action.
            return_: [T, B, V] the critic's targets.
            sequence_length: rows at whose multiples columns are cut; L, or more than the rollout
                has.
            burn_in: steps that are run before all but a column's first sequence, at most
                `sequence_length`.
            sequence_state: asked before every epoch for the states that sequences start from, in
                the form of `Rollout.sequence_state`.
            size: valid steps of one minibatch.
            device: where the policy is.
        """
        self.steps = valid_steps(rollout, advantage=advantage, return_=return_, device=device)
        self._cuts = cut(rollout.valid.cpu(), sequence_length=sequence_length, burn_in=burn_in)
        self._sequence_state = sequence_state
        self._device = device
        needed = 1 + int(self._cuts.sequence.max()) // rollout.valid.shape[1]
        if len(rollout.sequence_state) < needed:
            raise ValueError(
                f"the rollout has states of {len(rollout.sequence_state)} sequences, but makes "
                f"{needed} of at most {sequence_length} steps"
            )
        self._count = min(num_minibatches(self.steps, size), len(self._cuts.sequence))

    def __len__(self) -> int:
        """Minibatches in an epoch."""
        return self._count

    def epoch(self, generator: torch.Generator) -> Iterator[Minibatch]:
        """Every valid step once, in sequences whose order `generator` decides."""
        order = torch.randperm(len(self._cuts.sequence), generator=generator)
        cuts = self._cuts.reordered(order)
        states = self._sequence_state().to(self._device).flatten(0, 1)
        for minibatch, mask, is_padded, state, burn_in in zip(
            gathered(self.steps, cuts.rows.tensor_split(self._count, dim=1)),
            cuts.mask.to(self._device).tensor_split(self._count, dim=1),
            [not bool(mask.all()) for mask in cuts.mask.tensor_split(self._count, dim=1)],
            states.index_select(0, cuts.sequence.to(self._device)).tensor_split(self._count),
            self._burn_ins(cuts),
            strict=True,
        ):
            yield replace(
                minibatch, mask=mask, is_padded=is_padded, initial_state=state, burn_in=burn_in
            )

    def _burn_ins(self, cuts: "Cuts") -> Iterator[BurnIn]:
        """Of each minibatch of an epoch, in which `cuts` are in order."""
        for burnt, rows in zip(
            cuts.has_burn_in.tensor_split(self._count),
            cuts.burn_in_rows.tensor_split(self._count, dim=1),
            strict=True,
        ):
            if len(rows) == 0:
                yield BurnIn.nothing(self._device)
                continue
            pick = Pick([rows[:, burnt]], self._device)
            yield BurnIn(
                observation=pick.named(self.steps.observation)[0],
                reset=pick(self.steps.reset)[0],
                sequence=burnt.nonzero().squeeze(1).to(self._device),
            )


@dataclass(frozen=True)
class Cuts:
    """Where C sequences lie among the N valid steps of a rollout."""

    rows: Tensor
    """[L, C] int64, of the N steps; any of them in padding."""

    mask: Tensor
    """[L, C] bool, false in padding."""

    burn_in_rows: Tensor
    """[U, C] int64, of the N steps; any of them where there is no burn-in."""

    has_burn_in: Tensor
    """[C] bool, false at the top of a column."""

    sequence: Tensor
    """[C] int64, q * B + b for sequence q of column b."""

    def reordered(self, order: Tensor) -> "Cuts":
        """The same sequences, [C] of them, in another order."""
        return Cuts(
            rows=self.rows.index_select(1, order),
            mask=self.mask.index_select(1, order),
            burn_in_rows=self.burn_in_rows.index_select(1, order),
            has_burn_in=self.has_burn_in.index_select(0, order),
            sequence=self.sequence.index_select(0, order),
        )


def cut(valid: Tensor, *, sequence_length: int, burn_in: int) -> Cuts:
    """Cut the columns of a rollout, at least one of which has a step.

    Args:
        valid: [T, B] bool, in each column true from the top without a gap.
        sequence_length: rows at whose multiples columns are cut.
        burn_in: U, at most `sequence_length`.
    """
    columns = valid.shape[1]
    longest = int(valid.sum(0).max())
    # No sequence is padded beyond the longest.
    length = min(sequence_length, longest)
    per_column = -(-longest // length)
    index = torch.full((per_column * length, columns), -1)
    index[:longest] = torch.where(valid, valid.flatten().cumsum(0).view_as(valid) - 1, -1)[:longest]
    by_sequence = index.view(per_column, length, columns).transpose(0, 1).flatten(1)
    sequence = (by_sequence[0] >= 0).nonzero().squeeze(1)
    rows = by_sequence.index_select(1, sequence)
    before = (sequence - columns).clamp(min=0)
    first = max(0, length - burn_in)
    return Cuts(
        rows=rows.clamp(min=0),
        mask=rows >= 0,
        burn_in_rows=by_sequence[first:].index_select(1, before).clamp(min=0),
        has_burn_in=sequence >= columns,
        sequence=sequence,
    )


def divided(
    rollout: Rollout,
    policy: ActorCritic,
    *,
    advantage: Tensor,
    return_: Tensor,
    size: int,
    device: torch.device,
) -> Minibatches:
    """What every epoch over `rollout` draws from.

    Args:
        rollout: with at least one valid step.
        policy: that will learn; its options say how sequences are cut.
        advantage: [T, B] of each action.
        return_: [T, B, V] the critic's targets.
        size: steps of one minibatch.
        device: where the policy is.
    """
    memory = policy.config.network.memory
    if policy.state_size == 0:
        return StepMinibatches(
            rollout, advantage=advantage, return_=return_, size=size, device=device
        )

    def sequence_state() -> Tensor:
        if memory.refresh_states:
            return refreshed_states(policy, rollout)
        return rollout.sequence_state

    return SequenceMinibatches(
        rollout,
        advantage=advantage,
        return_=return_,
        sequence_length=memory.sequence_length,
        burn_in=memory.burn_in,
        sequence_state=sequence_state,
        size=size,
        device=device,
    )
