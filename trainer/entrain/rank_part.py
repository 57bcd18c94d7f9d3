"""One rank's part of a policy's training: how its steps stand among those of all ranks.

A rank knows its own steps at every moment, and those of the others as of the newest round that was
applied. What a round changes is applied where its weights are published, so that a seeded run in
lockstep repeats.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from entrain.metrics import (
    EPISODE_LENGTH_MEAN,
    EPISODE_RETURN_LAST,
    EPISODE_RETURN_MAX,
    EPISODE_RETURN_MEAN,
    EPISODE_RETURN_MIN,
    EPISODE_RETURN_STD,
    EPISODES,
    REWARD_PER_STEP,
)
from entrain.rounds import NO_NUMBERS, Agreement, Moments, Returned, Share
from entrain.state import State


def share_of(number: int, num_ranks: int) -> int:
    """The share of `number` that each of so many ranks has, rounded up."""
    return math.ceil(number / num_ranks)


class SharedCollector(Protocol):
    """The collector of one rank's steps. See `RolloutCollector`."""

    total_steps: int
    """After which this rank collects no more."""

    @property
    def env_steps(self) -> int: ...
    @property
    def is_complete(self) -> bool: ...
    @property
    def reward_moments(self) -> Moments: ...
    def add_reward_moments(self, moments: Moments) -> None: ...


class Lessons(Protocol):
    """Takes part in curricula with one policy's episodes and steps. See `SharedCurricula`."""

    def take(self, behaviour: str) -> Returned: ...
    def note_round(self, behaviour: str, agreement: Agreement) -> None: ...


class NoLessons:
    """There is no curriculum."""

    def take(self, behaviour: str) -> Returned:  # noqa: ARG002 - see Lessons
        """Returns nothing."""
        return Returned()

    def note_round(self, behaviour: str, agreement: Agreement) -> None:
        """Does nothing: no curriculum follows these rounds."""


NO_LESSONS: Lessons = NoLessons()


