"""Dataclasses of tensors: their rows are picked by field, never by position.

Nothing here knows what the tensors mean.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from entrain.state import State
from entrain_envs.shapes import Int

Fields = TypeVar("Fields")
"""A frozen dataclass of tensors."""


def arrays_of(fields: object) -> State:
    """Every field of a dataclass of tensors as an array, or as arrays by name."""
    return dict(vars(map_tensors(fields, lambda tensor: tensor.numpy(force=True))))


def tensors_of(state: State) -> dict[str, Any]:
    """The fields of the dataclass whose `arrays_of` was saved; they share the arrays' memory."""
    return {
        name: {key: torch.from_numpy(array) for key, array in value.items()}
        if isinstance(value, Mapping)
        else torch.from_numpy(value)
        for name, value in state.items()
    }


def in_a_row(fields: Fields) -> Fields:
    """All steps of a dataclass whose tensors are [T, B, ...], as [1, T * B, ...] views."""
    return map_tensors(fields, lambda tensor: tensor.flatten(0, 1).unsqueeze(0))


def pick(fields: Fields, rows: Int[Tensor, "L M"]) -> Fields:
    """Take these steps of a dataclass whose tensors are [T, B, ...].

    Args:
        fields: what is no tensor, nor a mapping of tensors, stays as it is.
        rows: [L, M] int64, t * B + b for step t of column b.

    Returns:
        The same type, of [L, M, ...] copies.
    """
    return pick_each(fields, [rows])[0]


def pick_each(fields: Fields, rows: Sequence[Int[Tensor, "_ _"]]) -> list[Fields]:
    """`pick` for each of `rows`; much faster than one by one, and much slower than a view.

    Each tensor is gathered once, and what is returned are views of that copy.
    """
    shapes = [each.shape for each in rows]
    sizes = [each.numel() for each in rows]
    has_single_steps = all(length == 1 for length, _ in shapes)
    index = torch.cat([each.flatten() for each in rows])

    def gather(tensor: Tensor) -> Sequence[Tensor]:
        steps = tensor.flatten(0, 1).unsqueeze(0)
        gathered = torch.split(steps.index_select(1, index.to(tensor.device)), sizes, dim=1)
        if has_single_steps:
            return gathered
        return [
            piece.view(*shape, *tensor.shape[2:])
            for piece, shape in zip(gathered, shapes, strict=True)
        ]

    picked: list[dict[str, Any]] = [{} for _ in rows]
    for name, value in vars(fields).items():
        if isinstance(value, Tensor):
            pieces: Sequence[Any] = gather(value)
        elif isinstance(value, Mapping):
            columns = zip(*map(gather, value.values()), strict=True)
            pieces = [dict(zip(value, row, strict=True)) for row in columns] or [{}] * len(rows)
        else:
            pieces = [value] * len(rows)
        for each, piece in zip(picked, pieces, strict=True):
            each[name] = piece
    return [_with_values(fields, each) for each in picked]


def map_tensors(fields: Fields, change: Callable[[Tensor], Any]) -> Fields:
    """A dataclass with every tensor changed, also those in mappings."""
    return _with_values(
        fields,
        {
            name: change(value)
            if isinstance(value, Tensor)
            else {key: change(tensor) for key, tensor in value.items()}
            if isinstance(value, Mapping)
            else value
            for name, value in vars(fields).items()
        },
    )


def named_tensors(fields: object) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a dataclass with the name of its field; of a mapping, with its key too."""
    for name, value in vars(fields).items():
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, Mapping):
            for key, tensor in value.items():
                yield f"{name} '{key}'", tensor


def _with_values(fields: Fields, values: dict[str, Any]) -> Fields:
    # Rows of tensors that fitted together still do: checking every minibatch anew takes longer
    # than gathering it.
    made: Fields = object.__new__(type(fields))
    vars(made).update(values)
    return made
