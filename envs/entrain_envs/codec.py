"""Convert numpy arrays to protobuf messages and back, checked against the behaviour's spec.

A message of one agent runs as many statements as a message of ten thousand. Decoded arrays are
read-only views of the message's own bytes. This module does not know streams.
"""

import math
import operator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from entrain_envs.errors import WireError
from entrain_envs.magnitudes import Magnitudes
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import (
    ActionBatch,
    BoolArray,
    Int32Array,
    StepType,
    TimestepBatch,
    allowing_all,
)
from entrain_envs.wire import trainer_pb2 as pb

PROTOCOL_VERSION = 1
"""The version of proto/entrain/v1/trainer.proto that this package speaks."""

REVISION = 3
"""The revision of that version whose additions this package reads; see Welcome.revision."""

Scalar = TypeVar("Scalar", bound=np.generic)

_INT64 = np.dtype(np.int64).newbyteorder("<")
_INT32 = np.dtype(np.int32).newbyteorder("<")
_UINT32 = np.dtype(np.uint32).newbyteorder("<")
_FLOAT32 = np.dtype(np.float32).newbyteorder("<")
_UINT8 = np.dtype(np.uint8)

_ANY_SIZE = Magnitudes()

MOST_ROWS = 2**28
"""A row has at least 13 bytes, and a message less than 2 GiB."""

_STEP_TYPES = bytes(int(step_type) for step_type in StepType)


def encode_timesteps(spec: BehaviourSpec, timesteps: TimestepBatch) -> pb.BehaviourStep:
    """Write K timesteps; SpecError if they do not fit `spec`.

    A mask that allows everything is left out.
    """
    timesteps.check(spec)
    mask = timesteps.action_mask
    groups, earned, late = timesteps.group_id, timesteps.group_reward, timesteps.late
    return pb.BehaviourStep(
        behaviour=spec.name,
        agent_id=timesteps.agent_id.astype(_INT64, copy=False).tobytes(),
        step_type=timesteps.step_type.tobytes(),
        reward=timesteps.reward.astype(_FLOAT32, copy=False).tobytes(),
        observations=[
            timesteps.observation[observation.name].tobytes() for observation in spec.observations
        ],
        action_mask=b"" if mask.all() else mask.tobytes(),
        group_id=b"" if groups is None else groups.astype(_INT64, copy=False).tobytes(),
        group_reward=b"" if earned is None else earned.astype(_FLOAT32, copy=False).tobytes(),
        late=b"" if late is None else late.tobytes(),
    )


def decode_timesteps(spec: BehaviourSpec, message: pb.BehaviourStep) -> TimestepBatch:
    """Read K timesteps, checked whole: sizes, step types, finite numbers.

    Raises:
        WireError: a field has another number of bytes than the spec asks for.
        SpecError: the numbers in it are not allowed (NaN, infinity, an unknown step type).
    """
    agent_id = message.agent_id
    rows, rest = divmod(len(agent_id), _INT64.itemsize)
    if rest:
        raise WireError(
            f"behaviour '{spec.name}', agent_id has {len(agent_id)} bytes; "
            f"expected a multiple of {_INT64.itemsize}, one int64 a row"
        )
    observations = message.observations
    if len(observations) != len(spec.observations):
        raise WireError(
            f"behaviour '{spec.name}' was sent with {len(observations)} observations; expected "
            f"{len(spec.observations)}, in the order of the handshake: "
            f"{', '.join(str(observation) for observation in spec.observations)}"
        )
    timesteps = TimestepBatch(
        agent_id=np.frombuffer(agent_id, _INT64),
        step_type=_array(spec, "step_type", message.step_type, _UINT8, (rows,)),
        reward=_array(spec, "reward", message.reward, _FLOAT32, (rows,)),
        observation={
            observation.name: _array(
                spec,
                f"observation '{observation.name}'",
                content,
                observation.numpy_dtype,
                (rows, *observation.shape),
            )
            for observation, content in zip(spec.observations, observations, strict=True)
        },
        action_mask=_decode_mask(spec, message.action_mask, rows),
        group_id=_array_if_sent(spec, "group_id", message.group_id, _INT64, rows),
        group_reward=_array_if_sent(spec, "group_reward", message.group_reward, _FLOAT32, rows),
        late=_decode_late(spec, message.late, rows),
    )
    timesteps.check(spec)
    return timesteps


