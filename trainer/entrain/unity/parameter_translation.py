"""Translates ML-Agents' `environment_parameters` into native options."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from entrain.config.run import RunConfig
from entrain.config.source import OptionPath
from entrain.unity.draft import Draft
from entrain.unity.stock_fields import StockOptions
from entrain.unity.stock_parameters import (
    StockConstant,
    StockCriteria,
    StockCurriculum,
    StockGaussian,
    StockLesson,
    StockMultiRange,
    StockParameter,
    StockSampler,
    StockUniform,
    StockValue,
)

_GROUP: Final = "environment_parameters"

_NO_SEED: Final = -1
"""Seed of a sampler that gets its seed from the run's."""


def translate_parameters(draft: Draft, parameters: Mapping[str, StockParameter]) -> None:
    """Set `environment_parameters` in the draft, which has the run's seed if it is known."""
    seeds = _seeds(draft, parameters.values())
    for name, parameter in parameters.items():
        path: OptionPath = (_GROUP, name)
        if isinstance(parameter, StockCurriculum):
            draft.set(path, _curriculum(parameter, seeds), "")
        else:
            draft.set(path, _value(parameter, seeds), "" if _is_sampler(parameter) else _GROUP)


def _seeds(draft: Draft, parameters: Iterable[StockParameter]) -> Iterator[int | None]:
    """The seed of each value that has none of its own; None leaves it to the run.

    ML-Agents numbers such values from the run's seed on. A run here does the same, but its
    constants have no seeds. If a constant has one, seeds are therefore set explicitly, without it.
    """
    values = itertools.chain.from_iterable(map(_values, parameters))
    if not any(_has_seed(value) for value in values if isinstance(value, StockConstant)):
        return itertools.repeat(None)
    return itertools.count(draft.values.get("seed", RunConfig.model_fields["seed"].default))


def _values(parameter: StockParameter) -> Iterable[StockValue]:
    if isinstance(parameter, StockCurriculum):
        return [lesson.value for lesson in parameter.curriculum]
    return [parameter]


def _is_sampler(parameter: StockValue) -> bool:
    return not isinstance(parameter, int | float)


def _has_seed(sampler: StockSampler) -> bool:
    return sampler.sampler_parameters.seed != _NO_SEED


def _value(value: StockValue, seeds: Iterator[int | None]) -> Any:
    """A number or a sampler, with the next of `seeds` if it has none of its own."""
    if not isinstance(value, StockOptions):
        next(seeds)
        return value
    # Games take 32 bits, in which a negative seed is a large one.
    seed = value.sampler_parameters.seed % 2**32 if _has_seed(value) else next(seeds)
    match value:
        case StockConstant(sampler_parameters=asked):
            return asked.value
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
    return sampler if seed is None else {**sampler, "seed": seed}


def _curriculum(asked: StockCurriculum, seeds: Iterator[int | None]) -> dict[str, Any]:
    *earlier, last = asked.curriculum
    lessons = [_lesson(each, each.completion_criteria, seeds) for each in earlier]
    return {"kind": "curriculum", "lessons": [*lessons, _lesson(last, None, seeds)]}


def _lesson(
    asked: StockLesson, criteria: StockCriteria | None, seeds: Iterator[int | None]
) -> dict[str, Any]:
    lesson = {"name": asked.name, "value": _value(asked.value, seeds)}
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
