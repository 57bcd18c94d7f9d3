"""The forms that experience takes: a `Rollout` as collected, a `Minibatch` as learned from.

`Experience` is what a trainer knows of either kind of collection: rollouts for on-policy
algorithms, and `transitions.Transitions` for off-policy ones.

Shapes: T steps, B columns, time first. L is the length of a minibatch's sequences (1 for policies
without memory), M their number; V value heads. Shapes are checked once, on construction.

A field that is stored with each step is declared once, in `Rollout`. The rollout buffer allocates
its storage from the declaration, and `tensor_fields.pick` carries it into minibatches by its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from entrain.state import State
from entrain.tensor_fields import arrays_of, map_tensors, named_tensors, pick, tensors_of
from entrain_envs.shapes import Bool, Float, Int, Shaped


class Experience(Protocol):
    """The steps collected for one update. Immutable."""

    @property
    def num_steps(self) -> int:
        """Env steps in it."""
        ...

    def in_unit(self, factor: float) -> Self:
        """The same, had each reward been so many times as large."""
        ...

    def state(self) -> State:
        """All of it, for a checkpoint; `learner.experience_of` is the way back."""
        ...


@dataclass(frozen=True)
class Stored:
    """Marks a field of `Rollout` that the rollout buffer stores with each step."""

    dtype: str = ""
    """Of the stored array; "" where the behaviour's spec says it, for observations and actions."""

    size: str = ""
    """The trailing dimension: "V" value heads, "C" choices, "A" continuous dimensions and branches;
    "" if there is none."""


