"""When updates run, when their weights are published, and what a state holds meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest
import torch

from entrain.algorithms.algorithm import Metrics, UpdateCancelled, never
from entrain.errors import CheckpointError, TrainingDivergedError, UnlearnableRolloutError
from entrain.experience import Rollout
from entrain.learner import Learner, Lesson
from entrain.policy.weights import PolicyWeights
from entrain.state import State
from made_rollouts import CONTINUOUS, made_policy, made_rollout

ROLLOUT = made_rollout(made_policy(CONTINUOUS), [10])


def lesson(number: int) -> Lesson[Rollout]:
    """The `number`-th of ten steps each."""
    return Lesson(ROLLOUT, 10 * number, {"rollout/episodes": float(number)})


class FakeAlgorithm:
    """Its one weight is how many updates it has done."""

    def __init__(self, diary: list[str]) -> None:
        self._diary = diary
        self.version = 0
        self.reward_ratio = 1.0
        self.divergence: TrainingDivergedError | None = None

    @property
    def weights(self) -> PolicyWeights:
        return PolicyWeights(torch.tensor([float(self.version)]), {})

    def update(
        self, rollout: Rollout, /, *, progress: float, cancelled: Callable[[], bool] = never
    ) -> Metrics:
        if cancelled():
            raise UpdateCancelled
        if self.divergence is not None:
            raise self.divergence
        self.version += 1
        self._diary.append(f"update {self.version} at {progress:g}")
        return {}

    def state(self) -> State:
        return {"version": self.version}

    def kept_state(self) -> Callable[[], State]:
        state = self.state()
        return lambda: state

    def leave_out(self, rollout: Rollout, /) -> None:
        self._diary.append(f"leave out {rollout.num_steps} steps")

    def load_state(self, state: State) -> None:
        self.version = state["version"]


class FakePolicy:
    def __init__(self, diary: list[str]) -> None:
        self._diary = diary
        self.version = 0
        self.weights = PolicyWeights(torch.zeros(1), {})

    def publish(self, weights: PolicyWeights, version: int) -> None:
        self._diary.append(f"publish {version}")
        assert weights.parameters.item() == version
        self.version = version
        self.weights = PolicyWeights(weights.parameters.clone(), {})


class PatientExecutor(Executor):
    """Does each piece of work when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def work(self) -> None:
        """Do the oldest piece of work."""
        future, work = self.waiting.pop(0)
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)


class Bench:
    def __init__(self, policy_lag: int) -> None:
        self.diary: list[str] = []
        self.algorithm = FakeAlgorithm(self.diary)
        self.policy = FakePolicy(self.diary)
        self.executor = PatientExecutor()
        self.learner = Learner(
            self.algorithm,
            self.policy,
            self.executor,
            total_steps=100,
            policy_lag=policy_lag,
            note_update=lambda lesson, _: self.diary.append(f"note {lesson.env_steps}"),
        )

    async def learn(self, number: int) -> "asyncio.Task[None]":
        """Let the learner take a lesson; it has gone as far as it can without work being done."""
        task = asyncio.create_task(self.learner.learn(lesson(number)))
        await turns()
        return task

    async def work(self) -> None:
        self.executor.work()
        await turns()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_without_lag_learning_waits_for_the_update_and_publishes_it() -> None:
    bench = Bench(policy_lag=0)
    learning = await bench.learn(1)
    assert not learning.done()
    assert bench.learner.is_learning
    await bench.work()
    assert learning.done()
    assert bench.diary == ["update 1 at 0", "publish 1", "note 10"]
    assert bench.learner.is_idle


async def test_with_a_lag_of_one_an_update_runs_while_the_next_rollout_is_collected() -> None:
    bench = Bench(policy_lag=1)
    first = await bench.learn(1)
    assert first.done()
    assert bench.learner.is_learning
    await bench.work()
    # The thread has ended; nothing is published or noted before the next rollout is complete.
    assert bench.diary == ["update 1 at 0"]
    assert bench.policy.version == 0
    second = await bench.learn(2)
    assert second.done()
    assert bench.diary[1:] == ["publish 1", "note 10"]
    assert len(bench.executor.waiting) == 1


async def test_a_rollout_waits_for_the_update_before_it_and_for_no_other() -> None:
    bench = Bench(policy_lag=1)
    await bench.learn(1)
    second = await bench.learn(2)
    assert not second.done()
    await bench.work()
    assert second.done()
    assert bench.diary == ["update 1 at 0", "publish 1", "note 10"]
    assert bench.learner.is_learning
    await bench.work()
    assert bench.diary[3:] == ["update 2 at 0.1"]


async def test_at_the_total_steps_every_update_is_finished_and_published() -> None:
    bench = Bench(policy_lag=1)
    await bench.learn(1)
    await bench.learn(2)
    await bench.work()
    finishing = asyncio.create_task(bench.learner.finish())
    await turns()
    assert not finishing.done()
    await bench.work()
    assert finishing.done()
    assert bench.diary[-3:] == ["update 2 at 0.1", "publish 2", "note 20"]
    assert bench.learner.is_idle


