"""Writes each episode of one policy into the run's table of episodes."""

import time
from collections.abc import Callable

import numpy as np

from entrain.rollout.episodes import ClosedEpisodes, Names
from entrain.run.episode_table import EpisodeRows, EpisodeTable
from entrain.serving.participants import Participants
from entrain_envs.timestep import Int64Array, StepType

_ENDINGS = np.full(max(StepType) + 1, "dropped", np.object_)
_ENDINGS[StepType.TERMINATED] = "terminated"
_ENDINGS[StepType.TRUNCATED] = "truncated"


class EpisodeWatch:
    """See `rollout.episodes.EpisodeWatcher`. Owned by the event loop."""

    def __init__(
        self,
        behaviour: str,
        participants: Participants,
        table: EpisodeTable,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Watch the agents of `behaviour`; `clock` gives seconds since 1970."""
        self._behaviour = behaviour
        self._participants = participants
        self._table = table
        self._clock = clock

    def simulators_of(self, slot: Int64Array) -> Names:
        """Returns the names of the simulators whose agents have these slots [N] now."""
        return self._participants.simulators_of(self._behaviour, slot)

    def note(self, episodes: ClosedEpisodes) -> None:
        """Add a row for each of them."""
        self._table.add(
            EpisodeRows(
                policy=self._behaviour,
                first_number=episodes.first_number,
                returns=episodes.returns,
                lengths=episodes.lengths,
                endings=_ENDINGS[episodes.endings],
                simulators=episodes.simulators,
                env_steps=episodes.env_steps,
                wall_time=self._clock(),
            )
        )
