"""Answers that come too late now and then, as drawn by lot: what a clock does, but repeatable."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from entrain_envs.client import TrainerClient
from entrain_envs.environment import Environment
from entrain_envs.late_rows import picked
from entrain_envs.real_time import in_real_time
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch


class LateAnswers:
    """A controller acts wherever an answer is late, for each agent by itself; one branch."""

    def __init__(
        self,
        environment: Environment,
        control: Callable[[TimestepBatch], npt.NDArray[np.integer[Any]]],
        *,
        share: float,
        seed: int,
    ) -> None:
        """Wrap an environment of one behaviour, whose agents are 0, 1, ... and all act each step.

        Args:
            environment: is stepped.
            control: the choices that a controller takes, one for each of some rows.
            share: of the answers that are late.
            seed: decides which.
        """
        self._environment = environment
        (self._spec,) = environment.behaviours
        self._control = control
        self._share = share
        self._generator = np.random.default_rng(seed)
        self._rows: TimestepBatch | None = None

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        return self._environment.behaviours

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        rows = self._environment.reset(seed=seed, parameters=parameters)
        self._rows = rows[self._spec.name]
        return rows

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        given = actions[self._spec.name]
        late = self._generator.random(len(given)) < self._share
        before = self._rows
        assert before is not None
        controlled = self._control(picked(before, np.flatnonzero(before.needs_action)))
        taken = np.where(late, controlled, given.discrete[:, 0])
        stepped = replace(given, discrete=taken[:, np.newaxis].astype(np.int32))
        rows = self._rows = self._environment.step({self._spec.name: stepped})[self._spec.name]
        # The rows that acted were those of all agents, but in their own order.
        of_agent = np.empty(len(late), np.bool_)
        of_agent[before.agent_id[before.needs_action]] = late
        marked = replace(rows, late=of_agent[rows.agent_id] & (rows.step_type != StepType.FIRST))
        return {self._spec.name: marked}

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        self._environment.set_parameters(parameters)

    def close(self) -> None:
        self._environment.close()


class LateClient(TrainerClient):
    """Whether an answer is late is drawn by lot, and then for how many deadlines."""

    def __init__(
        self,
        address: str,
        behaviours: Sequence[BehaviourSpec],
        *,
        share: float,
        most_deadlines: int = 1,
        fallback: str = "last",
        seed: int = 0,
        **options: Any,
    ) -> None:
        """As a `TrainerClient`.

        Args:
            address: of the trainer.
            behaviours: which get a deadline here.
            share: of the answers that are late.
            most_deadlines: by 1 to this many.
            fallback: what acts then.
            seed: of the lots.
            options: others of a `TrainerClient`.
        """
        timed = in_real_time(behaviours, deadline_ms=1, fallback=fallback)
        super().__init__(address, timed, **options)
        self._generator = np.random.default_rng(seed)
        self._share, self._most = share, most_deadlines
        self._answer: Mapping[str, ActionBatch] | None = None
        self._left = 0

    def poll(self, *, timeout_s: float = 0.0) -> Mapping[str, ActionBatch] | None:
        """As a trainer would be that needs so long."""
        if self._answer is None:
            while self._answer is None:
                self._answer = super().poll(timeout_s=60.0)
            if self._generator.random() < self._share:
                self._left = int(self._generator.integers(1, self._most + 1))
        if self._left:
            self._left -= 1
            return None
        answer, self._answer = self._answer, None
        return answer