@dataclass(frozen=True)
class Rollout:
    """T steps of B columns, each step closed by its outcome. Never changed after it is made.

    A column holds the steps of one slot. Columns differ in length where simulators differ in speed;
    `valid` is false behind a column's end. Everything there may hold any number, NaN too.
    """

    observation: Annotated[Mapping[str, Shaped[Tensor, "T B ..."]], Stored()]
    """{name: [T, B, *shape]} what the action was chosen from, as it came over the wire; the
    previous action and reward too, if the policy observes them."""

    action: Annotated[Mapping[str, Shaped[Tensor, "T B _"]], Stored()]
    """{"continuous": [T, B, D] float32 as sampled (before bounds), "discrete": [T, B, N] int64};
    only the keys that the behaviour has."""

    action_mask: Annotated[Bool[Tensor, "T B C"], Stored("bool", "C")]
    """[T, B, C] bool, true where a choice was allowed; C = 0 without branches."""

    log_prob: Annotated[Float[Tensor, "T B"], Stored("float32")]
    """[T, B] float32 of the joint action, under the policy that sampled it."""

    value: Annotated[Float[Tensor, "T B V"], Stored("float32", "V")]
    """[T, B, V] float32, the critic's values of the observation when the action was chosen, one of
    each value stream."""

    reset: Annotated[Bool[Tensor, "T B"], Stored("bool")]
    """[T, B] bool, true where recurrent state is cleared before this row: an episode begins."""

    policy_version: Annotated[Int[Tensor, "T B"], Stored("int64")]
    """[T, B] int64 of the policy that sampled the action."""

    reward: Annotated[Float[Tensor, "T B"], Stored("float32")]
    """[T, B] float32 received for the action (scaled, if rewards are normalised)."""

    next_value: Annotated[Float[Tensor, "T B V"], Stored("float32", "V")]
    """[T, B, V] float32, the critic's values of what followed: zero if the episode terminated
    there, not if it was merely truncated."""

    boundary: Annotated[Bool[Tensor, "T B"], Stored("bool")]
    """[T, B] bool, true where the next row does not continue this one: the episode ended, or this
    is the column's last row, or the step in between was dropped."""

    late: Annotated[Bool[Tensor, "T B"], Stored("bool")]
    """[T, B] bool, true where the action came too late, so that the simulator's fallback acted.
    What followed says nothing about the action, and the policy does not learn from the step."""

    valid: Bool[Tensor, "T B"]
    """[T, B] bool, true where there is a step; in each column true from the top without a gap."""

    sequence_state: Float[Tensor, "Q B S"]
    """[Q, B, S] recurrent state before the row from which each of Q sequences is unrolled, which
    for sequence q is row max(0, q * sequence_length - burn_in); S = 0 without memory. So row 0 of
    it is the state before each column's first row."""

    def __post_init__(self) -> None:
        leading = self.valid.shape
        num_sequences = self.sequence_state.shape[:1]
        special = {"sequence_state": num_sequences + leading[1:]}
        for name, tensor in named_tensors(self):
            _require_leading(name, tensor, special.get(name, leading))

    @property
    def num_steps(self) -> int:
        """Valid steps."""
        return int(self.valid.sum())

    def in_unit(self, factor: float) -> Self:
        """See `Experience`: values of rewards, which are the first of V, go with them."""

        def changed(values: Tensor) -> Tensor:
            return torch.cat([factor * values[..., :1], values[..., 1:]], dim=-1)

        return replace(
            self,
            reward=factor * self.reward,
            value=changed(self.value),
            next_value=changed(self.next_value),
        )

    def state(self) -> State:
        """Every field as an array, or as arrays by name, for a checkpoint."""
        return arrays_of(self)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The rollout whose `state()` was saved, if it was of this type."""
        if "late" not in state:
            # Checkpoints of before there were deadlines have none.
            state = {**state, "late": np.zeros_like(state["valid"])}
        return cls(**tensors_of(state))


@dataclass(frozen=True)
class PerDimensionRollout(Rollout):
    """A rollout for algorithms that weigh each part of an action by itself."""

    log_prob_per_dimension: Annotated[Float[Tensor, "T B A"], Stored("float32", "A")]
    """[T, B, A] float32 of each continuous dimension, then of each branch, under the policy that
    sampled the action. `log_prob` is their sum."""


def rollout_of(state: State) -> Rollout:
    """The rollout whose `state()` was saved, of whichever type."""
    is_per_dimension = "log_prob_per_dimension" in state
    return (PerDimensionRollout if is_per_dimension else Rollout).from_state(state)


@dataclass(frozen=True)
class Estimate:
    """Advantages and returns of a rollout, estimated from its rewards and values."""

    advantage: Float[Tensor, "T B"]
    """[T, B] of each action, as the objective defines it."""

    return_: Float[Tensor, "T B V"]
    """[T, B, V] the critic's regression targets; in a minibatch, as the critic learns them."""

    weight: Float[Tensor, "T B"] | None = None
    """[T, B] how much a step counts in the policy's part of the loss: 0 where it is late, and
    elsewhere so much that the mean over all steps is that over those in time. None: no step of the
    rollout is late, and each counts once."""

    late_share: float = 0.0
    """The share of steps that are late."""

    scale: float = 1.0
    """What the advantages were divided by, and the loss's explicit regularization term is to be."""

    log_prob: Shaped[Tensor, "T B ..."] | None = None
    """[T, B], or [T, B, A] of the parts of an action, under the policy that begins the update; None
    if that is the one that acted."""


@dataclass(frozen=True)
class BurnIn:
    """The steps just before some of a minibatch's sequences: every one of them is valid.

    U steps before each of W sequences; W = 0 without burn-in. The first sequence of a column has
    none: the state that it starts from is all that is known of the time before.
    """

    observation: Mapping[str, Shaped[Tensor, "U W ..."]]
    """{name: [U, W, *shape]}."""

    reset: Bool[Tensor, "U W"]
    """[U, W] bool."""

    sequence: Int[Tensor, " W"]
    """[W] int64, which of the minibatch's M sequences."""

    @classmethod
    def nothing(cls, device: torch.device) -> Self:
        """W = 0: every sequence starts from the state that it has."""
        return cls(
            observation={},
            reset=torch.zeros(0, 0, dtype=torch.bool, device=device),
            sequence=torch.zeros(0, dtype=torch.int64, device=device),
        )


