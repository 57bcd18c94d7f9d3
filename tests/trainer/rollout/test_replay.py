"""The recurrent states of a rollout are those of acting: learning can go through them again.

Sequence q is rows q * L to (q + 1) * L; it is replayed from row max(0, q * L - burn_in) on.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from entrain.config.policy import EntropyConfig, MemoryConfig, NetworkConfig, PolicyConfig
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic, PolicyOutput
from entrain.requests import SlotTimesteps
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType
from made_rollouts import made_rollout

FIRST, MID, TERMINATED = StepType.FIRST, StepType.MID, StepType.TERMINATED
Make = Callable[..., Any]
Batch = Callable[..., SlotTimesteps]


def random_life(
    actor: Any, batch: Batch, *, slots: int, batches: int, seed: int
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


def replayed(policy: Any, rollout: Rollout) -> Iterator[tuple[PolicyOutput, slice, int]]:
    """(what the policy says, of which rows, how many of them are burn-in) for each sequence."""
    memory = policy.config.network.memory
    for q, top in enumerate(range(0, len(rollout.valid), memory.sequence_length)):
        rows = slice(max(0, top - memory.burn_in), top + memory.sequence_length)
        observation = {name: seen[rows] for name, seen in rollout.observation.items()}
        output = policy(observation, rollout.sequence_state[q], rollout.reset[rows])
        yield output, rows, top - rows.start


@pytest.mark.parametrize(("sequence_length", "burn_in"), [(1, 0), (3, 0), (3, 1), (4, 4), (50, 7)])
def test_sequences_replayed_from_their_own_states_pass_through_the_states_of_acting(
    sequence_length: int, burn_in: int, make_policy: Make, make_actor: Make, batch: Batch
) -> None:
    policy = make_policy(state_size=2, sequence_length=sequence_length, burn_in=burn_in)
    steps = 0
    actor = make_actor(policy, rollout_steps=40)
    for rollout in random_life(actor, batch, slots=4, batches=120, seed=1):
        for output, rows, burnt_in in replayed(policy, rollout):
            valid = rollout.valid[rows]
            torch.testing.assert_close(
                output.value[valid], rollout.value[rows][valid], rtol=0, atol=0
            )
            steps += int(valid[burnt_in:].sum())
    assert steps > 200
    assert steps == actor.ledger.closed - actor.state()["collector"]["buffer"]["length"].sum()


SPEC = BehaviourSpec(
    "walker", (ObservationSpec("code", ()),), ActionSpec((-1.0, -1.0), (1.0, 1.0), (3,))
)


def policy_with(kind: Literal["lstm", "gru", "mingru"], burn_in: int) -> ActorCritic:
    """A real one, that is shown all there is and has two values."""
    config = PolicyConfig(
        network=NetworkConfig(
            hidden_sizes=(8,),
            memory=MemoryConfig(kind=kind, size=6, sequence_length=4, burn_in=burn_in),
            previous_action=True,
            previous_reward=True,
        ),
        entropy=EntropyConfig(objective="entropy_critic"),
    )
    return ActorCritic(SPEC, config, seed=4)


def seen_by(policy: ActorCritic, batch: Batch) -> Batch:
    """Batches as the code policy's, with what this policy's behaviour observes, made small."""

    def made(*rows: Any, **options: Any) -> SlotTimesteps:
        each = batch(*rows, **options)
        code: Any = each.timesteps.observation["code"]
        observation = {"code": code / np.float32(50.0)}
        return replace(each, timesteps=replace(each.timesteps, observation=observation))

    return made


def assert_replays(policy: ActorCritic, rollout: Rollout) -> None:
    """What the learner finds is what the actor stored, to rounding."""
    assert policy.state_size > 0
    rollout = zeros_behind(rollout)
    with torch.no_grad():
        for output, rows, burnt_in in replayed(policy, rollout):
            distribution = output.distribution.masked(rollout.action_mask[rows])
            action = {name: chosen[rows] for name, chosen in rollout.action.items()}
            pairs = (
                (distribution.log_prob(action), rollout.log_prob[rows]),
                (output.value, rollout.value[rows]),
            )
            # A column that ends before this sequence has no state to start it from either.
            learned = rollout.valid[rows][burnt_in:]
            for found, stored in pairs:
                torch.testing.assert_close(
                    found[burnt_in:][learned], stored[burnt_in:][learned], rtol=0, atol=1e-5
                )


def zeros_behind(rollout: Rollout) -> Rollout:
    """With zeros where no step is: 1e9 is no choice that a distribution could judge."""

    def cleared(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return {
            name: torch.where(rollout.valid.view(*rollout.valid.shape, *[1] * (t.ndim - 2)), t, 0)
            for name, t in tensors.items()
        }

    return replace(
        rollout, observation=cleared(rollout.observation), action=cleared(rollout.action)
    )


@pytest.mark.parametrize("burn_in", [0, 3])
@pytest.mark.parametrize("kind", ["lstm", "gru", "mingru"])
def test_a_learner_finds_the_values_and_log_probabilities_that_a_recurrent_actor_stored(
    kind: Literal["lstm", "gru", "mingru"], burn_in: int, make_actor: Make, batch: Batch
) -> None:
    policy = policy_with(kind, burn_in)
    actor = make_actor(policy, rollout_steps=50)
    steps = 0
    for rollout in random_life(actor, seen_by(policy, batch), slots=4, batches=100, seed=2):
        assert_replays(policy, rollout)
        steps += rollout.num_steps
    assert steps > 100


@pytest.mark.parametrize("kind", ["lstm", "gru", "mingru"])
def test_a_batch_that_only_tells_of_a_release_is_answered_by_a_recurrent_policy_too(
    kind: Literal["lstm", "gru", "mingru"], make_actor: Make, batch: Batch
) -> None:
    policy = policy_with(kind, burn_in=0)
    made, actor = seen_by(policy, batch), make_actor(policy)
    actor.observe(made((0, FIRST, 0.0, 1.0)))
    assert len(actor.act()) == 1
    actor.observe(made(released=[0]))
    assert len(actor.act()) == 0


@pytest.mark.parametrize("kind", ["lstm", "gru", "mingru"])
def test_made_rollouts_are_like_those_of_an_actor(kind: Literal["lstm", "gru", "mingru"]) -> None:
    policy = policy_with(kind, burn_in=2)
    rollout = made_rollout(policy, [13, 0, 4, 9], seed=1, filler=1e9, extra_rows=3)
    assert rollout.sequence_state.shape[:2] == (4, 4)
    assert rollout.reset.any()
    # Some column goes on with what was remembered before its first row.
    assert rollout.sequence_state[0].abs().max() > 0.1
    assert_replays(policy, rollout)
