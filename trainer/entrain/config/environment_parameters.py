"""Parameters of the environment itself: numbers, samplers, and curricula that change either.

    environment_parameters:
      gravity: 9.81                                      a number
      ball_radius: {kind: uniform, low: 0.3, high: 0.7}  a sampler
      platform_size:                                     a curriculum
        kind: curriculum
        lessons:
          - name: large
            value: 8
            completion: {behaviour: ball, threshold: 80, min_episodes: 100}
          - name: small
            value: {kind: uniform, low: 3, high: 5}

Nothing here draws numbers or counts episodes.
"""

import itertools
from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field, model_validator

from entrain.config.fields import (
    CountOrZero,
    NonNegative,
    Number,
    NumberOrKinds,
    Options,
    Seed,
)


class UniformSampler(Options):
    """Every number between two is equally likely."""

    kind: Literal["uniform"] = "uniform"
    """Every number between `low` and `high` is equally likely."""

    low: Number = 0.0
    """The smallest number."""

    high: Number = 1.0
    """The largest number."""

    seed: Seed | None = None
    """Determines the draws, together with the simulator's name. null: the run's seed does."""

    @model_validator(mode="after")
    def _check(self) -> "UniformSampler":
        if self.low > self.high:
            raise ValueError(f"low is {self.low:g}; it must be at most high {self.high:g}")
        return self


class GaussianSampler(Options):
    """Normally distributed numbers."""

    kind: Literal["gaussian"] = "gaussian"
    """Numbers around `mean`, without bounds."""

    mean: Number = 1.0
    """The number that draws lie around."""

    standard_deviation: NonNegative = 1.0
    """How far around it: two thirds of the draws are within it."""

    seed: Seed | None = None
    """As for kind uniform."""


class MultirangeSampler(Options):
    """Every number within several intervals is equally likely."""

    kind: Literal["multirange"] = "multirange"
    """A longer interval is drawn from more often, in proportion to its length."""

    intervals: tuple[tuple[Number, Number], ...] = ((0.0, 1.0),)
    """The smallest and the largest number of each: [[1, 2], [8, 10]]."""

    seed: Seed | None = None
    """As for kind uniform."""

    @model_validator(mode="after")
    def _check(self) -> "MultirangeSampler":
        if not self.intervals:
            raise ValueError("intervals is empty; give at least one, such as [[0, 1]]")
        for low, high in self.intervals:
            if low > high:
                raise ValueError(
                    f"intervals has [{low:g}, {high:g}]; the smaller number of an interval "
                    "stands first"
                )
        return self


Sampler: TypeAlias = UniformSampler | GaussianSampler | MultirangeSampler
SAMPLERS: Final = (UniformSampler, GaussianSampler, MultirangeSampler)

Value: TypeAlias = float | Sampler
"""What a parameter is at one time."""

_Value: TypeAlias = Annotated[
    Number | UniformSampler | GaussianSampler | MultirangeSampler, NumberOrKinds()
]


class CompletionConfig(Options):
    """When a lesson is over and the next one begins."""

    behaviour: str
    """Whose episodes and steps decide."""

    measure: Literal["reward", "progress"] = "reward"
    """reward: mean return of its last episodes. progress: share of its policy's total steps that
    are done."""

    threshold: Number = 0.0
    """The lesson is over once the measure is above this. Of progress, between 0 and 1."""

    min_episodes: CountOrZero = 0
    """Episodes that must have ended since a lesson last changed, also one of another parameter.
    The mean return is of as many; if lessons of one behaviour differ, of the largest number."""

    smoothing: bool = True
    """Compare 0.25 times the number compared before plus 0.75 times the mean return, instead of the
    mean return; the first one before is 0. It is computed whenever episodes end."""

    require_reset: bool = False
    """true: episodes that began before simulators knew of the next lesson do not count for it, and
    games of ML-Agents are reset, which drops their running episodes; other simulators play them to
    their end. false: every episode is played to its end, and counts."""

    @model_validator(mode="after")
    def _check(self) -> "CompletionConfig":
        if self.measure == "progress" and not 0.0 <= self.threshold <= 1.0:
            raise ValueError(
                f"threshold is {self.threshold:g}; of measure progress it must be between 0 and 1"
            )
        return self


