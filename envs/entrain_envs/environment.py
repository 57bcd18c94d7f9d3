"""The interface of an environment in Python, and the loop that runs one with a trainer.

This module does not know gRPC, Gymnasium or physics.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from entrain_envs.client import TrainerClient
from entrain_envs.errors import OptionError, SessionLostError, TrainerClosed
from entrain_envs.real_time import RealTime, deadline_s
from entrain_envs.spec import BehaviourSpec
from entrain_envs.statistics import Statistic
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

logger = logging.getLogger(__name__)

MOST_GROUPS = 2
"""Groups of agents that may have a Step without an Act at the same time."""

FALLBACK_STEPS = "fallback_steps"
"""Reported to the trainer: how often the world went on without it. One late step may be many."""

REAL_TIME_REVISION = 2
"""The first revision of the wire whose trainers read which rows are late."""

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

    late: int = 0
    """Outcomes, sent, of actions that came after the deadline."""


class _Group:
    """Agents that step together, and how far their behaviours are declared."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.num_behaviours = len(environment.behaviours)
        self.take_statistics = (
            environment.take_statistics if isinstance(environment, ReportsStatistics) else None
        )


class Driver:
    """Runs one environment with one trainer, from joining to leaving, and counts.

    It may be given two halves of an environment, two groups: while one is simulated, the actions of
    the other are chosen.
    """

    def __init__(
        self,
        environment: Environment | Sequence[Environment],
        client: TrainerClient,
        *,
        episodes: int = 0,
        seed: int | None = None,
    ) -> None:
        """Prepare the loop. Nothing is dialled before `run`.

        Args:
            environment: has the same behaviours as the client; or one or two groups, without an
                agent's number in common. Both are reset with the same seed, so groups that should
                differ make each its own of it.
            client: not yet connected. For two groups, its `max_unanswered_steps` is 2.
            episodes: leave after this many episodes; 0 stays until the trainer closes.
            seed: replaces the seed from the trainer.
        """
        environments = environment if isinstance(environment, Sequence) else (environment,)
        if not 1 <= len(environments) <= MOST_GROUPS:
            raise OptionError(
                f"{len(environments)} groups of agents were given; expected 1 or {MOST_GROUPS}"
            )
        if client.wanted_unanswered_steps < len(environments):
            raise OptionError(
                f"{len(environments)} groups of agents were given, and the client asks for "
                f"{client.wanted_unanswered_steps} unanswered step; make it with "
                f"max_unanswered_steps={len(environments)}"
            )
        if len(environments) > 1 and deadline_s(client.behaviours):
            raise OptionError(
                "two groups of agents were given, and a deadline for their actions; groups wait "
                "for each other, so give one group, or no deadline"
            )
        self._groups = [_Group(each) for each in environments]
        self._client = client
        self._episodes = episodes
        self._seed = seed
        self._parameters: Mapping[str, float] = {}
        self._exchanges = 0
        self._opened = 0
        self._closed = 0
        self._unanswered = 0
        self._ended = 0
        self._late = 0

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
            late=self._late,
        )

    def run(self) -> Report:
        """Simulate until the trainer closes or the episodes are done, then say Goodbye."""
        with self._client:
            try:
                self._client.connect()
                while not self._serve():
                    pass
            except TrainerClosed as closed:
                logger.info("%s", closed)
        return self.report

    def _serve(self) -> bool:
        """Simulate in one session; returns whether the episodes are done, or else it is lost."""
        if len(self._groups) > self._client.max_unanswered_steps:
            self._join_groups()
        self._parameters = self._client.environment_parameters
        try:
            if self._deadline_s:
                self._serve_in_real_time(self._groups[0], self._deadline_s)
            elif len(self._groups) == 1:
                self._serve_together(self._groups[0])
            else:
                self._serve_in_turns()
        except SessionLostError as lost:
            logger.warning("%s", lost)
            return False
        return True

    @property
    def _deadline_s(self) -> float:
        """How long actions are waited for; 0 if as long as it takes."""
        wanted_s = deadline_s(self._client.behaviours)
        if wanted_s and self._client.welcome.revision < REAL_TIME_REVISION:
            logger.warning(
                "this trainer is too old to be told which actions came too late, and would learn "
                "from them as if they had been taken: every action is waited for; upgrade it"
            )
            return 0.0
        return wanted_s

    def _join_groups(self) -> None:
        """Go on as one group."""
        logger.warning(
            "the trainer allows %d unanswered step of a simulator, so both groups of agents step "
            "together; let server.max_unanswered_steps of the trainer be 2, or upgrade it",
            self._client.max_unanswered_steps,
        )
        from entrain_envs.joined_environments import JoinedEnvironments  # noqa: PLC0415

        self._groups = [_Group(JoinedEnvironments([each.environment for each in self._groups]))]

    def _serve_together(self, group: _Group) -> None:
        timesteps = self._reset(group)
        while True:
            needing, outcomes, ended = self._count_sent(group, timesteps)
            actions = self._client.exchange(timesteps)
            self._count_answered(needing, outcomes, ended)
            if self._episodes and self._ended >= self._episodes:
                return
            if self._client.environment_parameters is not self._parameters:
                self._pass_parameters()
            timesteps = group.environment.step(actions)

    def _serve_in_real_time(self, group: _Group, wait_s: float) -> None:
        """The world goes on every `wait_s`, by its fallbacks where actions are not here yet."""
        client, timesteps = self._client, self._reset(group)
        world = RealTime(group.environment, client.behaviours, timesteps)
        while True:
            counts = self._count_sent(group, timesteps)
            client.exchange_async(timesteps)
            late_steps = 0
            while (actions := client.poll(timeout_s=wait_s)) is None:
                late_steps += 1
                world.fall_back()
            if late_steps:
                client.note(FALLBACK_STEPS, late_steps, "sum")
            self._count_answered(*counts)
            if self._episodes and self._ended >= self._episodes:
                return
            if client.environment_parameters is not self._parameters:
                self._pass_parameters()
            timesteps = world.take() if late_steps else world.step(actions)

    def _serve_in_turns(self) -> None:
        """The groups' steps alternate, in an order that does not depend on speed."""
        client, groups = self._client, self._groups
        counts = []
        for group in groups:
            timesteps = self._reset(group)
            counts.append(self._count_sent(group, timesteps))
            client.send(timesteps)
        while True:
            for index, group in enumerate(groups):
                actions = client.receive()
                self._count_answered(*counts[index])
                if self._episodes and self._ended >= self._episodes:
                    return
                if client.environment_parameters is not self._parameters:
                    self._pass_parameters()
                timesteps = group.environment.step(actions)
                counts[index] = self._count_sent(group, timesteps)
                client.send(timesteps)

    def _reset(self, group: _Group) -> Mapping[str, TimestepBatch]:
        seed = self._client.welcome.seed if self._seed is None else self._seed
        return group.environment.reset(seed=seed, parameters=self._parameters)

    def _pass_parameters(self) -> None:
        self._parameters = self._client.environment_parameters
        for group in self._groups:
            group.environment.set_parameters(self._parameters)

    def _count_sent(
        self, group: _Group, timesteps: Mapping[str, TimestepBatch]
    ) -> tuple[int, int, int]:
        """Note what is about to be sent; returns rows that need an action, outcomes, ends."""
        count = np.zeros(_NUM_TYPES, np.int64)
        for batch in timesteps.values():
            count += np.bincount(batch.step_type, minlength=_NUM_TYPES)
            if batch.late is not None:
                self._late += int(np.count_nonzero(batch.late))
        _, first, mid, terminated, truncated = count.tolist()
        ended = terminated + truncated
        # Until the answer arrives, this side cannot know whether the trainer counted them.
        self._unanswered += mid + ended
        if len(group.environment.behaviours) > group.num_behaviours:
            self._declare(group)
        if group.take_statistics is not None:
            for each in group.take_statistics():
                self._client.note(each.name, each.value, each.aggregation)
        return first + mid, mid + ended, ended

    def _count_answered(self, needing: int, outcomes: int, ended: int) -> None:
        self._unanswered -= outcomes
        self._closed += outcomes
        self._opened += needing
        self._ended += ended
        self._exchanges += 1

    def _declare(self, group: _Group) -> None:
        """Declare behaviours that are new with the next exchange."""
        behaviours = group.environment.behaviours
        self._client.add_behaviours(behaviours)
        group.num_behaviours = len(behaviours)


def run(
    environment: Environment | Sequence[Environment], client: TrainerClient, *, episodes: int = 0
) -> Report:
    """Run `environment` with the trainer of `client` until one of them is done. See `Driver`."""
    return Driver(environment, client, episodes=episodes).run()
