"""Converts what a simulator reports for people to protobuf messages and back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from entrain_envs.statistics import Aggregation, Statistic, StatisticValues, grouped
from entrain_envs.wire import trainer_pb2 as pb

_WIRE: Mapping[Aggregation, pb.Aggregation] = MappingProxyType(
    {
        "mean": pb.AGGREGATION_MEAN,
        "last": pb.AGGREGATION_LAST,
        "sum": pb.AGGREGATION_SUM,
        "histogram": pb.AGGREGATION_HISTOGRAM,
    }
)
_NAME: Mapping[int, Aggregation] = MappingProxyType(
    {number: name for name, number in _WIRE.items()}
)


def encode_statistics(statistics: Iterable[Statistic]) -> Sequence[pb.Statistic]:
    """Write them, all values of a name in one message."""
    return [
        pb.Statistic(
            name=each.name, aggregation=_WIRE[each.aggregation], values=each.values.tolist()
        )
        for each in grouped(statistics)
    ]


def decode_statistics(messages: Iterable[pb.Statistic]) -> Iterator[StatisticValues]:
    """Read them one by one. An aggregation that is not known, of a newer simulator, is the mean."""
    for message in messages:
        yield StatisticValues(
            message.name,
            _NAME.get(message.aggregation, "mean"),
            np.array(message.values, np.float64),
        )