class BehaviourCodec:
    """Reads timesteps and writes actions of one behaviour, message after message.

    The same as `decode_timesteps` and `encode_actions`, in fewer steps for the usual message: no
    mask, no groups, every size right, every number finite. Any other one is read by those
    functions. Numbers beyond `magnitudes` are refused.
    """

    def __init__(self, spec: BehaviourSpec, magnitudes: Magnitudes = _ANY_SIZE) -> None:
        self._spec = spec
        self._magnitudes = magnitudes
        self._reward_square = magnitudes.reward_square
        self._observation_square = magnitudes.observation_square
        self._observations = tuple(
            (each.name, each.shape, each.numpy_dtype, each.num_bytes, each.dtype != "uint8")
            for each in spec.observations
        )
        self._continuous_size = spec.action.continuous_size
        self._num_branches = len(spec.action.branches)
        # One number stands for every choice of any number of rows.
        self._all_allowed = allowing_all(spec, MOST_ROWS)

    def decode_timesteps(self, message: pb.BehaviourStep) -> TimestepBatch:
        """Read K timesteps. See the function of the same name, also for what is raised.

        SpecError also if a number is too large.
        """
        agent_id, step_type, reward = message.agent_id, message.step_type, message.reward
        contents, rows = message.observations, len(step_type)
        if (
            rows == 0
            or len(agent_id) != rows * _INT64.itemsize
            or len(reward) != rows * _FLOAT32.itemsize
            or message.action_mask
            or message.group_id
            or message.group_reward
            or message.late
            or step_type.translate(None, _STEP_TYPES)
            or len(contents) != len(self._observations)
        ):
            return self._decode_with_care(message)
        rewards = np.ndarray((rows,), _FLOAT32, reward)
        observation = {}
        # One pass without a copy: a sum of squares is that small only if every term is, and is
        # no number if one of them is none.
        with np.errstate(over="ignore", invalid="ignore"):
            are_usual = rewards.dot(rewards) <= self._reward_square
            for expected, content in zip(self._observations, contents, strict=True):
                name, shape, dtype, num_bytes, is_float = expected
                if len(content) != rows * num_bytes:
                    return self._decode_with_care(message)
                values = observation[name] = np.ndarray((rows, *shape), dtype, content)
                if is_float:
                    numbers = values.reshape(-1)
                    are_usual &= numbers.dot(numbers) <= self._observation_square
        if not are_usual:
            return self._decode_with_care(message)
        return TimestepBatch(
            agent_id=np.ndarray((rows,), _INT64, agent_id),
            step_type=np.ndarray((rows,), _UINT8, step_type),
            reward=rewards,
            observation=observation,
            action_mask=self._all_allowed[:rows],
        )

    def _decode_with_care(self, message: pb.BehaviourStep) -> TimestepBatch:
        timesteps = decode_timesteps(self._spec, message)
        self._magnitudes.check(self._spec, timesteps)
        return timesteps

    def encode_actions(self, actions: ActionBatch) -> pb.BehaviourAct:
        """Write A actions. See the function of the same name, also for what is raised."""
        continuous, discrete = actions.continuous, actions.discrete
        rows = len(continuous)
        if (
            continuous.shape != (rows, self._continuous_size)
            or discrete.shape != (rows, self._num_branches)
            or continuous.dtype != _FLOAT32
            or discrete.dtype != _INT32
        ):
            return encode_actions(self._spec, actions)
        return pb.BehaviourAct(
            behaviour=self._spec.name,
            continuous=continuous.tobytes(),
            discrete=discrete.tobytes(),
            policy_version=actions.policy_version,
        )


