"""Timesteps of many agents at once, and the actions for them, as numpy arrays.

This module does not know protobuf or gRPC; `codec` converts these to bytes and back.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from entrain_envs.errors import SpecError
from entrain_envs.shapes import Bool, Float, Int, Shaped, UInt
from entrain_envs.spec import BehaviourSpec, ObservationSpec

Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]
Array = npt.NDArray[np.generic]
Scalar = TypeVar("Scalar", bound=np.generic)


class StepType(IntEnum):
    """Where a timestep stands in its episode. The numbers are those of the wire."""

    FIRST = 1
    """The first observation of an episode; needs an action."""

    MID = 2
    """The outcome of the last action, and the episode goes on; needs an action."""

    TERMINATED = 3
    """The outcome of the last action, which ended the episode: its future return is zero."""

    TRUNCATED = 4
    """The outcome of the last action; a limit then cut the episode off."""


# Plain values for the hot path: an Enum lookup costs a microsecond each time.
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

    agent_id: Int[Int64Array, " K"]
    """[K] the simulator's own numbers. An agent keeps its number for life."""

    step_type: UInt[UInt8Array, " K"]
    """[K] each a `StepType`."""

    reward: Float[Float32Array, " K"]
    """[K] reward for the agent's last action; zero where FIRST."""

    observation: Mapping[str, Shaped[Array, "K ..."]]
    """{name: [K, *shape]} in the spec's dtype."""

    action_mask: Bool[BoolArray, "K C"]
    """[K, num_choices] true where a choice is allowed; [K, 0] if there are no branches."""

    group_id: Int[Int64Array, " K"] | None = None
    """[K] the group that an agent belongs to, 0 for none. None: no agent has a group."""

    group_reward: Float[Float32Array, " K"] | None = None
    """[K] what the agent's group earned, beside `reward`; zero where FIRST. None: nothing."""

    late: Bool[BoolArray, " K"] | None = None
    """[K] true where the trainer's action came too late, so that the simulator's fallback led to
    this row; false where FIRST. None: every action was the trainer's."""

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
        group_id: npt.ArrayLike | None = None,
        group_reward: npt.ArrayLike | None = None,
        late: npt.ArrayLike | None = None,
    ) -> "TimestepBatch":
        """Make a batch from anything that numpy can read; one number may stand for all K rows.

        Args:
            spec: gives the dtypes. Shapes are checked when the batch is sent.
            agent_id: [K].
            step_type: [K], or one for all rows.
            reward: [K], or one for all rows.
            observation: {name: [K, *shape]}.
            action_mask: [K, num_choices]; by default every choice is allowed.
            group_id: [K], or one for all rows; by default no agent has a group.
            group_reward: [K], or one for all rows.
            late: [K], or one for all rows; by default every action was the trainer's.
        """
        rows = len(ids := np.asarray(agent_id, np.int64))
        mask_shape = (rows, spec.action.num_choices)
        try:
            return cls(
                agent_id=ids,
                step_type=np.broadcast_to(np.asarray(step_type, np.uint8), (rows,)),
                reward=np.broadcast_to(np.asarray(reward, np.float32), (rows,)),
                observation={
                    name: np.asarray(values, spec.observation(name).numpy_dtype)
                    for name, values in observation.items()
                },
                action_mask=np.broadcast_to(np.asarray(action_mask, np.bool_), mask_shape),
                group_id=_of_each(group_id, np.dtype(np.int64), rows),
                group_reward=_of_each(group_reward, np.dtype(np.float32), rows),
                late=_of_each(late, _BOOL, rows),
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

    @property
    def earned(self) -> Float32Array:
        """[K] what each agent got for its last action: its own reward and its group's."""
        return self.reward if self.group_reward is None else self.reward + self.group_reward

    def without_groups(self) -> "TimestepBatch":
        """The same rows for a receiver that knows no groups: `reward` is all that was earned."""
        if self.group_id is None and self.group_reward is None:
            return self
        return replace(self, reward=self.earned, group_id=None, group_reward=None)

    def check(self, spec: BehaviourSpec) -> None:
        """Raise SpecError unless every array fits `spec` and every number is finite."""
        rows = len(self.agent_id)
        expected: tuple[tuple[str, Array | None, tuple[int, ...], np.dtype[np.generic]], ...] = (
            ("agent_id", self.agent_id, (rows,), _INT64),
            ("step_type", self.step_type, (rows,), _UINT8),
            ("reward", self.reward, (rows,), _FLOAT32),
            ("action_mask", self.action_mask, (rows, spec.action.num_choices), _BOOL),
            ("group_id", self.group_id, (rows,), _INT64),
            ("group_reward", self.group_reward, (rows,), _FLOAT32),
            ("late", self.late, (rows,), _BOOL),
        )
        for name, values, shape, dtype in expected:
            if values is not None and (values.shape != shape or values.dtype != dtype):
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
            check_finite(self.reward, f"behaviour '{spec.name}', reward", self.agent_id)
        if self.group_reward is not None:
            where = f"behaviour '{spec.name}', group_reward"
            check_finite(self.group_reward, where, self.agent_id)
        if self.late is not None and (self.late & (self.step_type == _FIRST)).any():
            row = int((self.late & (self.step_type == _FIRST)).argmax())
            raise SpecError(
                f"behaviour '{spec.name}', late row {row} (agent {self.agent_id[row]}) is 1 and "
                "the row is FIRST; no action leads to such a row, so its late must be 0"
            )
        if self.observation.keys() != set(spec.observation_names):
            raise SpecError(
                f"behaviour '{spec.name}' was given observations "
                f"{', '.join(sorted(self.observation))}; "
                f"expected {', '.join(observation.name for observation in spec.observations)}"
            )
        for observation in spec.observations:
            values = self.observation[observation.name]
            check_observation(spec.name, observation, values, rows=rows, agent_id=self.agent_id)
        if spec.action.branches and not self.action_mask.all():
            self._check_mask(spec)

    def _check_mask(self, spec: BehaviourSpec) -> None:
        """Raise SpecError if a row that needs an action has a branch with no allowed choice."""
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
    """Actions for the A rows of a `TimestepBatch` that need one, in the same order."""

    continuous: Float[Float32Array, "A D"]
    """[A, continuous_size] within the spec's bounds."""

    discrete: Int[Int32Array, "A N"]
    """[A, number of branches] each from 0 to the branch's number of choices - 1."""

    policy_version: int
    """How many updates the policy had made when it chose these actions."""

    def __len__(self) -> int:
        return len(self.continuous)


def allowing_all(spec: BehaviourSpec, rows: int) -> BoolArray:
    """[rows, num_choices] a mask that allows everything, read-only; one number in memory."""
    return np.broadcast_to(np.True_, (rows, spec.action.num_choices))


def allows_all(action_mask: BoolArray) -> bool:
    """True for a mask made by `allowing_all`, found without reading its numbers.

    Another mask that allows everything gives False.
    """
    return action_mask.strides == (0, 0) and action_mask.size > 0 and bool(action_mask[0, 0])


def check_observation(
    behaviour: str,
    spec: ObservationSpec,
    values: npt.NDArray[np.generic],
    *,
    rows: int,
    agent_id: Int64Array | None = None,
) -> None:
    """Raise SpecError unless `values` are `rows` observations that fit `spec`, all finite.

    Args:
        behaviour: name for the message.
        spec: of this observation.
        values: [rows, *shape] of the spec's dtype.
        rows: how many timesteps the message has.
        agent_id: [rows] for the message, if they are known.
    """
    if values.shape != (rows, *spec.shape) or values.dtype != spec.numpy_dtype:
        raise SpecError(
            f"behaviour '{behaviour}', observation '{spec.name}' is "
            f"{values.dtype}{list(values.shape)}, expected {spec.dtype}{[rows, *spec.shape]}"
        )
    if spec.dtype != "uint8" and not is_finite(values):
        check_finite(values, f"behaviour '{behaviour}', observation '{spec.name}'", agent_id)


def _of_each(
    values: npt.ArrayLike | None, dtype: np.dtype[Scalar], rows: int
) -> npt.NDArray[Scalar] | None:
    """[rows] of what may be one number for all rows, or nothing."""
    return None if values is None else np.broadcast_to(np.asarray(values, dtype), (rows,))


def is_finite(values: npt.NDArray[np.generic]) -> bool:
    """Whether all float32 `values` are finite."""
    numbers = values.reshape(-1)
    # The sum of squares is finite only if every number is, and takes the least time. Squares of
    # huge numbers overflow where those do not: float32 cannot overflow a float64 sum.
    with np.errstate(over="ignore", invalid="ignore"):
        if math.isfinite(numbers.dot(numbers)):
            return True
        return math.isfinite(np.add.reduce(numbers, dtype=np.float64))


def check_finite(
    values: npt.NDArray[np.generic], where: str, agent_id: Int64Array | None = None
) -> None:
    """Raise SpecError naming the first row of `values`, and its agent, that is not finite."""
    bad = ~np.isfinite(values.astype(np.float64)).reshape(len(values), -1)
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        flat = values.reshape(len(values), -1)[row]
        number = flat[int(bad[row].argmax())]
        agent = "" if agent_id is None else f" (agent {agent_id[row]})"
        raise SpecError(
            f"{where}, row {row}{agent} holds {number}; all numbers must be finite: find where the "
            f"simulator divides by zero, lets a body leave the world, or exceeds what float32 "
            f"holds (3.4e38){_swapped(values)}"
        )


def _swapped(values: npt.NDArray[np.generic]) -> str:
    """A hint, if the numbers make sense when their bytes are read in the other order."""
    other = np.abs(values.astype(np.float32).byteswap().astype(np.float64))
    if np.isfinite(other).all() and ((other == 0) | ((other > 1e-6) & (other < 1e9))).all():
        return (
            f"; read as big-endian bytes they would be {other.flat[0]:g} and the like: the wire is "
            "little-endian"
        )
    return ""
