"""Options of `entrain tune`: what is varied, in which ranges, and how runs are judged.

The options that are varied are those of the same file; the rest of the file is what all runs share.
"""

import math
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from entrain.config.fields import (
    Count,
    CountOrZero,
    Fraction,
    Number,
    OneOfKinds,
    Options,
    Positive,
    Seed,
)


class RangeConfig(Options):
    """The range of one option: any number between two (`low` and `high`), or one of `choices`."""

    low: Number | None = None
    """Smallest value that is tried."""

    high: Number | None = None
    """Largest value that is tried."""

    log: bool = False
    """Try each order of magnitude equally often: for learning rates and coefficients."""

    step: Positive | None = None
    """Try only low, low + step, low + 2 step and so on. null: every number, or every integer."""

    choices: tuple[Any, ...] | None = None
    """Values that are tried, of any kind: words, numbers, lists, groups of options."""

    @model_validator(mode="after")
    def _check(self) -> "RangeConfig":
        if self.choices is not None:
            self._check_choices(self.choices)
            return self
        if self.low is None or self.high is None:
            missing = "low" if self.low is None else "high"
            raise ValueError(
                f"{missing} is not given; write low and high, as in {{low: 1e-4, high: 1e-2, log: "
                "true}, or choices: [64, 128]"
            )
        if self.low >= self.high:
            raise ValueError(f"low is {self.low:g}; it must be below high, which is {self.high:g}")
        if self.log and self.low <= 0.0:
            raise ValueError(f"low is {self.low:g}; with log: true it must be above 0")
        if self.log and self.step is not None:
            raise ValueError("step is given with log: true; delete one of them")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(
                f"step is {self.step:g}; it must be at most high - low, {self.high - self.low:g}"
            )
        if self.step is not None:
            self._check_step(self.low, self.high, self.step)
        return self

    def _check_step(self, low: float, high: float, step: float) -> None:
        num_steps = (high - low) / step
        # 0.1, 0.2 and so on are no binary fractions, so that whole numbers of steps are nearly so.
        if not math.isclose(num_steps, round(num_steps), rel_tol=1e-9):
            reached = low + math.floor(num_steps) * step
            raise ValueError(
                f"high is {high:g}, which steps of {step:g} from {low:g} pass over; write high: "
                f"{reached:g}, the last value that they reach, or another step"
            )

    def _check_choices(self, choices: tuple[Any, ...]) -> None:
        others = [it for it in ("low", "high", "step") if getattr(self, it) is not None]
        if others:
            raise ValueError(f"choices is given with {', '.join(others)}; delete one of them")
        if len(choices) < 2:
            raise ValueError(
                f"choices has {len(choices)} values; give at least two, or set the option itself"
            )
        twice = [it for number, it in enumerate(choices) if it in choices[:number]]
        if twice:
            raise ValueError(f"choices holds {twice[0]} twice; delete one of them")


class MedianPrunerConfig(Options):
    """A trial that is worse than the median of those before it, at the same point, is stopped."""

    kind: Literal["median"] = "median"
    """Compares with the median."""

    startup_trials: CountOrZero = 5
    """Trials that are completed before any is stopped."""

    warmup: Fraction = 0.25
    """Part of a trial's total steps before which it is never stopped. What learns slowly at first
    needs more."""


class HalvingPrunerConfig(Options):
    """Asynchronous successive halving: at each of a few points only the best go on (Li et al. 2020,
    arXiv:1810.05934).
    """

    kind: Literal["successive_halving"] = "successive_halving"
    """Lets only the best go on."""

    first: Fraction = 0.1
    """Part of a trial's total steps at which they are compared first, rounded up to a twentieth."""

    factor: Annotated[int, Field(ge=2)] = 3
    """One in so many goes on, and is compared again after so many times as many steps."""


class NoPrunerConfig(Options):
    """No trial is stopped early."""

    kind: Literal["none"] = "none"
    """Lets all run to their end."""


Pruner: TypeAlias = Annotated[
    MedianPrunerConfig | HalvingPrunerConfig | NoPrunerConfig, OneOfKinds(default="median")
]


class SearchConfig(Options):
    """The search of `entrain tune`; `entrain train` ignores it."""

    options: dict[str, RangeConfig]
    """{path of an option, as for --set: what it may be}. One that only another `kind` has is left
    out of the trials that choose this one."""

    trials: Count = 50
    """Trials that come to their end, or are stopped because they are worse than others. More can
    be asked for later: the same command goes on."""

    parallel: Count | None = None
    """Runs at a time. null: as many as the processors bear, with one for each trainer and each
    simulator that it launches. With 1, a tuning that is repeated tries the same values."""

    seeds: Count = 1
    """Runs of each trial, whose seeds are that of the file and those after it. A trial counts by
    their mean. More are steadier, and take as many times longer."""

    metric: str | None = None
    """What trials are compared by: a name that `entrain metrics` knows, or one that simulators
    report. null: evaluation/return_mean of a run with `evaluation`, else
    rollout/episode_return_last_100."""

    policy: str | None = None
    """The behaviour whose metric it is. null: the mean over all that have it."""

    direction: Literal["maximize", "minimize"] | None = None
    """Which values are better. null: as `entrain metrics` says."""

    sampler: Literal["tpe", "random"] = "tpe"
    """tpe: new values are drawn where good ones were found (Watanabe 2023, arXiv:2304.11127).
    random: anywhere."""

    startup_trials: CountOrZero = 10
    """Trials at the beginning whose values are random with tpe, too."""

    sampler_seed: Seed = 1
    """Determines which values are tried."""

    pruner: Pruner = MedianPrunerConfig()
    """Which trials are stopped before their end."""

    @model_validator(mode="after")
    def _check(self) -> "SearchConfig":
        if not self.options:
            raise ValueError(
                "options is empty; name an option with its range, as in "
                "policies.*.algorithm.learning_rate: {low: 1e-4, high: 1e-2, log: true}"
            )
        return self