@dataclass(frozen=True)
class Minibatch:
    """M sequences of L steps. Padding is where `mask` is false; it takes part in nothing."""

    steps: Rollout
    """[L, M, ...] rows of the rollout that is learned from; `valid` is false in padding, and
    `sequence_state` is the [1, M, S] state before each sequence's burn-in or, without one, its
    first step."""

    estimate: Estimate
    """[L, M, ...] rows of the rollout's."""

    burn_in: BurnIn
    """Steps that are run first, without learning from them, to bring recurrent state up to date."""

    is_padded: bool = True
    """False if `mask` is known to be all true, so that losses can skip it."""

    def __post_init__(self) -> None:
        for name, tensor in named_tensors(self.estimate):
            _require_leading(name, tensor, self.mask.shape)

    @property
    def mask(self) -> Bool[Tensor, "L M"]:
        """[L, M] bool, true where there is a step."""
        return self.steps.valid

    @property
    def num_steps(self) -> int:
        """Steps that are no padding."""
        mask = self.steps.valid
        return int(mask.sum()) if self.is_padded else mask.numel()

    @property
    def padding_mask(self) -> Bool[Tensor, "L M"] | None:
        """`mask`, or None if it is known to be all true."""
        return self.steps.valid if self.is_padded else None

    @property
    def policy_mask(self) -> Bool[Tensor, "L M"] | None:
        """True where there is a step that the policy learns from; None if it is so everywhere."""
        weight = self.estimate.weight
        return self.padding_mask if weight is None else self.mask & (weight > 0.0)

    @property
    def initial_state(self) -> Float[Tensor, "M S"]:
        """[M, S] before the first step; before the burn-in, for sequences that have one."""
        return self.steps.sequence_state[0]

    def sequences(self, columns: slice) -> "Minibatch":
        """Some of its M sequences, as views; without burn-in."""
        steps, estimate = self.steps, self.estimate
        return replace(
            self,
            steps=map_tensors(steps, lambda tensor: tensor[:, columns]),
            estimate=map_tensors(estimate, lambda tensor: tensor[:, columns]),
        )

    def cleaned(self) -> "Minibatch":
        """With harmless numbers in padding; itself if it is known to have none.

        A mean that leaves padding out keeps NaN out of the loss, but not out of its gradient: the
        derivative of a network at NaN is NaN, and zero times that is NaN too. Nor is every network
        defined at zero. So padding repeats the last step before it, whose numbers are of the kind
        the network is made for; zeros, with every choice allowed, where there is none before it.
        """
        if not self.is_padded:
            return self
        mask = self.mask
        length, columns = mask.shape
        step = torch.arange(length, device=mask.device).unsqueeze(1)
        latest = torch.where(mask, step, -1).cummax(dim=0).values
        is_empty = latest < 0
        column = torch.arange(columns, device=mask.device)
        rows = latest.clamp(min=0) * columns + column

        def clean(tensor: Tensor, filler: float = 0) -> Tensor:
            trailing = [1] * (tensor.dim() - 2)
            return tensor.masked_fill_(is_empty.view(*mask.shape, *trailing), filler)

        state = self.steps.sequence_state
        steps = pick(replace(self.steps, sequence_state=without_state(mask)), rows)
        allowed = clean(steps.action_mask.clone(), filler=True)
        steps = map_tensors(steps, clean)
        return replace(
            self,
            steps=replace(
                steps,
                action_mask=allowed,
                reset=steps.reset & mask,
                valid=mask,
                sequence_state=state,
            ),
            estimate=map_tensors(pick(self.estimate, rows), clean),
        )


def without_state(like: Shaped[Tensor, "T B ..."]) -> Float[Tensor, "T B 0"]:
    """[T, B, 0] no recurrent state, for the rows of [T, B, ...]."""
    return torch.zeros(*like.shape[:2], 0, device=like.device)


def _require_leading(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tensor.shape[: len(expected)] != expected:
        raise ValueError(
            f"{name} is {list(tensor.shape)}; its first dimensions must be {list(expected)}"
        )
