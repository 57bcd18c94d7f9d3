"""Reads a file of ML-Agents settings, and applies the flags of the command line.

A flag overrides the file, and the file overrides the defaults.
"""

import copy
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from entrain.config.load import read_settings_file
from entrain.config.source import OptionPath, Origin, Source, describe, show_path
from entrain.config.yaml_text import read_yaml
from entrain.errors import ConfigError
from entrain.unity.flags import name_of
from entrain.unity.stock_messages import meant, stock_error, unknown_keys, written_path
from entrain.unity.stock_parameters import StockCurriculum
from entrain.unity.stock_run import StockCheckpoint, StockRun
from entrain.unity.stock_trainer import BUILT, TRAINER_TYPES, AnyStockTrainer, StockTrainer

logger = logging.getLogger(__name__)

_TRAINER: Final[TypeAdapter[StockTrainer]] = TypeAdapter(AnyStockTrainer)
_DEFAULTS: Final = ("default_settings",)
_MAY_BE_ABSENT: Final = {"memory", "self_play", "behavioral_cloning"}
"""Groups that null switches off; any other group that is written but empty has its defaults."""


@dataclass(frozen=True)
class StockFile:
    """ML-Agents settings, and where each was written."""

    run: StockRun

    source: Source

    is_given: bool
    """False if there is no file, so that every behaviour gets the defaults."""

    def place(self, path: OptionPath) -> str:
        """Where the value at `path` was written, as a message shows it."""
        return self.source.origin(path).place


def load_stock(path: Path | None, flags: Mapping[str, Any]) -> StockFile:
    """Read ML-Agents settings; a ConfigError names the mistake and its place in one line.

    Args:
        path: of the YAML file; without one, all keys have their defaults.
        flags: {"env_settings.base_port": 5005}: what was given on the command line.
    """
    if path is None:
        source = Source({}, Origin("the command line", (0, 0), ""))
    else:
        source = read_yaml(read_settings_file(path), name=str(path))
    _require_trainer_types(source)
    for position, (key, value) in enumerate(flags.items()):
        _set_flag(source, key, value, position)
    written = copy.deepcopy(source.values)
    try:
        run = _validated(source)
    except ValidationError as error:
        raise ConfigError(f"{stock_error(error, source)}{_missing_too(source)}") from None
    source.values = written
    run = run.model_copy(update={"checkpoint_settings": _prioritized(run, flags)})
    file = StockFile(run, source, is_given=path is not None)
    for line in _warnings(file):
        logger.warning("%s", line)
    return file


def _set_flag(source: Source, key: str, value: Any, position: int) -> None:
    *groups, name = key.split(".")
    here: Any = source.values
    for group in groups:
        if here.get(group) is None:
            here[group] = {}
        here = here[group]
        if not isinstance(here, dict):
            return  # validation says what is wrong with it
    path = (*groups, name)
    source.forget_origins(path)
    here[name] = value
    source.origins[path] = Origin(name_of(key), (1, position), str(value))


def _require_trainer_types(source: Source) -> None:
    """ConfigError for hyperparameters without a trainer_type."""
    behaviours = source.values.get("behaviors")
    groups: list[OptionPath] = [_DEFAULTS]
    if source.value(_DEFAULTS) is None and isinstance(behaviours, dict):
        groups += [("behaviors", name) for name in behaviours]
    for path in groups:
        group = source.value(path)
        if isinstance(group, dict) and "hyperparameters" in group and "trainer_type" not in group:
            raise ConfigError(
                f"{source.origin(path).place}: {show_path(path)} has hyperparameters and no "
                "trainer_type, which says whose they are; add 'trainer_type: ppo'"
            )


def _missing_too(source: Source) -> str:
    """Names trainers that entrain does not have, to be reported with a file's mistakes."""
    behaviours = source.values.get("behaviors")
    groups = [source.value(_DEFAULTS)]
    groups += behaviours.values() if isinstance(behaviours, dict) else []
    named = [group.get("trainer_type") for group in groups if isinstance(group, dict)]
    missing = [name for name in TRAINER_TYPES if name not in BUILT and name in named]
    if not missing:
        return ""
    return f"; besides, trainer_type {' and '.join(missing)} is not yet in entrain"


