"""Rollouts whose every number says which step of which column it belongs to."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from entrain.experience import Minibatch, Rollout

LEAK = 1e9


def coded_rollout(lengths: list[int], filler: float = LEAK, *, sequences: int = 1) -> Rollout:
    """Each field of step t of column b says 100 * b + t, in its own way.

    Of the state before sequence q it is 1000 * q + b.
    """
    rows = max(lengths)
    code = torch.arange(rows)[:, None] + 100.0 * torch.arange(len(lengths))
    valid = torch.arange(rows)[:, None] < torch.tensor(lengths)

    def coded(x: Tensor) -> Tensor:
        shape = (*valid.shape, *[1] * (x.dim() - 2))
        return torch.where(valid.view(shape), x, torch.tensor(filler).to(x.dtype))

    return Rollout(
        observation={
            "vector": coded(torch.stack([code, code + 0.5], dim=-1)),
            "scalar": coded(code + 1.0),
        },
        action={"continuous": coded(code[..., None] + 2.0), "discrete": code[..., None].long()},
        action_mask=(code[..., None].long() >> torch.arange(12)) % 2 == 1,
        log_prob=coded(code + 3.0),
        value=coded(torch.stack([code + 4.0, code + 7.0], dim=-1)),
        reward=coded(code),
        next_value=coded(torch.stack([code, code], dim=-1)),
        boundary=valid & False,
        reset=code.long() % 2 == 0,
        valid=valid,
        policy_version=code.long(),
        sequence_state=1000.0 * torch.arange(sequences)[:, None, None]
        + torch.arange(len(lengths))[:, None],
    )


def codes_of_steps(minibatch: Minibatch) -> Tensor:
    """[L, M] int64 codes of its steps, after every field was held against them; -1 in padding."""
    mask = minibatch.mask
    minibatch = select(minibatch, mask)
    code = minibatch.observation["vector"][..., 0]
    assert torch.equal(minibatch.observation["vector"][..., 1], code + 0.5)
    assert torch.equal(minibatch.observation["scalar"], code + 1.0)
    assert torch.equal(minibatch.action["continuous"][..., 0], code + 2.0)
    assert torch.equal(minibatch.action["discrete"][..., 0], code.long())
    bits = (minibatch.action_mask.long() << torch.arange(12)).sum(-1)
    assert torch.equal(bits, code.long())
    assert torch.equal(minibatch.log_prob, code + 3.0)
    assert torch.equal(minibatch.value, torch.stack([code + 4.0, code + 7.0], dim=-1))
    assert torch.equal(minibatch.advantage, code + 5.0)
    assert torch.equal(minibatch.return_, torch.stack([code + 6.0, code + 9.0], dim=-1))
    assert torch.equal(minibatch.reset, code.long() % 2 == 0)
    return torch.full(mask.shape, -1).masked_scatter(mask, code.long())


def select(minibatch: Minibatch, mask: Tensor) -> Minibatch:
    """Only the steps where `mask` is true, [1, their number]."""

    def selected(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: selected(tensor) for name, tensor in value.items()}
        return value[mask].unsqueeze(0)

    return Minibatch(
        **{
            field.name: selected(getattr(minibatch, field.name))
            for field in fields(minibatch)
            if field.name not in {"initial_state", "burn_in", "is_padded"}
        },
        initial_state=torch.zeros(int(mask.sum()), 0),
        burn_in=minibatch.burn_in,
        is_padded=False,
    )
