"""Where the sequences of a rollout lie among its valid steps.

Shapes: T steps, B columns of the rollout; N valid steps; C sequences of L steps, U steps of burn-in
before a sequence.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from entrain.tensor_fields import map_tensors


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
        """The same sequences in the order [C] int64."""
        return map_tensors(self, lambda tensor: tensor.index_select(tensor.dim() - 1, order))


def cut_sequences(valid: Tensor, *, sequence_length: int, burn_in: int) -> Cuts:
    """Cut the columns of a rollout.

    Args:
        valid: [T, B] bool, in each column true from the top without a gap.
        sequence_length: rows at whose multiples columns are cut.
        burn_in: U, at most `sequence_length`.
    """
    columns = valid.shape[1]
    longest = int(valid.sum(0).max()) if columns else 0
    # No sequence is padded beyond the longest.
    length = max(1, min(sequence_length, longest))
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
