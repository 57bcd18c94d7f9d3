"""Environment parameters as messages for a game, which draws from samplers by itself."""

from collections.abc import Mapping

from entrain.config.environment_parameters import (
    GaussianSampler,
    MultirangeSampler,
    Sampler,
    UniformSampler,
    Value,
)
from entrain.serving.parameters import EnvironmentParameters
from entrain_envs.unity import side_channels

_HALF = 2**31


class ToldParameters:
    """The parameters sent to one game. Methods return what to send now, and note it as sent."""

    def __init__(self, parameters: EnvironmentParameters) -> None:
        """Start with nothing sent."""
        self._parameters = parameters
        self._known: Mapping[str, Value] = {}
        self._resets = parameters.resets

    def all(self) -> bytes:
        """Every parameter, for episodes that all begin with them."""
        self._resets = self._parameters.resets
        self._known = self._parameters.specification
        return parameter_messages(self._known)

    def changes(self) -> bytes:
        """The parameters that changed since the last message."""
        known, now = self._known, self._parameters.specification
        if known is now:
            return b""
        self._known = now
        return parameter_messages(changed_since(known, now))

    def take_reset(self) -> bool:
        """Whether a reset of all episodes was ordered since the last call."""
        resets, self._resets = self._resets, self._parameters.resets
        return resets != self._resets


def parameter_messages(values: Mapping[str, Value]) -> bytes:
    """A message of the game's side channel for each of these."""
    return b"".join(_message(name, value) for name, value in values.items())


def changed_since(known: Mapping[str, Value], now: Mapping[str, Value]) -> Mapping[str, Value]:
    """The values in `now` that differ from `known`."""
    return {name: value for name, value in now.items() if known.get(name) != value}


def _message(name: str, value: Value) -> bytes:
    if isinstance(value, float | int):
        return side_channels.write_parameter(name, value)
    # Of 32 bits; the larger half are the negative ones.
    seed = ((value.seed or 0) + _HALF) % (2 * _HALF) - _HALF
    return side_channels.write_sampler(name, _sampler(value), seed=seed)


def _sampler(sampler: Sampler) -> side_channels.Sampler:
    match sampler:
        case UniformSampler():
            return side_channels.Uniform(sampler.low, sampler.high)
        case GaussianSampler():
            return side_channels.Gaussian(sampler.mean, sampler.standard_deviation)
        case MultirangeSampler():
            return side_channels.MultiRange(sampler.intervals)
