"""What a Python program names as simulators: commands, ids, functions, and what is none of them."""

import io
import json
import threading
from typing import Any

import pytest

from entrain.app.given_simulators import read_simulators
from entrain.config.load import load_config
from entrain.errors import ConfigError
from entrain_envs.program import read


@pytest.mark.parametrize("env_id", ["CartPole-v1", "ALE/Pong-v5", "my_games:Maze-v0"])
def test_an_id_of_gymnasium_is_served_in_so_many_copies(env_id: str) -> None:
    given = read_simulators(env_id, copies=3)
    (launch,) = load_config(None, given.settings).simulators.launch
    assert launch.words == ("entrain-env", "gymnasium", env_id, "--count", "3")
    assert given
    assert not given.environments


@pytest.mark.parametrize("command", ["./game --port {address}", "game.x86_64", "walker"])
def test_other_text_is_a_command_and_stays_as_it_is(command: str) -> None:
    (launch,) = load_config(None, read_simulators(command, copies=3).settings).simulators.launch
    assert launch.command == command


def test_a_function_is_written_down_for_its_process_with_what_it_refers_to() -> None:
    length = 7
    given = read_simulators(lambda: ["made", length], copies=2)
    (environment,) = given.environments
    assert environment.name == "simulator-0"
    copies, make = read(io.BytesIO(environment.content))
    assert (copies, make()) == (2, ["made", 7])
    assert load_config(None, given.settings).simulators.expect == 1


def test_several_have_names_of_their_own_and_all_are_waited_for() -> None:
    given = read_simulators(["CartPole-v1", list, "./game"], copies=8)
    config = load_config(None, given.settings)
    names = [launch.name for launch in config.simulators.launch]
    assert [*names, given.environments[0].name] == ["simulator-0", "simulator-2", "simulator-1-0"]
    assert config.expected_simulators == 3


def test_none_leaves_the_settings_as_they_are() -> None:
    given = read_simulators(None, copies=8)
    assert not given
    assert not given.settings


@pytest.mark.parametrize(
    ("simulators", "copies", "words"),
    [
        ([], 8, "simulators is an empty list"),
        ("CartPole-v1", 0, "copies is 0; expected a whole number"),
        (dict, 2.5, r"copies is 2\.5; expected a whole number"),
        ({"launch": []}, 8, "a dict; expected a command"),
        ([3], 8, "simulators names 3, a int; expected a command"),
    ],
)
def test_what_cannot_take_part_is_refused(simulators: Any, copies: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_simulators(simulators, copies=copies)


def test_a_function_that_holds_what_cannot_leave_the_process_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(ConfigError, match="cannot be given to a process of its own: TypeError"):
        read_simulators(lambda: lock, copies=1)


def test_the_path_of_the_program_goes_with_its_functions() -> None:
    (environment,) = read_simulators(dict, copies=1).environments
    about = json.loads(environment.content.splitlines()[0])
    assert about["path"]
