"""A trainer whose state is taken at any await goes on elsewhere as if it had never stopped.

Real parts, and a world of agents that end, leave and come late. The event loop is single-stepped: a
state may be taken between any two of its turns. An update takes as many turns as the example says.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from benchmarks.in_process import make_trainer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from entrain.app.learning_parts import make_algorithm
from entrain.config.policy import PolicyConfig
from entrain.experience import Rollout
from entrain.policy.actor_critic import make_policy
from entrain.requests import SlotTimesteps
from entrain.run.state_files import decode_state, encode_state
from entrain.state import State
from entrain.trainer import Update
from entrain.transitions import Transitions
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from made_rollouts import same_state

SPEC = BehaviourSpec("walker", (ObservationSpec("x", (2,)),), ActionSpec((-1.0,), (1.0,), (3,)))
SLOTS = 4
TOTAL_STEPS, ROLLOUT_STEPS, NUM_BATCHES = 60, 16, 45
PLAIN: Mapping[str, Any] = {"network": {"hidden_sizes": (4,)}, "normalize_rewards": True}
CHOICES = BehaviourSpec("walker", SPEC.observations, ActionSpec(branches=(3, 2)))
REPLAY: Mapping[str, Any] = {
    "network": {"hidden_sizes": (4,)},
    "entropy": {"coefficient": 0.5},
    "algorithm": {
        "kind": "soft_q",
        "learning_starts": 10,
        "batch_size": 8,
        "replay_size": 40,
        "updates_per_step": 0.3,
        "n_step": 2,
    },
}
RECURRENT: Mapping[str, Any] = {
    "network": {
        "hidden_sizes": (4,),
        "memory": {"kind": "lstm", "size": 3, "sequence_length": 3, "burn_in": 1},
        "previous_action": True,
        "previous_reward": True,
    },
    "algorithm": {"surrogate": "per_dimension"},
}


class World:
    """Agents whose lives are drawn anew at each step, and whose rewards depend on their actions."""

    def __init__(self, seed: int, spec: BehaviourSpec = SPEC) -> None:
        self._seed = seed
        self._spec = spec
        self._time = 0
        self._running = np.zeros(SLOTS, np.bool_)
        self._released: list[int] = []
        self.answers: list[ActionBatch] = []
        self.is_out = False
        self.batch = self._next({})

    def answer(self, actions: ActionBatch) -> None:
        """Every simulator has its actions, and computes the next rows."""
        timesteps = self.batch.timesteps
        acting = self.batch.slot[timesteps.needs_action]
        assert len(actions) == len(acting)
        self.answers.append(actions)
        self.is_out = False
        sums = actions.continuous.sum(axis=1) + actions.discrete.sum(axis=1)
        self.batch = self._next(dict(zip(acting.tolist(), sums.tolist(), strict=True)))

    def _next(self, earned: Mapping[int, float]) -> SlotTimesteps:
        self._time += 1
        random = np.random.default_rng((self._seed, self._time))
        released, self._released = self._released, []
        rows: list[tuple[int, StepType, float]] = []
        for slot in random.permutation(SLOTS).tolist():
            luck = random.random()
            if self._running[slot]:
                if luck < 0.1:
                    self._running[slot] = False
                    self._released.append(slot)
                    continue
                end = StepType.TERMINATED if luck < 0.2 else StepType.TRUNCATED
                step_type = end if luck < 0.3 else StepType.MID
                rows.append((slot, step_type, earned[slot]))
                self._running[slot] = step_type == StepType.MID
            if not self._running[slot] and random.random() < 0.7:
                rows.append((slot, StepType.FIRST, 0.0))
                self._running[slot] = True
        # A slot that is given back is told of with the next batch.
        slots = np.array([row[0] for row in rows], np.int64)
        timesteps = TimestepBatch.of(
            self._spec,
            agent_id=slots,
            step_type=[row[1] for row in rows],
            reward=[row[2] for row in rows],
            observation={"x": random.normal(size=(len(rows), 2))},
        )
        return SlotTimesteps(slots, timesteps, np.array(released, np.int64), SLOTS)


class WorldRequests:
    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def timesteps(self) -> SlotTimesteps:
        return self._world.batch

    async def reply(self, actions: ActionBatch, *, wait: bool = True) -> None:
        self._world.answer(actions)
        if wait:
            await asyncio.sleep(0)


class WorldBatches:
    """Ends a few batches after the total steps, so that a complete policy is seen to act."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.has_ended = False
        self.unanswered = WorldRequests(world) if world.is_out else None

    async def __aiter__(self) -> AsyncIterator[WorldRequests]:
        while len(self._world.answers) < NUM_BATCHES:
            await asyncio.sleep(0)
            if self.has_ended:
                return
            self._world.is_out = True
            yield WorldRequests(self._world)


