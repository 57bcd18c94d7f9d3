"""A policy whose every number says where it comes from, and batches written as short sentences."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from acting_and_collecting import ActingAndCollecting
from entrain.config.policy import MemoryConfig, NetworkConfig, PolicyConfig
from entrain.policy.actor_critic import PolicyOutput
from entrain.policy.inputs import policy_inputs
from entrain.requests import SlotTimesteps
from entrain.rollout import columns, sequence_states
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch

SPEC = BehaviourSpec(
    "walker",
    (ObservationSpec("code", ()), ObservationSpec("eyes/left", (2, 3), "uint8")),
    ActionSpec((-1.0, -1.0), (1.0, 1.0), (3,)),
)
LEAK = 1e9
WEIGHT_UNIT = 10_000.0
"""Codes are below it, so that value = code + WEIGHT_UNIT * weight tells both, exactly."""

Row = tuple[int, StepType, float, float]
"""slot, step type, reward, code."""


class CodeDistribution:
    """Continuous action: (what the policy saw, noise); discrete: an allowed choice, by noise."""

    def __init__(self, seen: Tensor, mask: Tensor | None = None) -> None:
        self.seen = seen
        self.mask = mask

    def parameters(self) -> Mapping[str, Tensor]:
        return {"seen": self.seen}

    def masked(self, action_mask: Tensor) -> "CodeDistribution":
        return CodeDistribution(self.seen, action_mask)

    def sample(self, noise: Tensor) -> Mapping[str, Tensor]:
        assert self.mask is not None, "sampled before it was masked"
        assert noise.dtype == torch.float64
        assert bool(self.mask.any(-1).all()), "a row without an allowed choice"
        nth = (noise[..., 1:] * self.mask.sum(-1, keepdim=True)).floor() + 1
        reached = self.mask.cumsum(-1) >= nth
        return {
            "continuous": torch.stack([self.seen, noise[..., 0].float()], -1),
            "discrete": reached.int().argmax(-1, keepdim=True),
        }

    def mode(self) -> Mapping[str, Tensor]:
        return self.sample(torch.full((*self.seen.shape, 2), 0.5, dtype=torch.float64))

    def log_prob(self, action: Mapping[str, Tensor]) -> Tensor:
        assert torch.equal(action["continuous"][..., 0], self.seen), "the action is another row's"
        return -self.seen

    def log_prob_per_dimension(self, action: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([0.25 * self.log_prob(action), 0.75 * self.log_prob(action)], dim=-1)

    def entropy(self) -> Tensor:
        return torch.zeros_like(self.seen)

    def mean_entropy(self) -> Tensor:
        return self.entropy()


class Notes:
    """What a policy was asked. The copy that acts writes into those of the policy it is of."""

    def __init__(self) -> None:
        self.forwards = 0
        self.last_observation: Mapping[str, Tensor] = {}

    def __deepcopy__(self, _memo: Any) -> "Notes":
        return self


class CodePolicy(torch.nn.Module):
    """Sees code + WEIGHT_UNIT * weight, and values it at just that.

    With memory it values state[0], where state[i] = (state[i] / 2^(i + 1), zero after a reset) +
    what it sees. A second value is the previous reward plus the previous action's noise, if it is
    shown them, else 0.5 - what it sees.
    """

    noise_size = 2
    spec = SPEC
    backbone = SimpleNamespace(trunk=None)
    """Without layers."""

    def __init__(
        self,
        state_size: int = 0,
        num_values: int = 1,
        sequence_length: int = 16,
        burn_in: int = 0,
        history: bool = False,
    ) -> None:
        super().__init__()
        self.state_size = state_size
        self.num_values = num_values
        network = NetworkConfig(
            memory=MemoryConfig(sequence_length=sequence_length, burn_in=burn_in),
            previous_action=history,
            previous_reward=history,
        )
        self.config = PolicyConfig(network=network)
        self.inputs = policy_inputs(SPEC, network)
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.notes = Notes()

    def learn(self) -> None:
        """What an update does. Who acts sees it once it is published."""
        with torch.no_grad():
            self.weight.add_(1.0)

    def forward(
        self, observation: Mapping[str, Tensor], state: Tensor, reset: Tensor
    ) -> PolicyOutput:
        self.notes.forwards += 1
        self.notes.last_observation = observation
        seen = observation["code"] + WEIGHT_UNIT * self.weight
        for each in self.inputs.observations:
            assert observation[each.name].shape == (*reset.shape, *each.shape), each.name
        assert state.shape == (reset.shape[1], self.state_size)
        decay = 0.5 ** torch.arange(1, self.state_size + 1)
        values = []
        for step, cleared in zip(seen, reset, strict=True):
            state = step[:, None] + (decay * state).masked_fill(cleared[:, None], 0.0)
            values.append(state[:, 0] if self.state_size else step)
        first = torch.stack(values)
        heads = [first, self._second_value(observation, seen)][: self.num_values]
        value = torch.stack(heads, -1)
        return PolicyOutput(CodeDistribution(seen), value, value, state, seen.reshape(1, -1, 1))

    def _second_value(self, observation: Mapping[str, Tensor], seen: Tensor) -> Tensor:
        if not self.config.network.previous_action:
            return 0.5 - seen
        return observation["previous_reward"][..., 0] + observation["previous_action"][..., 1]

    def environment_action(self, action: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {**action, "continuous": 2.0 * action["continuous"]}


def eyes_of(code: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """[N, 2, 3] uint8 that a code decides."""
    corner = np.arange(6, dtype=np.int64).reshape(2, 3)
    return (code.astype(np.int64)[:, None, None] + corner).astype(np.uint8)


def mask_of(code: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """[N, 3] that a code decides; at least one choice is allowed."""
    mask: npt.NDArray[np.bool_] = (code.astype(np.int64)[:, None] >> np.arange(3)) % 2 == 1
    mask[:, 0] |= ~mask.any(1)
    return mask


def timesteps_of(rows: Sequence[Row]) -> TimestepBatch:
    """Rows as they come from the wire: read-only. An end row's mask allows nothing."""
    slot, step_type, reward, code = (
        np.array([row[column] for row in rows], dtype)
        for column, dtype in enumerate((np.int64, np.uint8, np.float32, np.float32))
    )
    eyes, mask = eyes_of(code), mask_of(code)
    mask[step_type > StepType.MID] = False
    for array in (slot, step_type, reward, code, eyes, mask):
        array.flags.writeable = False
    return TimestepBatch(slot, step_type, reward, {"code": code, "eyes/left": eyes}, mask)


