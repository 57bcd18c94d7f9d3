"""Two ranks are in one lesson at a time, which the episodes and steps of both decide."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from entrain.config.environment_parameters import (
    CompletionConfig,
    CurriculumConfig,
    EnvironmentParameter,
    LessonConfig,
    Value,
)
from entrain.rollout.curricula import NEVER
from entrain.rollout.episodes import ClosedEpisodes
from entrain.rollout.shared_curricula import SharedCurricula, in_turns
from entrain.rounds import Agreement, Share
from entrain.run.state_files import decode_state, encode_state
from entrain_envs.timestep import StepType


class Follower:
    """A behaviour of 1,000 steps."""

    total_steps = 1000
    due = 0
    num_batches = 0


class Rank:
    """The curricula of one rank, and what they told its simulators."""

    def __init__(self, *completions: Mapping[str, Any]) -> None:
        self.told: list[Mapping[str, Value]] = []
        self.follower = Follower()
        last = LessonConfig(name="last", value=99)
        lessons = [
            LessonConfig(
                name=f"lesson {index}",
                value=index,
                completion=CompletionConfig(behaviour="ball", **options),
            )
            for index, options in enumerate(completions)
        ]
        parameters: dict[str, EnvironmentParameter] = {
            "size": CurriculumConfig(lessons=(*lessons, last))
        }
        self.curricula = SharedCurricula(
            parameters, lambda values, _reset: self.told.append(values)
        )
        self.curricula.follow("ball", self.follower)

    @property
    def completed(self) -> int:
        return self.curricula.completed["size"]

    def end(self, *returns: float) -> None:
        """Episodes with these returns are over."""
        count = len(returns)
        self.curricula.note(
            "ball",
            ClosedEpisodes(
                1,
                0,
                np.array(returns),
                np.ones(count, np.int64),
                np.full(count, int(StepType.TERMINATED), np.uint8),
                np.full(count, "sim", np.object_),
                np.zeros(count, np.int64),
                np.full(count, "", np.object_),
            ),
        )

    def share(self, env_steps: int = 0) -> Share:
        """What it brings to a round, as it comes out of a message."""
        share = Share(env_steps=env_steps, returned=self.curricula.take("ball"))
        return Share.from_state(share.state())


def judge(ranks: list[Rank], shares: list[Share]) -> list[int]:
    """The round is over: how many lessons each rank has completed."""
    for rank in ranks:
        rank.curricula.note_round("ball", Agreement(shares))
    return [rank.completed for rank in ranks]


REWARD = {"measure": "reward", "threshold": 5.0, "min_episodes": 4, "smoothing": False}


def test_episodes_of_both_ranks_decide_and_both_begin_the_lesson_with_the_round() -> None:
    ranks = [Rank(REWARD), Rank(REWARD)]
    # The mean of the four is 6; neither rank has as many, and alone the first would never be over.
    ranks[0].end(4.0, 5.0)
    ranks[1].end(7.0, 8.0)
    assert [rank.completed for rank in ranks] == [0, 0]
    assert judge(ranks, [rank.share() for rank in ranks]) == [1, 1]
    assert ranks[0].told == ranks[1].told == [{"size": 99.0}]


def test_a_rank_that_saw_nothing_is_in_the_lesson_of_the_others() -> None:
    ranks = [Rank(REWARD), Rank(REWARD)]
    ranks[0].end(*[9.0] * 4)
    assert judge(ranks, [rank.share() for rank in ranks]) == [1, 1]


def test_progress_is_that_of_all_ranks() -> None:
    ranks = [Rank({"measure": "progress", "threshold": 0.6}) for _ in range(2)]
    # 305 of each are 61 % of 1,000, although no rank will ever have 60 % by itself.
    assert judge(ranks, [rank.share(300) for rank in ranks]) == [0, 0]
    assert judge(ranks, [rank.share(305) for rank in ranks]) == [1, 1]
    assert ranks[0].follower.due == NEVER


def test_episodes_of_a_lesson_that_is_over_are_forgotten_also_those_that_were_sent() -> None:
    ranks = [Rank(REWARD, REWARD), Rank(REWARD, REWARD)]
    ranks[0].end(*[9.0] * 4)
    first = [rank.share() for rank in ranks]
    # A rollout behind: its share is on its way while the round before is judged.
    ranks[1].end(*[9.0] * 4)
    second = [rank.share() for rank in ranks]
    ranks[1].end(*[9.0] * 4)
    assert judge(ranks, first) == [1, 1]
    assert judge(ranks, second) == [1, 1]
    assert judge(ranks, [rank.share() for rank in ranks]) == [1, 1]
    ranks[1].end(*[9.0] * 4)
    assert judge(ranks, [rank.share() for rank in ranks]) == [2, 2]


def test_the_newest_of_both_ranks_are_the_newest_of_all() -> None:
    assert in_turns([(1.0, 2.0, 3.0), (10.0,), ()]) == [1.0, 2.0, 3.0, 10.0]
    assert in_turns([(1.0, 2.0), (10.0, 20.0)]) == [1.0, 10.0, 2.0, 20.0]


def test_a_rank_keeps_no_more_than_lessons_look_at() -> None:
    rank = Rank(REWARD)
    rank.end(*map(float, range(1000)))
    assert rank.curricula.take("ball").returns == (996.0, 997.0, 998.0, 999.0)


def test_what_was_not_sent_yet_is_in_a_checkpoint() -> None:
    ranks = [Rank(REWARD), Rank(REWARD)]
    ranks[0].end(9.0, 9.0)
    ranks[1].end(9.0, 9.0)
    again = Rank(REWARD)
    again.curricula.load_state(decode_state(*encode_state(ranks[0].curricula.state())))
    assert judge([again, ranks[1]], [again.share(), ranks[1].share()]) == [1, 1]
