"""Records environments that are drawn from what their agents observe, such as the bundled ones."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from entrain_envs.environment import Environment
from entrain_envs.recording.frames import Picture
from entrain_envs.recording.recorder import Recorder
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, Array, StepType, TimestepBatch

_FIRST, _MID = int(StepType.FIRST), int(StepType.MID)

Observation = Mapping[str, Array]
"""{name: what one agent observes}."""


class Painter(Protocol):
    """Draws the world of one agent from what it observes."""

    @property
    def speed(self) -> float:
        """Steps that should be shown in a second."""
        ...

    def begin(self, observation: Observation, parameters: Mapping[str, float]) -> None:
        """An episode begins, with these environment parameters."""
        ...

    def step(self, observation: Observation, *, choice: int | None, reward: float) -> None:
        """A step was made; `choice` is what the agent's first branch was, if it has one."""
        ...

    def picture(self) -> Picture:
        """Draws the present state."""
        ...


class PaintedEnvironment:
    """An environment of one behaviour, whose agent 0 is recorded. Owned by one thread."""

    def __init__(self, environment: Environment, painter: Painter, recorder: Recorder) -> None:
        """Record what `painter` draws of `environment`."""
        self._environment = environment
        self._painter = painter
        self._recorder = recorder
        (self._spec,) = environment.behaviours
        self._parameters: Mapping[str, float] = {}
        self._acting = 0
        """The row of agent 0 among the rows that need an action."""
        recorder.suggest_speed(painter.speed)

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """The one behaviour of the environment."""
        return self._environment.behaviours

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Begin new episodes for all agents."""
        self._parameters = parameters
        rows = self._environment.reset(seed=seed, parameters=parameters)
        self._look(rows, choice=None)
        return rows

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Let every agent act, and record agent 0."""
        rows = self._environment.step(actions)
        if not self._recorder.is_done:
            chosen = actions[self._spec.name].discrete[self._acting]
            self._look(rows, choice=int(chosen[0]) if len(chosen) else None)
        return rows

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Change settings, from each agent's next episode on."""
        self._parameters = parameters
        self._environment.set_parameters(parameters)

    def close(self) -> None:
        """Write the recording, and close."""
        self._recorder.finish()
        self._environment.close()

    def _look(self, rows: Mapping[str, TimestepBatch], *, choice: int | None) -> None:
        batch = rows[self._spec.name]
        for row in np.flatnonzero(batch.agent_id == 0).tolist():
            observation = {name: values[row] for name, values in batch.observation.items()}
            step_type = int(batch.step_type[row])
            if step_type == _FIRST:
                self._painter.begin(observation, self._parameters)
                self._recorder.begin(self._painter.picture)
                continue
            reward = float(batch.earned[row])
            self._painter.step(observation, choice=choice, reward=reward)
            self._recorder.step(self._painter.picture, reward, ended=step_type > _MID)
        acting: Any = batch.agent_id[batch.step_type <= _MID]
        self._acting = int(np.flatnonzero(acting == 0)[0])
