"""Rollouts whose every number says which step of which column it belongs to."""

import torch
from torch import Tensor

from entrain.experience import Minibatch, Rollout
from entrain.tensor_fields import Fields, map_tensors

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
        late=valid & False,
        valid=valid,
        policy_version=code.long(),
        sequence_state=1000.0 * torch.arange(sequences)[:, None, None]
        + torch.arange(len(lengths))[:, None],
    )


def codes_of_steps(minibatch: Minibatch) -> Tensor:
    """[L, M] int64 codes of its steps, after every field was held against them; -1 in padding."""
    mask = minibatch.mask
    steps, estimate = select(minibatch.steps, mask), select(minibatch.estimate, mask)
    code = steps.observation["vector"][..., 0]
    assert torch.equal(steps.observation["vector"][..., 1], code + 0.5)
    assert torch.equal(steps.observation["scalar"], code + 1.0)
    assert torch.equal(steps.action["continuous"][..., 0], code + 2.0)
    assert torch.equal(steps.action["discrete"][..., 0], code.long())
    bits = (steps.action_mask.long() << torch.arange(12)).sum(-1)
    assert torch.equal(bits, code.long())
    assert torch.equal(steps.log_prob, code + 3.0)
    assert torch.equal(steps.value, torch.stack([code + 4.0, code + 7.0], dim=-1))
    assert torch.equal(steps.reward, code)
    assert torch.equal(steps.next_value, torch.stack([code, code], dim=-1))
    assert torch.equal(steps.policy_version, code.long())
    assert torch.equal(steps.reset, code.long() % 2 == 0)
    assert torch.equal(estimate.advantage, code + 5.0)
    assert torch.equal(estimate.return_, torch.stack([code + 6.0, code + 9.0], dim=-1))
    return torch.full(mask.shape, -1).masked_scatter(mask, code.long())


def select(fields: Fields, mask: Tensor) -> Fields:
    """Only the steps where `mask` is true, [1, their number]; recurrent states as they are."""
    return map_tensors(
        fields,
        lambda tensor: tensor[mask].unsqueeze(0) if tensor.shape[:2] == mask.shape else tensor,
    )