class RankPart:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        collector: SharedCollector,
        *,
        rank: int,
        num_ranks: int,
        total_steps: int,
        behaviour: str = "",
        lessons: Lessons = NO_LESSONS,
    ) -> None:
        """Nothing is collected.

        Args:
            collector: of this rank; its total steps are this rank's share.
            rank: of this process.
            num_ranks: of the run.
            total_steps: of all ranks together.
            behaviour: of the policy.
            lessons: curricula of the run.
        """
        self._collector = collector
        self._behaviour, self._lessons = behaviour, lessons
        self._rank = rank
        self._num_ranks = num_ranks
        self._total_steps = total_steps
        self._moments = NO_NUMBERS
        """Of rewards, at the newest cut, with those of other ranks that were applied since."""
        self.others = 0
        """Env steps of the other ranks, as far as they are known."""

    def __repr__(self) -> str:
        return f"<RankPart: {self._collector.env_steps:,} of this rank, {self.others:,} of others>"

    def share(self, *, num_steps: int, episodes: Mapping[str, float]) -> Share:
        """This rank's contribution to the round of a rollout that was just cut."""
        now = self._collector.reward_moments
        since, self._moments = _without(now, self._moments), now
        return Share(
            env_steps=self._collector.env_steps,
            num_steps=num_steps,
            is_complete=self._collector.is_complete,
            rewards=since,
            episodes=episodes,
            returned=self._lessons.take(self._behaviour),
        )

    def apply(self, agreement: Agreement) -> None:
        """A round is over: count the steps of the others, scale rewards and judge as they do."""
        own = agreement.shares[self._rank].env_steps
        self.others = agreement.env_steps - own
        remaining = max(0, self._total_steps - agreement.env_steps)
        if not self._collector.is_complete and agreement.num_collecting:
            self._collector.total_steps = own + share_of(remaining, agreement.num_collecting)
        for rank, share in enumerate(agreement.shares):
            if rank != self._rank:
                self._collector.add_reward_moments(share.rewards)
                self._moments = combined(self._moments, share.rewards)
        self._lessons.note_round(self._behaviour, agreement)

    def end(self) -> None:
        """Collect no more: what is left of the total steps fills no rollout."""
        self._collector.total_steps = min(self._collector.total_steps, self._collector.env_steps)

    def note_others(self, env_steps: Mapping[int, int]) -> None:
        """All ranks are complete, with these {rank: env steps}."""
        self.others = sum(count for rank, count in env_steps.items() if rank != self._rank)

    def state(self) -> State:
        """For a checkpoint."""
        return {
            "others": self.others,
            "own_total": self._collector.total_steps,
            "total_steps": self._total_steps,
            "moments": list(self._moments),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken, perhaps with other total steps."""
        self.others = int(state["others"])
        count, mean, variance = map(float, state["moments"])
        self._moments = (count, mean, variance)
        self._collector.total_steps = int(state["own_total"])
        if int(state["total_steps"]) != self._total_steps:
            more = self._total_steps - int(state["total_steps"])
            self._collector.total_steps += math.ceil(more / self._num_ranks)


def combined(one: Moments, other: Moments) -> Moments:
    """The moments of the numbers of both. Source: Chan et al. 1979."""
    (n_a, mean_a, var_a), (n_b, mean_b, var_b) = one, other
    total = n_a + n_b
    if not n_b:
        return one
    distance = mean_b - mean_a
    spread = distance * distance * n_a * n_b / total
    return (
        total,
        mean_a + distance * n_b / total,
        (n_a * var_a + n_b * var_b + spread) / total,
    )


def _without(both: Moments, one: Moments) -> Moments:
    """The moments of the other numbers, if `one` is of some of those that `both` is of."""
    (total, mean, variance), (n_a, mean_a, var_a) = both, one
    count = total - n_a
    if not count:
        return NO_NUMBERS
    if not n_a:
        return both
    other = (total * mean - n_a * mean_a) / count
    distance = other - mean_a
    squares = total * variance - n_a * var_a - distance * distance * n_a * count / total
    return (count, other, max(0.0, squares) / count)


def episodes_of_all(shares: Sequence[Share]) -> Mapping[str, float]:
    """The metrics of the episodes of all ranks, from those of each."""
    ended = [(each.episodes.get(EPISODES.name, 0.0), each.episodes) for each in shares]
    some = [(count, it) for count, it in ended if count]
    total = sum(count for count, _ in some)
    metrics = {EPISODES.name: total}
    last = [it[EPISODE_RETURN_LAST.name] for _, it in ended if EPISODE_RETURN_LAST.name in it]
    if last:
        metrics[EPISODE_RETURN_LAST.name] = sum(last) / len(last)
    rewards = [
        (each.num_steps, each.episodes[REWARD_PER_STEP.name])
        for each in shares
        if REWARD_PER_STEP.name in each.episodes and each.num_steps
    ]
    if rewards:
        steps = sum(count for count, _ in rewards)
        metrics[REWARD_PER_STEP.name] = sum(count * it for count, it in rewards) / steps
    if not total:
        return metrics

    def mean(name: str) -> float:
        return sum(count * it[name] for count, it in some) / total

    returns = mean(EPISODE_RETURN_MEAN.name)
    squares = sum(
        count * (it[EPISODE_RETURN_STD.name] ** 2 + (it[EPISODE_RETURN_MEAN.name] - returns) ** 2)
        for count, it in some
    )
    return {
        **metrics,
        EPISODE_RETURN_MEAN.name: returns,
        EPISODE_RETURN_STD.name: math.sqrt(squares / total),
        EPISODE_RETURN_MIN.name: min(it[EPISODE_RETURN_MIN.name] for _, it in some),
        EPISODE_RETURN_MAX.name: max(it[EPISODE_RETURN_MAX.name] for _, it in some),
        EPISODE_LENGTH_MEAN.name: mean(EPISODE_LENGTH_MEAN.name),
    }
