"""Keeps float64 observations precise in float32: subtracts origins, warns where one is needed.

A policy sees float32, which cannot resolve numbers that vary little about a far origin (map
coordinates, time stamps). The user gives the origins, because origins estimated from data would
differ between simulators. A watch over the first rows warns about observations that need one.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from entrain_envs.errors import OptionError
from entrain_envs.spec import ObservationSpec

logger = logging.getLogger(__name__)

Float64Array = npt.NDArray[np.float64]

Subtraction = tuple[str, int | None, float]
"""An observation's name, which of its numbers (None: all), and what to subtract."""

FAR = 1e4
"""Numbers below this size are not watched: float32 resolves them to a thousandth or better."""

LEVELS = 256
"""Numbers are too coarse if float32 has fewer distinct values than this in their range."""

LOOKS = (64, 1024)
"""Numbers of rows after which the watch checks precision; the last check ends it."""


class Precision:
    """The origins of one behaviour's observations, and the watch over its first rows."""

    def __init__(
        self, specs: Sequence[ObservationSpec], subtract: Sequence[Subtraction], *, where: str
    ) -> None:
        """Read `subtract`.

        Raises:
            OptionError: it names something that is not a float32 observation.
        """
        self.origin: Mapping[str, Float64Array] = _origins(specs, subtract)
        """{name: what to subtract from it, in its shape}."""

        # An image of floats is never far from zero, and twice its bytes would be copied.
        self.exact = tuple(spec.name for spec in specs if _is_numbers(spec))
        """Observations whose rows are collected in float64, and rounded together."""

        self.dtype: Mapping[str, np.dtype[np.generic]] = {
            spec.name: np.dtype(np.float64) if spec.name in self.exact else spec.numpy_dtype
            for spec in specs
        }
        """{name: dtype in which its rows are collected}."""

        self.is_watching = bool(self.exact)
        """Whether `watch` still needs rows."""

        self._where = where
        self._low: dict[str, Float64Array] = {}
        self._high: dict[str, Float64Array] = {}
        self._seen: dict[str, int] = {}
        self._said: set[str] = set()

    def watch(self, observation: Mapping[str, npt.NDArray[Any]]) -> None:
        """Note the range of the rows of one message, after subtraction and before rounding."""
        for name, values in observation.items():
            if values.dtype != np.float64 or not len(values):
                continue
            before = self._seen.get(name, 0)
            low, high = values.min(axis=0), values.max(axis=0)
            self._low[name] = np.minimum(low, self._low.get(name, low))
            self._high[name] = np.maximum(high, self._high.get(name, high))
            self._seen[name] = before + len(values)
            if any(before < look <= self._seen[name] for look in LOOKS):
                self._judge(name)
        self.is_watching = any(seen < LOOKS[-1] for seen in self._seen.values())

    def _judge(self, name: str) -> None:
        """Warn once if an observation is too coarse in float32."""
        low, high = np.ravel(self._low[name]), np.ravel(self._high[name])
        size = np.maximum(np.abs(low), np.abs(high))
        spread = high - low
        with np.errstate(over="ignore", invalid="ignore"):
            spacing = np.spacing(size.astype(np.float32)).astype(np.float64)
            coarse = (size >= FAR) & (spread > 0) & (spread < LEVELS * spacing)
        if name in self._said or not coarse.any():
            return
        self._said.add(name)
        first = int(coarse.argmax())
        which = f"{name}[{first}]" if len(coarse) > 1 else name
        others = f" (and {coarse.sum() - 1} other numbers of it)" if coarse.sum() > 1 else ""
        origin = _short(0.5 * (low[first] + high[first]), spread[first])
        logger.warning(
            "%s: observation '%s'%s varied by %.3g about %.6g, where float32 tells numbers apart "
            "only if they differ by %.2g: a policy sees little of that; subtract an origin in "
            "float64, with --subtract '%s=%s' in all simulators alike (or "
            "gymnasium.wrappers.TransformObservation in code)",
            *(self._where, which, others, spread[first], low[first], spacing[first]),
            *(which, origin),
        )


def _origins(
    specs: Sequence[ObservationSpec], subtract: Sequence[Subtraction]
) -> Mapping[str, Float64Array]:
    by_name = {spec.name: spec for spec in specs if spec.dtype == "float32"}
    origins: dict[str, Float64Array] = {}
    for name, index, value in subtract:
        spec = by_name.get(name)
        if spec is None:
            raise OptionError(
                f"--subtract names '{name}', which is no observation of float32 numbers; "
                f"there are: {', '.join(map(str, specs))}"
            )
        origin = origins.setdefault(name, np.zeros(spec.shape))
        if index is None:
            origin[...] = value
        elif index < spec.size:
            origin.reshape(-1)[index] = value
        else:
            raise OptionError(
                f"--subtract names number {index} of '{name}', which has {spec.size} numbers, "
                "counted from 0"
            )
    return origins


def _is_numbers(spec: ObservationSpec) -> bool:
    return spec.dtype == "float32" and spec.kind != "image"


def _short(middle: float, spread: float) -> str:
    """A number near `middle` with few digits: what is left is not much more than the spread."""
    for digits in range(1, 18):
        text = f"{middle:.{digits}g}"
        if abs(float(text) - middle) <= 100.0 * spread:
            return text
    return repr(middle)
