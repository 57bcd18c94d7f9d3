"""`--info`: which values of `info` become statistics, when, and what is said of the others."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest

from entrain_envs import command_line
from entrain_envs.errors import OptionError
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment
from entrain_envs.info_statistics import MOST_SHOWN, PATIENCE, InfoKey, InfoStatistics
from entrain_envs.making import make_environment
from entrain_envs.pettingzoo_adapter import PettingZooEnvironment
from entrain_envs.pettingzoo_turns import TurnsEnvironment
from entrain_envs.spec import BehaviourSpec
from entrain_envs.statistics import MOST_VALUES
from entrain_envs.timestep import ActionBatch
from turn_games import PLACE, Countdown


def watched(*keys: InfoKey) -> InfoStatistics:
    return InfoStatistics(keys, where="here")


def taken(statistics: Any) -> list[tuple[str, float]]:
    """What one of ours, or an environment, has noted."""
    take = statistics.take if isinstance(statistics, InfoStatistics) else statistics.take_statistics
    return [(each.name, each.value) for each in take()]


def test_a_value_counts_whenever_it_is_there_and_one_of_the_end_at_the_end_alone() -> None:
    statistics = watched(InfoKey("x"), InfoKey("won", "sum", at_end=True))
    statistics.note({"x": 1, "won": False}, is_end=False)
    statistics.note({"won": False}, is_end=False)
    statistics.note({"x": np.float32(0.5), "won": True}, is_end=True)
    assert taken(statistics) == [("x", 1), ("x", 0.5), ("won", 1.0)]
    assert taken(statistics) == []


def test_a_path_leads_into_an_info_and_a_key_with_a_stroke_comes_first() -> None:
    statistics = watched(InfoKey("episode/r"), InfoKey("a/b"))
    statistics.note({"episode": {"r": 3.0}, "a/b": 4.0, "a": {"b": 5.0}}, is_end=True)
    assert taken(statistics) == [("episode/r", 3.0), ("a/b", 4.0)]


def test_the_final_info_of_a_wrapper_that_resets_by_itself_is_the_last_steps() -> None:
    statistics = watched(InfoKey("level"), InfoKey("won", at_end=True))
    statistics.note({"level": 1, "final_info": {"level": 9, "won": True}}, is_end=False)
    assert taken(statistics) == [("level", 9), ("won", 1.0)]


def test_an_array_holds_many_values_and_no_more_are_kept_than_can_be_sent() -> None:
    statistics = watched(InfoKey("speeds", "histogram"))
    statistics.note({"speeds": np.array([[1.0, 2.0], [3.0, 4.0]])}, is_end=False)
    statistics.note({"speeds": [5, 6.5]}, is_end=False)
    assert [value for _, value in taken(statistics)] == [1.0, 2.0, 3.0, 4.0, 5.0, 6.5]
    for _ in range(3):
        statistics.note({"speeds": np.zeros(MOST_VALUES)}, is_end=False)
    assert len(taken(statistics)) == MOST_VALUES + 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("fast", "info['x'] is 'fast', which is no number; left out, like others that are none"),
        ([1, "a"], "info['x'] is [1, 'a'], which is no number"),
        ({"r": 1.0, "l": 2}, "info['x'] holds values of its own; name one of them: x/r, x/l"),
    ],
)
def test_what_is_no_number_is_left_out_and_said_once(
    value: Any, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    statistics = watched(InfoKey("x"))
    for _ in range(2):
        statistics.note({"x": value}, is_end=True)
    statistics.note({"x": None}, is_end=True)
    assert taken(statistics) == []
    assert len(caplog.messages) == 1
    assert words in caplog.messages[0]


def test_a_key_that_is_not_there_is_said_once_with_those_that_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    statistics = watched(InfoKey("coin"), InfoKey("won", at_end=True), InfoKey("coins"))
    for _ in range(2):
        statistics.note({"coins": 1, "won": 0}, is_end=False)
        statistics.note({"coins": 1, "episode": {"r": 1.0, "l": 2}}, is_end=True)
    there = "which was not in info until an episode's end; there are: coins, won, episode/r, "
    assert caplog.messages == [
        f"here: --info asks for '{name}', {there}episode/l" for name in ("coin", "won")
    ]


def test_without_an_end_it_is_said_after_many_steps_and_not_of_what_comes_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    statistics = watched(InfoKey("coin"), InfoKey("won", at_end=True))
    many = {f"k{number}": 0 for number in range(MOST_SHOWN + 3)}
    for _ in range(PATIENCE - 1):
        statistics.note(many, is_end=False)
    assert caplog.messages == []
    for _ in range(PATIENCE):
        statistics.note(many, is_end=False)
    (line,) = caplog.messages
    assert "for 'coin', which was not in info in 1,000 steps; there are: k0, " in line
    assert line.endswith("k19 and 3 more")


class Collector(gymnasium.Env[Any, Any]):
    """Three steps an episode, with a coin in each."""

    observation_space = PLACE
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self._steps = 0
        return np.zeros(1, np.float32), {"level": 7}

    def step(self, action: Any) -> Any:
        self._steps += 1
        is_over = self._steps == 3
        info = {"coins": self._steps, "won": is_over}
        return np.zeros(1, np.float32), 0.0, is_over, False, info


def actions_for(specs: Sequence[BehaviourSpec], rows: Mapping[str, Any]) -> Any:
    """Choice 0 for every row that needs an action."""
    return {
        spec.name: ActionBatch(
            np.empty((count, 0), np.float32), np.zeros((count, 1), np.int32), policy_version=0
        )
        for spec in specs
        for count in [int(np.count_nonzero(rows[spec.name].needs_action))]
    }


def test_copies_of_gymnasium_report_resets_steps_and_ends() -> None:
    keys = (InfoKey("coins"), InfoKey("level"), InfoKey("won", at_end=True))
    environment = GymnasiumEnvironment(Collector, behaviour="c", count=2, info=keys)
    rows = environment.reset(seed=0, parameters={})
    assert taken(environment) == [("level", 7)] * 2
    for step in (1, 2):
        rows = environment.step(actions_for(environment.behaviours, rows))
        assert taken(environment) == [("coins", step)] * 2
    environment.step(actions_for(environment.behaviours, rows))
    assert taken(environment) == [("coins", 3), ("won", 1.0), ("level", 7)] * 2


class TalkingCountdown(Countdown):
    """Each agent is told the time, of which its info is full."""

    def step(self, action: Any) -> None:
        super().step(action)
        self.infos = {agent: {"time": self.time} for agent in self.agents}


def test_agents_that_take_turns_report_what_each_is_told() -> None:
    environment = TurnsEnvironment(lambda: TalkingCountdown(agents=2), info=(InfoKey("time"),))
    rows = environment.reset(seed=0, parameters={})
    assert taken(environment) == []
    rows = environment.step(actions_for(environment.behaviours, rows))
    environment.step(actions_for(environment.behaviours, rows))
    assert taken(environment) == [("time", 1), ("time", 2)]


class Pair:
    """Two agents that act together for two steps."""

    possible_agents = ("a_0", "a_1")
    metadata: Mapping[str, Any] = {"name": "pair"}
    render_mode = None

    def observation_space(self, agent: str) -> Any:
        return PLACE

    def action_space(self, agent: str) -> Any:
        return gymnasium.spaces.Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents, self._steps = list(self.possible_agents), 0
        return self._observed, {"a_0": {"level": 1}, "a_1": {"level": 2}}

    @property
    def _observed(self) -> Any:
        return {agent: np.zeros(1, np.float32) for agent in self.possible_agents}

    def step(self, actions: Any) -> Any:
        self._steps += 1
        is_over = self._steps == 2
        observed = self._observed
        over = dict.fromkeys(self.possible_agents, is_over)
        infos = {agent: {"hits": self._steps, "won": agent == "a_1"} for agent in self.agents}
        self.agents = [] if is_over else self.agents
        return observed, dict.fromkeys(observed, 0.0), over, dict.fromkeys(over, False), infos

    def close(self) -> None:
        pass


def test_agents_that_act_together_report_what_each_is_told() -> None:
    keys = (InfoKey("hits"), InfoKey("level"), InfoKey("won", at_end=True))
    environment = PettingZooEnvironment(Pair, info=keys)
    rows = environment.reset(seed=0, parameters={})
    assert taken(environment) == [("level", 1), ("level", 2)]
    rows = environment.step(actions_for(environment.behaviours, rows))
    assert taken(environment) == [("hits", 1)] * 2
    environment.step(actions_for(environment.behaviours, rows))
    ends = [("hits", 2), ("won", 0.0), ("hits", 2), ("won", 1.0)]
    assert taken(environment) == [*ends, ("level", 1), ("level", 2)]


def options_of(*info: str) -> Any:
    words = [word for each in info for word in ("--info", each)]
    line = ["gymnasium", "FrozenLake-v1", "--connect", "localhost:1", *words]
    return command_line.parser().parse_args(line)


def test_a_command_line_says_key_moment_and_aggregation() -> None:
    wanted = options_of("prob", "episode/r=last", "won@end", "won@home@end=histogram").info
    assert wanted == [
        ("prob", "mean", False),
        ("episode/r", "last", False),
        ("won", "mean", True),
        ("won@home", "histogram", True),
    ]
    environment = make_environment(options_of("prob"))
    environment.reset(seed=0, parameters={})
    assert taken(environment) == [("prob", 1)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("coins=median", "has the aggregation 'median'; it must be one of mean, last, sum"),
        ("coins=", "has the aggregation ''"),
        ("@end", "a statistic is called ''"),
        ("x" * 201, "expected 1 to 200 printable characters"),
    ],
)
def test_what_is_no_key_or_aggregation_is_refused(
    text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        options_of(text)
    assert exit_.value.code == 2
    assert words in capsys.readouterr().err


def test_a_key_is_aggregated_in_one_way() -> None:
    with pytest.raises(OptionError, match="--info names 'prob' twice"):
        make_environment(options_of("prob", "prob=sum"))


def test_what_is_not_finite_is_left_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    statistics = watched(InfoKey("x"))
    with caplog.at_level(logging.WARNING):
        statistics.note({"x": math.nan}, is_end=False)
    assert caplog.messages == []
    assert len(taken(statistics)) == 1
