"""The simulators that a Python program names: commands, Gymnasium ids or functions.

"CartPole-v1"                    entrain-env gymnasium CartPole-v1 --count 8
"./my_game --port {address}"     is launched as it is
make_my_environment              is served by a process of its own: `program_environments`
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from entrain.app.program_environments import MakeEnvironment, ProgramEnvironment
from entrain.errors import ConfigError

Simulators: TypeAlias = str | MakeEnvironment | Sequence[str | MakeEnvironment] | None

_ENV_ID: Final = re.compile(r"(?:[\w.]+:)?(?:[\w.-]+/)?[\w.-]+-v\d+")
"""[MODULE:][NAMESPACE/]NAME-vVERSION. Of an id without a version, the command is given instead."""


@dataclass(frozen=True, kw_only=True)
class GivenSimulators:
    """Those that a program gives in place of those in the settings; false if there are none."""

    settings: Sequence[str] = ()
    """PATH=VALUE, which the settings need for them."""

    environments: Sequence[ProgramEnvironment] = ()
    """Those that are made by functions."""

    def __bool__(self) -> bool:
        return bool(self.settings)


def read_simulators(simulators: Simulators, *, copies: int) -> GivenSimulators:
    """Returns what `simulators` names.

    Args:
        simulators: as of `entrain.train`.
        copies: of each environment that is given by id or function.

    Raises:
        ConfigError: one of them is nothing that can take part.
    """
    if simulators is None:
        return GivenSimulators()
    several = isinstance(simulators, Sequence) and not isinstance(simulators, str)
    given = list(simulators) if several else [simulators]  # type: ignore[arg-type]
    if not given:
        raise ConfigError(
            "simulators is an empty list; expected at least one (None: those in the settings)"
        )
    whole: object = copies
    if not isinstance(whole, int) or whole < 1:
        raise ConfigError(f"copies is {copies!r}; expected a whole number of at least 1")
    launch: list[dict[str, object]] = []
    environments: list[ProgramEnvironment] = []
    for number, each in enumerate(given):
        name = f"simulator-{number}" if len(given) > 1 else "simulator"
        if isinstance(each, str):
            launch.append({"name": name, "command": _command(each, copies)})
        elif callable(each):
            environments.append(ProgramEnvironment.of(each, name=f"{name}-0", copies=copies))
        else:
            raise ConfigError(
                f"simulators names {each!r}, a {type(each).__name__}; expected a command, the id "
                "of a Gymnasium environment such as CartPole-v1, or a function that makes an "
                "environment (give the function, and do not call it)"
            )
    settings = [f"simulators.launch={json.dumps(launch)}"]
    if environments:
        settings.append(f"simulators.expect={len(given)}")
    return GivenSimulators(settings=settings, environments=environments)


def _command(text: str, copies: int) -> str | list[str]:
    if _ENV_ID.fullmatch(text):
        return ["entrain-env", "gymnasium", text, "--count", str(copies)]
    return text
