"""Checks what a program gives a policy to act on, for one agent or several; makes timesteps.

Shapes: K rows, one for each agent; C choices over all branches. Without the first dimension, all of
it is one agent's.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from entrain.errors import PolicyInputError
from entrain.quoting import listed, shortened
from entrain_envs.errors import SpecError
from entrain_envs.spec import BehaviourSpec, ObservationSpec
from entrain_envs.timestep import (
    Array,
    BoolArray,
    Float32Array,
    Int64Array,
    allowing_all,
    check_observation,
)

_END: Final = 2**63
"""Above every number of an agent."""


def read_observation(spec: BehaviourSpec, given: Any) -> tuple[Mapping[str, Array], bool]:
    """Returns {name: [K, *shape]} of what was given, and whether it was one agent's, so K is 1.

    Args:
        spec: of the behaviour.
        given: {name: [*shape] or [K, *shape]}, or the array itself where there is one observation.

    Raises:
        PolicyInputError: names, shapes, dtypes or numbers do not fit.
    """
    names = spec.observation_names
    if not isinstance(given, Mapping):
        if len(names) > 1:
            raise PolicyInputError(
                f"the policy of '{spec.name}' observes {listed(list(names))}; give a dict with all "
                f"of them, and not a {type(given).__name__}"
            )
        given = {names[0]: given}
    if set(given) != set(names):
        raise PolicyInputError(
            f"the observation has {listed([str(each) for each in given]) or 'nothing'}; the policy "
            f"of '{spec.name}' observes {listed(list(names))}"
        )
    came = {each.name: _array(spec, each, given[each.name]) for each in spec.observations}
    counts = {each.name: _rows_of(spec, each, came[each.name]) for each in spec.observations}
    arrays = {each.name: _in_its_dtype(each, came[each.name]) for each in spec.observations}
    if len(set(counts.values())) > 1:
        words = [f"'{name}' of {count or 'one agent alone'}" for name, count in counts.items()]
        raise PolicyInputError(f"observations are of different numbers of agents: {listed(words)}")
    count = counts[names[0]]
    if count is None:
        arrays = {name: array[np.newaxis] for name, array in arrays.items()}
    for each in spec.observations:
        try:
            check_observation(spec.name, each, arrays[each.name], rows=count or 1)
        except SpecError as error:
            raise PolicyInputError(str(error)) from None
    return arrays, count is None


def _array(behaviour: BehaviourSpec, spec: ObservationSpec, given: Any) -> npt.NDArray[Any]:
    try:
        return np.asarray(given)
    except ValueError:
        raise PolicyInputError(
            f"observation '{spec.name}' of '{behaviour.name}' is a {type(given).__name__} of parts "
            f"of different shapes; expected {_wanted(spec)}. What `environment.reset()` returns is "
            "(observation, info): give its first part"
        ) from None


def _in_its_dtype(spec: ObservationSpec, array: npt.NDArray[Any]) -> Array:
    """The array in the dtype of `spec`, if nothing is lost by it."""
    wanted = spec.numpy_dtype
    if array.dtype == wanted:
        return np.ascontiguousarray(array)
    is_number = array.dtype.kind in "biuf"
    if wanted == np.float32 and is_number:
        return array.astype(np.float32)
    is_byte = array.dtype.kind in "biu" and array.size > 0 and 0 <= array.min() <= array.max() < 256
    if wanted == np.uint8 and is_byte:
        return array.astype(np.uint8)
    raise PolicyInputError(
        f"observation '{spec.name}' is {_shown(array)}; expected {_wanted(spec)}"
        + (", whole numbers from 0 to 255" if wanted == np.uint8 else "")
    )


def _rows_of(
    behaviour: BehaviourSpec, spec: ObservationSpec, array: npt.NDArray[Any]
) -> int | None:
    """How many agents' it is; None if it is one's, without that dimension."""
    if array.shape == spec.shape:
        return None
    if array.ndim == len(spec.shape) + 1 and array.shape[1:] == spec.shape and len(array):
        return len(array)
    several = ", ".join(["agents", *map(str, spec.shape)])
    raise PolicyInputError(
        f"observation '{spec.name}' of '{behaviour.name}' is {_shown(array)}; expected "
        f"{_wanted(spec)}, or {spec.dtype}[{several}] for several"
    )


def read_mask(spec: BehaviourSpec, given: Any, *, rows: int, is_one: bool) -> BoolArray:
    """[K, C] which choices are allowed; everything if `given` is None.

    Args:
        spec: of the behaviour.
        given: [K, C], or [C] for one agent or for all.
        rows: K.
        is_one: whether the observation was of one agent alone.

    Raises:
        PolicyInputError: it is no such mask.
    """
    choices = spec.action.num_choices
    if given is None:
        return allowing_all(spec, rows)
    array = np.asarray(given)
    if not choices:
        raise PolicyInputError(f"a mask was given, and '{spec.name}' has no choices to mask")
    is_mask = array.dtype == np.bool_ or bool(np.isin(array, (0, 1)).all())
    if not is_mask or array.shape not in {(choices,), (rows, choices)}:
        several = "" if is_one else f" or bool[{rows}, {choices}]"
        raise PolicyInputError(
            f"the mask is {_shown(array)}; expected bool[{choices}]{several}, true or 1 where a "
            f"choice is allowed: branches {list(spec.action.branches)} side by side"
        )
    return np.broadcast_to(array.astype(np.bool_), (rows, choices)).copy()


def read_rows(name: str, given: Any, rows: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """[K] of one value for all rows, or one for each; PolicyInputError if it is neither."""
    array = np.asarray(given)
    if array.shape not in {(), (rows,)} or array.dtype.kind not in "biuf":
        raise PolicyInputError(
            f"{name} is {_shown(array)}; expected one value, or one for each of {rows} agents"
        )
    return np.broadcast_to(array.astype(dtype), (rows,)).copy()


def read_flags(name: str, given: Any, rows: int) -> BoolArray:
    """[K] as `read_rows`, of true or false alone; 1 and 0 are taken for them."""
    array = read_rows(name, given, rows, np.float64)
    if not np.isin(array, (0.0, 1.0)).all():
        raise PolicyInputError(f"{name} is {_quoted(given)}; expected true or false, or 1 or 0")
    return array.astype(np.bool_)


def agent_numbers(given: Any) -> Int64Array:
    """[K] the numbers of agents; PolicyInputError if one is no whole number."""
    numbers = list(given) if isinstance(given, Iterable) else given
    # As objects, so that numpy changes none.
    array = np.asarray(numbers, np.object_)
    values: list[Any] = array.ravel().tolist()
    are_whole = all(isinstance(it, int | np.integer) and -_END <= it < _END for it in values)
    if array.ndim != 1 or not are_whole:
        raise PolicyInputError(
            f"agents are {_quoted(numbers)}; expected whole numbers, such as [0, 3], of 64 bits"
        )
    return array.astype(np.int64)


def read_agents(given: Iterable[int] | None, rows: int) -> Int64Array:
    """[K] the number of each row's agent; 0, 1, ... if none are given.

    PolicyInputError if they are too few or too many, no numbers, or one is named twice.
    """
    agents = agent_numbers(range(rows) if given is None else given)
    if len(agents) != rows or len(np.unique(agents)) != rows:
        raise PolicyInputError(
            f"agents are {_quoted(agents.tolist())}; expected {rows} different numbers, one for "
            "each row of the observation"
        )
    return agents


def require_finite(reward: Float32Array) -> Float32Array:
    """Returns the rewards; PolicyInputError if one is no finite number."""
    if not np.isfinite(reward).all():
        raise PolicyInputError(f"reward holds {reward[~np.isfinite(reward)][0]}; it must be finite")
    return reward


def _quoted(given: Any) -> str:
    return shortened(repr(given))


def _shown(array: npt.NDArray[Any]) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _wanted(spec: ObservationSpec) -> str:
    return f"{spec.dtype}{list(spec.shape)}"
