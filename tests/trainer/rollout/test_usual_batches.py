"""Batches that are known to be usual take fewer steps, and come to the same to the bit."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from entrain.config.policy import MemoryConfig, NetworkConfig, PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.requests import SlotTimesteps
from entrain.rollout.actor import Actor
from entrain.rollout.episodes import EpisodeLog
from entrain.run.state_files import encode_state
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch

SPEC = BehaviourSpec("b", (ObservationSpec("x", (4,)),), ActionSpec((-1.0,), (1.0,), (2, 3)))
AGENTS = 3
PLAIN = PolicyConfig()
RECURRENT = PolicyConfig(
    network=NetworkConfig(
        memory=MemoryConfig(kind="lstm", size=4, sequence_length=3, burn_in=1),
        previous_action=True,
        previous_reward=True,
    )
)


def life(*, batches: int, seed: int) -> Iterator[SlotTimesteps]:
    """Batches as serving makes them: the same array of slots for the same agents, as often as the
    simulator sends them in a row. Agents end, begin again, are left out, leave and take turns.
    """
    generator = np.random.default_rng(seed)
    everyone = np.arange(AGENTS)
    some, released = everyone[1:], np.zeros(0, np.int64)
    for number in range(batches):
        kind = generator.choice(["mid", "end", "some"], p=[0.7, 0.2, 0.1]) if number else "first"
        steady = slot = everyone if kind != "some" else some
        types = np.full(len(slot), StepType.FIRST if kind == "first" else StepType.MID, np.uint8)
        if len(released):
            types[0] = StepType.FIRST
        if kind == "end":
            ended = np.flatnonzero(generator.random(AGENTS) < 0.5)
            ended = ended[types[ended] == StepType.MID]
            types[ended] = generator.choice([StepType.TERMINATED, StepType.TRUNCATED], len(ended))
            slot = np.append(slot, ended)
            types = np.append(types, np.full(len(ended), StepType.FIRST, np.uint8))
        timesteps = TimestepBatch(
            slot,
            types,
            (types > StepType.FIRST) * generator.random(len(slot), np.float32),
            {"x": generator.random((len(slot), 4), np.float32)},
            generator.random((len(slot), 5)) < np.array([2, 0.5, 2, 0.5, 0.5]),
        )
        is_usual = bool((types[: len(steady)] > StepType.FIRST).all())
        yield SlotTimesteps(slot, timesteps, released, AGENTS, steady if is_usual else None)
        leaves = kind == "mid" and generator.random() < 0.05
        released = everyone[:1] if leaves else np.zeros(0, np.int64)


def told(actor: Any, batches: Iterator[SlotTimesteps]) -> list[Any]:
    """All that is said and collected."""
    said: list[Any] = []
    for batch in batches:
        rollout = actor.observe(batch)
        if rollout is not None:
            said.append(encode_state(rollout.state()))
        actions = actor.act()
        said.append((actions.continuous.tolist(), actions.discrete.tolist()))
    return [*said, encode_state(actor.state()), actor.ledger]


@pytest.mark.parametrize("config", [PLAIN, RECURRENT], ids=["plain", "recurrent"])
def test_they_come_to_the_same_as_if_nothing_were_known(
    config: PolicyConfig, make_actor: Callable[..., Any]
) -> None:
    def made() -> Any:
        policy = ActorCritic(SPEC, config, seed=0)
        return make_actor(policy, rollout_steps=200, discount=0.9, normalize_rewards=True)

    known = told(made(), life(batches=300, seed=1))
    unknown = (replace(batch, steady=None) for batch in life(batches=300, seed=1))
    assert known == told(made(), unknown)


def test_what_is_known_of_a_batch_is_known_until_an_agent_leaves(
    make_actor: Callable[..., Any],
) -> None:
    actor: Actor = make_actor(ActorCritic(SPEC, PLAIN, seed=0)).actor
    slot, nobody = np.arange(2), np.zeros(0, np.int64)

    def usual(step_type: StepType, released: Any = nobody) -> bool:
        timesteps = TimestepBatch(
            slot,
            np.full(2, step_type, np.uint8),
            np.zeros(2, np.float32),
            {"x": np.zeros((2, 4), np.float32)},
            np.ones((2, 5), np.bool_),
        )
        steady = slot if step_type is StepType.MID else None
        evaluation = actor.evaluate(SlotTimesteps(slot, timesteps, released, 2, steady))
        actor.act(evaluation)
        return evaluation.is_usual

    assert not usual(StepType.FIRST)
    assert usual(StepType.MID)
    assert not usual(StepType.MID, released=slot[:1])
    assert usual(StepType.MID)
    actor.release_all()
    assert not usual(StepType.MID)


def test_rewards_that_are_added_up_later_are_added_in_their_order() -> None:
    generator = np.random.default_rng(2)
    late, at_once = EpisodeLog(), EpisodeLog()
    for log in (late, at_once):
        log.grow(3)
        log.begin(np.arange(3))
    for number in range(1000):
        slot = generator.permutation(3)[: generator.integers(1, 4)]
        reward = (10.0 ** generator.integers(-8, 8) * generator.random(len(slot))).astype("f")
        ends = number % 137 == 136
        types = np.full(len(slot), StepType.TERMINATED if ends else StepType.MID, np.uint8)
        at_once.record(slot, types, reward)
        if ends:
            late.record(slot, types, reward)
            late.begin(slot)
            at_once.begin(slot)
        else:
            late.go_on(slot, reward)
        if number % 100 == 50:
            assert late.longest_running == at_once.longest_running
        if number % 100 == 60:
            assert late.measure() == at_once.measure()
    assert encode_state(late.state()) == encode_state(at_once.state())
