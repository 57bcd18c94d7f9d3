"""A run is complete once all of its policies have the return that `stop_at` asks for."""

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


@dataclass
class Learning:
    """Policies with (episodes that ended, mean return of the last of them)."""

    policies: dict[str, tuple[int, float]]
    awaited: list[str] = field(default_factory=list)

    @property
    def by_name(self) -> dict[str, Any]:
        return {
            name: SimpleNamespace(
                episodes=SimpleNamespace(statistics=SimpleNamespace(count=count, last_mean=mean))
            )
            for name, (count, mean) in self.policies.items()
        }


def goal_of(
    learning: Learning, *, is_evaluated: bool = False, at: float | None = 10.0
) -> tuple[Goal, list[str]]:
    """A goal, and what is told when it is reached."""
    told: list[str] = []
    options = None if at is None else StopAtConfig.model_validate({"return": at})
    trainers = cast("Trainers", learning)
    return Goal(options, trainers, is_evaluated=is_evaluated, reach=told.append), told


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
    goal, told = goal_of(learning, is_evaluated=True)
    goal.look()
    goal.note_evaluation({"left": 50.0})
    goal.note_evaluation({"left": 50.0, "right": 9.9})
    goal.note_evaluation({})
    assert told == []
    goal.note_evaluation({"left": 50.0, "right": 10.5})
    assert told == ["every policy reached return 10.5 in an evaluation; stop_at.return is 10"]
    by_training, told = goal_of(learning, is_evaluated=False)
    by_training.note_evaluation({"left": 50.0, "right": 50.0})
    assert told == []


def test_without_a_goal_nothing_is_reached() -> None:
    goal, told = goal_of(Learning({"walker": (200, 50.0)}), at=None)
    goal.look()
    goal.note_evaluation({"walker": 50.0})
    assert told == []
    assert not goal.is_reached
    assert goal.state() == {}


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
