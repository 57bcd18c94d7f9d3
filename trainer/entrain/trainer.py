"""The loop of one policy: serve, collect, learn.

A `Trainer` sees its collaborators as Protocols: batches of requests come from the server, steps
and rollouts are the actor's, learning is the algorithm's, and what happened goes to a recorder.
It owns its progress and nothing else. Nothing here knows of gRPC, files or networks' insides.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from entrain.algorithms.algorithm import Metrics, UpdateCancelled
from entrain.experience import Rollout
from entrain.requests import Requests, SlotTimesteps
from entrain.rollout.ledger import Ledger
from entrain.state import State
from entrain.stopwatch import Stopwatch
from entrain_envs.timestep import ActionBatch


class EpisodeSource(Protocol):
    """Finished episodes since they were last taken."""

    def take(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]: ...


class ActorPart(Protocol):
    """Runs the policy on a batch; closes and opens steps."""

    policy_version: int
    collect: bool

    @property
    def episodes(self) -> EpisodeSource: ...
    @property
    def ledger(self) -> Ledger: ...
    def observe(self, batch: SlotTimesteps) -> Rollout | None: ...
    def act(self) -> ActionBatch: ...
    def state(self) -> State: ...
    def load_state(self, state: State) -> None: ...


class AlgorithmPart(Protocol):
    """Learns from a rollout."""

    @property
    def version(self) -> int: ...
    def update(
        self, rollout: Rollout, *, progress: float, cancelled: Callable[[], bool]
    ) -> Metrics: ...
    def state(self) -> State: ...
    def load_state(self, state: State) -> None: ...


class Recorder(Protocol):
    """Keeps what a person looks at."""

    def record(self, update: "Update") -> None: ...


@dataclass(frozen=True, kw_only=True)
class Update:
    """One policy learned from one rollout: what a person wants to know of it."""

    behaviour: str
    version: int
    """Updates done, this one included."""

    env_steps: int
    """Outcomes received so far."""

    total_steps: int
    """Outcomes after which this policy is done."""

    episodes: int
    """Episodes finished so far."""

    metrics: Metrics
    """By standard name; see docs/metrics.md."""


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
        algorithm: AlgorithmPart,
        recorder: Recorder,
        total_steps: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.behaviour = behaviour
        self._actor = actor
        self._algorithm = algorithm
        self._recorder = recorder
        self._total_steps = total_steps
        self._stopwatch = Stopwatch(clock)
        self._pending: Rollout | None = None
        self._episodes = 0
        self._give_up = False
        self.completed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Trainer {self.behaviour}: {self.env_steps:,} of {self._total_steps:,} env steps>"

    @property
    def env_steps(self) -> int:
        """Outcomes received so far."""
        return self._actor.ledger.closed

    @property
    def total_steps(self) -> int:
        """Outcomes after which this policy is done."""
        return self._total_steps

    async def run(self, batches: AsyncIterator[Requests]) -> None:
        """Serve until the batches end, or until a stop interrupts a running update.

        A policy whose total steps are reached goes on acting, for its simulators may hold agents
        of policies that still learn, but it neither collects nor learns any more.
        """
        try:
            if self._pending is not None:
                await self._learn(self._pending)
            self._note_completion()
            self._stopwatch.start()
            async for requests in batches:
                self._stopwatch.lap("wait")
                rollout = self._actor.observe(requests.timesteps)
                self._stopwatch.lap("observe")
                if rollout is not None:
                    await self._learn(rollout)
                requests.reply(self._actor.act())
                self._stopwatch.lap("act")
                self._note_completion()
        except UpdateCancelled:
            # The rollout stays pending, and the batch stays unanswered: simulators send it again.
            return

    def interrupt(self) -> None:
        """Let a running update give up: weights go back to what they were before it, and the
        rollout is kept for `state()`, so that a resumed run does the same update again.
        """
        self._give_up = True

    async def _learn(self, rollout: Rollout) -> None:
        self._pending = rollout
        metrics = await asyncio.to_thread(
            self._algorithm.update,
            rollout,
            progress=min(1.0, (self.env_steps - rollout.num_steps) / self._total_steps),
            cancelled=lambda: self._give_up,
        )
        self._pending = None
        self._actor.policy_version = self._algorithm.version
        self._stopwatch.lap("learn")
        self._record(metrics, rollout)

    def _record(self, learned: Metrics, rollout: Rollout) -> None:
        returns, lengths = self._actor.episodes.take()
        self._episodes += len(returns)
        self._recorder.record(
            Update(
                behaviour=self.behaviour,
                version=self._algorithm.version,
                env_steps=self.env_steps,
                total_steps=self._total_steps,
                episodes=self._episodes,
                metrics={
                    **episode_metrics(returns, lengths),
                    **learned,
                    **self._stopwatch.metrics(rollout.num_steps),
                },
            )
        )

    def _note_completion(self) -> None:
        if self.env_steps >= self._total_steps and not self.completed.is_set():
            self._actor.collect = False
            self.completed.set()

    def state(self) -> State:
        """Everything that decides how this policy goes on, an interrupted update included."""
        return {
            "actor": self._actor.state(),
            "algorithm": self._algorithm.state(),
            "episodes": self._episodes,
            "pending": None if self._pending is None else self._pending.state(),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        self._actor.load_state(state["actor"])
        self._algorithm.load_state(state["algorithm"])
        self._actor.policy_version = self._algorithm.version
        self._episodes = state["episodes"]
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
