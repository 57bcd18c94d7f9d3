"""A run is complete once all of its policies have the return that `stop_at` asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from entrain.app.goal import Goal
from entrain.app.trainers import Trainers
from entrain.config.evaluation import StopAtConfig
from entrain.config.load import load_config, to_yaml
from entrain.errors import ConfigError
from entrain.serving.parameters import EnvironmentParameters


@dataclass
class Learning:
    """Policies with (episodes that ended, mean return of the last of them)."""

    policies: dict[str, tuple[int, float]]
    awaited: list[str] = field(default_factory=list)
    num_running: int = 8
    lessons: dict[str, str] = field(default_factory=dict)
    parameters: EnvironmentParameters = field(default_factory=lambda: EnvironmentParameters({}))

    @property
    def by_name(self) -> dict[str, Any]:
        return {
            name: SimpleNamespace(
                episodes=SimpleNamespace(
                    statistics=SimpleNamespace(count=count, last_mean=mean),
                    num_running=self.num_running,
                )
            )
            for name, (count, mean) in self.policies.items()
        }


def goal_of(
    learning: Learning, *, judged: Sequence[str] | None = None, at: float | None = 10.0
) -> tuple[Goal, list[str]]:
    """A goal, and what is told when it is reached."""
    told: list[str] = []
    options = None if at is None else StopAtConfig.model_validate({"return": at})
    trainers = cast("Trainers", learning)
    goal = Goal(
        options,
        trainers,
        parameters=learning.parameters,
        unfinished=lambda: learning.lessons,
        judged=None if judged is None else lambda: judged,
        reach=told.append,
    )
    return goal, told


def test_a_hundred_episodes_of_training_decide() -> None:
    learning = Learning({"walker": (99, 50.0)})
    goal, told = goal_of(learning)
    goal.look()
    assert told == []
    learning.policies["walker"] = (100, 9.9)
    goal.look()
    assert told == []
    learning.policies["walker"] = (101, 10.0)
    goal.look()
    goal.look()
    assert told == [
        "the policy reached return 10.0 over the last 100 episodes; stop_at.return is 10"
    ]
    assert goal.is_reached


def test_an_easier_lesson_is_no_goal() -> None:
    learning, judged = (
        Learning({"walker": (300, 50.0)}, lessons={"size": "'large' (1 of 2)"}) for _ in range(2)
    )
    goal, told = goal_of(learning)
    by_evaluations, evaluated = goal_of(judged, judged=["walker"])
    goal.look()
    by_evaluations.note_evaluation({"walker": 50.0})
    assert told == evaluated == []
    # The last lesson begins. Eight episodes are on their way, and do not count for it.
    for each in (learning, judged):
        each.lessons.clear()
        each.parameters.update({"size": 3.0})
    for count in (300, 407):
        learning.policies["walker"] = (count, 50.0)
        goal.look()
    assert told == []
    # A resumed run counts on.
    same, told = goal_of(learning)
    same.load_state(goal.state())
    same.look()
    assert told == []
    learning.policies["walker"] = (408, 50.0)
    same.look()
    by_evaluations.note_evaluation({"walker": 50.0})
    assert len(told) == len(evaluated) == 1


def test_a_run_that_is_resumed_in_another_environment_counts_anew() -> None:
    learning = Learning({"walker": (300, 9.0)})
    before = goal_of(learning)[0].state()
    learning.parameters = EnvironmentParameters({"gravity": 1.6})
    goal, told = goal_of(learning)
    goal.load_state(before)
    for count in (300, 407):
        learning.policies["walker"] = (count, 50.0)
        goal.look()
    assert told == []
    learning.policies["walker"] = (408, 50.0)
    goal.look()
    assert len(told) == 1
    # A checkpoint of before this was kept.
    goal, told = goal_of(learning)
    goal.load_state({})
    goal.look()
    assert len(told) == 1


@pytest.mark.parametrize(
    ("learning", "judged", "words"),
    [
        (
            Learning({"walker": (9, 9.9)}, lessons={"size": "'large' (1 of 2)"}),
            None,
            "environment parameter 'size' was still in lesson 'large' (1 of 2)",
        ),
        (
            Learning({"left": (200, 9.9)}, awaited=["goalie", "right"]),
            ["left"],
            "no simulator brought policies 'goalie', 'right'",
        ),
        (
            Learning({"left": (200, 9.9), "right": (200, 9.9)}),
            ["left"],
            "no simulator of evaluations brought policy 'right'",
        ),
        (
            Learning({"left": (200, 9.9)}),
            ["left"],
            "no evaluation had all episodes of every policy ended",
        ),
    ],
)
def test_why_nothing_was_compared_with_a_goal_is_said(
    learning: Learning, judged: list[str] | None, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    goal, _ = goal_of(learning, judged=judged)
    goal.look()
    goal.note_evaluation({"left": 50.0} if len(learning.policies) > 1 else {})
    goal.warn_if_missed()
    assert caplog.messages == [f"stop_at.return 10 was not reached: {words}, so none was compared"]


@pytest.mark.parametrize(
    ("episodes", "words"),
    [
        (100, "return 9.9 over the last 100 episodes was the newest"),
        (99, "fewer than 100 episodes of a policy ended, so none was compared"),
    ],
)
def test_a_goal_that_is_missed_is_said(
    episodes: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    goal, _ = goal_of(Learning({"walker": (episodes, 9.9)}))
    goal.look()
    goal.warn_if_missed()
    assert caplog.messages == [f"stop_at.return 10 was not reached: {words}"]


def test_nothing_is_said_of_a_goal_that_is_reached_or_that_there_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for goal, _ in (goal_of(Learning({"walker": (100, 10.0)})), goal_of(Learning({}), at=None)):
        goal.look()
        goal.warn_if_missed()
    assert not caplog.messages


def test_every_policy_must_have_reached_it() -> None:
    learning = Learning({"left": (200, 50.0), "right": (200, 9.0)}, awaited=["goalie"])
    goal, told = goal_of(learning)
    goal.look()
    learning.policies["right"] = (200, 12.0)
    goal.look()
    # One that the file names has not come yet.
    assert told == []
    learning.awaited.clear()
    goal.look()
    assert "every policy reached return 12.0" in told[0]


def test_evaluations_decide_where_there_are_any() -> None:
    learning = Learning({"left": (200, 50.0), "right": (200, 50.0)})
    goal, told = goal_of(learning, judged=["left", "right"])
    goal.look()
    goal.note_evaluation({"left": 50.0})
    goal.note_evaluation({"left": 50.0, "right": 9.9})
    goal.note_evaluation({})
    assert told == []
    goal.note_evaluation({"left": 50.0, "right": 10.5})
    assert told == ["every policy reached return 10.5 in an evaluation; stop_at.return is 10"]
    by_training, told = goal_of(learning)
    by_training.note_evaluation({"left": 50.0, "right": 50.0})
    assert told == []


def test_without_a_goal_nothing_is_reached() -> None:
    goal, told = goal_of(Learning({"walker": (200, 50.0)}), at=None)
    goal.look()
    goal.note_evaluation({"walker": 50.0})
    assert told == []
    assert not goal.is_reached
    assert "reached" not in goal.state()


def test_a_resumed_run_is_complete_unless_more_is_asked_of_it() -> None:
    learning = Learning({"walker": (200, 12.0)})
    goal, _ = goal_of(learning)
    goal.look()
    same, _ = goal_of(learning)
    same.load_state(goal.state())
    assert same.is_reached
    assert same.words == goal.words
    harder, told = goal_of(learning, at=15.0)
    harder.load_state(goal.state())
    assert not harder.is_reached
    learning.policies["walker"] = (300, 16.0)
    harder.look()
    assert len(told) == 1


def test_the_option_is_called_return_wherever_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("stop_at: {return: 475}")
    config = load_config(path, [])
    assert config.stop_at is not None
    assert config.stop_at.return_ == 475
    path.write_text(to_yaml(config))
    assert "stop_at:\n  return: 475" in path.read_text()
    assert load_config(path, []) == config
    changed = load_config(path, ["stop_at.return=500"]).stop_at
    assert changed is not None
    assert changed.return_ == 500
    for wrong in ("{return_: 475}", "{}", "{return: high}"):
        path.write_text(f"stop_at: {wrong}")
        with pytest.raises(ConfigError, match=r"stop_at.*return"):
            load_config(path, [])