class LessonConfig(Options):
    """One lesson of a curriculum."""

    name: str = Field(
        min_length=1, json_schema_extra={"patternErrorMessage": "text that is not empty"}
    )
    """For people: in the log, the report and the option `--lesson`."""

    value: _Value
    """What the parameter is during the lesson: a number or a sampler."""

    completion: CompletionConfig | None = None
    """When the next lesson begins. Every lesson but the last has one."""


class CurriculumConfig(Options):
    """Lessons, one after the other, each with a value of the parameter."""

    kind: Literal["curriculum"] = "curriculum"
    """The parameter changes as the agents learn."""

    lessons: tuple[LessonConfig, ...]
    """From the first to the last, which stays until the run ends."""

    completed: CountOrZero = 0
    """How many lessons are over when the run begins: 0 begins with the first."""

    @model_validator(mode="after")
    def _check(self) -> "CurriculumConfig":
        if not self.lessons:
            raise ValueError("lessons is empty; give at least one, with name and value")
        *earlier, last = self.lessons
        for number, lesson in enumerate(earlier, start=1):
            if lesson.completion is None:
                raise ValueError(
                    f"lessons has no completion for '{lesson.name}', number {number} of "
                    f"{len(self.lessons)}, so the next lesson would never begin; give it one, such "
                    "as completion: {behaviour: NAME, threshold: 10, min_episodes: 100}"
                )
        if last.completion is not None:
            raise ValueError(
                f"lessons has a completion for '{last.name}', which is the last, so no lesson "
                "follows; delete it"
            )
        if self.completed >= len(self.lessons):
            raise ValueError(
                f"completed is {self.completed} of {len(self.lessons)} lessons; the last one never "
                "ends, so it must be less"
            )
        return self


EnvironmentParameter: TypeAlias = Annotated[
    Number | UniformSampler | GaussianSampler | MultirangeSampler | CurriculumConfig,
    NumberOrKinds(),
]
"""One entry of `environment_parameters`."""


def with_seeds(
    parameters: Mapping[str, EnvironmentParameter], seed: int
) -> Mapping[str, EnvironmentParameter]:
    """The same, every sampler with a seed: those without get `seed`, `seed + 1` and so on.

    Numbers are counted as well, and lessons one by one. So ML-Agents numbers what its games draw
    from; native simulators' draws need no such seeds.
    """
    numbers = itertools.count(seed)

    def with_seed(value: Value) -> Value:
        if isinstance(value, float | int):
            next(numbers)
            return value
        return value if value.seed is not None else value.model_copy(update={"seed": next(numbers)})

    def with_all(parameter: EnvironmentParameter) -> EnvironmentParameter:
        if not isinstance(parameter, CurriculumConfig):
            return with_seed(parameter)
        lessons = [
            each.model_copy(update={"value": with_seed(each.value)}) for each in parameter.lessons
        ]
        return parameter.model_copy(update={"lessons": tuple(lessons)})

    return {name: with_all(parameter) for name, parameter in parameters.items()}


def curricula(
    parameters: Mapping[str, EnvironmentParameter],
) -> Mapping[str, CurriculumConfig]:
    """{parameter: its curriculum} of those that have one."""
    return {name: it for name, it in parameters.items() if isinstance(it, CurriculumConfig)}


def values_at(
    parameters: Mapping[str, EnvironmentParameter], lessons: Mapping[str, int]
) -> Mapping[str, Value]:
    """{parameter: number or sampler} when curricula have come so far.

    Args:
        parameters: the entries of `environment_parameters`.
        lessons: {parameter: index of its lesson, from 0}; where there is none, the one that a run
            begins with.
    """
    return {
        name: it.lessons[lessons.get(name, it.completed)].value
        if isinstance(it, CurriculumConfig)
        else it
        for name, it in parameters.items()
    }


def as_plain(values: Mapping[str, Value]) -> Mapping[str, object]:
    """{parameter: its number, or its sampler as a dict}, as JSON has them."""
    return {
        name: value if isinstance(value, float | int) else value.model_dump(mode="json")
        for name, value in values.items()
    }


def in_words(value: Value) -> str:
    """`9.81`, or `uniform from 8 to 12`."""
    match value:
        case UniformSampler():
            return f"uniform from {value.low:g} to {value.high:g}"
        case GaussianSampler():
            return f"gaussian around {value.mean:g} with deviation {value.standard_deviation:g}"
        case MultirangeSampler():
            ranges = (f"{low:g} to {high:g}" for low, high in value.intervals)
            return f"uniform from {', '.join(ranges)}"
        case _:
            return f"{value:g}"
