"""The statistics that a simulator has noted and its next exchange will send."""

import logging
import math
from collections.abc import Sequence

from entrain_envs.statistics import MOST_VALUES, Aggregation, Statistic, check_statistic
from entrain_envs.statistics_codec import encode_statistics
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)


class NotedStatistics:
    """See the module. Owned by the client."""

    def __init__(self) -> None:
        """None yet."""
        self._waiting: list[Statistic] = []
        self._said: set[str] = set()

    def add(self, name: str, value: float, aggregation: Aggregation) -> None:
        """Keep a value; see `TrainerClient.note`, also for what is raised."""
        check_statistic(name, aggregation)
        number = float(value)
        if not math.isfinite(number):
            self._say_once(name, f"statistic '{name}' is {number}: left out, like others of it")
        elif len(self._waiting) >= MOST_VALUES:
            words = f"more than {MOST_VALUES:,} values of statistics in one exchange: some left out"
            self._say_once("", words)
        else:
            self._waiting.append(Statistic(name, number, aggregation))

    def _say_once(self, about: str, words: str) -> None:
        if about not in self._said:
            self._said.add(about)
            logger.warning("%s", words)

    def messages(self) -> Sequence[pb.Statistic]:
        """The noted values, as the next Step carries them."""
        return encode_statistics(self._waiting)

    def clear(self) -> None:
        """All was sent."""
        self._waiting.clear()
