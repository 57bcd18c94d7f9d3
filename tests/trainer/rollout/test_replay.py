"""The recurrent states of a rollout are those of acting: learning can go through them again."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from entrain.experience import Rollout
from entrain.requests import SlotTimesteps
from entrain.rollout.actor import Actor
from entrain_envs.timestep import StepType

FIRST, MID, TERMINATED = StepType.FIRST, StepType.MID, StepType.TERMINATED
Make = Callable[..., Any]
Batch = Callable[..., SlotTimesteps]


def random_life(
    actor: Actor, batch: Batch, *, slots: int, batches: int, seed: int
) -> Iterator[Rollout]:
    """The rollouts of agents that come in any order and number, and end at times."""
    rng = np.random.default_rng(seed)
    running: set[int] = set()
    for code in range(1, batches + 1):
        rows = []
        for slot in rng.permutation(slots)[: rng.integers(1, slots + 1)].tolist():
            if slot in running and rng.random() < 0.2:
                rows.append((slot, TERMINATED, code / 8, 100.0 + code))
                running.remove(slot)
            if rng.random() < 0.9:
                rows.append((slot, MID if slot in running else FIRST, code / 4, float(code)))
                running.add(slot)
        rollout = actor.observe(batch(*rows, num_slots=slots))
        if rollout is not None:
            yield rollout
        actor.act()


def test_columns_replayed_whole_pass_through_the_recurrent_states_of_acting(
    make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    # The policy's value is its recurrent state, so a replay agrees only if the state that a column
    # begins with, and every reset in it, are those of acting.
    policy = make_policy(state_size=2)
    replayed = 0
    actor = make_actor(policy, rollout_steps=5)
    for rollout in random_life(actor, batch, slots=4, batches=60, seed=0):
        output = policy(rollout.observation, rollout.sequence_state[0], rollout.reset)
        valid = rollout.valid
        torch.testing.assert_close(output.value[valid], rollout.value[valid], rtol=0, atol=0)
        replayed += rollout.num_steps
    assert replayed > 100


@pytest.mark.parametrize(("sequence_length", "burn_in"), [(1, 0), (3, 0), (3, 1), (4, 4), (50, 7)])
def test_sequences_replayed_from_their_own_states_pass_through_the_states_of_acting(
    sequence_length: int, burn_in: int, make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    policy = make_policy(state_size=2, sequence_length=sequence_length, burn_in=burn_in)
    replayed = 0
    actor = make_actor(policy, rollout_steps=40)
    for rollout in random_life(actor, batch, slots=4, batches=120, seed=1):
        for q, top in enumerate(range(0, len(rollout.valid), sequence_length)):
            first, end = max(0, top - burn_in), top + sequence_length
            observation = {name: seen[first:end] for name, seen in rollout.observation.items()}
            output = policy(observation, rollout.sequence_state[q], rollout.reset[first:end])
            valid = rollout.valid[top:end]
            torch.testing.assert_close(
                output.value[top - first :][valid], rollout.value[top:end][valid], rtol=0, atol=0
            )
            replayed += int(valid.sum())
    assert replayed > 200
    assert replayed == actor.ledger.closed - actor.state()["buffer"]["length"].sum()
