"""ML-Agents' `environment_parameters`: a number, a sampler or a curriculum for each name."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from entrain.unity.stock_fields import (
    StockCountOrZero,
    StockInteger,
    StockNonNegative,
    StockNumber,
    StockOptions,
    StockTruth,
)


class StockConstantValues(StockOptions):
    """Of a sampler that always gives the same number."""

    seed: StockInteger = -1

    value: StockNumber = 0.0


class StockUniformValues(StockOptions):
    """Of a sampler whose numbers are equally likely between two bounds."""

    seed: StockInteger = -1

    min_value: StockNumber = 0.0

    max_value: StockNumber = 1.0

    @model_validator(mode="after")
    def _check(self) -> "StockUniformValues":
        if self.min_value > self.max_value:
            raise ValueError(
                f"min_value is {self.min_value:g}; it must be at most max_value {self.max_value:g}"
            )
        return self


class StockGaussianValues(StockOptions):
    """Of a sampler whose numbers are normally distributed."""

    seed: StockInteger = -1

    mean: StockNumber = 1.0

    st_dev: StockNonNegative = 1.0


StockInterval = Annotated[tuple[StockNumber, StockNumber], "its ends"]


class StockMultiRangeValues(StockOptions):
    """Of a sampler that is uniform over several intervals, each as likely as it is long."""

    seed: StockInteger = -1

    intervals: tuple[StockInterval, ...] = Field(default=((0.0, 1.0),), min_length=1)

    @model_validator(mode="after")
    def _check(self) -> "StockMultiRangeValues":
        for low, high in self.intervals:
            if low > high:
                raise ValueError(f"intervals holds [{low:g}, {high:g}], whose ends are reversed")
        return self


class StockConstant(StockOptions):
    """A sampler of one number."""

    sampler_type: Literal["constant"]

    sampler_parameters: StockConstantValues


class StockUniform(StockOptions):
    """A sampler that is uniform between two bounds."""

    sampler_type: Literal["uniform"]

    sampler_parameters: StockUniformValues


class StockGaussian(StockOptions):
    """A sampler of normally distributed numbers."""

    sampler_type: Literal["gaussian"]

    sampler_parameters: StockGaussianValues


class StockMultiRange(StockOptions):
    """A sampler that is uniform over several intervals."""

    sampler_type: Literal["multirangeuniform"]

    sampler_parameters: StockMultiRangeValues


_SAMPLERS = ("constant", "uniform", "gaussian", "multirangeuniform")


def _form(value: Any) -> str | None:
    """The tag of a value: a number, one of the samplers, or a curriculum."""
    if isinstance(value, StockOptions):
        return getattr(value, "sampler_type", "curriculum")
    if not isinstance(value, dict):
        return "number"
    if "curriculum" in value:
        return "curriculum"
    named = value.get("sampler_type")
    return named if named in _SAMPLERS else "uniform"


StockSampler = (
    Annotated[StockConstant, Tag("constant")]
    | Annotated[StockUniform, Tag("uniform")]
    | Annotated[StockGaussian, Tag("gaussian")]
    | Annotated[StockMultiRange, Tag("multirangeuniform")]
)
StockValue = Annotated[Annotated[StockNumber, Tag("number")] | StockSampler, Discriminator(_form)]
"""A number or a sampler. In a location as pydantic reports it, its tag follows its name."""


class StockCriteria(StockOptions):
    """When a lesson is over."""

    behavior: str

    measure: Literal["reward", "progress"] = "reward"

    threshold: StockNumber = 0.0

    min_lesson_length: StockCountOrZero = 0

    signal_smoothing: StockTruth = True

    require_reset: StockTruth = False

    @model_validator(mode="after")
    def _check(self) -> "StockCriteria":
        if self.measure == "progress" and not 0.0 <= self.threshold <= 1.0:
            raise ValueError(
                f"threshold is {self.threshold:g}; with measure: progress it must be between 0 "
                "and 1"
            )
        return self


class StockLesson(StockOptions):
    """A parameter's value until its criteria are met."""

    name: str

    value: StockValue

    completion_criteria: StockCriteria | None = None


def _lessons(values: Any) -> Any:
    if isinstance(values, dict):
        # Lessons by name, as {Lesson0: {value: 1.0}}, are no list, and were never read as one.
        raise ValueError("curriculum is a group; it must be a list of lessons, each with '- name:'")
    return values


class StockCurriculum(StockOptions):
    """Lessons, one after the other."""

    curriculum: Annotated[tuple[StockLesson, ...], Field(min_length=1), BeforeValidator(_lessons)]

    @model_validator(mode="after")
    def _check(self) -> "StockCurriculum":
        unfinished = _without_criteria(self.curriculum[:-1])
        if unfinished:
            raise ValueError(
                f"curriculum has no completion_criteria in lesson '{unfinished[0]}'; every lesson "
                "but the last needs them"
            )
        return self


def _without_criteria(lessons: Sequence[StockLesson]) -> Sequence[str]:
    return [lesson.name for lesson in lessons if lesson.completion_criteria is None]


StockParameter = Annotated[
    Annotated[StockNumber, Tag("number")]
    | StockSampler
    | Annotated[StockCurriculum, Tag("curriculum")],
    Discriminator(_form),
]
"""The value of a parameter in the file."""
