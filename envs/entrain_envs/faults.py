"""Messages about an environment's mistakes: what it raised or returned, what fits, and the remedy.

Each message is one line without a traceback, because users see a launched simulator's last line.
This module does not know episodes or trainers.
"""

import logging
import os
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from entrain_envs.errors import CertainFaultError, EntrainEnvsError, FaultyEnvironmentError

logger = logging.getLogger(__name__)

MAX_WORDS = 600
"""Longest quotation of what an environment said; a longer one is shortened in the middle."""

OLD_API = (
    "that is the API of Gym before 0.26: let reset return (observation, info), and step "
    "(observation, reward, terminated, truncated, info), as "
    "gymnasium.utils.step_api_compatibility makes them of an old step's; for the package gym: "
    "pip install 'shimmy[gym-v21]' and its GymV21Environment-v0"
)
"""The remedy for an environment that was written for Gym, Gymnasium's predecessor."""

_PACKAGE = Path(__file__).parent
_LIBRARIES = f"{os.sep}site-packages{os.sep}"


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Turn an environment's exceptions into FaultyEnvironmentError; messages begin with `what`.

    One call does not show whether the fault is certain; callers that count their calls decide.
    """
    try:
        yield
    except EntrainEnvsError:
        raise
    except Exception as error:
        raise raised(what, error) from error


@contextmanager
def blaming_the_start(what: str) -> Iterator[None]:
    """Like `blaming`, for constructors: raises CertainFaultError unless a later try may succeed."""
    try:
        with blaming(what):
            yield
    except FaultyEnvironmentError as fault:
        if may_pass(fault.__cause__):
            raise
        raise CertainFaultError(str(fault)) from fault.__cause__


def raised(what: str, error: Exception) -> FaultyEnvironmentError:
    """The fault for an exception that came out of the environment's code."""
    return FaultyEnvironmentError(f"{what} raised {described(error)}{_place(error)}")


def may_pass(error: BaseException | None) -> bool:
    """True if a later try may succeed, as after a busy port or a lost connection."""
    missing = FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError
    return isinstance(error, OSError | MemoryError) and not isinstance(error, missing)


def described(error: BaseException) -> str:
    """The type and words of an exception, in one line."""
    words = shortened(" ".join(str(error).split()))
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def shortened(words: str) -> str:
    """`words`, without their middle if they are very long."""
    if len(words) <= MAX_WORDS:
        return words
    half = MAX_WORDS // 2
    return f"{words[:half]} ... {words[-half:]}"


def reset_fault(outcome: Any) -> str:
    """Says what is wrong with the outcome of a Gymnasium `reset`; "" if nothing is."""
    if isinstance(outcome, tuple) and len(outcome) == 2 and isinstance(outcome[1], Mapping):
        return ""
    if isinstance(outcome, tuple) and len(outcome) == 2:
        # Gymnasium's checker says it like this.
        return (
            "the second element returned by `reset` was not a dictionary, actual type: "
            f"{type(outcome[1])}; let reset return (observation, info)"
        )
    if outcome is None:
        return "`reset` returned None; let it return (observation, info)"
    if isinstance(outcome, tuple) and len(outcome) != 1:
        return f"`reset` returned a tuple of {len(outcome)}; let it return (observation, info)"
    return (
        "the result returned by `reset` was not a tuple of the form `(obs, info)`, actual type: "
        f"{type(outcome)}; {OLD_API}"
    )


def step_fault(outcome: Any) -> str:
    """Says what is wrong with the outcome of a Gymnasium `step`; "" if nothing is."""
    expected = "let it return (observation, reward, terminated, truncated, info)"
    if outcome is None:
        return f"`step` returned None; {expected}"
    if not isinstance(outcome, tuple):
        return f"expects step result to be a tuple, actual type: {type(outcome)}; {expected}"
    if len(outcome) == 4:
        return (
            "`step` returned 4 values, and is written in the old step API which returns one bool "
            f"instead of two; {OLD_API}"
        )
    return (
        _parts_fault(outcome)
        if len(outcome) == 5
        else (f"`step` returned a tuple of {len(outcome)}; {expected}")
    )


def _parts_fault(outcome: tuple[Any, ...]) -> str:
    """Says what is wrong with the flags or the info of five values; "" if nothing is."""
    for name, flag in (("terminated", outcome[2]), ("truncated", outcome[3])):
        if not is_number(flag):
            return (
                f"expects `{name}` signal to be a boolean, actual value: {quoted(flag)}"
                f"{several_agents(flag)}"
            )
    if isinstance(outcome[4], Mapping):
        return ""
    return (
        "the `info` returned by `step` must be a python dictionary, actual type: "
        f"{type(outcome[4])}"
    )


def is_number(value: Any) -> bool:
    """Whether `value` is one number: Python's or numpy's, or an array of one."""
    if isinstance(value, float | int | np.number | np.bool_):
        return True
    if value is None or isinstance(value, str | bytes | Mapping):
        return False
    try:
        array = np.asarray(value)
        return array.size == 1 and array.dtype.kind in "biuf"
    except (TypeError, ValueError, RuntimeError):
        return False


def several_agents(values: Any) -> str:
    """A hint about `entrain-env pettingzoo` if `values` look like one for each agent; else ""."""
    if isinstance(values, list | tuple | Mapping) and len(values) > 1:
        return (
            "; an environment of several agents is run with `entrain-env pettingzoo`, once it has "
            "PettingZoo's interface"
        )
    return ""


def quoted(value: Any) -> str:
    """A value in one line, short, with the shape of an array."""
    words = shortened(" ".join(repr(value).split()))
    return f"{words} of shape {list(value.shape)}" if isinstance(value, np.ndarray) else words


def fault_of(where: str, method: str, error: Exception, words: str) -> EntrainEnvsError:
    """The fault for an `error` raised while `method` ran or while its outcome was unpacked.

    Args:
        where: names the environment.
        method: of the environment.
        error: what was raised.
        words: what is wrong with the outcome; "" if the method raised `error` itself.
    """
    if words:
        return FaultyEnvironmentError(f"{where}: {words}")
    return raised(f"{where}: `{method}`", error)


def close_all(copies: Iterable[Any], *, where: str) -> None:
    """Close every copy; one that fails to is logged, because the run is over."""
    for copy in copies:
        try:
            copy.close()
        except Exception as error:
            logger.warning("%s: `close` raised %s%s", where, described(error), _place(error))


def _place(error: BaseException) -> str:
    """Where the environment's own code raised `error`: file, line and function."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if _PACKAGE not in Path(frame.filename).parents
    ]
    own = [frame for frame in frames if _LIBRARIES not in frame.filename] or frames
    if not own:
        return ""
    return f" ({own[-1].filename}, line {own[-1].lineno}, in {own[-1].name})"
