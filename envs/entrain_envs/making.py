"""Makes the environment that a command line of `entrain-env` asks for."""

import argparse
import importlib
from typing import Any

from entrain_envs.environment import Environment
from entrain_envs.errors import MissingExtraError, OptionError


def make_environment(options: argparse.Namespace) -> Environment:
    """The environment of `options.kind`, with all its copies.

    Raises:
        OptionError, MissingExtraError: it cannot be made from these options.
        SpecError: it cannot be a simulator.
    """
    makers = {
        "gymnasium": _make_gymnasium,
        "pettingzoo": _make_pettingzoo,
        "balance-ball": _make_balance_ball,
        "cue-memory": _make_cue_memory,
    }
    return makers[options.kind](options)


def _make_gymnasium(options: argparse.Namespace) -> Environment:
    from entrain_envs.gymnasium_adapter import GymnasiumEnvironment, make  # noqa: PLC0415
    from entrain_envs.keep_observations import KeepObservations  # noqa: PLC0415

    wrappers = [_named(wrapper) for wrapper in options.wrapper]

    def make_one() -> Any:
        copy = make(options.environment, options.kwargs)
        for wrapper in wrappers:
            copy = wrapper(copy)
        return copy if options.keep is None else KeepObservations(copy, options.keep)

    behaviour = options.behaviour or options.environment.rpartition(":")[2].replace("/", "-")
    return GymnasiumEnvironment(make_one, behaviour=behaviour, count=options.count)


def _make_pettingzoo(options: argparse.Namespace) -> Environment:
    from entrain_envs.pettingzoo_adapter import PettingZooEnvironment  # noqa: PLC0415

    factory = _named(options.environment, default="parallel_env")
    return PettingZooEnvironment(
        lambda: factory(**options.kwargs),
        behaviour=options.behaviour,
        one_each=options.one_each,
        count=options.count,
    )


def _make_balance_ball(options: argparse.Namespace) -> Environment:
    from entrain_envs.simulators.balance_ball import BalanceBall  # noqa: PLC0415

    return BalanceBall(count=options.count, behaviour=options.behaviour)


def _make_cue_memory(options: argparse.Namespace) -> Environment:
    from entrain_envs.simulators.cue_memory import CueMemory  # noqa: PLC0415

    return CueMemory(count=options.count, cues=options.cues, behaviour=options.behaviour)


def _named(text: str, *, default: str = "") -> Any:
    """The object named by MODULE:NAME."""
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name or default)
    except ModuleNotFoundError as error:
        if error.name == "pettingzoo":
            raise MissingExtraError(
                "PettingZoo is not installed; install it with: pip install pettingzoo "
                "(the extra entrain-envs[pettingzoo])"
            ) from error
        raise OptionError(
            f"'{text}': {error}; expected MODULE:NAME, importable from here "
            "(pip install what is missing, or run where the module lies)"
        ) from error
    except (AttributeError, ValueError) as error:
        raise OptionError(f"'{text}': {error}; expected MODULE:NAME") from error
