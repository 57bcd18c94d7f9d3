"""Where an environment says which actions are allowed, and how that becomes one row of booleans.

Understood are `info["action_mask"]` (Taxi), an entry "action_mask" of a Dict observation (RLlib,
PettingZoo) and a method `action_masks()` (sb3-contrib), each also beneath wrappers. This module
does not know episodes.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from entrain_envs.errors import SpecError
from entrain_envs.first_calls import layers
from entrain_envs.rows import FlattenMask, flat_mask

logger = logging.getLogger(__name__)

MASK = "action_mask"
"""Name of a mask in an observation or in an info."""

METHOD = "action_masks"
"""Name of the method that gives a mask, as sb3-contrib calls it."""

ALIKE = (METHOD, "avail_actions", "available_actions", "legal_actions", "valid_actions", "mask")
"""Names that are no masks to anyone here, though someone may think so."""


@dataclass(frozen=True)
class MaskSource:
    """Where the masks of one copy come from."""

    words: str
    """For people, such as "the method action_masks()"."""

    get: Callable[[Any], Any]
    """The mask of an observation that was just returned."""


def without_mask(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """`space` without its mask, if it is a Dict that holds one beside something else."""
    if isinstance(space, spaces.Dict) and MASK in space.spaces and len(space.spaces) > 1:
        return spaces.Dict({key: part for key, part in space.spaces.items() if key != MASK})
    return space


def mask_source(environment: Any, branches: Sequence[int], *, where: str) -> MaskSource | None:
    """Find out how an environment of Gymnasium gives masks; None if at most in its infos.

    Raises:
        SpecError: its observation holds a mask that does not fit its actions.
    """
    if not branches:
        return None
    choices = sum(branches)
    beside = mask_size(environment.observation_space)
    if beside == choices:
        return MaskSource(f"'{MASK}' of its observation", lambda observation: observation[MASK])
    method = _method(environment)
    if method is not None:
        return MaskSource(f"its method {METHOD}()", lambda _: method())
    for layer in layers(environment)[1:]:
        same_actions = getattr(layer, "action_space", None) == environment.action_space
        if same_actions and mask_size(layer.observation_space) == choices:
            words = f"'{MASK}' of the observation beneath its wrappers"
            return MaskSource(words, _remember(layer))
    if beside:
        raise SpecError(
            f"{where} observes an '{MASK}' of {beside} numbers; expected {choices}, one per choice "
            f"of branches {list(branches)}: give it that size or another name"
        )
    return None


def hint_at_lookalikes(info: Mapping[Any, Any], branches: Sequence[int], *, where: str) -> None:
    """Log if `info` holds something that looks like a mask under another name."""
    if branches and MASK not in info:
        for name in ALIKE:
            if np.size(info.get(name, ())) == sum(branches):
                logger.warning(
                    "%s: info['%s'] looks like an action mask and is not used; call it '%s'",
                    *(where, name, MASK),
                )


def mask_flattener(space: spaces.Space[Any]) -> FlattenMask:
    """How a mask for actions of `space` becomes flat: whole, by branch, or nested as the space is.

    As in `Space.sample`, None stands for a part of which everything is allowed.
    """
    if isinstance(space, spaces.Dict):
        named = {key: mask_flattener(part) for key, part in space.spaces.items()}
        return lambda mask: (
            flat_mask([flatten(mask[key]) for key, flatten in named.items()])
            if isinstance(mask, Mapping)
            else flat_mask(mask)
        )
    if isinstance(space, spaces.Tuple):
        parts = [mask_flattener(part) for part in space.spaces]
        return lambda mask: (
            flat_mask([flatten(part) for flatten, part in zip(parts, mask, strict=True)])
            if isinstance(mask, list | tuple) and len(mask) == len(parts)
            else flat_mask(mask)
        )
    if isinstance(space, spaces.Box):
        return lambda _: np.zeros(0, np.bool_)
    allowed = np.ones(_choices(space), np.bool_)
    return lambda mask: allowed if mask is None else flat_mask(mask)


def _choices(space: spaces.Space[Any]) -> int:
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    return 2 * int(np.prod(space.shape or ()))


def mask_size(space: Any) -> int:
    """How many numbers the mask in an observation of `space` has; 0 if there is none."""
    if not isinstance(space, spaces.Dict) or MASK not in space.spaces:
        return 0
    part = space.spaces[MASK]
    if isinstance(part, spaces.Tuple | spaces.Dict):
        inner = part.spaces.values() if isinstance(part, spaces.Dict) else part.spaces
        return sum(int(np.prod(each.shape or ())) for each in inner)
    return int(np.prod(part.shape or ()))


def _method(environment: Any) -> Callable[[], Any] | None:
    for layer in layers(environment):
        method = getattr(layer, METHOD, None)
        if callable(method):
            found: Callable[[], Any] = method
            return found
    return None


def _remember(layer: Any) -> Callable[[Any], Any]:
    """Let `layer` keep the mask of its latest observation; returns how to read that."""
    latest: list[Any] = [None]
    reset, step = layer.reset, layer.step

    def note(outcome: Any) -> Any:
        latest[0] = outcome[0][MASK]
        return outcome

    layer.reset = lambda *arguments, **keywords: note(reset(*arguments, **keywords))
    layer.step = lambda action: note(step(action))
    return lambda _: latest[0]
