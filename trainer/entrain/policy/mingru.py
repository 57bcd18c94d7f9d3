"""A recurrent layer whose gates read its input alone, so that whole sequences are quick on a CPU.

Shapes: G groups, N sequences of T steps, F input features, H units.

The gates of all steps are one matrix product; what is left of each step is element-wise.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from entrain.policy.recurrent_layers import RecurrentLayer

LONGEST = 16
"""Steps: new units remember between 2 and about this many."""

Begins: TypeAlias = Sequence[Tensor | None]
"""T times [N, 1] bool, true where a sequence begins anew before the step; None if none does."""


class MinGRULayer(RecurrentLayer):
    """A gated recurrent unit without recurrent weights, a "minimal" one.

        z         = sigmoid(gate)       how much of the output is replaced
        candidate = gate                linear in the input
        output    = (1 - z) * output before + z * candidate

    The gates are in this order: z, candidate. The output is an average of candidates, so it stays
    within their range; it needs neither the tanh of a GRU nor the positive candidates that the
    paper's parallel scan in log space takes.

    Source: Feng et al. 2024, "Were RNNs all we needed?", arXiv:2410.01201, section 3.1.
    """

    gates = 2
    parts = 1

    def __init__(self, groups: int, inputs: int, size: int, *, generator: torch.Generator) -> None:
        """As every layer, but units begin with memories of different lengths.

        Biases of candidates are zero. Those of z are -log(u), u uniform in [1, LONGEST - 1], so
        that z is about 1 / (1 + u): with a bias of zero every unit would halve what it remembers
        at each step.

        Source: Tallec & Ollivier 2018, arXiv:1804.11188, section 3 ("chrono initialization").
        """
        super().__init__(groups, inputs, size, generator=generator)
        bias = torch.zeros(groups, 1, 2 * size)
        steps = torch.empty(groups, 1, size).uniform_(1, LONGEST - 1, generator=generator)
        bias[..., :size] = -torch.log(steps)
        self.bias = nn.Parameter(bias)

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """See `RecurrentLayer.step`."""
        (output,) = state
        gates = torch.baddbmm(self.bias, x, self.weight_input.transpose(1, 2))
        update, candidate = gates.chunk(2, dim=-1)
        return (torch.lerp(output, candidate, torch.sigmoid(update)),)

    def unroll(self, x: Tensor, initial: Tensor, begins: Begins) -> Tensor:
        """Whole sequences of all groups.

        Args:
            x: [G, T * N, F], row t * N + n is step t of sequence n.
            initial: [G, N, H] output before the first step.
            begins: see `columns_reset`.

        Returns:
            [G, T, N, H] outputs.
        """
        gates = torch.baddbmm(self.bias, x, self.weight_input.transpose(1, 2))
        by_step = gates.view(len(initial), len(begins), initial.shape[1], gates.shape[2])
        output: Tensor = GatedAverage.apply(by_step, initial, begins)  # type: ignore[no-untyped-call]
        return output


def columns_reset(reset: Tensor) -> Begins:
    """Where columns begin anew, from [T, N] bool."""
    any_does: list[bool] = reset.any(dim=1).tolist()
    return [
        column.unsqueeze(1) if does else None
        for column, does in zip(reset.unbind(), any_does, strict=True)
    ]


class GatedAverage(torch.autograd.Function):
    """The steps of a minGRU after its product, and their gradient, without a graph of T nodes.

        before[t] = 0 where the sequence begins anew at t, else h[t-1]
        h[t]      = before[t] + z[t] * (c[t] - before[t])

    With g[t] the gradient of h[t], which comes both from outside and from h[t+1]:

        g[t]      = outside[t] + (1 - z[t+1]) * g[t+1], or outside[t] where it begins anew at t+1
        c[t]:       z[t] * g[t]
        gate z[t]:  z[t] * (1 - z[t]) * (c[t] - before[t]) * g[t]
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, initial: Tensor, begins: Begins) -> Tensor:
        """[G, T, N, 2 * H] and [G, N, H] to [G, T, N, H]."""
        update, candidate = gates.chunk(2, dim=-1)
        update = torch.sigmoid(update)
        output = torch.empty_like(update, memory_format=torch.contiguous_format)
        before = initial
        steps = zip(output.unbind(1), candidate.unbind(1), update.unbind(1), begins, strict=True)
        for after, offered, share, anew in steps:
            torch.lerp(_cleared(before, anew), offered, share, out=after)
            before = after
        ctx.save_for_backward(update, candidate, output, initial)
        ctx.begins = begins
        return output

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, outside: Tensor) -> tuple[Tensor, Tensor, None]:
        """Of the gates and of the initial output."""
        update, candidate, output, initial = ctx.saved_tensors
        gradient = torch.empty(*update.shape[:-1], 2 * update.shape[-1]).to(update)
        of_update, of_candidate = gradient.chunk(2, dim=-1)
        keep = torch.sub(1, update, out=of_update)
        total = outside.clone(memory_format=torch.contiguous_format)
        of_initial = _carry_back(total, keep, ctx.begins)
        torch.mul(total, update, out=of_candidate)
        # From here on `total` holds candidate - before.
        torch.sub(candidate[:, 1:], output[:, :-1], out=total[:, 1:])
        torch.sub(candidate[:, 0], initial, out=total[:, 0])
        for step, anew in enumerate(ctx.begins):
            if anew is not None:
                total[:, step] = torch.where(anew, candidate[:, step], total[:, step])
        of_update.mul_(of_candidate).mul_(total)
        return gradient, of_initial, None


def _cleared(before: Tensor, anew: Tensor | None) -> Tensor:
    # Replaced by zero, not multiplied by it: NaN * 0 is NaN.
    return before if anew is None else before.masked_fill(anew, 0.0)


def _carry_back(total: Tensor, keep: Tensor, begins: Begins) -> Tensor:
    """Add to each step's gradient what comes from the steps after it; returns what is before all.

    Args:
        total: [G, T, N, H] from outside; changed in place.
        keep: [G, T, N, H] 1 - z.
        begins: as of `GatedAverage`.
    """
    rows, shares = total.unbind(1), keep.unbind(1)
    for step in range(len(rows) - 1, 0, -1):
        anew = begins[step]
        if anew is None:
            rows[step - 1].addcmul_(shares[step], rows[step])
        else:
            rows[step - 1].add_(_cleared(shares[step] * rows[step], anew))
    return _cleared(shares[0] * rows[0], begins[0])
