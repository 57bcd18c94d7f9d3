"""The loop of one policy, with collaborators that only take notes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from entrain.algorithms.algorithm import Metrics, UpdateCancelled, never
from entrain.algorithms.findings import MOST_WARNINGS
from entrain.errors import TrainingDivergedError
from entrain.experience import Rollout
from entrain.policy.weights import PolicyWeights
from entrain.requests import Requests, SlotTimesteps
from entrain.rollout.episodes import EpisodeWatcher, episode_metrics
from entrain.rollout.evaluation import Evaluation, Sampled
from entrain.rollout.ledger import Ledger
from entrain.rollout.return_statistics import ReturnStatistics
from entrain.state import State
from entrain.trainer import Trainer, Update
from entrain_envs.timestep import ActionBatch, Int64Array, StepType, TimestepBatch


def rollout(steps: int) -> Rollout:
    """One column of so many steps, all numbers zero."""
    zeros, falses = torch.zeros(steps, 1), torch.zeros(steps, 1, dtype=torch.bool)
    return Rollout(
        observation={"vector": torch.zeros(steps, 1, 1)},
        action={"continuous": torch.zeros(steps, 1, 1)},
        action_mask=torch.zeros(steps, 1, 0, dtype=torch.bool),
        log_prob=zeros,
        value=zeros[..., None],
        reward=zeros,
        next_value=zeros[..., None],
        boundary=falses,
        late=falses,
        reset=falses,
        valid=~falses,
        policy_version=torch.zeros(steps, 1, dtype=torch.int64),
        sequence_state=torch.zeros(1, 1, 0),
    )


ROWS = SlotTimesteps(
    slot=np.zeros(1, np.int64),
    timesteps=TimestepBatch(
        agent_id=np.zeros(1, np.int64),
        step_type=np.full(1, StepType.MID, np.uint8),
        reward=np.zeros(1, np.float32),
        observation={"vector": np.zeros((1, 1), np.float32)},
        action_mask=np.zeros((1, 0), np.bool_),
    ),
    released=np.zeros(0, np.int64),
    num_slots=1,
)


@dataclass
class Diary:
    """What happened, in order."""

    entries: list[str] = field(default_factory=list)

    def note(self, entry: str) -> None:
        self.entries.append(entry)


class FakeEpisodes:
    """Two episodes end with each rollout."""

    num_closed = 0
    num_batches = 0
    num_running = longest_running = 0

    def __init__(self) -> None:
        self.statistics = ReturnStatistics()

    def measure(self) -> Mapping[str, float]:
        returns = np.array([1.0, 3.0])
        self.statistics.add(returns)
        return episode_metrics(returns, np.array([2, 4]))

    def watch(self, watcher: EpisodeWatcher) -> None:
        pass


class NoDistribution:
    def masked(self, action_mask: npt.NDArray[np.bool_]) -> "NoDistribution":
        return self

    def sample(self, noise: npt.NDArray[Any]) -> Mapping[str, npt.NDArray[Any]]:
        return {}

    def mode(self) -> Mapping[str, npt.NDArray[Any]]:
        return {}

    def log_prob(self, action: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
        return np.zeros(0, np.float32)

    def log_prob_per_dimension(
        self, action: Mapping[str, npt.NDArray[Any]]
    ) -> npt.NDArray[np.float32]:
        return np.zeros((0, 0), np.float32)


class FakePolicy:
    """Acts by the weights that were published."""

    def __init__(self) -> None:
        self.version = 0

    @property
    def weights(self) -> PolicyWeights:
        return PolicyWeights(torch.tensor([float(self.version)]), {})

    def publish(self, weights: PolicyWeights, version: int) -> None:
        assert weights.parameters.item() == version
        self.version = version


class FakeActor:
    def __init__(self, diary: Diary) -> None:
        self._diary = diary
        self.policy = FakePolicy()

    def evaluate(self, batch: SlotTimesteps) -> Evaluation:
        nothing = np.zeros((1, 0), np.float32)
        return Evaluation(
            batch,
            np.zeros(1, np.bool_),
            {},
            nothing,
            NoDistribution(),
            nothing,
            nothing,
            self.policy.version,
        )

    def refreshed(self, evaluation: Evaluation) -> Evaluation:
        return self.evaluate(evaluation.batch)

    def act(self, evaluation: Evaluation) -> Sampled:
        self._diary.note(f"act with version {evaluation.policy_version}")
        return Sampled(
            continuous=np.zeros((0, 1), np.float32),
            discrete=np.zeros((0, 0), np.int32),
            policy_version=evaluation.policy_version,
            rows=slice(None),
            slot=np.zeros(0, np.int64),
            distribution=evaluation.distribution,
            action={},
        )

    def look_ahead(self) -> None:
        pass

    def release(self, slot: Int64Array) -> None:
        self._diary.note(f"release {slot.tolist()}")

    def release_all(self) -> None:
        self._diary.note("release all")

    def state(self) -> State:
        return {}

    def load_state(self, state: State) -> None:
        pass


class FakeCollector:
    """Closes one step a batch, and cuts a rollout every `rollout_steps`."""

    def __init__(self, diary: Diary, rollout_steps: int, total_steps: int) -> None:
        self._diary = diary
        self._rollout_steps = rollout_steps
        self._total_steps = total_steps
        self.episodes = FakeEpisodes()
        self.ledger = Ledger()

    @property
    def env_steps(self) -> int:
        return self.ledger.closed

    @property
    def is_complete(self) -> bool:
        return self.env_steps >= self._total_steps

    def receive(self, evaluation: Evaluation) -> Rollout | None:
        self._diary.note("observe")
        self.ledger = Ledger(self.ledger.opened + 1, self.ledger.closed + 1)
        due = self.ledger.closed % self._rollout_steps == 0
        return rollout(self._rollout_steps) if due else None

    def record(self, evaluation: Evaluation, actions: Sampled) -> None:
        self._diary.note("record")

    def release(self, slot: Int64Array) -> None:
        self._diary.note(f"drop {slot.tolist()}")

    def multiply_rewards(self, factor: float) -> None:
        raise AssertionError(factor)

    def ended(self) -> "EndedCollector":
        return EndedCollector(self._diary)

    def state(self) -> State:
        return {"ledger": self.ledger.state(), "episodes": self.episodes.statistics.state()}

    def load_state(self, state: State) -> None:
        self.ledger = Ledger(**state["ledger"])
        self.episodes.statistics.load_state(state["episodes"])


class EndedCollector:
    is_complete = True

    def __init__(self, diary: Diary) -> None:
        self._diary = diary

    def receive(self, evaluation: Evaluation) -> None:
        self._diary.note("observe without collecting")

    def record(self, evaluation: Evaluation, actions: Sampled) -> None:
        self._diary.note("record")

    def release(self, slot: Int64Array) -> None:
        pass

    def ended(self) -> "EndedCollector":
        return self


class FakeAlgorithm:
    """Counts updates; the one that is to be slow waits until it is cancelled."""

    def __init__(self, diary: Diary, *, slow_update: int = 0) -> None:
        self._diary = diary
        self._slow_update = slow_update
        self.diverges = False
        self.begun = threading.Event()
        self.thread = ""
        self.version = 0
        self.reward_ratio = 1.0

    @property
    def weights(self) -> PolicyWeights:
        return PolicyWeights(torch.tensor([float(self.version)]), {})

    def update(
        self, rollout: Rollout, /, *, progress: float, cancelled: Callable[[], bool] = never
    ) -> Metrics:
        self.thread = threading.current_thread().name
        if self.diverges:
            raise TrainingDivergedError("it diverged")
        if self.version + 1 == self._slow_update:
            self.begun.set()
            while not cancelled():
                pass
            raise UpdateCancelled
        self._diary.note(f"update from {rollout.num_steps} steps at {progress:g}")
        self.version += 1
        return {"loss/policy": 0.5}

    def leave_out(self, rollout: Rollout, /) -> None:
        self._diary.note(f"leave out {rollout.num_steps} steps")

    def kept_state(self) -> Callable[[], State]:
        state = self.state()
        return lambda: state

    def state(self) -> State:
        return {"version": self.version}

    def load_state(self, state: State) -> None:
        self.version = state["version"]


class FakeDiagnostics:
    """Warns of every second update."""

    def __init__(self) -> None:
        self.judged = 0
        self.asked: list[tuple[float, float]] = []

    def findings(self, metrics: Metrics, *, progress: float) -> Sequence[str]:
        self.judged += 1
        self.asked.append((metrics["loss/policy"], progress))
        return () if self.judged % 2 else ("one thing", "another")

    def state(self) -> State:
        return {"judged": self.judged}

    def load_state(self, state: State) -> None:
        self.judged = state["judged"]


class FakeRecorder:
    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.completions = 0

    def record(self, update: Update) -> None:
        self.updates.append(update)

    def note_completion(self) -> None:
        self.completions += 1


class FakeRequests:
    """A batch, or the answer that is owed to one."""

    timesteps = ROWS

    def __init__(self, diary: Diary, name: str = "reply") -> None:
        self._diary = diary
        self._name = name

    async def reply(self, actions: ActionBatch, *, wait: bool = True) -> None:
        self._diary.note(self._name)
        if wait:
            await asyncio.sleep(0)


class FakeBatches:
    def __init__(self, batches: Sequence[Requests], unanswered: Requests | None = None) -> None:
        self._batches = batches
        self.unanswered = unanswered

    async def __aiter__(self) -> AsyncIterator[Requests]:
        for batch in self._batches:
            await asyncio.sleep(0)
            yield batch


class Learners(Executor):
    """A thread for each update, which ends with it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def work() -> None:
            try:
                future.set_result(fn(*args, **kwargs))
            except (UpdateCancelled, TrainingDivergedError) as error:
                future.set_exception(error)

        threading.Thread(target=work, name="a learner's").start()
        return future


