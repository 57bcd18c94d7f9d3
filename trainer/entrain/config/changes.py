"""Checks changes of options during a run, with the models and messages of the file.

    rates and coefficients of a policy      each of its updates reads them
    environment_parameters                  simulators are told of new values; not of curricula

Everything else is decided when a run begins or is resumed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from entrain.config.differences import Difference, differences
from entrain.config.environment_parameters import CurriculumConfig
from entrain.config.load import changed_config
from entrain.config.run import RunConfig
from entrain.config.source import OptionPath, show_path
from entrain.errors import ConfigError

CHANGEABLE: Final = (
    ("algorithm", "learning_rate"),
    ("algorithm", "learning_rate_schedule"),
    ("algorithm", "final_learning_rate"),
    ("algorithm", "clip_range"),
    ("algorithm", "clip_range_schedule"),
    ("algorithm", "final_clip_range"),
    ("entropy", "coefficient"),
    ("entropy", "coefficient_schedule"),
    ("entropy", "final_coefficient"),
)
"""Options of a policy that may change, beside all of `environment_parameters`."""

ENVIRONMENT: Final = ""
"""Name for the environment parameters in place of a policy's."""


@dataclass(frozen=True)
class Part:
    """The changes of one policy, or of the environment parameters."""

    policy: str
    """Its name in `policies`; "" for environment parameters."""

    settings: tuple[str, ...]
    """Each PATH=VALUE, as `--set` takes it."""

    was: tuple[str, ...]
    """The values before, in the same order."""


def checked_parts(config: RunConfig, settings: Sequence[str]) -> Sequence[Part]:
    """Returns the changes of `config`, by policy; none if it has these values already.

    Raises:
        ConfigError: a setting is wrong, or may not change while the run goes on.
    """
    after = changed_config(config, settings)
    found = differences(after, config)
    for each in found:
        _check(each, config, after)
    paths: dict[str, dict[OptionPath, None]] = {}
    for each in found:
        is_policy = each.path[0] == "policies"
        name = str(each.path[1]) if is_policy else ENVIRONMENT
        # Of a sampler all parts change together.
        path = each.path if is_policy else each.path[:2]
        paths.setdefault(name, {})[path] = None
    new, old = after.model_dump(mode="json"), config.model_dump(mode="json")
    return [
        Part(
            name,
            tuple(f"{show_path(path)}={_text(new, path)}" for path in of_it),
            tuple(_text(old, path) for path in of_it),
        )
        for name, of_it in paths.items()
    ]


def as_it_takes_effect(part: Part, config: RunConfig) -> Part:
    """Returns what `part` changes of `config`; another change may have come since it was asked for.

    Itself if it changes nothing, as where one behaviour of several has it already.
    """
    return next(iter(checked_parts(config, part.settings)), part)


def _check(difference: Difference, before: RunConfig, after: RunConfig) -> None:
    path, shown = difference.path, show_path(difference.path)
    if path[0] == "environment_parameters" and len(path) > 1:
        name = str(path[1])
        both = (each.environment_parameters.get(name) for each in (before, after))
        if any(isinstance(each, CurriculumConfig) for each in both):
            raise ConfigError(
                f"environment_parameters.{name} is a curriculum, or would become one, which cannot "
                "be while the run goes on; stop it, and resume it with --set"
            )
        return
    if path[0] == "policies" and path[2:] in CHANGEABLE:
        _require_effect(difference, after)
        return
    if path[0] == "policies" and str(path[1]) not in before.policies:
        there = ", ".join(f"'{name}'" for name in before.policies)
        raise ConfigError(
            f"{shown} cannot change: the file of this run names no such policy. It names: {there}"
        )
    if difference.is_of_another_run:
        raise ConfigError(
            f"{shown} cannot change: it is part of what the run is. Begin another run"
        )
    names = ", ".join(".".join(each) for each in CHANGEABLE)
    raise ConfigError(
        f"{shown} cannot change while the run goes on; stop it, and resume it with --set. What "
        f"can: environment_parameters, and of a policy {names}"
    )


def require_effect(before: RunConfig, after: RunConfig) -> None:
    """ConfigError if options of a run that goes on are changed in a way that would do nothing."""
    for difference in differences(after, before):
        _require_effect(difference, after)


def _require_effect(difference: Difference, after: RunConfig) -> None:
    path = difference.path
    is_coefficient = path[0] == "policies" and path[2:] == ("entropy", "coefficient")
    policy = after.policies.get(str(path[1])) if is_coefficient else None
    if policy is not None and policy.entropy.target is not None:
        raise ConfigError(
            f"{show_path(path)} is only the first value of a coefficient that follows "
            "entropy.target; a change would have no effect. Change the target, or resume the run "
            f"with {show_path((*path[:3], 'target'))}=null as well, to fix the coefficient"
        )


def _text(values: Any, path: OptionPath) -> str:
    for name in path:
        if name not in values:
            return "not there"
        values = values[name]
    return json.dumps(values)  # JSON is YAML
