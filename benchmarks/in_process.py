"""Training without server and wire: an environment of this process feeds a trainer's own loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Never

import numpy as np
import numpy.typing as npt

from entrain.algorithms.algorithm import Algorithm, Metrics
from entrain.app.build import make_actor
from entrain.app.learning_parts import make_algorithm, make_collector
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy_loop import PolicyLoop
from entrain.requests import Batches, SlotTimesteps
from entrain.rollout.collector import StepCollector
from entrain.rollout.episodes import EpisodeLog
from entrain.state import State
from entrain.trainer import Recorder, Trainer
from entrain_envs.environment import Environment
from entrain_envs.timestep import ActionBatch, TimestepBatch


class EnvironmentRequests:
    """One batch of an environment, and the actions it was answered with."""

    def __init__(self, timesteps: SlotTimesteps) -> None:
        self.timesteps = timesteps
        self.actions: list[ActionBatch] = []

    async def reply(self, actions: ActionBatch, *, wait: bool = True) -> None:
        """Keep the actions for the environment's next step."""
        del wait
        self.actions.append(actions)


class EnvironmentBatches:
    """The batches of an environment of one behaviour. The slot of an agent is its id."""

    unanswered = None

    def __init__(
        self,
        environment: Environment,
        *,
        seed: int,
        is_over: Callable[[], bool],
        parameters: Mapping[str, float] | None = None,
    ) -> None:
        """Reset the environment once somebody asks for a batch.

        Args:
            environment: its agents have the ids 0, 1, ...
            seed: it is reset with, and
            parameters: too.
            is_over: asked before each batch.
        """
        self._environment = environment
        self._seed = seed
        self._is_over = is_over
        self._parameters = parameters or {}

    async def __aiter__(self) -> AsyncIterator[EnvironmentRequests]:
        (spec,) = self._environment.behaviours
        timesteps = self._environment.reset(seed=self._seed, parameters=self._parameters)
        while not self._is_over():
            requests = EnvironmentRequests(by_slot(timesteps[spec.name]))
            yield requests
            (actions,) = requests.actions
            timesteps = self._environment.step({spec.name: actions})


class InlineExecutor(Executor):
    """Does the work where it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call `fn` now."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class NoDiagnostics:
    """Warns of nothing."""

    def findings(self, metrics: Metrics, *, progress: float) -> Sequence[str]:
        """Nothing."""
        del metrics, progress
        return ()

    def state(self) -> State:
        """Empty."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing."""


class NothingToLearn:
    """For loops whose collector returns no experience."""

    async def learn(self, experience: Never) -> None:
        """Never called."""

    async def finish(self) -> None:
        """Nothing is left."""

    def note_completion(self) -> None:
        """Nothing."""


class NotedEpisodes(EpisodeLog):
    """Also keeps, for each update, the returns of the episodes that ended before it."""

    def __init__(self, taken: list[npt.NDArray[np.float64]]) -> None:
        """Append them to `taken`."""
        super().__init__()
        self._taken = taken

    def take(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """See `EpisodeLog.take`."""
        returns, lengths = super().take()
        self._taken.append(returns)
        return returns, lengths


def make_trainer(
    policy: ActorNetwork,
    *,
    seed: int,
    recorder: Recorder,
    algorithm: Algorithm[Any] | None = None,
    collector: StepCollector[Any] | None = None,
    executor: Executor | None = None,
) -> Trainer[Any]:
    """A trainer of `policy`, with the parts of a run except those that are given."""
    return Trainer(
        policy.spec.name,
        actor=make_actor(policy, seed=seed),
        collector=collector or make_collector(policy),
        algorithm=algorithm or make_algorithm(policy, seed=seed),
        diagnostics=NoDiagnostics(),
        recorder=recorder,
        learners=executor or InlineExecutor(),
        total_steps=policy.config.total_steps,
        policy_lag=policy.config.policy_lag,
    )


def run(loop: Trainer[Any] | PolicyLoop[Any], batches: Batches) -> None:
    """Run the loop until the batches end."""
    asyncio.run(loop.run(batches))


def by_slot(timesteps: TimestepBatch) -> SlotTimesteps:
    """The timesteps of agents 0, 1, ... whose slots are their ids."""
    return SlotTimesteps(
        slot=timesteps.agent_id,
        timesteps=timesteps,
        released=np.zeros(0, np.int64),
        num_slots=int(timesteps.agent_id.max()) + 1,
    )