def encode_actions(spec: BehaviourSpec, actions: ActionBatch) -> pb.BehaviourAct:
    """Write A actions; WireError if their shapes do not fit `spec`."""
    rows = len(actions)
    expected = (
        ("continuous", actions.continuous, (rows, spec.action.continuous_size), _FLOAT32),
        ("discrete", actions.discrete, (rows, len(spec.action.branches)), _INT32),
    )
    for name, values, shape, dtype in expected:
        if values.shape != shape or values.dtype != dtype:
            raise WireError(
                f"behaviour '{spec.name}', {name} actions are "
                f"{values.dtype}{list(values.shape)}, expected {dtype.name}{list(shape)}"
            )
    return pb.BehaviourAct(
        behaviour=spec.name,
        continuous=actions.continuous.tobytes(),
        discrete=actions.discrete.tobytes(),
        policy_version=actions.policy_version,
    )


def decode_actions(spec: BehaviourSpec, message: pb.BehaviourAct, rows: int) -> ActionBatch:
    """Read the actions for the `rows` timesteps that needed one; WireError if they do not fit."""
    size, branches = spec.action.continuous_size, len(spec.action.branches)
    actions = ActionBatch(
        continuous=_array(spec, "continuous actions", message.continuous, _FLOAT32, (rows, size)),
        discrete=_array(spec, "discrete actions", message.discrete, _INT32, (rows, branches)),
        policy_version=message.policy_version,
    )
    if rows and branches:
        # As unsigned numbers, negative ones are larger than any choice.
        highest = actions.discrete.view(_UINT32).max(axis=0).tolist()
        if not all(map(operator.lt, highest, spec.action.branches)):
            raise _no_such_choice(spec, actions.discrete)
    return actions


def _no_such_choice(spec: BehaviourSpec, discrete: Int32Array) -> WireError:
    """The error for choices of which one is not among its branch's."""
    branches = spec.action.branches
    row, branch = np.argwhere((discrete < 0) | (discrete >= np.array(branches)))[0].tolist()
    return WireError(
        f"behaviour '{spec.name}', discrete actions have choice {discrete[row, branch]} in row "
        f"{row}, branch {branch}; expected 0 to {branches[branch] - 1}: the trainer that chose it "
        "has another spec, or the message was damaged"
    )


def _array(
    spec: BehaviourSpec,
    field: str,
    content: bytes,
    dtype: np.dtype[Scalar],
    shape: tuple[int, ...],
) -> npt.NDArray[Scalar]:
    """View `content` as an array; WireError if its length does not fit."""
    expected = math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise WireError(
            f"behaviour '{spec.name}', {field} has {len(content)} bytes; "
            f"expected {expected}: {dtype.name}{list(shape)}, little-endian, rows first"
        )
    return np.ndarray(shape, dtype, content)


def _array_if_sent(
    spec: BehaviourSpec, field: str, content: bytes, dtype: np.dtype[Scalar], rows: int
) -> npt.NDArray[Scalar] | None:
    """[rows] numbers, or None if the field is empty."""
    return _array(spec, field, content, dtype, (rows,)) if content else None


def _decode_mask(spec: BehaviourSpec, content: bytes, rows: int) -> BoolArray:
    shape = (rows, spec.action.num_choices)
    if not content:
        return np.ones(shape, np.bool_)
    mask = _array(spec, "action_mask", content, _UINT8, shape)
    if mask.max() > 1:
        raise WireError(
            f"behaviour '{spec.name}', action_mask holds {mask.max()}; "
            "expected 1 where a choice is allowed and 0 where it is not"
        )
    return mask.view(np.bool_)


def _decode_late(spec: BehaviourSpec, content: bytes, rows: int) -> BoolArray | None:
    """[rows], or None if no row is late."""
    late = _array_if_sent(spec, "late", content, _UINT8, rows)
    if late is None or not late.any():
        return None
    if late.max() > 1:
        raise WireError(
            f"behaviour '{spec.name}', late holds {late.max()}; expected 1 where the fallback "
            "acted and 0 where the trainer's action did"
        )
    return late.view(np.bool_)