def _validated(source: Source) -> StockRun:
    """Validate; where text is expected, an unquoted 5 or true counts as text."""
    try:
        return _with_defaults(source)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            if details["type"] == "string_type":
                source.respell(written_path(details["loc"]))
    return _with_defaults(source)


def _with_defaults(source: Source) -> StockRun:
    """Validate, with `default_settings` under the settings of every behaviour."""
    values = source.values
    default = values.get("default_settings")
    behaviours = values.get("behaviors")
    if isinstance(default, dict) and isinstance(behaviours, dict):
        StockRun.model_validate({"default_settings": default})
        complete = _TRAINER.validate_python(default).model_dump(exclude_none=True)
        behaviours = {name: _over(complete, own) for name, own in behaviours.items()}
        values = {**values, "behaviors": behaviours}
    return StockRun.model_validate(values)


def _over(default: Mapping[str, Any], own: Any) -> Any:
    """A behaviour's settings merged over the default settings."""
    if own is None:
        return dict(default)
    if not isinstance(own, dict):
        return own
    if own.get("trainer_type", default["trainer_type"]) != default["trainer_type"]:
        # Another trainer has other hyperparameters.
        default = {name: value for name, value in default.items() if name != "hyperparameters"}
    return _merged(default, own)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    together = dict(below)
    for name, value in above.items():
        inside = together.get(name)
        if isinstance(inside, Mapping) and isinstance(value, Mapping):
            together[name] = _merged(inside, value)
        elif value is not None or not isinstance(inside, Mapping) or name in _MAY_BE_ABSENT:
            together[name] = value
    return together


def _prioritized(run: StockRun, flags: Mapping[str, Any]) -> StockCheckpoint:
    """Keep one of resuming and initializing, if both are set: a flag wins, then resuming."""
    asked = run.checkpoint_settings
    if asked.load_model:
        asked = asked.model_copy(update={"resume": True})
    if not (asked.resume and asked.initialize_from is not None):
        return asked
    resumes = {"checkpoint_settings.resume", "checkpoint_settings.load_model"} & set(flags)
    if "checkpoint_settings.initialize_from" in flags and not resumes:
        logger.warning("initialize_from counts, for it was given as a flag; resume is ignored")
        return asked.model_copy(update={"resume": False})
    logger.warning("the run is resumed; initialize_from is ignored")
    return asked.model_copy(update={"initialize_from": None})


def _warnings(file: StockFile) -> Iterator[str]:
    """Warnings about settings that have no effect."""
    for path in unknown_keys(file.run):
        if file.source.has(path):
            words = meant(path[:-1], str(path[-1]), file.source)
            yield (
                f"{file.place(path)}: {show_path(path[:-1])} has no key {describe(path[-1], '')}, "
                f"so it has no effect{words}"
            )
    for name, trainer in file.run.behaviors.items():
        for key in ("framework", *_memories_of_signals(trainer)):
            path = ("behaviors", name, *key.split("."))
            if file.source.has(path):
                yield f"{file.place(path)}: {show_path(path)} has no effect"
    for name, parameter in file.run.environment_parameters.items():
        if isinstance(parameter, StockCurriculum) and parameter.curriculum[-1].completion_criteria:
            path = ("environment_parameters", name)
            yield (
                f"{file.place(path)}: the last lesson of {show_path(path)} has "
                "completion_criteria, which have no effect: no lesson follows"
            )


def _memories_of_signals(trainer: StockTrainer) -> Iterator[str]:
    for signal in type(trainer.reward_signals).model_fields:
        given = getattr(trainer.reward_signals, signal)
        if given is not None and given.network_settings.memory is not None:
            yield f"reward_signals.{signal}.network_settings.memory"
