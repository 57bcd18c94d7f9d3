"""Makes the environment that a command line of `entrain-env` asks for."""

import argparse
import importlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from entrain_envs.copies import Copies
from entrain_envs.environment import Environment
from entrain_envs.errors import CertainFaultError, MissingExtraError, OptionError
from entrain_envs.faults import blaming_the_start
from entrain_envs.info_statistics import InfoKey
from entrain_envs.recorded_copies import (
    ball_painter,
    corridor_painter,
    gymnasium_copies,
    painted,
    pettingzoo_copies,
)
from entrain_envs.wrapper_text import WrapperText

logger = logging.getLogger(__name__)

MakePart = Callable[[Copies], Environment]
"""Makes an environment of some of its copies; with those of number 0 first."""


def _info_keys(options: argparse.Namespace) -> Sequence[InfoKey]:
    """Those of --info, each once."""
    keys = [InfoKey(*each) for each in options.info]
    names = [key.name for key in keys]
    for name in names:
        if names.count(name) > 1:
            raise OptionError(f"--info names '{name}' twice; it is aggregated in one way: keep one")
    return keys


def make_environment(options: argparse.Namespace) -> Environment:
    """The environment of `options.kind`, with all its copies; raises as `make_groups` does."""
    return maker(options)(Copies.all(options.count))


def make_groups(options: argparse.Namespace) -> Sequence[Environment]:
    """The copies of the environment of `options.kind`, in groups that step in turns.

    Raises:
        OptionError, MissingExtraError: it cannot be made from these options.
        SpecError: it cannot be a simulator.
    """
    parts = Copies.all(options.count).divided(options.groups)
    if len(parts) < options.groups:
        logger.warning("there is one copy of the environment, so there is one group: raise --count")
    if options.processes > 1:
        from entrain_envs.processes import processed_groups  # noqa: PLC0415

        return processed_groups(options, parts)
    make = maker(options)
    return [make(part) for part in parts]


def maker(options: argparse.Namespace) -> MakePart:
    """Makes copies of the environment of `options.kind`; raises as `make_groups` does."""
    makers = {
        "gymnasium": _gymnasium_maker,
        "pettingzoo": _pettingzoo_maker,
        "balance-ball": _balance_ball_maker,
        "cue-memory": _cue_memory_maker,
        "program": _program_maker,
    }
    return makers[options.kind](options)


def _gymnasium_maker(options: argparse.Namespace) -> MakePart:
    from entrain_envs.gymnasium_adapter import GymnasiumEnvironment, make  # noqa: PLC0415
    from entrain_envs.keep_observations import KeepObservations  # noqa: PLC0415

    wrap = _wrapping(options.wrappers)

    def make_one(arguments: Mapping[str, Any]) -> Any:
        if options.preset == "atari":
            from entrain_envs.atari import make_atari  # noqa: PLC0415

            copy = wrap(make_atari(options.environment, arguments))
        else:
            copy = wrap(make(options.environment, arguments))
        return copy if options.keep is None else KeepObservations(copy, options.keep)

    copies = gymnasium_copies(make_one, options)
    behaviour = options.behaviour or options.environment.rpartition(":")[2]
    return lambda part: GymnasiumEnvironment(
        copies,
        behaviour=behaviour,
        part=part,
        subtract=options.subtract,
        kinds=dict(options.kinds),
        info=_info_keys(options),
    )


def _pettingzoo_maker(options: argparse.Namespace) -> MakePart:
    from entrain_envs.pettingzoo_adapter import PettingZooEnvironment  # noqa: PLC0415
    from entrain_envs.pettingzoo_turns import TurnsEnvironment, takes_turns  # noqa: PLC0415

    name, _, factory_name = options.environment.partition(":")
    module = _module(options.environment, name)
    if not factory_name:
        # A module of PettingZoo has both, or `env` alone if its agents take turns.
        factory_name = "parallel_env" if hasattr(module, "parallel_env") else "env"
    factory = _attribute(options.environment, module, factory_name)
    forms: list[bool] = []
    wrap = _wrapping(options.wrappers)

    def make_one(arguments: Mapping[str, Any]) -> Any:
        copy = wrap(factory(**arguments))
        forms.append(takes_turns(copy))
        return copy

    copies = pettingzoo_copies(make_one, options)
    with blaming_the_start(f"'{options.environment}' cannot be made: it"):
        made = [copies()]
    adapter = TurnsEnvironment if forms[0] else PettingZooEnvironment
    return lambda part: adapter(
        lambda: made.pop() if made else copies(),
        behaviour=options.behaviour,
        one_each=options.one_each,
        part=part,
        subtract=options.subtract,
        kinds=dict(options.kinds),
        info=_info_keys(options),
    )