async def test_a_run_that_ends_waits_for_the_update_and_leaves_its_weights_unpublished() -> None:
    bench = Bench(policy_lag=1)
    await bench.learn(1)
    settling = asyncio.create_task(bench.learner.settle())
    await turns()
    assert not settling.done()
    await bench.work()
    assert settling.done()
    assert bench.diary == ["update 1 at 0", "note 10"]
    state = bench.learner.state()
    assert state["algorithm"]["version"] == 1
    assert state["acting"]["version"] == 0
    resumed = Bench(policy_lag=1)
    resumed.learner.load_state(state)
    await resumed.learner.resume(is_batch_unanswered=False)
    assert resumed.policy.version == 0
    await resumed.learn(2)
    assert resumed.diary[-1] == "publish 1"
    assert resumed.learner.is_learning


async def test_acting_weights_are_given_up_for_the_newest_if_a_run_is_resumed_without_lag() -> None:
    bench = Bench(policy_lag=1)
    await bench.learn(1)
    bench.executor.work()
    await bench.learner.settle()
    resumed = Bench(policy_lag=0)
    resumed.learner.load_state(bench.learner.state())
    assert resumed.policy.version == 1


async def test_a_state_taken_beside_an_update_is_of_before_it_and_holds_both_rollouts() -> None:
    bench = Bench(policy_lag=1)
    await bench.learn(1)
    await bench.learn(2)
    state = bench.learner.state()
    assert state["algorithm"]["version"] == 0
    assert state["acting"] is None
    assert [each["env_steps"] for each in state["lessons"].values()] == [10, 20]
    resumed = Bench(policy_lag=1)
    resumed.learner.load_state(state)
    resuming = asyncio.create_task(resumed.learner.resume(is_batch_unanswered=True))
    await turns()
    assert not resuming.done()
    await resumed.work()
    assert resuming.done()
    assert resumed.diary == ["publish 0", "update 1 at 0", "publish 1", "note 10"]
    assert resumed.learner.is_learning


async def test_without_lag_no_state_can_be_taken_during_an_update() -> None:
    bench = Bench(policy_lag=0)
    learning = await bench.learn(1)
    assert not bench.learner.has_state
    with pytest.raises(RuntimeError, match="during an update"):
        bench.learner.state()
    await bench.work()
    await learning
    assert bench.learner.has_state


@pytest.mark.parametrize("policy_lag", [0, 1])
async def test_an_interrupted_update_keeps_its_lesson(policy_lag: int) -> None:
    bench = Bench(policy_lag)
    learning = await bench.learn(1)
    bench.learner.interrupt()
    bench.executor.work()
    with pytest.raises(UpdateCancelled):
        await (bench.learner.settle() if learning.done() else learning)
    assert list(bench.learner.state()["lessons"]) == ["0"]
    assert bench.diary == []


async def test_an_update_that_diverges_beside_collecting_is_told_with_the_next_rollout() -> None:
    bench = Bench(policy_lag=1)
    bench.algorithm.divergence = TrainingDivergedError("it diverged")
    await bench.learn(1)
    await bench.work()
    with pytest.raises(TrainingDivergedError):
        await bench.learner.learn(lesson(2))
    assert [each["env_steps"] for each in bench.learner.state()["lessons"].values()] == [10, 20]


@pytest.mark.parametrize(
    ("kind", "left"), [(TrainingDivergedError, [10, 20]), (UnlearnableRolloutError, [20])]
)
async def test_only_a_lesson_that_nothing_can_be_learned_from_is_left_out_when_loaded(
    kind: type[TrainingDivergedError], left: list[int]
) -> None:
    bench, resumed = Bench(policy_lag=1), Bench(policy_lag=1)
    bench.algorithm.divergence = kind("it diverged")
    await bench.learn(1)
    await bench.work()
    with pytest.raises(kind):
        await bench.learner.learn(lesson(2))
    resumed.learner.load_state(bench.learner.state())
    state = resumed.learner.state()
    assert [each["env_steps"] for each in state["lessons"].values()] == left
    num_left_out = 10 * (2 - len(left))
    assert resumed.learner.was_left_out == num_left_out
    assert resumed.learner.left_out_steps == num_left_out
    # Once is enough.
    again = Bench(policy_lag=1)
    again.learner.load_state(state)
    assert again.learner.was_left_out == 0
    assert again.learner.left_out_steps == num_left_out


async def test_acting_weights_of_another_network_are_refused() -> None:
    bench = Bench(policy_lag=1)
    await bench.learn(1)
    bench.executor.work()
    await bench.learner.settle()
    state = bench.learner.state()
    other = {"parameters": np.zeros(2, np.float32), "buffers": {}}
    with pytest.raises(CheckpointError, match="acting weights are of another network"):
        Bench(policy_lag=1).learner.load_state(
            {**state, "acting": {**state["acting"], "weights": other}}
        )
