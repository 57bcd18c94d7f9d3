"""Environment parameters: their current values, and the numbers sent to each simulator.

A parameter is a number or a sampler. Each simulator has its own draws from a sampler, always made
ahead of the episodes that they are for:

    Welcome                              draw 0, for the episodes that begin first
    Act of a Step in which any began     the next draw, for the episodes that begin after that Act

A draw depends on seed, simulator, parameter and how many draws came before, and on nothing else.
A front whose simulators draw by themselves tells them `EnvironmentParameters.specification`.
"""

import hashlib
import math
import weakref
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from entrain.config.environment_parameters import (
    GaussianSampler,
    MultirangeSampler,
    Sampler,
    UniformSampler,
    Value,
)
from entrain_envs.timestep import StepType, TimestepBatch

_FIRST = int(StepType.FIRST)


def nothing() -> None:
    """Does nothing."""


class EnvironmentParameters:
    """The current value of each parameter, for all simulators. Owned by the event loop."""

    def __init__(self, specification: Mapping[str, Value]) -> None:
        self.specification: Mapping[str, Value] = dict(specification)
        """{parameter: its number, or its sampler}. Replaced, never changed in place."""
        self.version = 0
        """Grows with every change of the specification."""
        self.resets = 0
        """How often running episodes were to be given up, where a simulator can be told so."""
        self.on_change: Callable[[], None] = nothing
        """Called after each change."""
        self._told: weakref.WeakSet[SimulatorParameters] = weakref.WeakSet()

    @property
    def are_sampled(self) -> bool:
        """Whether one of them is a sampler."""
        return any(not isinstance(value, float | int) for value in self.specification.values())

    def update(self, values: Mapping[str, Value], must_reset: bool = False) -> None:
        """Set these; the others keep their values.

        Args:
            values: {parameter: number or sampler}.
            must_reset: whether simulators that can be told so begin all episodes anew.
        """
        self.resets += must_reset
        self.specification = {**self.specification, **values}
        self.version += 1
        for each in self._told:
            each.renew()
        self.on_change()

    def of(self, *, simulator: str, seed: int) -> "SimulatorParameters":
        """The numbers for a simulator.

        Args:
            simulator: its name.
            seed: of the simulator.
        """
        parameters = SimulatorParameters(self, simulator=simulator, seed=seed)
        self._told.add(parameters)
        return parameters


class SimulatorParameters:
    """The numbers sent to one simulator. Owned by its participant."""

    def __init__(self, all_: EnvironmentParameters, *, simulator: str, seed: int) -> None:
        self._all = all_
        self._simulator = simulator
        self._seed = seed
        self.draws = 0
        """How many draws came before the present one."""
        self.renew()

    def renew(self) -> None:
        """Compute the numbers again, after a new draw or a change of the parameters."""
        self.are_drawn = self._all.are_sampled
        """Whether `values` change when episodes begin."""
        self.values: Mapping[str, float] = {
            name: value if isinstance(value, float | int) else self._drawn(name, value)
            for name, value in self._all.specification.items()
        }
        """{parameter: number}. Replaced, never changed in place."""

    def _drawn(self, parameter: str, sampler: Sampler) -> float:
        whose = f"run/{self._seed}"
        if sampler.seed is not None:
            whose = f"sampler/{sampler.seed}/{self._simulator}"
        return drawn(sampler, f"{whose}/{parameter}/{self.draws}")

    def note(self, rows: Iterable[TimestepBatch]) -> None:
        """Draw again if an episode begins in these rows of a step."""
        if any(np.any(each.step_type == _FIRST) for each in rows):
            self.go_on_after(self.draws + 1)

    def go_on_after(self, draws: int) -> None:
        """Continue after `draws` earlier draws."""
        self.draws = draws
        self.renew()

    def changed_since(self, known: Mapping[str, float]) -> Mapping[str, float]:
        """Parameters whose number differs from `known`, an earlier `values`."""
        return {name: value for name, value in self.values.items() if known.get(name) != value}


def drawn(sampler: Sampler, key: str) -> float:
    """A number from `sampler`; the same one whenever the key is the same."""
    first, second = _uniform_pair(key)
    match sampler:
        case UniformSampler():
            return _between(sampler.low, sampler.high, first)
        case GaussianSampler():
            # Box and Muller 1958: `first` is below 1, so that its logarithm is finite.
            radius = math.sqrt(-2.0 * math.log(1.0 - first))
            return sampler.mean + sampler.standard_deviation * radius * math.cos(math.tau * second)
        case MultirangeSampler():
            return _between(*_interval(sampler, second), first)


def _interval(sampler: MultirangeSampler, share: float) -> tuple[float, float]:
    """One of the intervals: `share` of their total length lies before a point within it."""
    lengths = [high - low for low, high in sampler.intervals]
    total = math.fsum(lengths)
    if not total > 0.0:  # single points, all equally likely
        return sampler.intervals[int(share * len(lengths))]
    rest = share * total
    for interval, length in zip(sampler.intervals, lengths, strict=True):
        if rest < length:
            return interval
        rest -= length
    return max(sampler.intervals, key=lambda interval: interval[1] - interval[0])


def _between(low: float, high: float, share: float) -> float:
    return (1.0 - share) * low + share * high


def _uniform_pair(key: str) -> tuple[float, float]:
    """Two independent numbers in [0, 1), each a multiple of 2**-53."""
    digest = hashlib.sha256(key.encode()).digest()
    first, second = (int.from_bytes(digest[i : i + 8], "little") >> 11 for i in (0, 8))
    return first * 2.0**-53, second * 2.0**-53
