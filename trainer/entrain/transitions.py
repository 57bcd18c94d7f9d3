"""The two forms of off-policy experience: `Transitions` as collected, a `ReplayBatch` as sampled.

Shapes: N transitions, one a row; D continuous dimensions, C choices. A transition is a step that
was opened by an action and closed by its outcome. Like rollouts, both hold what came over the
wire: observations that are not normalised, actions as they were sampled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from entrain.state import State
from entrain.tensor_fields import arrays_of, map_tensors, named_tensors, tensors_of
from entrain_envs.shapes import Bool, Float, Int, Shaped


@dataclass(frozen=True)
class Transitions:
    """Steps that were closed since the collection before, in the order in which they were closed.

    The steps of one agent follow one another within and across collections: `stream` says whose a
    row is, `continues` whether its observation is the `next_observation` of that stream's row
    before. So a replay can store each observation once.
    """

    observation: Mapping[str, Shaped[Tensor, "N ..."]]
    """{name: [N, *shape]} what the action was chosen from."""

    action: Mapping[str, Shaped[Tensor, "N _"]]
    """{"continuous": [N, D] float32 as sampled (before bounds), "discrete": [N, branches] int64};
    only the keys that the behaviour has."""

    action_mask: Bool[Tensor, "N C"]
    """[N, C] bool, true where a choice was allowed; C = 0 without branches."""

    reward: Float[Tensor, " N"]
    """[N] float32 received for the action, as it came."""

    next_observation: Mapping[str, Shaped[Tensor, "N ..."]]
    """{name: [N, *shape]} what followed; where an episode ended, its true final observation."""

    next_action_mask: Bool[Tensor, "N C"]
    """[N, C] bool, what was allowed in the situation that followed; all true where an episode
    terminated. Where it was truncated the mask says over which choices its value is taken, although
    no action is; all true if the simulator sent none, or one that leaves a branch no choice."""

    terminated: Bool[Tensor, " N"]
    """[N] bool, true where nothing of worth can follow. False where the episode was truncated."""

    late: Bool[Tensor, " N"]
    """[N] bool, true where the action came too late, so that the simulator's fallback acted. What
    followed says nothing about the action, and nothing is learned from the step."""

    stream: Int[Tensor, " N"]
    """[N] int64 of the agent: its slot."""

    continues: Bool[Tensor, " N"]
    """[N] bool, true where the row's observation is the `next_observation` of the row before of the
    same stream."""

    policy_version: Int[Tensor, " N"]
    """[N] int64 of the policy that sampled the action."""

    def __post_init__(self) -> None:
        _require_rows(self, len(self.reward))

    @property
    def num_steps(self) -> int:
        """N."""
        return len(self.reward)

    def in_unit(self, factor: float) -> Self:
        """See `Experience`."""
        return replace(self, reward=factor * self.reward)

    def state(self) -> State:
        """Every field as an array, or as arrays by name, for a checkpoint."""
        return arrays_of(self)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The transitions whose `state()` was saved."""
        return cls(**tensors_of(state))


@dataclass(frozen=True)
class ReplayBatch:
    """N transitions that were sampled from a replay, each over one or more steps."""

    observation: Mapping[str, Shaped[Tensor, "N ..."]]
    """{name: [N, *shape]} what the action was chosen from."""

    action: Mapping[str, Shaped[Tensor, "N _"]]
    """As in `Transitions`."""

    action_mask: Bool[Tensor, "N C"]
    """[N, C] bool, as in `Transitions`."""

    reward: Float[Tensor, " N"]
    """[N] float32: with n steps, sum of discount^k * reward[k] for k below n."""

    next_observation: Mapping[str, Shaped[Tensor, "N ..."]]
    """{name: [N, *shape]} after the last of the n steps."""

    next_action_mask: Bool[Tensor, "N C"]
    """[N, C] bool, of `next_observation`."""

    bootstrap: Float[Tensor, " N"]
    """[N] float32 by which the value of `next_observation` counts: discount^n, or 0 where the last
    of the steps terminated. n is smaller than was asked for where the steps end before."""

    def __post_init__(self) -> None:
        _require_rows(self, len(self.reward))

    @property
    def num_steps(self) -> int:
        """N."""
        return len(self.reward)

    def to(self, device: torch.device) -> "ReplayBatch":
        """The same on a device."""
        return map_tensors(self, lambda tensor: tensor.to(device))


def _require_rows(fields: object, num_rows: int) -> None:
    for name, tensor in named_tensors(fields):
        if len(tensor) != num_rows:
            raise ValueError(f"{name} has {len(tensor)} rows; reward has {num_rows}")