class Bench:
    """A trainer with its fakes."""

    def __init__(
        self,
        *,
        rollout_steps: int = 2,
        total_steps: int = 100,
        slow_update: int = 0,
        policy_lag: int = 0,
        others_learn: bool = False,
    ) -> None:
        self.diary = Diary()
        self.actor = FakeActor(self.diary)
        self.collector = FakeCollector(self.diary, rollout_steps, total_steps)
        self.algorithm = FakeAlgorithm(self.diary, slow_update=slow_update)
        self.diagnostics = FakeDiagnostics()
        self.recorder = FakeRecorder()
        self.now_s = 0.0
        self.trainer = Trainer(
            "walker",
            actor=self.actor,
            collector=self.collector,
            algorithm=self.algorithm,
            diagnostics=self.diagnostics,
            recorder=self.recorder,
            learners=Learners(),
            total_steps=total_steps,
            policy_lag=policy_lag,
            goes_on=lambda: others_learn,
            clock=lambda: self.now_s,
        )

    def batches(self, count: int) -> FakeBatches:
        return FakeBatches([FakeRequests(self.diary) for _ in range(count)])


async def test_the_action_after_an_update_is_the_new_policys() -> None:
    bench = Bench(rollout_steps=2)
    await bench.trainer.run(bench.batches(3))
    assert bench.diary.entries == [
        *["observe", "act with version 0", "reply", "record"],
        *["observe", "update from 2 steps at 0", "act with version 1", "reply", "record"],
        *["observe", "act with version 1", "reply", "record"],
    ]


