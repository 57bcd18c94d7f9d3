"""What is wrong with a silent game is told once, in words that name causes and what helps."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from entrain.unity.diagnoses import Finding, GameWatch, LaunchedGame
from entrain.unity.game_status import GameStatus, Stage

GAME = GameStatus("game-0", "localhost:5005", Stage.ABSENT, num_messages=0, is_its_turn=False)
PLAYS = replace(GAME, stage=Stage.PLAYING, num_messages=9, is_its_turn=True)


def watch_of(logs: tuple[Path, ...] | None = None, *, is_headless: bool = False) -> GameWatch:
    launched = {} if logs is None else {"game-0": LaunchedGame(logs, is_headless)}
    return GameWatch(60.0, launched)


def look(watch: GameWatch, game: GameStatus, now_s: float, *, runs: bool = True) -> list[Finding]:
    return list(watch.look([game], ["game-0"] if runs else [], now_s=now_s))


def test_a_game_that_nobody_started_is_asked_for_once() -> None:
    watch = watch_of()
    assert [look(watch, GAME, at_s) for at_s in (0.0, 59.9)] == [[], []]
    (finding,) = look(watch, GAME, 60.0)
    assert "has not connected to localhost:5005 within 60 s: press Play" in finding.words
    assert "--mlagents-port 5005" in finding.words
    assert not finding.is_frozen
    assert look(watch, GAME, 1000.0) == []
    assert watch.latest == finding


def test_what_is_wrong_is_forgotten_once_the_game_moves_on() -> None:
    watch = watch_of()
    look(watch, GAME, 0.0)
    assert look(watch, GAME, 60.0)
    assert look(watch, PLAYS, 61.0) == []
    assert watch.latest is None


def test_a_launched_game_that_does_not_connect_is_told_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "Player-0.log"
    log.write_text("Loading level 1\n")
    watch = watch_of((log,))
    look(watch, GAME, 0.0)
    (finding,) = look(watch, GAME, 60.0)
    assert "has run for 60 s and not connected to localhost:5005. Usual causes:" in finding.words
    assert finding.words.endswith(f"Its last words in {log}: Loading level 1")
    assert not finding.is_frozen  # it may still be loading
    log.write_text("")
    watch = watch_of((log,))
    look(watch, GAME, 0.0)
    (finding,) = look(watch, GAME, 60.0)
    assert finding.words.endswith(f"It has written nothing in {log}")


def test_a_launched_game_that_says_why_it_does_not_connect_is_quoted_in_plain_words(
    tmp_path: Path,
) -> None:
    log = tmp_path / "Player-0.log"
    log.write_text("Couldn't connect to trainer on port 5004 using API version 1.5.0.\n")
    watch = watch_of((log,))
    look(watch, GAME, 0.0)
    (finding,) = look(watch, GAME, 60.0)
    assert "not connected to localhost:5005: it dialled port 5004 and found no" in finding.words


def test_the_time_begins_with_the_program_and_again_when_it_is_started_again() -> None:
    watch = watch_of((Path("none"),))
    assert look(watch, GAME, 0.0) == []
    assert look(watch, GAME, 50.0, runs=False) == []
    assert look(watch, GAME, 55.0) == []
    assert look(watch, GAME, 110.0) == []
    assert look(watch, GAME, 115.0)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (Stage.GREETED, "said who it is 60 s ago, and did not ask"),
        (Stage.RESET, "no agent has asked for a decision.*Behavior Type.*Decision Requester"),
        (Stage.PLAYING, "has sent nothing for 60 s since its last actions"),
    ],
)
def test_a_connected_game_that_is_silent_is_frozen_if_the_trainer_started_it(
    stage: Stage, words: str
) -> None:
    game = replace(PLAYS, stage=stage)
    for watch, is_frozen in ((watch_of((Path("none"),)), True), (watch_of(), False)):
        look(watch, game, 0.0)
        (finding,) = look(watch, game, 60.0)
        assert finding.is_frozen is is_frozen
        assert re.search(words, finding.words)


def test_a_game_that_waits_for_the_trainer_is_never_silent_however_long_an_update_takes() -> None:
    watch = watch_of((Path("none"),))
    waits = replace(PLAYS, is_its_turn=False)
    assert not any(look(watch, waits, at_s) for at_s in (0.0, 100.0, 1000.0))
    # Its time begins when it is answered.
    assert not look(watch, PLAYS, 1001.0)
    assert not look(watch, PLAYS, 1060.9)
    assert look(watch, PLAYS, 1061.0)


def test_a_game_that_sends_messages_is_not_silent_though_it_looks_the_same_at_each_look() -> None:
    watch = watch_of((Path("none"),))
    games = [replace(PLAYS, num_messages=number) for number in range(100)]
    assert not any(look(watch, game, 2.0 * number) for number, game in enumerate(games))


def test_a_game_that_left_is_waited_for_without_a_word() -> None:
    watch = watch_of()
    left = replace(PLAYS, stage=Stage.LEFT)
    assert not any(look(watch, left, at_s) for at_s in (0.0, 100.0, 1000.0))


def test_images_without_graphics_are_warned_of_once() -> None:
    watch = watch_of((Path("none"),), is_headless=True)
    sees = replace(PLAYS, image_behaviours=("Visual3DBall",))
    (finding,) = look(watch, sees, 0.0)
    assert "without graphics, and Visual3DBall sees images" in finding.words
    assert "--no-graphics" in finding.words
    assert look(watch, replace(sees, num_messages=10), 1.0) == []
    assert look(watch_of((Path("none"),)), sees, 0.0) == []
    assert look(watch_of(), sees, 0.0) == []
