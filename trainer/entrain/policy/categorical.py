"""Discrete actions: independent branches of choices, some of which may be masked.

Shapes: [...] leading dimensions; N branches, C choices of all branches together, M choices of the
largest branch. Branches are padded to [N, M], so that ten of them take as many calls as one.
"""

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from entrain_envs.shapes import Bool, Float, Int, Shaped


class Branches(nn.Module):
    """Arranges C numbers, one per choice, as N rows of M, one row per branch."""

    index: Tensor
    """[N * M] which choice each padded cell holds; C where it holds none."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self._count = len(sizes)
        self.width = max(sizes)
        self.is_ragged = len(set(sizes)) > 1
        index = torch.full((len(sizes), self.width), sum(sizes))
        first = 0
        for branch, size in enumerate(sizes):
            index[branch, :size] = torch.arange(first, first + size)
            first += size
        self.register_buffer("index", index.flatten(), persistent=False)

    def __len__(self) -> int:
        return self._count

    def pad(self, choices: Float[Tensor, "*rows C"], filler: float) -> Float[Tensor, "*rows N M"]:
        """[..., C] to [..., N, M], `filler` where a branch has no such choice."""
        if self.is_ragged:
            extended = nn.functional.pad(choices, (0, 1), value=filler)
            choices = extended.index_select(-1, self.index)
        return choices.view(*choices.shape[:-1], self._count, self.width)


class MultiCategorical:
    """One categorical distribution per branch; the branches are independent.

    A masked choice has probability exactly zero, and neither entropy nor gradients are ever NaN.
    A branch with every choice masked is meaningless, and the server refuses such rows; where
    padding contains one, all results are finite.

    There is no `rsample`: a choice is a whole number, which has no gradient. An algorithm sums
    over the choices, or uses `log_prob`.
    """

    def __init__(self, logits: Float[Tensor, "*rows C"], branches: Branches) -> None:
        """Hold the logits; everything else is computed when it is first needed.

        Args:
            logits: [..., C] unnormalised log-probabilities, branch after branch.
            branches: which choices belong together.
        """
        self._logits = logits
        self._branches = branches
        # The lowest finite number, not -inf: exp of it is exactly zero, and zero times it is zero.
        self._forbidden = torch.finfo(logits.dtype).min

    def parameters(self) -> Mapping[str, Tensor]:
        """{"logits": [..., C]} as given; the lowest finite number for masked choices."""
        return {"logits": self._logits}

    @cached_property
    def log_probs(self) -> Tensor:
        """[..., N, M] normalised; about -3e38 for masked choices and in padding."""
        return torch.log_softmax(self._branches.pad(self._logits, self._forbidden), dim=-1)

    def masked(self, action_mask: Bool[Tensor, "*rows C"]) -> "MultiCategorical":
        """With only the choices where `action_mask`, [..., C] bool, is true."""
        logits = torch.where(action_mask, self._logits, self._forbidden)
        return MultiCategorical(logits, self._branches)

    def sample(self, noise: Float[Tensor, "*rows N"]) -> Mapping[str, Int[Tensor, "*rows N"]]:
        """Invert each branch's cumulative distribution at noise [..., N] uniform in (0, 1)."""
        cumulative = self.log_probs.exp().cumsum(dim=-1)
        # Scaled by the last sum, which may differ from 1 by rounding. So the choice is always an
        # allowed one: a masked choice does not raise the cumulative sum.
        threshold = noise.unsqueeze(-1) * cumulative[..., -1:]
        return {"discrete": (cumulative <= threshold).sum(dim=-1)}

    def mode(self) -> Mapping[str, Tensor]:
        """The most likely choice of each branch, [..., N] int64."""
        return {"discrete": self.log_probs.argmax(dim=-1)}

    def log_prob(self, action: Mapping[str, Shaped[Tensor, "*rows _"]]) -> Float[Tensor, "*rows"]:
        """[...] log-probability of the choices {"discrete": [..., N]} together."""
        chosen = self.log_probs.gather(-1, action["discrete"].unsqueeze(-1))
        return chosen.flatten(-2).sum(dim=-1)

    def log_prob_per_dimension(
        self, action: Mapping[str, Shaped[Tensor, "*rows _"]]
    ) -> Float[Tensor, "*rows N"]:
        """[..., N] log-probability of each branch's choice."""
        return self.log_probs.gather(-1, action["discrete"].unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """[...] nats, summed over branches: -sum_c p_c ln p_c."""
        probs = self.log_probs.exp()
        # Whatever a gradient is multiplied by on its way, the huge numbers of forbidden choices
        # must not become infinite, for 0 * inf is NaN.
        log_probs = torch.where(probs > 0.0, self.log_probs, 0.0)
        return -(probs * log_probs).flatten(-2).sum(dim=-1)

    def mean_entropy(self) -> Tensor:
        """[...] `entropy`: there are no dimensions to take a mean over."""
        return self.entropy()
