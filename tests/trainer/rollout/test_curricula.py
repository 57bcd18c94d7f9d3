"""When lessons begin: worked out by hand, as ML-Agents decides it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from entrain.config.environment_parameters import (
    CompletionConfig,
    CurriculumConfig,
    LessonConfig,
    UniformSampler,
    Value,
)
from entrain.rollout.curricula import NEVER, Curricula, reached_lessons
from entrain.rollout.episodes import ClosedEpisodes, EpisodeLog
from entrain.run.state_files import decode_state, encode_state
from entrain_envs.timestep import StepType

TERMINATED, MID = int(StepType.TERMINATED), int(StepType.MID)


@dataclass
class Follower:
    total_steps: int = 1000
    due: int = 0
    num_batches: int = 0


class School:
    """Curricula, what they told, and the behaviours "ball" and "walker"."""

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.told: list[Mapping[str, Value]] = []
        self.resets = 0
        self.curricula = Curricula(parameters, self._change)
        self.ball, self.walker = Follower(), Follower()
        self.curricula.follow("ball", self.ball)
        self.curricula.follow("walker", self.walker)

    def _change(self, values: Mapping[str, Value], must_reset: bool) -> None:
        self.told.append(values)
        self.resets += must_reset

    def end(
        self,
        *returns: float,
        behaviour: str = "ball",
        began: int = 0,
        env_steps: int = 0,
        ending: int = TERMINATED,
    ) -> Mapping[str, float]:
        count = len(returns)
        self.curricula.note(
            behaviour,
            ClosedEpisodes(
                1,
                env_steps,
                np.array(returns),
                np.ones(count, np.int64),
                np.full(count, ending, np.uint8),
                np.full(count, "sim", np.object_),
                np.full(count, began, np.int64),
                np.full(count, "", np.object_),
            ),
        )
        return self.lessons

    @property
    def lessons(self) -> Mapping[str, float]:
        return {
            name.removeprefix("environment/lessons_completed/"): number
            for name, number in self.curricula.metrics.items()
        }


def curriculum(*completions: Mapping[str, Any], behaviour: str = "ball") -> CurriculumConfig:
    """Lessons with the values 0, 1, 2 and so on."""
    lessons = [
        LessonConfig(
            name=f"lesson {number}",
            value=float(number),
            completion=CompletionConfig(behaviour=behaviour, **completion),
        )
        for number, completion in enumerate(completions)
    ]
    last = LessonConfig(name="last", value=UniformSampler())
    return CurriculumConfig(lessons=(*lessons, last))


def test_the_mean_return_of_enough_episodes_must_be_above_the_threshold() -> None:
    school = School({"size": curriculum({"threshold": 2.0, "min_episodes": 3, "smoothing": False})})
    assert school.end(9.0, 9.0) == {"size": 0}  # two episodes, and three are needed
    # The mean of the last three, (9 - 9 + 6) / 3 = 2, is not above 2.
    assert school.end(-9.0, 6.0) == {"size": 0}
    # (-9 + 6 + 10) / 3 = 2.33
    assert school.end(10.0) == {"size": 1}
    assert school.told == [{"size": UniformSampler()}]


def test_a_smoothed_mean_by_hand() -> None:
    school = School({"size": curriculum({"threshold": 7.0}, {"threshold": 8.5})})
    # One episode is looked at. 0.25 * 0 + 0.75 * 8 = 6
    assert school.end(8.0) == {"size": 0}
    # 0.25 * 6 + 0.75 * 7 = 6.75, and then 0.25 * 6.75 + 0.75 * 7.2 = 7.0875
    assert school.end(7.0) == {"size": 0}
    assert school.end(7.2) == {"size": 1}
    # It goes on in the next lesson: 0.25 * 7.0875 + 0.75 * 8.9 = 8.446875, not above 8.5,
    # and then 0.25 * 8.446875 + 0.75 * 8.6 = 8.56.
    assert school.end(8.9) == {"size": 1}
    assert school.end(8.6) == {"size": 2}


def test_without_smoothing_too_few_episodes_leave_the_smoothed_mean_alone() -> None:
    school = School({"size": curriculum({"threshold": 7.0, "min_episodes": 2})})
    # 0.75 * 10 = 7.5 would be enough after one episode.
    assert school.end(10.0) == {"size": 0}
    # (10 + 8) / 2 = 9; 0.25 * 0 + 0.75 * 9 = 6.75
    assert school.end(8.0) == {"size": 0}


def test_episodes_of_before_are_forgotten_by_every_parameter() -> None:
    school = School(
        {
            "size": curriculum({"threshold": 1.0, "smoothing": False, "min_episodes": 2}),
            "wind": curriculum({"threshold": 9.0, "smoothing": False, "min_episodes": 3}),
        }
    )
    # Three episodes are looked at by both. size: (2 + 2) / 2
    assert school.end(2.0, 2.0) == {"size": 1, "wind": 0}
    assert school.end(20.0, 20.0) == {"size": 1, "wind": 0}
    assert school.end(20.0) == {"size": 1, "wind": 1}


def test_dropped_episodes_and_those_of_others_do_not_count() -> None:
    school = School({"size": curriculum({"threshold": 1.0, "smoothing": False})})
    assert school.end(5.0, ending=MID) == {"size": 0}
    assert school.end(5.0, behaviour="walker") == {"size": 0}
    assert school.end(float("nan")) == {"size": 0}


def test_progress_is_asked_for_when_it_is_due() -> None:
    school = School(
        {"size": curriculum({"measure": "progress", "threshold": 0.25}, {"threshold": 1.0})}
    )
    assert (school.ball.due, school.walker.due) == (250, NEVER)
    school.curricula.reach("ball", 250)  # not above a quarter of 1000 yet
    assert school.lessons == {"size": 0}
    school.curricula.reach("ball", 251)
    assert school.lessons == {"size": 1}
    assert school.ball.due == NEVER


def test_progress_waits_for_enough_episodes() -> None:
    school = School(
        {"size": curriculum({"measure": "progress", "threshold": 0.25, "min_episodes": 2})}
    )
    school.curricula.reach("ball", 500)
    assert school.end(0.0, env_steps=510) == {"size": 0}
    assert school.end(0.0, env_steps=520) == {"size": 1}


@pytest.mark.parametrize(("require_reset", "lesson"), [(True, 1), (False, 2)])
def test_episodes_of_the_lesson_before_count_unless_a_reset_is_required(
    require_reset: bool, lesson: int
) -> None:
    first = {"threshold": 1.0, "smoothing": False, "require_reset": require_reset}
    school = School({"size": curriculum(first, {"threshold": 1.0, "smoothing": False})})
    school.ball.num_batches = 5
    assert school.end(2.0, began=1) == {"size": 1}
    assert school.resets == require_reset
    # In batch 6 an Act tells of the lesson, so that episodes from batch 7 on are played with it.
    assert school.end(2.0, began=6) == {"size": lesson}
    assert school.end(2.0, began=7) == {"size": 2}


def test_a_lesson_is_told_in_words(caplog: pytest.LogCaptureFixture) -> None:
    school = School({"size": curriculum({"threshold": 1.0, "smoothing": False})})
    assert school.curricula.lessons == {"size": "'lesson 0' (1 of 2)"}
    with caplog.at_level(logging.INFO):
        school.end(2.0)
    assert caplog.messages == [
        "environment parameter 'size': lesson 'lesson 0' is over, now 'last' (2 of 2): uniform "
        "from 0 to 1"
    ]


def test_a_behaviour_that_nobody_brings_is_named() -> None:
    school = School({"size": curriculum({"threshold": 1.0}, behaviour="runner")})
    assert school.curricula.awaited() == {"size": "runner"}
    assert School({"size": curriculum({"threshold": 1.0})}).curricula.awaited() == {}


def test_curricula_that_were_stopped_go_on_as_if_they_were_not() -> None:
    completion = {"threshold": 7.0, "min_episodes": 2, "require_reset": True}
    parameters = {"size": curriculum({"threshold": 1.0}, completion), "gravity": 9.81}
    school, other = School(parameters), School(parameters)
    school.ball.num_batches = 5
    school.end(8.0, 8.0)
    school.end(8.0, began=9)
    state = decode_state(*encode_state(school.curricula.state()))
    other.curricula.load_state(state)
    assert reached_lessons(state) == {"size": 1}
    assert other.told == [{"size": 1.0}]
    for each in (school, other):
        # size: 0.25 * 6 + 0.75 * 8 = 7.5
        assert each.end(8.0, began=9) == {"size": 2}
    assert other.curricula.state()["smoothed"] == school.curricula.state()["smoothed"] == [7.5]


def test_a_log_tells_when_an_episode_began_and_when_steps_are_reached() -> None:
    reached: list[int] = []
    noted: list[ClosedEpisodes] = []

    class Watcher(Follower):
        has_reports = False

        def reported_by(self, slot: Any) -> Any:
            raise AssertionError(slot)

        def simulators_of(self, slot: Any) -> Any:
            return np.full(len(slot), "sim", np.object_)

        def note(self, episodes: ClosedEpisodes) -> None:
            noted.append(episodes)

        def reach(self, env_steps: int) -> None:
            reached.append(env_steps)

    log = EpisodeLog()
    log.grow(1)
    log.watch(Watcher(due=2))
    slot, reward = np.array([0]), np.zeros(1, np.float32)
    for ending in (MID, TERMINATED):
        log.record(np.zeros(0, np.int64), np.zeros(0, np.uint8), np.zeros(0, np.float32))
        log.begin(slot)
        log.record(slot, np.array([ending], np.uint8), reward)
    assert [each.began.tolist() for each in noted] == [[1], [3]]
    assert reached == [2]
