"""What ML-Agents' `environment_parameters` mean in ours."""

from collections.abc import Mapping
from typing import Any, Final

from entrain.config.source import OptionPath
from entrain.unity.draft import Draft
from entrain.unity.stock_parameters import (
    StockConstant,
    StockCriteria,
    StockCurriculum,
    StockGaussian,
    StockLesson,
    StockMultiRange,
    StockParameter,
    StockUniform,
    StockValue,
)

_GROUP: Final = "environment_parameters"


def translate_parameters(draft: Draft, parameters: Mapping[str, StockParameter]) -> None:
    """Set `environment_parameters` in the draft."""
    for name, parameter in parameters.items():
        path: OptionPath = (_GROUP, name)
        if isinstance(parameter, StockCurriculum):
            draft.set(path, _curriculum(parameter), "")
        else:
            draft.set(path, _value(parameter), "" if _is_sampler(parameter) else _GROUP)


def _is_sampler(parameter: StockValue) -> bool:
    return not isinstance(parameter, int | float)


def _value(value: StockValue) -> Any:
    """A number or a sampler."""
    match value:
        case StockUniform(sampler_parameters=asked):
            sampler = {"kind": "uniform", "low": asked.min_value, "high": asked.max_value}
        case StockGaussian(sampler_parameters=asked):
            sampler = {
                "kind": "gaussian",
                "mean": asked.mean,
                "standard_deviation": asked.st_dev,
            }
        case StockMultiRange(sampler_parameters=asked):
            sampler = {"kind": "multirange", "intervals": [list(each) for each in asked.intervals]}
        case StockConstant(sampler_parameters=asked):
            return asked.value
        case number:
            return number
    # -1 numbers samplers from the run's seed on, as is done here without one.
    return sampler if asked.seed < 0 else {**sampler, "seed": asked.seed}


def _curriculum(asked: StockCurriculum) -> dict[str, Any]:
    *earlier, last = asked.curriculum
    lessons = [_lesson(each, each.completion_criteria) for each in earlier]
    return {"kind": "curriculum", "lessons": [*lessons, _lesson(last, None)]}


def _lesson(asked: StockLesson, criteria: StockCriteria | None) -> dict[str, Any]:
    lesson = {"name": asked.name, "value": _value(asked.value)}
    if criteria is None:
        return lesson
    completion = {
        "behaviour": criteria.behavior,
        "measure": criteria.measure,
        "threshold": criteria.threshold,
        "min_episodes": criteria.min_lesson_length,
        "smoothing": criteria.signal_smoothing,
        "require_reset": criteria.require_reset,
    }
    return {**lesson, "completion": completion}
