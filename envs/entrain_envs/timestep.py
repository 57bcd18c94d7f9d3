"""What crosses the wire, as numpy: timesteps of many agents at once, and the actions for them.

Nothing here knows of protobuf or gRPC; `codec` turns these into bytes and back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from entrain_envs.errors import SpecError
from entrain_envs.spec import BehaviourSpec, check_finite, is_finite

Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]
Array = npt.NDArray[np.generic]


class StepType(IntEnum):
    """Where in an episode a timestep stands. The numbers are those of the wire."""

    FIRST = 1
    """The first observation of an episode; needs an action."""

    MID = 2
    """The outcome of the last action, and the episode goes on; needs an action."""

    TERMINATED = 3
    """The outcome of the last action, after which the future is worth zero."""

    TRUNCATED = 4
    """The outcome of the last action, after which the episode was cut by a limit."""


# Plain values of the hot path: looking a member up in an Enum costs a microsecond each time.
_FIRST = np.uint8(StepType.FIRST)
_MID = np.uint8(StepType.MID)
_TRUNCATED = np.uint8(StepType.TRUNCATED)
_INT64 = np.dtype(np.int64)
_FLOAT32 = np.dtype(np.float32)
_UINT8 = np.dtype(np.uint8)
_BOOL = np.dtype(np.bool_)


@dataclass(frozen=True)
class TimestepBatch:
    """K timesteps of one behaviour. An agent has at most two: the end of one episode (TERMINATED
    or TRUNCATED, with the true final observation), then the FIRST of the next.
    """

    agent_id: Int64Array
    """[K] the simulator's own numbers; an agent keeps its number while it lives."""

    step_type: UInt8Array
    """[K] each a `StepType`."""

    reward: Float32Array
    """[K] what the agent earned for its last action; zero where FIRST."""

    observation: Mapping[str, Array]
    """{name: [K, *shape]} in the spec's dtype."""

    action_mask: BoolArray
    """[K, num_choices] true where a choice is allowed; [K, 0] if there are no branches."""

    @classmethod
    def of(
        cls,
        spec: BehaviourSpec,
        *,
        agent_id: npt.ArrayLike,
        step_type: npt.ArrayLike,
        reward: npt.ArrayLike,
        observation: Mapping[str, npt.ArrayLike],
        action_mask: npt.ArrayLike = True,
    ) -> "TimestepBatch":
        """Make a batch of whatever numpy can read; one number may stand for all K rows.

        Args:
            spec: says the dtypes; the shapes are checked when the batch is sent.
            agent_id: [K].
            step_type: [K], or one for all rows.
            reward: [K], or one for all rows.
            observation: {name: [K, *shape]}.
            action_mask: [K, num_choices]; left out, everything is allowed.
        """
        ids = np.asarray(agent_id, np.int64)
        rows = len(ids)
        try:
            return cls(
                agent_id=ids,
                step_type=np.broadcast_to(np.asarray(step_type, np.uint8), (rows,)),
                reward=np.broadcast_to(np.asarray(reward, np.float32), (rows,)),
                observation={
                    name: np.asarray(values, spec.observation(name).numpy_dtype)
                    for name, values in observation.items()
                },
                action_mask=np.broadcast_to(
                    np.asarray(action_mask, np.bool_), (rows, spec.action.num_choices)
                ),
            )
        except SpecError:
            raise
        except ValueError as error:
            raise SpecError(
                f"behaviour '{spec.name}': {error}; every array needs one row for each of "
                f"{rows} agents"
            ) from None

    def __len__(self) -> int:
        return len(self.agent_id)

    @property
    def needs_action(self) -> BoolArray:
        """[K] true where FIRST or MID."""
        return self.step_type <= _MID

    def check(self, spec: BehaviourSpec) -> None:
        """Raise SpecError unless every array fits `spec` and every number is finite."""
        rows = len(self.agent_id)
        expected: tuple[tuple[str, Array, tuple[int, ...], np.dtype[np.generic]], ...] = (
            ("agent_id", self.agent_id, (rows,), _INT64),
            ("step_type", self.step_type, (rows,), _UINT8),
            ("reward", self.reward, (rows,), _FLOAT32),
            ("action_mask", self.action_mask, (rows, spec.action.num_choices), _BOOL),
        )
        for name, values, shape, dtype in expected:
            if values.shape != shape or values.dtype != dtype:
                raise SpecError(
                    f"behaviour '{spec.name}', {name} is {values.dtype}{list(values.shape)}, "
                    f"expected {dtype}{list(shape)}"
                )
        if rows == 0:
            return
        # Unsigned: 0 wraps around to 255, so that one comparison finds both ends of the range.
        if (self.step_type - _FIRST).max() > _TRUNCATED - _FIRST:
            raise SpecError(
                f"behaviour '{spec.name}', step_type holds {sorted(set(self.step_type.tolist()))}; "
                "it must be 1 FIRST, 2 MID, 3 TERMINATED or 4 TRUNCATED"
            )
        if not is_finite(self.reward):
            check_finite(self.reward, f"behaviour '{spec.name}', reward")
        if self.observation.keys() != spec.observation_names:
            raise SpecError(
                f"behaviour '{spec.name}' was given observations "
                f"{', '.join(sorted(self.observation))}; "
                f"expected {', '.join(observation.name for observation in spec.observations)}"
            )
        for name, values in self.observation.items():
            spec.check_observation(name, values, rows=rows)
        self._check_mask(spec)

    def _check_mask(self, spec: BehaviourSpec) -> None:
        """Raise SpecError if a row that needs an action has a branch with no allowed choice."""
        if not spec.action.branches or self.action_mask.all():
            return
        first_choices = np.cumsum((0, *spec.action.branches[:-1]))
        possible = np.logical_or.reduceat(self.action_mask, first_choices, axis=1)
        stuck = ~possible & self.needs_action[:, None]
        if stuck.any():
            row, branch = np.argwhere(stuck)[0]
            raise SpecError(
                f"behaviour '{spec.name}', action_mask row {row} (agent {self.agent_id[row]}) "
                f"allows none of the {spec.action.branches[branch]} choices of branch {branch}; "
                "allow at least one, or end the agent's episode"
            )


@dataclass(frozen=True)
class ActionBatch:
    """Actions for the A rows of a `TimestepBatch` that needed one, in their order."""

    continuous: Float32Array
    """[A, continuous_size] within the spec's bounds."""

    discrete: Int32Array
    """[A, number of branches] each from 0 to the branch's number of choices - 1."""

    policy_version: int
    """How many updates the policy that chose them had seen."""

    def __len__(self) -> int:
        return len(self.continuous)