async def test_who_watches_takes_what_was_learned_without_the_experience_that_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    monkeypatch.setattr(bench.algorithm, "state", lambda: {"version": 3, "replay": {"rows": 0}})
    assert bench.trainer.learned() == {"version": 3}
    monkeypatch.setattr(bench.trainer._learner, "learned", lambda: None)
    assert bench.trainer.learned() is None


async def test_updates_run_in_a_learners_thread() -> None:
    bench = Bench(rollout_steps=2)
    await bench.trainer.run(bench.batches(2))
    assert bench.algorithm.thread == "a learner's"


class SentRequests(FakeRequests):
    """Their reply goes out when the loop comes round to it, as a stream's writing does."""

    async def reply(self, actions: ActionBatch, *, wait: bool = True) -> None:
        asyncio.get_running_loop().call_soon(self._diary.note, "sent")
        await super().reply(actions, wait=wait)


async def test_actions_are_sent_before_they_are_recorded() -> None:
    bench = Bench(rollout_steps=9)
    await bench.trainer.run(FakeBatches([SentRequests(bench.diary)] * 2))
    assert bench.diary.entries == [
        *["observe", "act with version 0", "reply", "sent", "record"],
        *["observe", "act with version 0", "reply", "sent", "record"],
    ]


async def test_nothing_comes_between_the_last_answer_and_completion() -> None:
    bench = Bench(rollout_steps=1, total_steps=1)
    await bench.trainer.run(FakeBatches([SentRequests(bench.diary)]))
    assert bench.diary.entries[-2:] == ["reply", "record"]
    assert bench.recorder.completions == 1


