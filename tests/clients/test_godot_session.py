"""The Godot addon when a connection breaks, is silent or is closed, by a clock of its own."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.godot import needs_godot, output, project

pytestmark = [needs_godot]

SCRIPT = Path(__file__).parent / "godot" / "session.gd"

Told = dict[str, Any]


@pytest.fixture(scope="module")
def scenarios(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Told]:
    """What became of the session in each of the scenarios of session.gd."""
    folder = project(tmp_path_factory.mktemp("session") / "game", SCRIPT)
    _, said = output(folder, "-s", "session.gd")
    assert "SCRIPT ERROR" not in said, said
    lines = [line.removeprefix("scenario ") for line in said.splitlines()]
    return dict(json.loads(line) for line in lines if line.startswith("["))


def times_s(calls: list[tuple[int, str]]) -> list[float]:
    """When each of these connections was dialled, in whole seconds."""
    return [at_ms // 1000 for at_ms, _ in calls]


@pytest.mark.parametrize("name", ["second_break", "second_stop"])
def test_a_break_after_a_stream_that_held_is_met_with_new_patience(
    scenarios: dict[str, Told], name: str
) -> None:
    """The same Step waits for an hour between the two: far longer than the minute of patience."""
    told = scenarios[name]
    assert told["is_running"], told["words"]
    assert times_s(told["dials"]) == [0, 0, 3600]
    # At first, and again after each break.
    assert told["steps"] == 3


@pytest.mark.parametrize("name", ["breaks_always", "breaks_while_idle"])
def test_a_stream_that_always_breaks_is_left_after_a_minute(
    scenarios: dict[str, Told], name: str
) -> None:
    told = scenarios[name]
    assert (told["is_ended"], told["exit_code"]) == (True, 1)
    assert 60 <= told["at_s"] < 66
    # Dialled ever more seldom, up to once in two seconds and the jitter of a half.
    assert 20 < len(told["dials"]) < 60


@pytest.mark.parametrize(
    ("name", "exit_code", "words"),
    [("left_tidily", 0, "the trainer stopped"), ("left_by_a_break", 1, "no trainer answers")],
)
def test_a_trainer_that_ended_tidily_and_is_gone_has_stopped(
    scenarios: dict[str, Told], name: str, exit_code: int, words: str
) -> None:
    """Godot 4 loses the Close that comes before a close frame of 1000."""
    told = scenarios[name]
    assert (told["is_ended"], told["exit_code"]) == (True, exit_code)
    assert told["words"].startswith(words)


def test_a_step_that_is_given_up_for_silence_has_twice_as_long_each_time(
    scenarios: dict[str, Told],
) -> None:
    told = scenarios["silent_not_held"]
    assert told["is_running"], told["words"]
    # 30 s after it was sent, then 60, 120 and 240.
    assert times_s(told["inquiries"]) == [30, 90, 210, 451]
    assert len(told["dials"]) == told["steps"] == 5


@pytest.mark.parametrize("name", ["no_answer", "unavailable"])
def test_a_trainer_that_does_not_answer_an_inquiry_is_dialled_again(
    scenarios: dict[str, Told], name: str
) -> None:
    told = scenarios["silent_" + name]
    assert (len(told["inquiries"]), len(told["dials"])) == (1, 2)
    assert told["is_running"]


@pytest.mark.parametrize(
    "name", ["held", "refused", "refused_by_http", "too_many", "unreadable", "unknown"]
)
def test_a_trainer_that_holds_the_step_or_will_not_say_is_waited_for(
    scenarios: dict[str, Told], name: str
) -> None:
    told = scenarios["silent_" + name]
    assert told["is_running"], told["words"]
    assert (len(told["dials"]), told["steps"]) == (1, 1)
    # Ten minutes, and an inquiry every 30 seconds.
    assert len(told["inquiries"]) == 19


def test_a_step_longer_than_the_trainer_takes_that_came_back_is_not_sent_again(
    scenarios: dict[str, Told],
) -> None:
    told = scenarios["too_long_again"]
    assert (told["is_ended"], told["exit_code"], told["steps"]) == (True, 78, 1)
    assert "has 4 bytes, and the trainer takes messages of up to 3; use fewer" in told["words"]


def test_each_connection_shows_the_token_that_its_file_has_now(scenarios: dict[str, Told]) -> None:
    told = scenarios["token_renewed"]
    # While the file is empty, and when it is gone, the token from before counts.
    assert [token for _, token in told["dials"]] == ["one", "two", "two", "two"]
    assert {token for _, token in told["inquiries"]} == {"three"}


@pytest.mark.parametrize("code", ["1003", "1008", "1009", "4003", "4007", "4008", "4016"])
@pytest.mark.parametrize("at", ["closed", "hello-closed"])
def test_a_close_code_that_refuses_ends_the_game(
    scenarios: dict[str, Told], at: str, code: str
) -> None:
    """Godot 4 loses the refusal that came before it."""
    told = scenarios[f"{at}-{code}"]
    # A Hello would be refused again, unless there is room; a Step's fault need not come again.
    is_for_good = at == "hello-closed" and code in ("1003", "4003", "4007", "4016")
    assert (told["is_ended"], told["exit_code"]) == (True, 78 if is_for_good else 1)
    assert told["words"].endswith(f"it closed the connection with code {code}")


@pytest.mark.parametrize("code", ["1000", "1001", "1002", "1011", "4010", "4014"])
def test_another_close_code_is_a_connection_that_broke(
    scenarios: dict[str, Told], code: str
) -> None:
    assert not scenarios["closed-" + code]["is_ended"]


@pytest.mark.parametrize(("reason", "is_end"), [(0, True), (1, True), (2, False), (9, True)])
def test_a_close_is_an_end_unless_the_trainer_stops(
    scenarios: dict[str, Told], reason: int, is_end: bool
) -> None:
    told = scenarios[f"close-{reason}"]
    assert (told["is_ended"], told["exit_code"]) == (is_end, 0)
    assert told["words"] == ("the trainer is done" if is_end else "the trainer stops")


def test_a_message_that_cannot_be_read_ends_the_game_in_words(scenarios: dict[str, Told]) -> None:
    told = scenarios["not_a_message"]
    assert (told["exit_code"], told["is_ended"]) == (1, True)
    assert told["words"] == "the trainer sent a message that cannot be read"
