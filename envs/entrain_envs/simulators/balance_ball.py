"""Balance ball: keep a ball on a platform by tilting it. The task of Unity's 3DBall, in numpy.

N platforms with a ball each, computed together; `rolling_ball` has their physics. y points up. A
platform turns about its own centre, which is the origin of its ball's position.

    observations  rotation [2] about z and x, position [3] and velocity [3] of the ball
    actions       2 in [-1, 1]: how fast to tilt about z and about x
    reward        0.1 for each step on the platform, -1 for the fall, which terminates
    truncated     after 1000 steps: a return of 100 is perfect
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entrain_envs.errors import OptionError, SpecError
from entrain_envs.simulators.rolling_ball import FloatArray, RollingBalls
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import (
    ActionBatch,
    Float32Array,
    Int64Array,
    StepType,
    TimestepBatch,
    UInt8Array,
)

_FIRST, _MID = int(StepType.FIRST), int(StepType.MID)
_TERMINATED, _TRUNCATED = int(StepType.TERMINATED), int(StepType.TRUNCATED)

MAX_STEPS = 1000
"""Steps after which an episode is truncated."""

SUBSTEPS = 5
"""Physics steps for each action."""

SUBSTEP_S = 0.02
"""Length of a physics step, in seconds."""

TILT_SPEED = float(np.deg2rad(20.0))
"""Radians per second at full action."""

START_TILT = float(np.deg2rad(5.0))
"""Largest tilt at the start of an episode, in radians about each axis."""

START_OFFSET = 0.5
"""Largest distance of a ball from the middle at the start, as a share of half the platform."""

DROP_DEPTH = 2.0
"""Metres below the platform's centre at which the ball has fallen."""


@dataclass(frozen=True)
class Settings:
    """Numbers that environment parameters may change, from an agent's next episode on."""

    gravity: float = 9.81
    """Metres per second squared."""

    ball_radius: float = 0.5
    """Metres."""

    platform_size: float = 5.0
    """Length of a platform's side, in metres."""

    drop_height: float = 1.5
    """Largest height of a ball above the platform at the start, in metres."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0.0:
                raise OptionError(f"environment parameter {name} is {value:g}; it must be positive")

    @classmethod
    def of(cls, parameters: Mapping[str, float]) -> "Settings":
        """The settings in `parameters`; other names are ignored."""
        return cls(**{name: parameters[name] for name in _SETTING_NAMES & parameters.keys()})


_SETTING_NAMES = frozenset(Settings.__dataclass_fields__)


class BalanceBall:
    """N platforms, as an `environment.Environment`. Agent i is platform i."""

    def __init__(self, *, count: int = 12, behaviour: str = "ball") -> None:
        """Prepare `count` platforms; `reset` drops their balls."""
        if count < 1:
            raise OptionError(f"count is {count}; it must be at least 1")
        self._spec = BehaviourSpec(
            behaviour,
            (
                ObservationSpec("rotation", (2,)),
                ObservationSpec("position", (3,)),
                ObservationSpec("velocity", (3,)),
            ),
            ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0)),
        )
        self._count = count
        self._generator = np.random.default_rng(0)
        self._settings = Settings()
        self._balls = RollingBalls(count)
        self._steps = np.zeros(count, np.int64)
        # Agents in the order of the last message's rows that needed an action.
        self._acting = np.arange(count)

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """The one behaviour of all platforms."""
        return (self._spec,)

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Use these settings for episodes that begin from now on."""
        self._settings = Settings.of(parameters)

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Drop a new ball on every platform."""
        self._generator = np.random.default_rng(seed)
        self.set_parameters(parameters)
        everyone = np.arange(self._count)
        self._begin(everyone)
        self._acting = everyone
        step_type = np.full(self._count, _FIRST, np.uint8)
        reward = np.zeros(self._count, np.float32)
        return {self._spec.name: _batch(everyone, step_type, reward, self._observation())}

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Tilt every platform, let the balls move, and replace those whose episode ended."""
        self._balls_move(actions[self._spec.name].continuous)
        self._steps += 1
        fallen = self._balls.fallen(depth=DROP_DEPTH)
        over = self._steps >= MAX_STEPS
        step_type = np.select([fallen, over], [_TERMINATED, _TRUNCATED], _MID).astype(np.uint8)
        reward = np.where(fallen, np.float32(-1.0), np.float32(0.1))
        everyone = np.arange(self._count)
        ended = np.flatnonzero(fallen | over)
        if len(ended) == 0:
            self._acting = everyone
            return {self._spec.name: _batch(everyone, step_type, reward, self._observation())}
        final = self._observation()
        self._begin(ended)
        self._acting = np.concatenate((np.flatnonzero(step_type == _MID), ended))
        return {
            self._spec.name: _batch(
                np.concatenate((everyone, ended)),
                np.concatenate((step_type, np.full(len(ended), _FIRST, np.uint8))),
                np.concatenate((reward, np.zeros(len(ended), np.float32))),
                np.concatenate((final, self._observation()[ended])),
            )
        }

    def close(self) -> None:
        """Nothing to release."""

    def _balls_move(self, continuous: Float32Array) -> None:
        """Apply `continuous` [N, 2], whose rows are in the order of `_acting`."""
        if continuous.shape != (self._count, 2):
            raise SpecError(
                f"behaviour '{self._spec.name}' was given actions {list(continuous.shape)}; "
                f"expected {[self._count, 2]}"
            )
        tilt_speed = np.empty((2, self._count))
        tilt_speed[:, self._acting] = TILT_SPEED * np.clip(continuous.T, -1.0, 1.0)
        for _ in range(SUBSTEPS):
            self._balls.move(tilt_speed, duration_s=SUBSTEP_S)

    def _begin(self, agents: Int64Array) -> None:
        """Drop a new ball on each of these platforms, with the current settings."""
        settings, draw = self._settings, self._generator.uniform
        half_size = 0.5 * settings.platform_size
        position: FloatArray = draw(-START_OFFSET, START_OFFSET, (3, len(agents))) * half_size
        # A quarter of half the size is above a platform tilted by START_TILT about both axes.
        position[1] = settings.ball_radius + 0.25 * half_size
        position[1] += draw(0.0, settings.drop_height, len(agents))
        self._balls.place(
            agents,
            position=position,
            tilt=draw(-START_TILT, START_TILT, (2, len(agents))),
            gravity=settings.gravity,
            radius=settings.ball_radius,
            half_size=half_size,
        )
        self._steps[agents] = 0

    def _observation(self) -> Float32Array:
        """[N, 8] rotation, position, velocity."""
        balls = self._balls
        rows = np.concatenate((balls.tilt, balls.position, balls.velocity))
        return rows.T.astype(np.float32)


def _batch(
    agent_id: Int64Array, step_type: UInt8Array, reward: Float32Array, observation: Float32Array
) -> TimestepBatch:
    return TimestepBatch(
        agent_id=agent_id,
        step_type=step_type,
        reward=reward,
        observation={
            "rotation": observation[:, :2],
            "position": observation[:, 2:5],
            "velocity": observation[:, 5:],
        },
        action_mask=np.ones((len(agent_id), 0), np.bool_),
    )