async def test_progress_given_to_schedules_is_that_before_the_rollout() -> None:
    bench = Bench(rollout_steps=2, total_steps=8)
    await bench.trainer.run(bench.batches(6))
    updates = [entry for entry in bench.diary.entries if entry.startswith("update")]
    assert updates == [
        "update from 2 steps at 0",
        "update from 2 steps at 0.25",
        "update from 2 steps at 0.5",
    ]


async def test_each_update_is_recorded_once_with_episodes_and_progress() -> None:
    bench = Bench(rollout_steps=2)
    await bench.trainer.run(bench.batches(4))
    assert [update.progress.env_steps for update in bench.recorder.updates] == [2, 4]
    assert [update.progress.episodes for update in bench.recorder.updates] == [2, 4]
    last = bench.recorder.updates[-1]
    assert last.progress.updates == 2
    assert last.metrics["loss/policy"] == 0.5
    assert last.metrics["rollout/episode_return_mean"] == 2.0
    assert last.metrics["time/env_steps_per_second"] > 0


async def test_a_complete_policy_goes_on_acting_but_neither_collects_nor_learns() -> None:
    bench = Bench(rollout_steps=2, total_steps=2)
    await bench.trainer.run(bench.batches(5))
    assert bench.trainer.progress.env_steps == 2
    assert bench.recorder.completions >= 1
    assert bench.diary.entries.count("reply") == 5
    assert bench.diary.entries.count("observe without collecting") == 3
    assert sum(entry.startswith("update") for entry in bench.diary.entries) == 1


async def test_an_interrupted_update_keeps_its_rollout_and_leaves_its_batch_unanswered() -> None:
    bench = Bench(rollout_steps=2, slow_update=1)
    running = asyncio.create_task(bench.trainer.run(bench.batches(3)))
    await asyncio.to_thread(bench.algorithm.begun.wait)
    was_learning = bench.trainer.is_learning
    with pytest.raises(RuntimeError, match="during an update"):
        bench.trainer.state()
    bench.trainer.interrupt()
    await running
    assert was_learning
    assert not bench.trainer.is_learning
    assert bench.diary.entries == ["observe", "act with version 0", "reply", "record", "observe"]
    assert bench.trainer.state()["lessons"]["0"]["rollout"]["reward"].shape == (2, 1)


async def test_a_resumed_run_does_the_interrupted_update_before_it_answers() -> None:
    stopped = Bench(rollout_steps=2, slow_update=1)
    running = asyncio.create_task(stopped.trainer.run(stopped.batches(2)))
    await asyncio.to_thread(stopped.algorithm.begun.wait)
    stopped.trainer.interrupt()
    await running

    resumed = Bench(rollout_steps=2)
    resumed.trainer.load_state(stopped.trainer.state())
    owed = FakeRequests(resumed.diary, "reply to the batch of before")
    await resumed.trainer.run(FakeBatches([FakeRequests(resumed.diary)], unanswered=owed))
    assert resumed.diary.entries == [
        "update from 2 steps at 0",
        "act with version 1",
        *["reply to the batch of before", "record"],
        *["observe", "act with version 1", "reply", "record"],
    ]
    assert resumed.trainer.state()["lessons"] == {}


