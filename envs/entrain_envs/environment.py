"""The interface of an environment in Python, and the loop that runs one with a trainer.

This module does not know gRPC, Gymnasium or physics.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from entrain_envs.client import TrainerClient
from entrain_envs.errors import SessionLostError, TrainerClosed
from entrain_envs.spec import BehaviourSpec
from entrain_envs.statistics import Statistic
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

logger = logging.getLogger(__name__)

_NUM_TYPES = int(StepType.TRUNCATED) + 1


class Environment(Protocol):
    """Any number of agents that step together. Owned by one thread."""

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """Every kind of agent that may appear. There may be more of them later: what is new is
        declared to the trainer with the next rows.
        """
        ...

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Begin new episodes for all agents.

        Args:
            seed: decides everything random from now on.
            parameters: as in `set_parameters`.

        Returns:
            {behaviour: FIRST rows}.
        """
        ...

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Let every agent act, and begin the next episode of those whose episode ended.

        Args:
            actions: {behaviour: a row for each of the last timesteps that needed an action}.

        Returns:
            {behaviour: rows}: outcomes, and FIRST rows of episodes that begin.
        """
        ...

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Change settings of the environment. They apply from each agent's next episode."""
        ...

    def close(self) -> None:
        """Release windows, files and processes."""
        ...


@runtime_checkable
class ReportsStatistics(Protocol):
    """An environment that has numbers for people, beside its rows."""

    def take_statistics(self) -> Iterable[Statistic]:
        """Those since the last call; asked for after each `reset` and `step`."""
        ...


@dataclass(frozen=True)
class Report:
    """Counts of what a simulator did, to compare with the trainer's own.

    Always: opened == closed + unanswered + dropped.
    """

    exchanges: int
    """Steps that were answered."""

    opened: int
    """Actions received."""

    closed: int
    """Outcomes that the trainer has counted: their Step was answered."""

    unanswered: int
    """Outcomes sent in a Step that was never answered; the trainer may have counted them."""

    dropped: int
    """Actions whose outcome was never sent."""

    episodes: int
    """Episodes that ended with a closed step."""


class Driver:
    """Runs one environment with one trainer, from joining to leaving, and counts."""

    def __init__(
        self,
        environment: Environment,
        client: TrainerClient,
        *,
        episodes: int = 0,
        seed: int | None = None,
    ) -> None:
        """Prepare the loop. Nothing is dialled before `run`.

        Args:
            environment: has the same behaviours as the client.
            client: not yet connected.
            episodes: leave after this many episodes; 0 stays until the trainer closes.
            seed: replaces the seed from the trainer.
        """
        self._environment = environment
        self._client = client
        self._num_behaviours = len(client.behaviours)
        self._episodes = episodes
        self._seed = seed
        self._take_statistics = (
            environment.take_statistics if isinstance(environment, ReportsStatistics) else None
        )
        self._parameters: Mapping[str, float] = {}
        self._exchanges = 0
        self._opened = 0
        self._closed = 0
        self._unanswered = 0
        self._ended = 0

    @property
    def report(self) -> Report:
        """The counts so far. Steps that are still open count as dropped."""
        return Report(
            exchanges=self._exchanges,
            opened=self._opened,
            closed=self._closed,
            unanswered=self._unanswered,
            dropped=self._opened - self._closed - self._unanswered,
            episodes=self._ended,
        )

    def run(self) -> Report:
        """Simulate until the trainer closes or the episodes are done, then say Goodbye."""
        with self._client:
            try:
                self._client.connect()
                self._serve()
            except TrainerClosed as closed:
                logger.info("%s", closed)
        return self.report

    def _serve(self) -> None:
        timesteps = self._reset()
        while True:
            try:
                actions = self._exchange(timesteps)
            except SessionLostError as lost:
                logger.warning("%s", lost)
                timesteps = self._reset()
                continue
            if self._episodes and self._ended >= self._episodes:
                return
            if self._client.environment_parameters is not self._parameters:
                self._parameters = self._client.environment_parameters
                self._environment.set_parameters(self._parameters)
            timesteps = self._environment.step(actions)

    def _reset(self) -> Mapping[str, TimestepBatch]:
        self._parameters = self._client.environment_parameters
        seed = self._client.welcome.seed if self._seed is None else self._seed
        return self._environment.reset(seed=seed, parameters=self._parameters)

    def _exchange(self, timesteps: Mapping[str, TimestepBatch]) -> Mapping[str, ActionBatch]:
        count = np.zeros(_NUM_TYPES, np.int64)
        for batch in timesteps.values():
            count += np.bincount(batch.step_type, minlength=_NUM_TYPES)
        _, first, mid, terminated, truncated = count.tolist()
        outcomes = mid + terminated + truncated
        # Until the answer arrives, this side cannot know whether the trainer counted them.
        self._unanswered += outcomes
        if len(self._environment.behaviours) > self._num_behaviours:
            self._declare()
        if self._take_statistics is not None:
            for each in self._take_statistics():
                self._client.note(each.name, each.value, each.aggregation)
        actions = self._client.exchange(timesteps)
        self._unanswered -= outcomes
        self._closed += outcomes
        self._opened += first + mid
        self._ended += terminated + truncated
        self._exchanges += 1
        return actions

    def _declare(self) -> None:
        """Declare behaviours that are new with the next exchange."""
        self._client.add_behaviours(self._environment.behaviours)
        self._num_behaviours = len(self._environment.behaviours)


def run(environment: Environment, client: TrainerClient, *, episodes: int = 0) -> Report:
    """Run `environment` with the trainer of `client` until one of them is done."""
    return Driver(environment, client, episodes=episodes).run()
