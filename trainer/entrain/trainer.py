"""The loop of one policy: serve, collect, learn.

A `Trainer` sees its collaborators as Protocols: batches of requests come from the server, steps
and rollouts are the actor's, learning is the algorithm's, and what happened goes to a recorder.
It owns its progress and nothing else. Nothing here knows of gRPC, files or networks' insides.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from entrain.algorithms.algorithm import Algorithm, Metrics, UpdateCancelled
from entrain.experience import Rollout
from entrain.requests import Batches, SlotTimesteps, Unanswered
from entrain.rollout.ledger import Ledger
from entrain.run.progress import Progress
from entrain.run.summary import PolicySummary
from entrain.state import State, Stateful
from entrain.stopwatch import Stopwatch
from entrain_envs.timestep import ActionBatch, Int64Array

MOST_WARNINGS = 100
"""That are kept for the report, the newest ones."""


class EpisodeSource(Protocol):
    """Finished episodes since they were last taken."""

    def take(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]: ...


class ActorPart(Stateful, Protocol):
    """Runs the policy on a batch; closes and opens steps. See `Actor`."""

    policy_version: int
    collect: bool

    @property
    def episodes(self) -> EpisodeSource: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def env_steps(self) -> int: ...
    def observe(self, batch: SlotTimesteps) -> Rollout | None: ...
    def act(self) -> ActionBatch: ...
    def record(self) -> None: ...
    def release(self, slot: Int64Array) -> None: ...


class Diagnostics(Stateful, Protocol):
    """Says what is wrong with how a policy learns."""

    def findings(self, metrics: Metrics, *, progress: float) -> Sequence[str]: ...


class Recorder(Protocol):
    """Keeps what a person looks at."""

    def record(self, update: "Update") -> None: ...
    def note_completion(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Update:
    """One policy has learned from one rollout: what a person wants to know of it."""

    behaviour: str
    progress: Progress
    total_steps: int
    """Env steps after which this policy is done."""

    metrics: Metrics
    """By standard name."""

    warnings: Sequence[str]
    """What set in with this update, each in a line that begins with the update's number."""


