"""Passes each episode of one policy on: to the run's table of episodes, its curricula and its
observer.
"""

import time
from collections.abc import Callable

import numpy as np

from entrain.app.observing import BehaviourObserver
from entrain.rollout.curricula import NEVER, Curricula
from entrain.rollout.episodes import ClosedEpisodes, Names
from entrain.run.episode_table import EpisodeRows, EpisodeTable, statistics_cell
from entrain.serving.participant import Participant
from entrain.serving.participants import Participants
from entrain_envs.timestep import Int64Array, StepType

_ENDINGS = np.full(max(StepType) + 1, "dropped", np.object_)
_ENDINGS[StepType.TERMINATED] = "terminated"
_ENDINGS[StepType.TRUNCATED] = "truncated"


def _reported(participant: Participant) -> str:
    return statistics_cell(participant.reports.latest(until=participant.step_number))


class EpisodeWatch:
    """See `rollout.episodes.EpisodeWatcher`. Owned by the event loop."""

    def __init__(
        self,
        behaviour: str,
        participants: Participants,
        table: EpisodeTable,
        curricula: Curricula,
        observer: BehaviourObserver,
        *,
        total_steps: int,
        num_batches: Callable[[], int],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Watch the agents of one behaviour.

        Args:
            behaviour: its name.
            participants: of the run.
            table: for a row of each episode.
            curricula: of the run.
            observer: of the behaviour.
            total_steps: of the policy.
            num_batches: how many batches it has had.
            clock: seconds since 1970.
        """
        self.total_steps = total_steps
        self._lesson_due = NEVER
        self._observer = observer
        self._num_batches = num_batches
        self._curricula = curricula
        self._behaviour = behaviour
        self._participants = participants
        self._table = table
        self._clock = clock

    @property
    def num_batches(self) -> int:
        """See `rollout.curricula.Follower`."""
        return self._num_batches()

    @property
    def due(self) -> int:
        """Env steps at which curricula or the observer want to be told that they are reached."""
        return min(self._lesson_due, self._observer.due)

    @due.setter
    def due(self, env_steps: int) -> None:
        """Set what curricula want; the observer says for itself."""
        self._lesson_due = env_steps

    def reach(self, env_steps: int) -> None:
        """The policy has had so many env steps, which are `due`."""
        if env_steps >= self._lesson_due:
            self._curricula.reach(self._behaviour, env_steps)
        if env_steps >= self._observer.due:
            self._observer.reach(env_steps)

    def simulators_of(self, slot: Int64Array) -> Names:
        """Returns the names of the simulators whose agents have these slots [N] now."""
        return self._participants.simulators_of(self._behaviour, slot)

    @property
    def has_reports(self) -> bool:
        """Whether a simulator has reported any statistics."""
        return self._participants.statistics.are_reported

    def reported_by(self, slot: Int64Array) -> Names:
        """Returns as JSON what the simulators of these slots [N] reported last."""
        return self._participants.told_by(self._behaviour, slot, _reported)

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
                statistics=episodes.reported,
                env_steps=episodes.env_steps,
                wall_time=self._clock(),
            )
        )
        self._curricula.note(self._behaviour, episodes)
        ended = episodes.endings != int(StepType.MID)
        if np.count_nonzero(ended):
            self._observer.note_episodes(episodes.returns[ended], episodes.lengths[ended])