async def test_agents_that_left_last_are_released_unless_a_batch_is_unanswered() -> None:
    idle = Bench()
    idle.trainer.release(lambda: np.array([3, 5]))
    assert idle.diary.entries == ["release [3, 5]", "drop [3, 5]"]

    busy = Bench(rollout_steps=1, slow_update=1)
    running = asyncio.create_task(busy.trainer.run(busy.batches(1)))
    await asyncio.to_thread(busy.algorithm.begun.wait)
    busy.trainer.interrupt()
    await running
    taken: list[str] = []

    def take_released() -> npt.NDArray[np.int64]:
        taken.append("taken")
        return np.zeros(1, np.int64)

    busy.trainer.release(take_released)
    assert taken == []
    assert busy.diary.entries == ["observe"]


async def test_progress_goes_on_over_sittings() -> None:
    first = Bench(rollout_steps=2)
    await first.trainer.run(first.batches(4))
    first.now_s = 5.0
    second = Bench(rollout_steps=2)
    second.trainer.load_state(first.trainer.state())
    await second.trainer.run(second.batches(2))
    second.now_s = 2.0
    progress = second.trainer.progress
    assert (progress.env_steps, progress.updates, progress.episodes) == (6, 3, 6)
    assert progress.seconds == 7.0


async def test_each_update_is_judged_once_at_the_progress_before_it() -> None:
    bench = Bench(rollout_steps=2, total_steps=8)
    await bench.trainer.run(bench.batches(6))
    assert bench.diagnostics.asked == [(0.5, 0.0), (0.5, 0.25), (0.5, 0.5)]


async def test_what_an_update_is_warned_of_is_recorded_with_its_number_and_kept() -> None:
    bench = Bench(rollout_steps=1)
    await bench.trainer.run(bench.batches(4))
    second = ["update 2: one thing", "update 2: another"]
    fourth = ["update 4: one thing", "update 4: another"]
    assert [list(update.warnings) for update in bench.recorder.updates] == [[], second, [], fourth]
    assert list(bench.trainer.warnings) == [*second, *fourth]


async def test_warnings_and_what_they_depend_on_go_on_over_sittings() -> None:
    first = Bench(rollout_steps=1)
    await first.trainer.run(first.batches(3))
    second = Bench(rollout_steps=1)
    second.trainer.load_state(first.trainer.state())
    await second.trainer.run(second.batches(1))
    assert [warning.split(":")[0] for warning in second.trainer.warnings] == [
        *["update 2", "update 2"],
        *["update 4", "update 4"],
    ]


async def test_an_update_that_is_given_up_is_judged_when_it_is_done_again() -> None:
    stopped = Bench(rollout_steps=1, slow_update=2)
    running = asyncio.create_task(stopped.trainer.run(stopped.batches(2)))
    await asyncio.to_thread(stopped.algorithm.begun.wait)
    stopped.trainer.interrupt()
    await running
    assert stopped.trainer.warnings == ()
    resumed = Bench(rollout_steps=1)
    resumed.trainer.load_state(stopped.trainer.state())
    await resumed.trainer.run(resumed.batches(0))
    assert list(resumed.trainer.warnings) == ["update 2: one thing", "update 2: another"]


async def test_only_the_newest_warnings_are_kept() -> None:
    bench = Bench(rollout_steps=1, total_steps=1000)
    await bench.trainer.run(bench.batches(MOST_WARNINGS + 20))
    # Two with every second update: the first ten updates that warned are forgotten.
    assert len(bench.trainer.warnings) == MOST_WARNINGS
    assert bench.trainer.warnings[0] == "update 22: one thing"


async def test_more_total_steps_than_before_are_collected_from_the_next_rows_on() -> None:
    complete = Bench(rollout_steps=2, total_steps=2)
    await complete.trainer.run(complete.batches(3))
    state = complete.trainer.state()
    same, longer = Bench(rollout_steps=2, total_steps=2), Bench(rollout_steps=2, total_steps=4)
    for bench in (same, longer):
        bench.trainer.load_state(state)
        await bench.trainer.run(bench.batches(1))
    assert same.diary.entries[0] == "observe without collecting"
    assert longer.diary.entries[:2] == ["release all", "observe"]


class MuteRequests(FakeRequests):
    """Their simulator never reads: its answers are never taken."""

    async def reply(self, actions: ActionBatch, *, wait: bool = True) -> None:
        await super().reply(actions, wait=wait)
        if wait:
            await asyncio.Event().wait()


