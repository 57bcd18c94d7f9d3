"""Proof: before its first step the learner computes what the actor stored, so all ratios are 1.

A real actor and a real buffer: agents answer in any number and order, so that columns are ragged;
episodes end within them, and rollouts are cut in the middle of episodes, across which the actor
carries its states.

In float64, weights and storage, so that only rounding of 1e-16 may differ. In float32 the same
numbers differ by a few times 1e-7: one row of a network is not rounded like a batch of them.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch

from acting_and_collecting import ActingAndCollecting
from entrain.algorithms.ppo import PPO
from entrain.algorithms.surrogates import make_surrogate
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import MemoryConfig, NetworkConfig, PolicyConfig
from entrain.experience import Rollout
from entrain.inference import policy as inference
from entrain.policy.actor_critic import ActorCritic
from entrain.requests import SlotTimesteps
from entrain.rollout import columns, sequence_states
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch
from recurrent_cases import COEFFICIENTS

SLOTS = 5
SPEC = BehaviourSpec(
    "walker", (ObservationSpec("seen", (3,)),), ActionSpec((-1.0,), (1.0,), branches=(2, 3))
)
Kind = Literal["lstm", "gru", "mingru"]
Whose = Literal["joint", "per_dimension"]


@pytest.fixture(autouse=True)
def storage_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    def allocate(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        return np.zeros(shape, np.float64 if dtype == np.float32 else dtype)

    monkeypatch.setattr(columns, "allocate", allocate)
    monkeypatch.setattr(sequence_states, "allocate", allocate)


@pytest.fixture(params=["numpy", "torch"])
def acts_in(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    act_in(request.param, monkeypatch)


def act_in(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Left to itself, a policy in float64 acts by torch, one in float32 by numpy.
    monkeypatch.setattr(inference, "is_plain", lambda _: library == "numpy")


class Life:
    """Agents of random speed: each batch brings some of them, and ends some episodes."""

    def __init__(self, actor: ActingAndCollecting, *, seed: int) -> None:
        self._actor = actor
        self._rng = np.random.default_rng(seed)
        self._is_running = np.zeros(SLOTS, np.bool_)

    def rollouts(self) -> Iterator[Rollout]:
        """For ever."""
        while True:
            rollout = self._actor.observe(self._batch())
            if rollout is not None:
                yield rollout
            self._actor.act()

    def _batch(self) -> SlotTimesteps:
        slot = np.flatnonzero(self._rng.random(SLOTS) < np.linspace(0.3, 1.0, SLOTS))
        ends = self._is_running[slot] & (self._rng.random(len(slot)) < 0.1)
        how = self._rng.choice([StepType.TERMINATED, StepType.TRUNCATED], len(slot))
        outcome = np.where(
            ends, how, np.where(self._is_running[slot], StepType.MID, StepType.FIRST)
        )
        self._is_running[slot] = ~ends
        rows = len(slot)
        return SlotTimesteps(
            slot=slot,
            timesteps=TimestepBatch.of(
                SPEC,
                agent_id=slot,
                step_type=outcome.astype(np.uint8),
                reward=self._rng.normal(size=rows).astype(np.float32),
                observation={"seen": self._rng.normal(size=(rows, 3)).astype(np.float32)},
                action_mask=self._allowed(rows),
            ),
            released=np.zeros(0, np.int64),
            num_slots=SLOTS,
        )

    def _allowed(self, rows: int) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        allowed = self._rng.random((rows, 5)) < 0.7
        allowed[:, [0, 2]] = True
        return allowed


def of_present_weights(rollout: Rollout, version: int) -> Rollout:
    """Only the columns of which all is of these weights.

    An agent that was still thinking of an answer when the rollout before was cut had been asked by
    the weights before: its step, and what it remembers of it, are theirs.
    """
    return replace(rollout, valid=rollout.valid & (rollout.policy_version[0] == version))


# What acts knows nothing of how sequences are learned from: each library meets each kind of
# network, burn-in and refreshed states, but not all pairs of the two.
@pytest.mark.parametrize(
    ("library", "burn_in", "refresh_states"),
    [("numpy", 0, False), ("numpy", 3, True), ("torch", 0, True), ("torch", 3, False)],
)
@pytest.mark.parametrize(("kind", "shared"), [("lstm", True), ("lstm", False), ("gru", False)])
def test_every_ratio_is_one_before_the_first_gradient_step_of_each_update(
    kind: Kind,
    shared: bool,
    library: str,
    burn_in: int,
    refresh_states: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    act_in(library, monkeypatch)
    memory = MemoryConfig(
        kind=kind, size=8, sequence_length=6, burn_in=burn_in, refresh_states=refresh_states
    )
    require_ratios_of_one(memory, shared=shared, surrogate="joint")


@pytest.mark.usefixtures("acts_in")
def test_so_it_is_with_a_mingru() -> None:
    memory = MemoryConfig(kind="mingru", size=8, sequence_length=6, burn_in=3, refresh_states=True)
    require_ratios_of_one(memory, shared=False, surrogate="joint")


@pytest.mark.usefixtures("acts_in")
def test_so_is_that_of_each_dimension_and_branch() -> None:
    memory = MemoryConfig(kind="lstm", size=8, sequence_length=6, burn_in=3)
    require_ratios_of_one(memory, shared=False, surrogate="per_dimension")


def require_ratios_of_one(memory: MemoryConfig, *, shared: bool, surrogate: Whose) -> None:
    """Collect and learn, six rollouts long."""
    options = PPOConfig(minibatch_size=20, num_epochs=3, learning_rate=3e-3, surrogate=surrogate)
    network = NetworkConfig(hidden_sizes=(8,), shared=shared, memory=memory, previous_action=True)
    config = PolicyConfig(network=network, rollout_steps=80, algorithm=options)
    policy = ActorCritic(SPEC, config, seed=3).double()
    ppo = PPO(policy, options, discount=0.99, seed=3, device=torch.device("cpu"))
    both = ActingAndCollecting(
        policy,
        rollout_steps=80,
        seed=3,
        discount=0.99,
        normalize_rewards=True,
        rollout_type=make_surrogate(options).rollout_type,
    )
    both.actor._recurrent_state = both.actor._recurrent_state.astype(np.float64)
    steps = resets = carried = 0
    for update, rollout in enumerate(islice(Life(both, seed=3).rollouts(), 6)):
        present = of_present_weights(rollout, ppo.version)
        for minibatch in ppo.minibatches(present).epoch(torch.Generator().manual_seed(update)):
            mask = minibatch.mask
            with torch.no_grad():
                log_ratio = ppo.loss.terms(minibatch, COEFFICIENTS).log_ratio[mask]
            assert log_ratio.shape[1:] == ((3,) if surrogate == "per_dimension" else ())
            ones = torch.ones_like(log_ratio)
            torch.testing.assert_close(log_ratio.exp(), ones, rtol=0, atol=1e-12)
            steps += int(mask.sum())
            resets += int(minibatch.steps.reset[1:][mask[1:]].sum())
        states = present.sequence_state[0][present.valid[0] & ~present.reset[0]]
        carried += int(states.any(dim=1).sum())
        assert ppo.update(rollout, progress=0.0)["policy/kl"] > 5e-5
        both.actor.policy.publish(ppo.weights, ppo.version)
    # The proof is not of nothing: there was enough of everything.
    assert steps > 250
    assert resets > 10
    assert carried >= 5
