"""The two forms that experience takes: a `Rollout` as collected, a `Minibatch` as learned from.

Shapes: T steps, B columns, time first. L is the length of a minibatch's sequences (1 for policies
without memory), M their number; V value heads. Shapes are checked once, on construction.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor

from entrain.state import State


@dataclass(frozen=True)
class Rollout:
    """T steps of B columns, each step closed by its outcome. Never changed after it is made.

    A column is what one slot lived through; columns of simulators of unequal speed end raggedly,
    and `valid` is false behind their end. Everything there may hold any number, NaN too.
    """

    observation: Mapping[str, Tensor]
    """{name: [T, B, *shape]} what the action was chosen from, as it came over the wire; the
    previous action and reward too, if the policy looks at them."""

    action: Mapping[str, Tensor]
    """{"continuous": [T, B, D] float32 as sampled (before bounds), "discrete": [T, B, N] int64};
    only the keys that the behaviour has."""

    action_mask: Tensor
    """[T, B, C] bool, true where a choice was allowed; C = 0 without branches."""

    log_prob: Tensor
    """[T, B] float32 of the joint action, under the policy that sampled it."""

    value: Tensor
    """[T, B, V] float32, the critic's values of the observation when the action was chosen: of
    future reward, and of future entropy if the critic has a head for it."""

    reward: Tensor
    """[T, B] float32 received for the action (scaled, if rewards are normalised)."""

    next_value: Tensor
    """[T, B, V] float32, the critic's values of what followed: zero if the episode terminated
    there, not if it was merely truncated."""

    boundary: Tensor
    """[T, B] bool, true where the next row does not continue this one: the episode ended, or this
    is the column's last row, or the step in between was dropped."""

    reset: Tensor
    """[T, B] bool, true where recurrent state is cleared before this row: an episode begins."""

    valid: Tensor
    """[T, B] bool, true where there is a step; in each column true from the top without a gap."""

    policy_version: Tensor
    """[T, B] int64 of the policy that sampled the action."""

    sequence_state: Tensor
    """[Q, B, S] recurrent state before the row from which each of Q sequences is unrolled, which
    for sequence q is row max(0, q * sequence_length - burn_in); S = 0 without memory. So row 0 of
    it is the state before each column's first row."""

    def __post_init__(self) -> None:
        leading = self.valid.shape
        for name, tensor in _tensors(self):
            any_number = tensor.shape[:1]
            expected = any_number + leading[1:] if name == "sequence_state" else leading
            if tensor.shape[: len(expected)] != expected:
                raise ValueError(
                    f"{name} is {list(tensor.shape)}; its first dimensions must be {list(expected)}"
                )

    @property
    def num_steps(self) -> int:
        """Valid steps."""
        return int(self.valid.sum())

    def state(self) -> State:
        """All of it as arrays, for a checkpoint."""
        return {
            field.name: {key: array.numpy(force=True) for key, array in value.items()}
            if isinstance(value := getattr(self, field.name), Mapping)
            else value.numpy(force=True)
            for field in fields(self)
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The rollout that `state` was taken of."""
        tensors: dict[str, Any] = {
            name: {key: torch.from_numpy(array) for key, array in value.items()}
            if isinstance(value, Mapping)
            else torch.from_numpy(value)
            for name, value in state.items()
        }
        return cls(**tensors)


@dataclass(frozen=True)
class BurnIn:
    """The steps just before some of a minibatch's sequences: every one of them is valid.

    U steps before each of W sequences; W = 0 where nothing is burnt in. Sequences at the top of a
    column have none: the state they start from is all that is known of the time before.
    """

    observation: Mapping[str, Tensor]
    """{name: [U, W, *shape]}."""

    reset: Tensor
    """[U, W] bool."""

    sequence: Tensor
    """[W] int64, which of the minibatch's M sequences."""

    @classmethod
    def nothing(cls, device: torch.device) -> Self:
        """W = 0: every sequence starts from the state it has."""
        return cls(
            observation={},
            reset=torch.zeros(0, 0, dtype=torch.bool, device=device),
            sequence=torch.zeros(0, dtype=torch.int64, device=device),
        )


@dataclass(frozen=True)
class Minibatch:
    """M sequences of L steps. Padding is where `mask` is false; it takes part in nothing."""

    observation: Mapping[str, Tensor]
    """{name: [L, M, *shape]}."""

    action: Mapping[str, Tensor]
    """{"continuous": [L, M, D], "discrete": [L, M, N]}."""

    action_mask: Tensor
    """[L, M, C] bool."""

    log_prob: Tensor
    """[L, M] of the policy that sampled."""

    value: Tensor
    """[L, M, V] as estimated when sampled; what value clipping holds on to."""

    advantage: Tensor
    """[L, M]."""

    return_: Tensor
    """[L, M, V] the critic's regression targets."""

    reset: Tensor
    """[L, M] bool."""

    mask: Tensor
    """[L, M] bool, true where there is a step."""

    initial_state: Tensor
    """[M, S] before the first step; before the burn-in, for sequences that have one."""

    burn_in: "BurnIn"
    """What is run, without learning from it, to bring `initial_state` up to date."""

    is_padded: bool = True
    """Whether `mask` may be false anywhere; whoever knows that it is not spares a search for it."""

    def __post_init__(self) -> None:
        leading = self.mask.shape
        for name, tensor in _tensors(self):
            expected = leading[1:] if name == "initial_state" else leading
            if tensor.shape[: len(expected)] != expected:
                raise ValueError(
                    f"{name} is {list(tensor.shape)}; its first dimensions must be {list(expected)}"
                )

    @property
    def padding_mask(self) -> Tensor | None:
        """`mask`; None if there is no padding for certain."""
        return self.mask if self.is_padded else None

    def cleaned(self) -> "Minibatch":
        """With escape_control_chars numbers in padding; itself if it has none for certain.

        A mean that leaves padding out keeps NaN out of the loss, but not out of its gradient: the
        derivative of a network at NaN is NaN, and zero times that is NaN too. Nor is every network
        defined at zero. So padding repeats the last step before it, whose numbers are of the kind
        the network is made for; zeros, with every choice allowed, where there is none before it.
        """
        if not self.is_padded:
            return self
        length, columns = self.mask.shape
        step = torch.arange(length, device=self.mask.device).unsqueeze(1)
        latest = torch.where(self.mask, step, -1).cummax(dim=0).values
        is_empty = latest.flatten() < 0
        column = torch.arange(columns, device=self.mask.device)
        row = (latest.clamp(min=0) * columns + column).flatten()

        def clean(tensor: Tensor, filler: float = 0) -> Tensor:
            repeated = tensor.flatten(0, 1).index_select(0, row)
            trailing = [1] * (tensor.dim() - 2)
            return repeated.masked_fill_(is_empty.view(-1, *trailing), filler).view_as(tensor)

        return replace(
            self,
            observation={name: clean(tensor) for name, tensor in self.observation.items()},
            action={name: clean(tensor) for name, tensor in self.action.items()},
            action_mask=clean(self.action_mask, filler=True),
            log_prob=clean(self.log_prob),
            value=clean(self.value),
            advantage=clean(self.advantage),
            return_=clean(self.return_),
            reset=clean(self.reset) & self.mask,
        )


def _tensors(experience: Rollout | Minibatch) -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(experience).items():
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, Mapping):
            for key, tensor in value.items():
                yield f"{name} '{key}'", tensor
