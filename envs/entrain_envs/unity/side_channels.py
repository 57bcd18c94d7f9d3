"""Side channels: engine settings and environment parameters to a game, statistics from it.

A stream is messages one after another: 16 bytes that name the channel, the length of the content as
an int32, the content. All numbers are little-endian, and text is ASCII after its length.
"""

import logging
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias
from uuid import UUID

from entrain_envs.statistics import LONGEST_NAME, Aggregation, Statistic
from entrain_envs.unity.errors import UnityMessageError

logger = logging.getLogger(__name__)

ENGINE_CONFIGURATION = UUID("e951342c-4f7e-11ea-b238-784f4387d1f7")
ENVIRONMENT_PARAMETERS = UUID("534c891e-810f-11ea-a9d0-822485860400")
STATISTICS = UUID("a1d8f7b7-cec8-50f9-b78b-d3e165a78520")
FLOAT_PROPERTIES = UUID("60ccf7d0-4f7e-11ea-b238-784f4387d1f7")
TRAINING_ANALYTICS = UUID("b664a4a9-d86f-5a5f-95cb-e8353a7e8356")

MOST_MESSAGES = 10_000
"""In one stream."""

MOST_UNKNOWN = 20
"""Unknown channels that are named in the log."""

_IGNORED = {ENGINE_CONFIGURATION, ENVIRONMENT_PARAMETERS, FLOAT_PROPERTIES, TRAINING_ANALYTICS}

_AGGREGATIONS: tuple[Aggregation, ...] = ("mean", "last", "sum", "histogram")

_HEAD = struct.Struct("<16si")
_INT32 = struct.Struct("<i")
_NUMBER_AND_AGGREGATION = struct.Struct("<fi")

_NUMBER, _SAMPLER = 0, 1
_RESOLUTION, _QUALITY, _TIME_SCALE, _TARGET_RATE, _CAPTURE_RATE = range(5)


@dataclass(frozen=True)
class Uniform:
    """The game draws evenly between two numbers."""

    low: float
    high: float

    @property
    def content(self) -> bytes:
        """Its kind and its numbers."""
        return _packed("<iff", 0, self.low, self.high)


@dataclass(frozen=True)
class Gaussian:
    """The game draws around a mean."""

    mean: float
    deviation: float

    @property
    def content(self) -> bytes:
        """Its kind and its numbers."""
        return _packed("<iff", 1, self.mean, self.deviation)


@dataclass(frozen=True)
class MultiRange:
    """The game chooses one of several intervals, and draws evenly from it."""

    intervals: tuple[tuple[float, float], ...]

    @property
    def content(self) -> bytes:
        """Its kind, how many numbers, and these."""
        numbers = [number for interval in self.intervals for number in interval]
        return _packed(f"<ii{len(numbers)}f", 2, len(numbers), *numbers)


Sampler: TypeAlias = Uniform | Gaussian | MultiRange


def write_engine(
    *,
    width: int,
    height: int,
    quality_level: int,
    time_scale: float,
    target_frame_rate: int,
    capture_frame_rate: int,
) -> bytes:
    """Five messages with the settings of the game engine."""
    contents = (
        _packed("<iii", _RESOLUTION, width, height),
        _packed("<ii", _QUALITY, quality_level),
        _packed("<if", _TIME_SCALE, time_scale),
        _packed("<ii", _TARGET_RATE, target_frame_rate),
        _packed("<ii", _CAPTURE_RATE, capture_frame_rate),
    )
    return b"".join(_message(ENGINE_CONFIGURATION, content) for content in contents)


def write_parameter(name: str, value: float) -> bytes:
    """A message that sets an environment parameter to a number."""
    content = _text(name) + _packed("<if", _NUMBER, value)
    return _message(ENVIRONMENT_PARAMETERS, content)


def write_sampler(name: str, sampler: Sampler, *, seed: int) -> bytes:
    """A message by which the game draws an environment parameter itself.

    Args:
        name: of the parameter.
        sampler: what it draws from.
        seed: of its draws; an int32.
    """
    content = _text(name) + _packed("<ii", _SAMPLER, seed) + sampler.content
    return _message(ENVIRONMENT_PARAMETERS, content)


def write_statistic(statistic: Statistic) -> bytes:
    """A message as a game sends it: for games that are written in Python."""
    aggregation = _AGGREGATIONS.index(statistic.aggregation)
    content = _text(statistic.name) + _NUMBER_AND_AGGREGATION.pack(statistic.value, aggregation)
    return _message(STATISTICS, content)