def batch_of(
    *rows: Row, released: Sequence[int] = (), num_slots: int | None = None
) -> SlotTimesteps:
    timesteps = timesteps_of(rows)
    slots = [-1, *(row[0] for row in rows), *released]
    return SlotTimesteps(
        slot=timesteps.agent_id,
        timesteps=timesteps,
        released=np.array(released, np.int64),
        num_slots=max(slots) + 1 if num_slots is None else num_slots,
    )


@pytest.fixture(autouse=True, scope="module")
def _unused_storage_is_loud() -> Iterator[None]:
    """Every cell of fresh storage holds 1e9 (or true, or 255), so that a leak is seen."""

    def poisoned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        dtype = np.dtype(dtype)
        return np.full(shape, 255 if dtype == np.uint8 else LEAK, dtype)

    with (
        mock.patch.object(columns, "allocate", poisoned),
        mock.patch.object(sequence_states, "allocate", poisoned),
    ):
        yield


@pytest.fixture(scope="session")
def make_policy() -> Callable[..., CodePolicy]:
    return CodePolicy


@pytest.fixture(scope="session")
def make_actor() -> Callable[..., ActingAndCollecting]:
    return ActingAndCollecting


@pytest.fixture(scope="session")
def batch() -> Callable[..., SlotTimesteps]:
    return batch_of
