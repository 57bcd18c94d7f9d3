"""Simulators written in Python: what one must offer, and the loop that runs it with a trainer.

Nothing here knows of gRPC, Gymnasium or physics.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from entrain_envs.client import TrainerClient
from entrain_envs.errors import SessionLostError, TrainerClosed
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

logger = logging.getLogger(__name__)

_NUM_TYPES = int(StepType.TRUNCATED) + 1


class Environment(Protocol):
    """Any number of agents, stepped together. Owned by one thread."""

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """Every kind of agent there may be."""
        ...

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Begin all episodes anew.

        Args:
            seed: decides everything random from here on.
            parameters: as in `set_parameters`.

        Returns:
            {behaviour: FIRST rows}.
        """
        ...

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Let every agent act, and begin the next episode of those whose episode ended.

        Args:
            actions: {behaviour: one row for each row of the last timesteps that needed one}.

        Returns:
            {behaviour: rows}: outcomes, and FIRST rows of episodes that begin.
        """
        ...

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Take new settings of the environment itself; they hold from an agent's next episode."""
        ...

    def close(self) -> None:
        """Let go of windows, files and processes."""
        ...


@dataclass(frozen=True)
class Report:
    """What a simulator did, to be held against the trainer's own counts.

    opened == closed + unanswered + dropped, always.
    """

    exchanges: int
    """Steps that were answered."""

    opened: int
    """Actions received."""

    closed: int
    """Outcomes that the trainer took in: their Step was answered."""

    unanswered: int
    """Outcomes sent in a Step that was never answered; the trainer may have counted them."""

    dropped: int
    """Actions whose outcome was never sent."""

    episodes: int
    """Ended episodes among the closed steps."""


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
        """Prepare; nothing is dialled yet.

        Args:
            environment: whose behaviours are those of the client.
            client: not yet connected.
            episodes: leave after so many have ended; 0 stays until the trainer closes.
            seed: instead of the one the trainer gives.
        """
        self._environment = environment
        self._client = client
        self._episodes = episodes
        self._seed = seed
        self._parameters: Mapping[str, float] = {}
        self._exchanges = 0
        self._opened = 0
        self._closed = 0
        self._unanswered = 0
        self._ended = 0

    @property
    def report(self) -> Report:
        """The counts so far. After `run`, what was still open is dropped."""
        return Report(
            exchanges=self._exchanges,
            opened=self._opened,
            closed=self._closed,
            unanswered=self._unanswered,
            dropped=self._opened - self._closed - self._unanswered,
            episodes=self._ended,
        )

    def run(self) -> Report:
        """Simulate until the trainer closes or the episodes are done; says Goodbye at the end."""
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
        # Until the answer is here, nobody can say whether the trainer counted them.
        self._unanswered += outcomes
        actions = self._client.exchange(timesteps)
        self._unanswered -= outcomes
        self._closed += outcomes
        self._opened += first + mid
        self._ended += terminated + truncated
        self._exchanges += 1
        return actions


def run(environment: Environment, client: TrainerClient, *, episodes: int = 0) -> Report:
    """Run `environment` with the trainer of `client` until one of them is done."""
    return Driver(environment, client, episodes=episodes).run()