class Trainer:
    """Serves one policy's agents and learns from them until its total steps are reached.

    Owned by the event loop. Only the algorithm's update runs in a thread, and while it runs
    nothing else here does: simulators wait, so that data is exactly on-policy.
    """

    def __init__(
        self,
        behaviour: str,
        *,
        actor: ActorPart,
        algorithm: Algorithm,
        alarms: Diagnostics,
        recorder: Recorder,
        learners: Executor,
        total_steps: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.behaviour = behaviour
        self.total_steps = total_steps
        self._actor = actor
        self._algorithm = algorithm
        self._alarms = alarms
        self._recorder = recorder
        self._learners = learners
        self._clock = clock
        self._stopwatch = Stopwatch(clock)
        self._began_s = clock()
        self._earlier = Progress()
        self._episodes = 0
        self._warnings: deque[str] = deque(maxlen=MOST_WARNINGS)
        self._pending: Rollout | None = None
        self._is_learning = False
        self._give_up = False

    def __repr__(self) -> str:
        return f"<Trainer {self.behaviour}: {self.progress} of {self.total_steps:,} env steps>"

    @property
    def progress(self) -> Progress:
        """How far training has come, over all sittings."""
        return Progress(
            env_steps=self._actor.env_steps,
            updates=self._algorithm.version,
            episodes=self._episodes,
            seconds=self._earlier.seconds + self._clock() - self._began_s,
        )

    @property
    def ledger(self) -> Ledger:
        """Steps opened, closed and dropped."""
        return self._actor.ledger

    @property
    def warnings(self) -> Sequence[str]:
        """What updates were warned of, over all sittings; the newest ones, if there are many."""
        return tuple(self._warnings)

    @property
    def is_complete(self) -> bool:
        """Whether the total steps are reached, and no rollout is left to learn from."""
        return self._pending is None and self._actor.env_steps >= self.total_steps

    @property
    def is_learning(self) -> bool:
        """Whether an update runs just now; `state` must then wait, or the update be interrupted."""
        return self._is_learning

    async def run(self, batches: Batches) -> None:
        """Serve until the batches end, or until `interrupt` ends a running update.

        A policy whose total steps are reached goes on acting, for its simulators may hold agents
        of policies that still learn, but it neither collects nor learns any more.
        """
        try:
            await self._finish_interrupted(batches.unanswered)
            async for requests in batches:
                self._stopwatch.lap("wait")
                self._actor.collect = not self.is_complete
                rollout = self._actor.observe(requests.timesteps)
                self._stopwatch.lap("observe")
                if rollout is not None:
                    await self._learn(rollout)
                actions = self._actor.act()
                self._stopwatch.lap("act")
                # The answer goes out before the rest is done. Not at the end: whether another
                # batch is served after it must not depend on who is faster.
                await requests.reply(actions, wait=not self.is_complete)
                self._stopwatch.lap("wait")
                self._actor.record()
                self._stopwatch.lap("record")
                self._note_completion()
        except UpdateCancelled:
            # The rollout stays pending and its batch unanswered; `state` holds both.
            return

    def interrupt(self) -> None:
        """Let a running update give up.

        Weights go back to what they were before it, and the rollout is kept for `state`, so that
        a resumed run does the same update again.
        """
        self._give_up = True

    def release(self, take_released: Callable[[], Int64Array]) -> None:
        """Drop the open steps of agents that left after the last batch.

        Not if a batch is unanswered: its own agents may be among them, and are given an action
        yet. The server keeps them then, until the next batch.
        """
        if self._pending is None:
            self._actor.release(take_released())

    async def _finish_interrupted(self, unanswered: Unanswered | None) -> None:
        """Do what was left undone when the checkpoint was written."""
        if self._pending is not None:
            await self._learn(self._pending)
        if unanswered is not None:
            await unanswered.reply(self._actor.act(), wait=False)
        self._note_completion()
        self._stopwatch.start()

    async def _learn(self, rollout: Rollout) -> None:
        self._pending = rollout
        self._is_learning = True
        before = Progress(env_steps=self._actor.env_steps - rollout.num_steps)
        done = before.fraction(self.total_steps)
        try:
            metrics = await asyncio.get_running_loop().run_in_executor(
                self._learners,
                partial(
                    self._algorithm.update,
                    rollout,
                    progress=done,
                    cancelled=lambda: self._give_up,
                ),
            )
        finally:
            self._is_learning = False
        self._pending = None
        self._actor.policy_version = self._algorithm.version
        self._stopwatch.lap("learn")
        self._record(metrics, rollout.num_steps, done)

    def _record(self, learned: Metrics, env_steps: int, done: float) -> None:
        returns, lengths = self._actor.episodes.take()
        self._episodes += len(returns)
        metrics = {
            **episode_metrics(returns, lengths),
            **learned,
            **self._stopwatch.metrics(env_steps),
        }
        warnings = [
            f"update {self._algorithm.version}: {words}"
            for words in self._alarms.findings(metrics, progress=done)
        ]
        self._warnings.extend(warnings)
        self._recorder.record(
            Update(
                behaviour=self.behaviour,
                progress=self.progress,
                total_steps=self.total_steps,
                metrics=metrics,
                warnings=warnings,
            )
        )

    def summary(self) -> PolicySummary:
        """How far this policy came."""
        return PolicySummary(
            progress=self.progress,
            total_steps=self.total_steps,
            ledger=self.ledger.state(),
            warnings=tuple(self._warnings),
        )

    def _note_completion(self) -> None:
        if self.is_complete:
            self._recorder.note_completion()

    def state(self) -> State:
        """Everything that decides how this policy goes on, an interrupted update included."""
        if self._is_learning:
            raise RuntimeError("state() was called during an update; wait for it or interrupt it")
        return {
            "progress": self.progress.state(),
            "actor": self._actor.state(),
            "algorithm": self._algorithm.state(),
            "alarms": self._alarms.state(),
            "warnings": list(self._warnings),
            "pending": None if self._pending is None else self._pending.state(),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        self._earlier = Progress.from_state(state["progress"])
        self._episodes = self._earlier.episodes
        self._actor.load_state(state["actor"])
        self._algorithm.load_state(state["algorithm"])
        if "alarms" in state:
            # Earlier versions warned of nothing, which is no reason to refuse what they learned.
            self._alarms.load_state(state["alarms"])
            self._warnings.extend(state["warnings"])
        self._pending = None if state["pending"] is None else Rollout.from_state(state["pending"])


def episode_metrics(returns: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64]) -> Metrics:
    """Mean, spread and length of finished episodes; only their number, if there are none.

    Args:
        returns: [N] undiscounted sums of rewards.
        lengths: [N] steps.
    """
    if not len(returns):
        return {"rollout/episodes": 0.0}
    return {
        "rollout/episodes": float(len(returns)),
        "rollout/episode_return_mean": float(returns.mean()),
        "rollout/episode_return_std": float(returns.std()),
        "rollout/episode_return_min": float(returns.min()),
        "rollout/episode_return_max": float(returns.max()),
        "rollout/episode_length_mean": float(lengths.mean()),
    }
