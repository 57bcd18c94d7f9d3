"""Translate Gymnasium's spaces to specs: named observations, continuous dimensions, branches.

The Gymnasium and PettingZoo adapters share this module. It does not know episodes.
"""

import logging
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from entrain_envs.errors import OptionError, SpecError
from entrain_envs.observation_kinds import SINGLE_NAME
from entrain_envs.rows import WriteObservation
from entrain_envs.spec import UNBOUNDED_FROM, ActionSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, Array

logger = logging.getLogger(__name__)

Space = spaces.Space[Any]

ReadActions = Callable[[ActionBatch], Iterable[Any]]
"""Turns a batch into actions of the environment, one for each row."""

_OBSERVED = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary

NO_KINDS: Mapping[str, str] = MappingProxyType({})
"""Every observation is what it looks like."""

GOAL = "desired_goal"
"""The name of what to do, in environments with goals (gymnasium_robotics.GoalEnv)."""


@dataclass(frozen=True)
class ObservationLayout:
    """How an environment's observation becomes named arrays."""

    specs: tuple[ObservationSpec, ...]
    write: WriteObservation


@dataclass(frozen=True)
class ActionLayout:
    """How rows of an `ActionBatch` become actions of an environment."""

    spec: ActionSpec
    read: ReadActions


def observation_layout(
    space: Space, *, where: str, kinds: Mapping[str, str] = NO_KINDS
) -> ObservationLayout:
    """Lay out an observation space; Dict and Tuple become several named observations.

    A Box of float32 or uint8 keeps its dtype, flags become uint8, and other numbers float32. A
    discrete choice becomes one-hot. A part of no fixed size (Text, Graph, Sequence, OneOf) is left
    out with a warning, unless there is nothing else.

    Args:
        space: of one agent.
        where: for messages.
        kinds: {name: kind} of observations that are something else than they look like, see
            `default_kind`. `desired_goal` is a goal without being named here.

    Raises:
        SpecError: nothing in the space has a fixed size, or a kind does not fit its shape.
    """
    _check_is_space(space, "observation_space", where)
    specs: list[ObservationSpec] = []
    writers: list[WriteObservation] = []
    leaves = _leaves(space, SINGLE_NAME, ())
    usable = [leaf for leaf in leaves if isinstance(leaf[2], _OBSERVED)]
    for name, _, leaf in leaves if usable else ():
        if not isinstance(leaf, _OBSERVED):
            logger.warning(
                "%s: observation '%s' is left out, because a %s has no fixed number of numbers; "
                "wrap the environment if its policy needs it",
                *(where, name, type(leaf).__name__),
            )
    for name, path, leaf in usable or leaves:
        spec, writer = _observation_leaf(leaf, name, path, where, kinds.get(name, ""))
        specs.append(spec)
        writers.append(writer)

    def write_all(arrays: Mapping[str, Array], row: int, observation: Any) -> None:
        for writer in writers:
            writer(arrays, row, observation)

    return ObservationLayout(tuple(specs), writers[0] if len(writers) == 1 else write_all)


def check_kinds(kinds: Mapping[str, str], specs: Iterable[ObservationSpec]) -> None:
    """Raise OptionError if a name in `kinds` is not that of an observation."""
    names = sorted({spec.name for spec in specs})
    for name in kinds:
        if name not in names:
            raise OptionError(
                f"there is no observation '{name}' whose kind could be {kinds[name]} "
                f"(there is: {', '.join(names)})"
            )


def without_bounds(
    specs: Iterable[ObservationSpec], names: Container[str]
) -> tuple[ObservationSpec, ...]:
    """The specs, those of these names without bounds, because their numbers are changed."""
    return tuple(replace(spec, low=(), high=()) if spec.name in names else spec for spec in specs)