def _program_maker(options: argparse.Namespace) -> MakePart:
    """Of what `options.make` makes: an `Environment`, or one of PettingZoo or Gymnasium."""
    with blaming_the_start("the environment that the program's function makes cannot be made: it"):
        made = [options.make()]
    (first,) = made

    def copies() -> Any:
        return made.pop() if made else options.make()

    if hasattr(first, "behaviours"):
        environment: Environment = first
        return lambda _: environment
    if hasattr(first, "possible_agents"):
        from entrain_envs.pettingzoo_adapter import PettingZooEnvironment  # noqa: PLC0415
        from entrain_envs.pettingzoo_turns import TurnsEnvironment, takes_turns  # noqa: PLC0415

        adapter = TurnsEnvironment if takes_turns(first) else PettingZooEnvironment
        return lambda part: adapter(copies, part=part)
    from entrain_envs.gymnasium_adapter import GymnasiumEnvironment  # noqa: PLC0415

    behaviour = _name_of(first)
    return lambda part: GymnasiumEnvironment(copies, behaviour=behaviour, part=part)


def _name_of(environment: Any) -> str:
    """Its id, if Gymnasium has made it; or else the name of its class."""
    spec = getattr(environment, "spec", None)
    return getattr(spec, "id", "") or type(getattr(environment, "unwrapped", environment)).__name__


def _balance_ball_maker(options: argparse.Namespace) -> MakePart:
    from entrain_envs.simulators.balance_ball import BalanceBall  # noqa: PLC0415

    def make(part: Copies) -> Environment:
        ball = BalanceBall(count=part.count, behaviour=options.behaviour)
        return painted(ball, options, ball_painter)

    return make


def _cue_memory_maker(options: argparse.Namespace) -> MakePart:
    from entrain_envs.simulators.cue_memory import CueMemory  # noqa: PLC0415

    def make(part: Copies) -> Environment:
        corridors = CueMemory(count=part.count, cues=options.cues, behaviour=options.behaviour)
        return painted(corridors, options, corridor_painter)

    return make


def _wrapping(wrappers: Sequence[WrapperText]) -> Callable[[Any], Any]:
    """Returns a function that puts these wrappers around a copy, innermost first."""
    named = [(text, _named(text.name)) for text in wrappers]
    for text, wrapper in named:
        _require_no_vector(text.name, wrapper)

    def wrap(copy: Any) -> Any:
        for text, wrapper in named:
            with blaming_the_start(f"wrapper '{text.name}'"):
                copy = wrapper(copy, **text.arguments)
        return copy

    return wrap


def _require_no_vector(name: str, wrapper: Any) -> None:
    """OptionError if `wrapper` makes or wraps vectors of environments."""
    from gymnasium.vector import VectorEnv  # noqa: PLC0415

    if isinstance(wrapper, type) and issubclass(wrapper, VectorEnv):
        raise OptionError(
            f"wrapper '{name}' is for vectors of environments, and --wrapper is put around one "
            "environment: take the one of that name in gymnasium.wrappers, if there is one; for "
            "several copies, give --count N"
        )


def _named(text: str) -> Any:
    """The object named by MODULE:NAME."""
    module, _, name = text.partition(":")
    return _attribute(text, _module(text, module), name)


def _module(text: str, name: str) -> Any:
    """Import the module of MODULE:NAME."""
    try:
        with blaming_the_start(f"importing '{name}'"):
            return importlib.import_module(name)
    except CertainFaultError as error:
        missing = error.__cause__
        if not isinstance(missing, ModuleNotFoundError):
            raise
        if missing.name == "pettingzoo":
            raise MissingExtraError(
                "PettingZoo is not installed; install it with: pip install pettingzoo "
                "(the extra entrain-envs[pettingzoo])"
            ) from missing
        if missing.name and not f"{name}.".startswith(f"{missing.name}."):
            raise MissingExtraError(
                f"'{name}' needs {missing.name}, which is not installed ({missing}); "
                f"pip install what it needs{_zoo_extra(name)}"
            ) from missing
        raise OptionError(
            f"'{text}': {missing}; expected MODULE:NAME, importable from here "
            "(pip install what is missing, or run where the module lies)"
        ) from missing


def _zoo_extra(module: str) -> str:
    """Where a missing package comes from, if PettingZoo has an extra for `module`'s family."""
    package, _, rest = module.partition(".")
    family = rest.partition(".")[0]
    return f", such as 'pettingzoo[{family}]'" if package == "pettingzoo" and family else ""


def _attribute(text: str, module: Any, name: str) -> Any:
    try:
        return getattr(module, name)
    except AttributeError as error:
        raise OptionError(f"'{text}': {error}; expected MODULE:NAME") from error
