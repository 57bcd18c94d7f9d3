"""configuration.yaml: the settings of a run as mlagents-learn writes them, which it reads again."""

from collections.abc import Mapping
from typing import Any, Final

import yaml
from pydantic import BaseModel

from entrain.unity.stock_parameters import (
    StockConstant,
    StockConstantValues,
    StockCurriculum,
    StockParameter,
    StockValue,
)
from entrain.unity.stock_run import StockRun
from entrain.unity.stock_trainer import StockTrainer

_HAS_NO_EFFECT: Final = {"framework"}


def configuration_text(run: StockRun, behaviours: Mapping[str, StockTrainer]) -> str:
    """Returns the file's content.

    Args:
        run: its settings.
        behaviours: {name: settings} of those that the settings name or a game brought.
    """
    values = {
        "default_settings": None
        if run.default_settings is None
        else trainer_form(run.default_settings),
        "behaviors": {name: trainer_form(it) for name, it in behaviours.items()},
        "env_settings": _form(run.env_settings),
        "engine_settings": _form(run.engine_settings),
        "environment_parameters": {
            name: _parameter_form(name, it) for name, it in run.environment_parameters.items()
        }
        or None,
        "checkpoint_settings": _form(run.checkpoint_settings),
        "torch_settings": _form(run.torch_settings),
        "debug": run.debug,
    }
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def trainer_form(trainer: StockTrainer) -> Mapping[str, Any]:
    """Returns the settings of one behaviour, with every default filled in."""
    form = _form(trainer)
    signals = form["reward_signals"]
    form["reward_signals"] = {name: it for name, it in signals.items() if it is not None}
    return form


def trainer_text(trainer: StockTrainer) -> str:
    """Returns the settings of one behaviour as a block of Markdown."""
    text = yaml.safe_dump(dict(trainer_form(trainer)), sort_keys=False, allow_unicode=True)
    return "\n".join(f"\t{line}" for line in text.splitlines())


def _form(options: BaseModel) -> dict[str, Any]:
    """Plain values of all keys that have a meaning; unknown ones were named when they were read."""
    known = type(options).model_fields
    return {name: _plain(getattr(options, name)) for name in known if name not in _HAS_NO_EFFECT}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return _form(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        # YAML readers that want a whole number, as mlagents-learn's for seconds, get one.
        return int(value)
    return value


def _parameter_form(name: str, parameter: StockParameter) -> Mapping[str, Any]:
    """A curriculum; a parameter without one is written as a curriculum of one lesson."""
    if isinstance(parameter, StockCurriculum):
        lessons = [
            {
                "value": _value_form(lesson.value),
                "name": lesson.name,
                "completion_criteria": _plain(lesson.completion_criteria),
            }
            for lesson in parameter.curriculum
        ]
    else:
        lessons = [{"value": _value_form(parameter), "name": name, "completion_criteria": None}]
    return {"curriculum": lessons}


def _value_form(value: StockValue) -> Mapping[str, Any]:
    if isinstance(value, float | int):
        values = StockConstantValues(value=value)
        value = StockConstant(sampler_type="constant", sampler_parameters=values)
    return _form(value)