def action_layout(space: Space, *, where: str) -> ActionLayout:
    """Lay out Box, Discrete, MultiDiscrete, MultiBinary, and Dict or Tuple of them.

    Raises:
        SpecError: for any other space.
    """
    _check_is_space(space, "action_space", where)
    low: list[float] = []
    high: list[float] = []
    branches: list[int] = []
    read = _action_reader(space, low, high, branches, where)
    far = sorted({bound for bound in low + high if UNBOUNDED_FROM <= abs(bound) < np.inf})
    if far:
        logger.info(
            "%s: action bounds of %s are taken as none, as all from %.0e on: actions begin near 0; "
            "wrap it in gymnasium.wrappers.RescaleAction if they are meant",
            *(where, " and ".join(f"{bound:.3g}" for bound in far), UNBOUNDED_FROM),
        )
    return ActionLayout(ActionSpec(tuple(low), tuple(high), tuple(branches)), read)


def _check_is_space(space: Any, name: str, where: str) -> None:
    if not isinstance(space, spaces.Space):
        # Gymnasium's checker says it like this.
        raise SpecError(
            f"{where}: its {name} does not inherit from `gymnasium.spaces.Space`, actual type: "
            f"{type(space)}; set self.{name} in __init__, with the spaces of gymnasium, not gym"
        )


def _leaves(
    space: Space, name: str, path: tuple[Any, ...]
) -> Sequence[tuple[str, tuple[Any, ...], Space]]:
    """The spaces in `space` that are no Dict or Tuple, each with its name and path."""
    parts: list[tuple[Any, Space]]
    if isinstance(space, spaces.Dict):
        parts = list(space.spaces.items())
    elif isinstance(space, spaces.Tuple):
        parts = list(enumerate(space.spaces))
    else:
        return [(name, path, space)]
    return [
        leaf
        for key, part in parts
        for leaf in _leaves(part, f"{name}/{key}" if path else str(key), (*path, key))
    ]


def _observation_leaf(
    space: Space, name: str, path: tuple[Any, ...], where: str, kind: str
) -> tuple[ObservationSpec, WriteObservation]:
    is_goal = not kind and path[-1:] == (GOAL,)
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        spec = _numbers(space, name, kind)
        if is_goal and spec.kind == "vector":
            spec = replace(spec, kind="goal")
        return spec, _copy(name, path, spec.shape, are_flags=space.dtype == np.bool_)
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        choices = np.ravel(space.n if isinstance(space, spaces.Discrete) else space.nvec)
        write = _one_hot(name, path, choices, start=np.ravel(space.start))
        return ObservationSpec(name, (int(choices.sum()),), kind="goal" if is_goal else kind), write
    raise SpecError(
        f"{where} observes {space} as '{name}'; supported are Box, Discrete, MultiDiscrete, "
        "MultiBinary, and Dict or Tuple of them: wrap the environment so that it observes these"
    )


def _numbers(space: spaces.Box | spaces.MultiBinary, name: str, kind: str) -> ObservationSpec:
    """The spec of numbers, with the bounds that matter: those of integers and of images."""
    is_byte = space.dtype in (np.uint8, np.bool_) and kind != "entities"
    shape, dtype = tuple(space.shape), "uint8" if is_byte else "float32"
    low, high = _box_bounds(space) if isinstance(space, spaces.Box) else ((0.0,), (1.0,))
    spec = ObservationSpec(name, shape, dtype, kind, low, high)
    if spec.kind == "image":
        return replace(spec, low=(min(low),), high=(max(high),))
    if np.issubdtype(space.dtype, np.floating):
        return replace(spec, low=(), high=())
    return spec