async def test_a_policy_whose_simulator_reads_no_answer_does_not_hold_another_up() -> None:
    mute, other = Bench(rollout_steps=2), Bench(rollout_steps=2)
    blocked = asyncio.create_task(mute.trainer.run(FakeBatches([MuteRequests(mute.diary)] * 2)))
    await other.trainer.run(other.batches(5))
    assert other.trainer.progress.updates == 2
    # The steps that were answered are recorded by whoever needs them, whether it reads or not.
    assert mute.diary.entries == ["observe", "act with version 0", "reply"]
    mute.trainer.state()
    assert mute.diary.entries[-1] == "record"
    blocked.cancel()


async def test_a_policy_is_served_while_another_learns_from_the_same_simulators_step() -> None:
    learning, other = Bench(rollout_steps=1, slow_update=1), Bench(rollout_steps=9)
    running = asyncio.create_task(learning.trainer.run(learning.batches(1)))
    await asyncio.to_thread(learning.algorithm.begun.wait)
    await other.trainer.run(other.batches(3))
    assert other.diary.entries.count("reply") == 3
    assert "reply" not in learning.diary.entries
    learning.trainer.interrupt()
    await running


async def test_a_batch_of_before_a_restart_is_answered_though_no_step_is_repeated() -> None:
    stopped = Bench(rollout_steps=2, slow_update=1)
    running = asyncio.create_task(stopped.trainer.run(stopped.batches(2)))
    await asyncio.to_thread(stopped.algorithm.begun.wait)
    stopped.trainer.interrupt()
    await running
    resumed = Bench(rollout_steps=2)
    resumed.trainer.load_state(stopped.trainer.state())
    await resumed.trainer.run(FakeBatches([], unanswered=FakeRequests(resumed.diary)))
    assert resumed.diary.entries[-3:] == ["act with version 1", "reply", "record"]


@pytest.mark.parametrize("policy_lag", [0, 1])
async def test_one_that_diverges_while_others_learn_acts_on_without_collecting(
    policy_lag: int,
) -> None:
    bench = Bench(rollout_steps=2, others_learn=True, policy_lag=policy_lag)
    bench.algorithm.diverges = True
    await bench.trainer.run(bench.batches(8))
    told = 2 * (1 + policy_lag)
    assert bench.diary.entries.count("reply") == 8
    assert bench.diary.entries.count("observe") == told
    assert bench.diary.entries.count("observe without collecting") == 8 - told
    assert bench.trainer.is_complete
    assert bench.trainer.progress.env_steps == told
    assert bench.trainer.summary().diverged == "it diverged"


@pytest.mark.parametrize("policy_lag", [0, 1])
async def test_one_that_diverged_learns_from_what_it_kept_when_it_is_resumed(
    policy_lag: int,
) -> None:
    bench = Bench(rollout_steps=2, others_learn=True, policy_lag=policy_lag)
    bench.algorithm.diverges = True
    await bench.trainer.run(bench.batches(6))
    resumed = Bench(rollout_steps=2, policy_lag=policy_lag)
    resumed.trainer.load_state(bench.trainer.state())
    assert not resumed.trainer.is_complete
    await resumed.trainer.run(resumed.batches(2))
    learned = [entry for entry in resumed.diary.entries if entry.startswith("update")]
    before = 2 * (1 + policy_lag)
    assert (
        learned
        == [f"update from 2 steps at {each:g}" for each in (0, 0.02, 0.04)][: 2 + policy_lag]
    )
    assert resumed.trainer.progress.env_steps == before + 2
    assert resumed.trainer.summary().diverged == ""


async def test_the_last_that_learns_ends_when_it_diverges_and_keeps_its_batch() -> None:
    bench = Bench(rollout_steps=2)
    bench.algorithm.diverges = True
    with pytest.raises(TrainingDivergedError):
        await bench.trainer.run(bench.batches(8))
    assert bench.diary.entries.count("observe") == 2
    assert bench.trainer.state()["unanswered"] is not None
    assert bench.trainer.state()["collects"]
