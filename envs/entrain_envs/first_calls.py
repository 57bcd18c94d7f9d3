"""Fits an environment's own methods to their callers: reset's keywords, and checks of first calls.

Wrappers pass `seed` and `options` down to an environment whose `reset` may take neither. So each
layer's method is replaced on the object itself, which leaves the layers as they are. A check is
taken away after its first call, so that later ones cost nothing.
"""

import functools
import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from entrain_envs.errors import CertainFaultError

logger = logging.getLogger(__name__)

_INNER = ("env", "aec_env", "par_env")
"""Names under which wrappers of Gymnasium and PettingZoo keep what they wrap."""


def layers(environment: Any) -> Sequence[Any]:
    """`environment` and what it wraps, outermost first."""
    return list(_layers(environment))


def _layers(environment: Any) -> Iterator[Any]:
    seen: set[int] = set()
    while environment is not None and id(environment) not in seen:
        seen.add(id(environment))
        yield environment
        held = getattr(environment, "__dict__", {})
        inner = [held[name] for name in _INNER if hasattr(held.get(name), "action_space")]
        environment = inner[0] if inner else None


def pass_what_is_taken(environment: Any, *, where: str, says: bool) -> None:
    """Let every layer's `reset` be called with a seed and options, and pass on what it takes.

    Args:
        environment: outermost layer.
        where: begins messages.
        says: whether to log what cannot be passed on; false for further copies.
    """
    for layer in layers(environment):
        taken = _keywords(layer.reset)
        if not {"seed", "options"} <= taken:
            _replace(layer, "reset", _reset_with(layer, taken, where=where, says=says))


def check_first(environment: Any, name: str, fault: Callable[[Any], str], *, where: str) -> None:
    """Check what the next call of each layer's method returns.

    Args:
        environment: outermost layer.
        name: of the method.
        fault: what is wrong with a result; "" if nothing is.
        where: begins messages.
    """
    for layer in layers(environment):
        _replace(layer, name, _checked(layer, name, fault, where=where))


def _checked(
    layer: Any, name: str, fault: Callable[[Any], str], *, where: str
) -> Callable[..., Any]:
    method = getattr(layer, name)
    before = vars(layer).get(name) if hasattr(layer, "__dict__") else None
    checked: list[bool] = []

    @functools.wraps(method)
    def check_once(*arguments: Any, **keywords: Any) -> Any:
        outcome = method(*arguments, **keywords)
        if checked:
            return outcome
        words = fault(outcome)
        if words:
            raise CertainFaultError(f"{where}, {type(layer).__name__}: {words}")
        checked.append(True)
        if before is None:
            delattr(layer, name)
        else:
            setattr(layer, name, before)
        return outcome

    return check_once


def _reset_with(layer: Any, taken: frozenset[str], *, where: str, says: bool) -> Callable[..., Any]:
    reset, seed_layer = layer.reset, getattr(layer, "seed", None)
    said: set[str] = set() if says else {"seed", "options"}

    def say(name: str, consequence: str) -> None:
        if name not in said:
            said.add(name)
            logger.warning(
                "%s: `reset` of %s takes no `%s`; %s",
                where,
                type(layer).__name__,
                name,
                consequence,
            )

    # Named, because Gymnasium's own checker looks for these two in the signature.
    def reset_with(*arguments: Any, seed: Any = None, options: Any = None, **more: Any) -> Any:
        if seed is not None and "seed" not in taken:
            if callable(seed_layer):
                seed_layer(seed)
            else:
                say("seed", "its episodes do not repeat with the run's seed")
        if options is not None and "options" not in taken:
            say("options", f"environment parameters {options} do not reach it")
        given = {"seed": seed, "options": options}
        return reset(*arguments, **{name: given[name] for name in taken}, **more)

    return reset_with


def _keywords(method: Callable[..., Any]) -> frozenset[str]:
    """Which of `seed` and `options` a `reset` takes by name."""
    try:
        parameters = inspect.signature(method).parameters.values()
    except (TypeError, ValueError):
        return frozenset(("seed", "options"))
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return frozenset(("seed", "options"))
    by_name = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return frozenset(("seed", "options")).intersection(by_name)


def _replace(layer: Any, name: str, method: Callable[..., Any]) -> None:
    try:
        setattr(layer, name, method)
    except (AttributeError, TypeError):
        logger.debug("%s does not let its %s be replaced", type(layer).__name__, name)