def _message(channel: UUID, content: bytes) -> bytes:
    return _HEAD.pack(channel.bytes_le, len(content)) + content


def _packed(form: str, *values: float) -> bytes:
    try:
        return struct.pack(form, *values)
    except (struct.error, OverflowError) as error:
        shown = ", ".join(f"{value:.10g}" for value in values[:10])
        raise UnityMessageError(
            f"{shown} cannot be sent to a game ({error}); expected numbers within the range of "
            "int32 and float32"
        ) from None


def _text(text: str) -> bytes:
    try:
        encoded = text.encode("ascii")
    except UnicodeEncodeError:
        raise UnityMessageError(
            f"the name {text[:LONGEST_NAME]!r} cannot be sent to a game: ML-Agents writes names in "
            "ASCII; rename it in the settings and in the game"
        ) from None
    return _INT32.pack(len(encoded)) + encoded


def messages(stream: bytes) -> Iterator[tuple[UUID, bytes]]:
    """(channel, content) of each message; UnityMessageError if the stream is damaged."""
    at = count = 0
    while at < len(stream):
        count += 1
        if count > MOST_MESSAGES:
            raise UnityMessageError(
                f"a game sent more than {MOST_MESSAGES:,} side channel messages at once; expected "
                "at most so many: report statistics less often, or fewer of them"
            )
        if len(stream) - at < _HEAD.size:
            raise _damage(stream, at, f"{len(stream) - at} bytes begin a message")
        name, size = _HEAD.unpack_from(stream, at)
        at += _HEAD.size
        if not 0 <= size <= len(stream) - at:
            raise _damage(stream, at, f"a message has {size:,} bytes")
        yield UUID(bytes_le=name), stream[at : at + size]
        at += size


class SideChannelReader:
    """Reads what the side channels of one game carry, and remembers which it did not know."""

    def __init__(self, game: str) -> None:
        self._game = game
        self._unknown: dict[UUID, int] = {}

    @property
    def unknown(self) -> Mapping[UUID, int]:
        """Messages of each unknown channel; of those beyond MOST_UNKNOWN together under 0."""
        return MappingProxyType(self._unknown)

    def read(self, stream: bytes) -> Sequence[Statistic]:
        """The statistics in a stream; the other channels are passed over.

        Raises:
            UnityMessageError: the stream or a statistic in it is damaged.
        """
        statistics = []
        for channel, content in messages(stream):
            if channel == STATISTICS:
                statistics.append(_statistic(content))
            elif channel not in _IGNORED:
                self._note_unknown(channel)
        return [each for each in statistics if math.isfinite(each.value)]

    def _note_unknown(self, channel: UUID) -> None:
        if channel not in self._unknown:
            if len(self._unknown) > MOST_UNKNOWN:
                channel = UUID(int=0)
            elif len(self._unknown) == MOST_UNKNOWN:
                channel = UUID(int=0)
                logger.warning("%s: messages on further unknown side channels", self._game)
            else:
                logger.warning(
                    "%s: messages on side channel %s, which is unknown here, are ignored",
                    self._game,
                    channel,
                )
        self._unknown[channel] = self._unknown.get(channel, 0) + 1


def _statistic(content: bytes) -> Statistic:
    if len(content) >= _INT32.size:
        (size,) = _INT32.unpack_from(content)
        if 0 < size <= LONGEST_NAME and len(content) == 4 + size + _NUMBER_AND_AGGREGATION.size:
            value, aggregation = _NUMBER_AND_AGGREGATION.unpack_from(content, 4 + size)
            if 0 <= aggregation < len(_AGGREGATIONS):
                name = content[4 : 4 + size].decode("ascii", errors="replace")
                return Statistic(name, value, _AGGREGATIONS[aggregation])
    raise UnityMessageError(
        f"a statistic of {len(content):,} bytes ({content[:40]!r}) cannot be read; expected its "
        f"name with at most {LONGEST_NAME} characters, a float32, and how it is aggregated from 0 "
        "to 3: shorten the name that the game gives to StatsRecorder.Add"
    )


def _damage(stream: bytes, at: int, words: str) -> UnityMessageError:
    return UnityMessageError(
        f"side channels of {len(stream):,} bytes are damaged at byte {at:,}: {words}; expected 16 "
        "bytes that name a channel, the length of a content as an int32, and so many bytes"
    )
