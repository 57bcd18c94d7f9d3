"""Environments that a function of a Python program makes, in the process that serves them."""

import argparse
import io
import pickle
import sys
from types import SimpleNamespace
from typing import Any

import gymnasium
import pytest
from pettingzoo.utils.conversions import aec_to_parallel

from entrain_envs import program
from entrain_envs.command_line import parser
from entrain_envs.errors import CertainFaultError
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment
from entrain_envs.making import make_groups
from entrain_envs.pettingzoo_adapter import PettingZooEnvironment
from entrain_envs.pettingzoo_turns import TurnsEnvironment
from entrain_envs.simulators.balance_ball import BalanceBall
from turn_games import Countdown


class Plain(gymnasium.Env[Any, Any]):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, made: list["Plain"]) -> None:
        made.append(self)


def groups_of(make: Any, copies: int = 3) -> Any:
    options = parser().parse_args(
        ["gymnasium", "x", "--count", str(copies), "--connect", "localhost:1"]
    )
    options.kind, options.make = "program", make
    return make_groups(options)


def test_an_environment_of_gymnasium_is_copied_and_named_after_its_class() -> None:
    made: list[Plain] = []
    (group,) = groups_of(lambda: Plain(made))
    assert isinstance(group, GymnasiumEnvironment)
    assert [spec.name for spec in group.behaviours] == ["Plain"]
    assert len(made) == 3


def test_one_that_gymnasium_has_made_is_named_after_its_id() -> None:
    (group,) = groups_of(lambda: gymnasium.make("CartPole-v1"), copies=1)
    assert [spec.name for spec in group.behaviours] == ["CartPole-v1"]


def test_an_environment_of_many_agents_is_served_as_it_is() -> None:
    ball = BalanceBall(count=2)
    assert groups_of(lambda: ball) == [ball]


def test_an_environment_of_pettingzoo_is_served_in_its_form() -> None:
    (in_turns,) = groups_of(Countdown, copies=2)
    assert isinstance(in_turns, TurnsEnvironment)
    assert [spec.name for spec in in_turns.behaviours] == ["cat"]

    def parallel() -> Any:
        return aec_to_parallel(Countdown())

    (in_parallel,) = groups_of(parallel, copies=2)
    assert isinstance(in_parallel, PettingZooEnvironment)
    assert [spec.name for spec in in_parallel.behaviours] == ["cat"]


def test_a_function_that_fails_is_blamed() -> None:
    def make() -> Any:
        raise RuntimeError("no window")

    with pytest.raises(CertainFaultError, match=r"program's function makes.*no window"):
        groups_of(make)


def test_what_standard_input_holds_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    content = b'{"path": ["/a"], "copies": 5}\n' + pickle.dumps(dict)
    monkeypatch.setenv("ENTRAIN_ADDRESS", "localhost:1")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    monkeypatch.setattr(sys, "path", sys.path[:])
    served = []

    def run(options: argparse.Namespace) -> int:
        served.append(options)
        return 3

    monkeypatch.setattr(program, "run", run)
    assert program.main() == 3
    (options,) = served
    assert (options.kind, options.make, options.count) == ("program", dict, 5)
    assert sys.path == ["/a"]