class SlowExecutor(Executor):
    """Does its work in the event loop, some of its turns later."""

    def __init__(self, turns: int) -> None:
        self._turns = turns

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        loop = asyncio.get_running_loop()

        def work(turns: int) -> None:
            if turns:
                loop.call_soon(work, turns - 1)
                return
            if future.cancelled():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:
                future.set_exception(error)

        work(self._turns)
        return future


class NotedAlgorithm:
    """Keeps a copy of all experience that was learned from."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm
        self.learned: list[State] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._algorithm, name)

    def update(self, experience: Rollout | Transitions, **options: Any) -> Mapping[str, float]:
        metrics: Mapping[str, float] = self._algorithm.update(experience, **options)
        if isinstance(experience, Rollout):
            self.learned.append(steps_of(experience))
        else:
            self.learned.append(experience.state())
        return metrics


def steps_of(rollout: Rollout) -> State:
    """All that is stored of valid steps; where there is none, any number may stand."""
    valid = rollout.valid.numpy()
    state = dict(rollout.state())
    sequences = state.pop("sequence_state")
    starts = valid[:: RECURRENT["network"]["memory"]["sequence_length"]]
    return {
        **{
            name: {key: values[valid] for key, values in field.items()}
            if isinstance(field, dict)
            else field[valid]
            for name, field in state.items()
        },
        "sequence_state": sequences[starts] if sequences.size else sequences.shape,
    }


@dataclass
class Sitting:
    """A trainer, its world, and everything that came of both."""

    options: Mapping[str, Any]
    turns: int
    policy_lag: int
    world: World
    state: State | None = None
    updates: list[Update] = field(default_factory=list)

    def __post_init__(self) -> None:
        algorithm: Mapping[str, Any] = {"minibatch_size": 8, "num_epochs": 2, "learning_rate": 1e-2}
        config = PolicyConfig.model_validate(
            {
                "total_steps": TOTAL_STEPS,
                "rollout_steps": ROLLOUT_STEPS,
                "policy_lag": self.policy_lag,
                "algorithm": algorithm,
                **self.options,
            }
        )
        policy = make_policy(spec_of(self.options), config, seed=1)
        self.algorithm: Any = NotedAlgorithm(make_algorithm(policy, seed=1))
        self.trainer = make_trainer(
            policy,
            seed=1,
            recorder=self,
            algorithm=self.algorithm,
            executor=SlowExecutor(self.turns),
        )
        self.batches = WorldBatches(self.world)
        if self.state is not None:
            self.trainer.load_state(decode_state(*encode_state(self.state)))

    def record(self, update: Update) -> None:
        self.updates.append(update)

    def note_completion(self) -> None:
        pass

    async def run(self, *, stop: int | None = None, interrupt: bool = False) -> State | None:
        """To the end; or until that turn of the event loop, and return the state then.

        With `interrupt` the run is ended like one that is told to stop, and a running update is
        given up; without, it is left where it is, as by a crash after a checkpoint.
        """
        running = asyncio.ensure_future(self.trainer.run(self.batches))
        turn = 0
        while not running.done():
            if turn == stop:
                return await self._stop(running, interrupt=interrupt)
            turn += 1
            await asyncio.sleep(0)
        running.result()
        return None

    async def _stop(self, running: "asyncio.Future[None]", *, interrupt: bool) -> State:
        if interrupt or not self.trainer.has_state:
            self.batches.has_ended = True
            self.trainer.interrupt()
            await running
            return self.trainer.state()
        state = self.trainer.state()
        running.cancel()
        return state

    @property
    def outcome(self) -> State:
        """What must be the same however often a run was stopped."""
        state = self.trainer.state()
        decisive = ("algorithm", "actor", "lessons", "collects", "acting")
        return {
            **{name: state[name] for name in decisive if name in state},
            "ledger": self.trainer.ledger.state(),
            "episodes": state["collector"]["episodes"],
            "rewards": state["collector"]["rewards"],
            "progress": {**state["progress"], "seconds": 0.0},
        }


def spec_of(options: Mapping[str, Any]) -> BehaviourSpec:
    """Of a behaviour that a policy with these options can learn."""
    return CHOICES if options.get("algorithm") is REPLAY["algorithm"] else SPEC


def said(answers: Sequence[ActionBatch]) -> list[tuple[list[Any], list[Any], int]]:
    return [(a.continuous.tolist(), a.discrete.tolist(), a.policy_version) for a in answers]


def labels(updates: Sequence[Update]) -> list[tuple[int, int, int]]:
    return [(u.progress.env_steps, u.progress.updates, u.progress.episodes) for u in updates]


async def check(
    options: Mapping[str, Any],
    *,
    seed: int,
    turns: int,
    policy_lag: int,
    stop: int,
    interrupt: bool,
) -> bool:
    """Whether the run was stopped before its end; it must go on as one that was not stopped."""
    spec = spec_of(options)
    straight = Sitting(options, turns, policy_lag, World(seed, spec))
    await straight.run()
    first = Sitting(options, turns, policy_lag, World(seed, spec))
    state = await first.run(stop=stop, interrupt=interrupt)
    if state is None:
        assert said(first.world.answers) == said(straight.world.answers)
        return False
    second = Sitting(options, turns, policy_lag, copy.deepcopy(first.world), state)
    await second.run()
    assert said(second.world.answers) == said(straight.world.answers)
    # An update that the state counts as not done is done again.
    learned = [*first.algorithm.learned[: state["algorithm"]["version"]], *second.algorithm.learned]
    assert len(learned) == len(straight.algorithm.learned) > 2
    for one, other in zip(learned, straight.algorithm.learned, strict=True):
        assert same_state(one, other)
    assert same_state(second.outcome, straight.outcome)
    noted = labels([*first.updates, *second.updates])
    if interrupt and policy_lag:
        # An update that had ended is noted when the run ends, not when the next rollout is full.
        assert [number for _, number, _ in noted] == [1, 2, 3]
    else:
        assert noted == labels(straight.updates)
    return True


@settings(max_examples=35, deadline=None)
@example(options=REPLAY, seed=1, turns=10, policy_lag=1, stop=50, interrupt=False)
@example(options=PLAIN, seed=0, turns=10, policy_lag=1, stop=44, interrupt=False)
@given(
    options=st.sampled_from([PLAIN, RECURRENT, REPLAY]),
    seed=st.integers(0, 3),
    turns=st.integers(0, 40),
    policy_lag=st.sampled_from([0, 1]),
    stop=st.integers(0, 90),
    interrupt=st.booleans(),
)
def test_a_run_whose_state_is_taken_at_any_await_goes_on_bit_for_bit(
    options: Mapping[str, Any], seed: int, turns: int, policy_lag: int, stop: int, interrupt: bool
) -> None:
    asyncio.run(
        check(
            options,
            seed=seed,
            turns=turns,
            policy_lag=policy_lag,
            stop=stop,
            interrupt=interrupt,
        )
    )


IN_NEW_UNIT = ("reward", "value", "next_value")


def in_unit(steps: State, factor: float) -> State:
    """The same steps, had their rewards been so many times as large."""
    changed = {name: factor * steps[name] for name in IN_NEW_UNIT if name in steps}
    return {**steps, **changed}


async def learned_in_another_unit(
    options: Mapping[str, Any], *, policy_lag: int, stop: int, interrupt: bool
) -> tuple[Sitting, Sitting, int]:
    """A run at scale 1, its like that went on at a quarter, and updates done until then."""
    spec, later = spec_of(options), {**options, "reward_scale": 0.25}
    straight = Sitting(options, 10, policy_lag, World(1, spec))
    await straight.run()
    first = Sitting(options, 10, policy_lag, World(1, spec))
    state = await first.run(stop=stop, interrupt=interrupt)
    assert state is not None
    second = Sitting(later, 10, policy_lag, copy.deepcopy(first.world), state)
    await second.run()
    return straight, second, state["algorithm"]["version"]


@pytest.mark.parametrize("options", [PLAIN, RECURRENT], ids=["plain", "recurrent"])
@pytest.mark.parametrize(
    ("policy_lag", "stop", "interrupt"), [(0, 28, False), (0, 44, True), (1, 28, False)]
)
def test_after_a_change_of_reward_scale_a_run_learns_as_if_it_had_always_been_so(
    options: Mapping[str, Any], policy_lag: int, stop: int, interrupt: bool
) -> None:
    # A quarter rounds nothing, and PPO learns the same whatever the unit of rewards.
    straight, second, before = asyncio.run(
        learned_in_another_unit(options, policy_lag=policy_lag, stop=stop, interrupt=interrupt)
    )
    assert before < len(straight.algorithm.learned)
    expected = straight.algorithm.learned[before:]
    for one, other in zip(second.algorithm.learned, expected, strict=True):
        assert same_state(one, in_unit(other, 0.25))
    answers = len(second.world.answers)
    assert said(second.world.answers) == said(straight.world.answers[:answers])


@pytest.mark.parametrize(
    ("policy_lag", "stop", "interrupt"), [(0, 28, False), (0, 44, True), (1, 28, False)]
)
def test_transitions_that_wait_are_in_the_unit_of_those_that_follow(
    policy_lag: int, stop: int, interrupt: bool
) -> None:
    straight, second, before = asyncio.run(
        learned_in_another_unit(REPLAY, policy_lag=policy_lag, stop=stop, interrupt=interrupt)
    )
    # Actions are the same until the first update; with a lag, until the second.
    for each in range(1 + policy_lag):
        expected = in_unit(straight.algorithm.learned[before + each], 0.25)
        assert same_state(second.algorithm.learned[each], expected)
