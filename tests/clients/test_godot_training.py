"""Acts that do not fit, and sessions that begin anew, as the Godot addon takes them."""

import json
from pathlib import Path
from typing import Any

import pytest

from entrain_envs.wire import trainer_pb2 as pb
from support.godot import needs_godot, output, project

pytestmark = [needs_godot, pytest.mark.clients]

SCRIPT = Path(__file__).parent / "godot" / "training.gd"
FIRST = 1

Told = dict[str, Any]


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """How the game stands after each of the scenarios of training.gd."""
    folder = project(tmp_path_factory.mktemp("training") / "game", SCRIPT)
    _, said = output(folder, "-s", "training.gd")
    assert "SCRIPT ERROR" not in said, said
    lines = [line.removeprefix("scenario ") for line in said.splitlines()]
    return dict(json.loads(line) for line in lines if line.startswith("["))


def sent(told: Told) -> list[pb.ConnectRequest]:
    return [pb.ConnectRequest.FromString(bytes.fromhex(digits)) for digits in told["sent"]]


@pytest.mark.parametrize("name", ["late_kind", "late_kind_of_a_new_session"])
def test_a_kind_of_agent_that_came_after_the_hello_is_declared_with_its_first_rows(
    scenarios: dict[str, Told], name: str
) -> None:
    *_, greeting, first = sent(scenarios[name])
    assert [spec.name for spec in greeting.hello.behaviours] == ["bug"]
    assert first.step.sequence == 1
    assert [spec.name for spec in first.step.new_behaviours] == ["cat"]
    assert [(rows.behaviour, list(rows.step_type)) for rows in first.step.behaviours] == [
        ("bug", [FIRST]),
        ("cat", [FIRST]),
    ]


def test_a_kind_of_agent_that_comes_later_is_too_much_for_an_old_trainer(
    scenarios: dict[str, Told],
) -> None:
    told = scenarios["late_kind_of_an_old_trainer"]
    assert told["words"] == (
        "behaviour 'cat' comes after this game has joined, which this trainer is too old for; let "
        "an agent of every policy_name be there when the scene begins, or upgrade the trainer"
    )
    assert (told["is_ended"], told["exit_code"]) == (True, 78)
    # No rows that it would refuse.
    assert [request.WhichOneof("message") for request in sent(told)] == ["goodbye"]


def test_as_many_numbers_as_a_step_may_have_wait_for_it(scenarios: dict[str, Told]) -> None:
    """A Step may wait for hours, and one with all of its game's numbers would be too long."""
    told = scenarios["many_numbers"]
    numbers = [
        [(each.name, len(each.values)) for each in request.step.statistics]
        for request in sent(told)
    ]
    assert numbers == [[("speed", 10_000)], [("coins", 1)]]


def test_a_session_that_began_anew_in_a_pause_begins_with_first_rows(
    scenarios: dict[str, Told],
) -> None:
    (request,) = sent(scenarios["begun_in_a_pause"])
    assert request.step.sequence == 1
    assert list(request.step.behaviours[0].step_type) == [FIRST]


@pytest.mark.parametrize("name", ["whole", "of-nobody"])
def test_actions_that_fit_are_taken(scenarios: dict[str, Told], name: str) -> None:
    told = scenarios["act-" + name]
    assert (told["heard"], told["is_ended"]) == ([[0.5, 2, 1]], False)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "are 0 numbers and 0 choices; expected 1 and 2"),
        ("too-many", "are 1 numbers and 3 choices; expected 1 and 2"),
        ("beyond", "choice for 'bug' is 2; expected 0 to 1"),
        ("far-beyond", "choice for 'bug' is 100000000; expected 0 to 2"),
        ("negative", "choice for 'bug' is -1; expected 0 to 2"),
        ("nan", "action for 'bug' is nan; expected a finite number"),
        ("infinite", "action for 'bug' is inf; expected a finite number"),
        ("not-whole", "the trainer sent a message that cannot be read"),
    ],
)
def test_actions_that_do_not_fit_end_the_game_and_reach_no_agent(
    scenarios: dict[str, Told], name: str, words: str
) -> None:
    told = scenarios["act-" + name]
    assert (told["heard"], told["is_ended"], told["exit_code"]) == ([], True, 1)
    assert words in told["words"]