def _box_bounds(space: spaces.Box) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper bounds: one for all numbers if they are equal."""
    low, high = (np.ravel(bound).astype(np.float64) for bound in (space.low, space.high))
    if len(set(low)) == len(set(high)) == 1:
        low, high = low[:1], high[:1]
    return tuple(low.tolist()), tuple(high.tolist())


def _copy(
    name: str, path: tuple[Any, ...], shape: tuple[int, ...], *, are_flags: bool
) -> WriteObservation:
    def copy(arrays: Mapping[str, Array], row: int, observation: Any) -> None:
        for key in path:
            observation = observation[key]
        # numpy would silently broadcast a smaller observation over the row.
        if np.shape(observation) != shape:
            raise ValueError(f"'{name}' has shape {list(np.shape(observation))}")
        arrays[name][row] = np.not_equal(observation, 0) if are_flags else observation

    return copy


def _one_hot(
    name: str,
    path: tuple[Any, ...],
    choices: npt.NDArray[Any],
    *,
    start: npt.NDArray[Any],
) -> WriteObservation:
    block = np.cumsum(choices) - choices

    def one_hot(arrays: Mapping[str, Array], row: int, observation: Any) -> None:
        for key in path:
            observation = observation[key]
        choice = np.ravel(observation) - start
        if ((choice < 0) | (choice >= choices)).any():
            raise ValueError(f"'{name}' is {observation}")
        arrays[name][row, block + choice] = 1.0

    return one_hot


def _action_reader(
    space: Space, low: list[float], high: list[float], branches: list[int], where: str
) -> ReadActions:
    """Make a reader for actions of `space`; append its dimensions and branches to the lists."""
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return _box_reader(space, low, high)
    if isinstance(space, spaces.Discrete):
        return _discrete_reader(space, branches)
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        return _multi_discrete_reader(space, branches)
    if isinstance(space, spaces.Tuple):
        readers = [_action_reader(part, low, high, branches, where) for part in space.spaces]
        return lambda actions: list(zip(*(read(actions) for read in readers), strict=True))
    if isinstance(space, spaces.Dict):
        named = {
            key: _action_reader(part, low, high, branches, where)
            for key, part in space.spaces.items()
        }
        return lambda actions: [
            dict(zip(named, parts, strict=True))
            for parts in zip(*(read(actions) for read in named.values()), strict=True)
        ]
    raise SpecError(
        f"{where} acts with {space}; supported are Box of floats, Discrete, MultiDiscrete, "
        "MultiBinary, and Dict or Tuple of them: wrap the environment so that it takes these"
    )


def _box_reader(space: spaces.Box, low: list[float], high: list[float]) -> ReadActions:
    begin = len(low)
    low.extend(np.ravel(space.low).tolist())
    high.extend(np.ravel(space.high).tolist())
    end = len(low)
    is_wide = space.dtype != np.float32

    def read(actions: ActionBatch) -> npt.NDArray[Any]:
        # A copy, because some environments write into their action.
        values = actions.continuous[:, begin:end].astype(space.dtype)
        values = values.reshape(len(values), *space.shape)
        if is_wide:  # the float32 nearest to a float64 bound may lie outside it
            np.clip(values, space.low, space.high, out=values)
        return values

    return read


def _discrete_reader(space: spaces.Discrete, branches: list[int]) -> ReadActions:
    branch, start = len(branches), int(space.start)
    branches.append(int(space.n))

    def read(actions: ActionBatch) -> Sequence[int]:
        choices: list[int] = (actions.discrete[:, branch] + start).tolist()
        return choices

    return read


def _multi_discrete_reader(
    space: spaces.MultiDiscrete | spaces.MultiBinary, branches: list[int]
) -> ReadActions:
    begin = len(branches)
    start: npt.NDArray[Any] | int = 0
    if isinstance(space, spaces.MultiDiscrete):
        branches.extend(np.ravel(space.nvec).tolist())
        start = space.start
    else:
        branches.extend([2] * int(np.prod(space.shape)))
    end = len(branches)

    def read(actions: ActionBatch) -> npt.NDArray[Any]:
        choices = actions.discrete[:, begin:end].astype(space.dtype)
        return choices.reshape(len(choices), *space.shape) + start

    return read
