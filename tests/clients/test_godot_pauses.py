"""A game's own pause, and the Godot addon that lets the game stand still for actions."""

import json
from pathlib import Path

import pytest

from support.godot import needs_godot, output, project

pytestmark = [needs_godot, pytest.mark.clients]

SCRIPT = Path(__file__).parent / "godot" / "pauses.gd"


HINT = "call pause_game(true) of EntrainSync instead, and pause_game(false)"


def ticks(tmp_path: Path, mode: int, hints: int) -> list[list[int]]:
    """Before each tick of pauses.gd: calls of the trainer, polls, ticks of world and agent.

    `hints`: how often the game is told of pause_game.
    """
    folder = project(tmp_path / "game", SCRIPT)
    _, said = output(folder, "-s", "pauses.gd", f"--mode={mode}")
    assert "SCRIPT ERROR" not in said, said
    assert said.count(HINT) == hints
    # Only when it ends, not when its window's close button is pressed.
    assert [line for line in said.splitlines() if line.startswith("left")] == (
        ["left in tick 21"] if mode == 1 else []
    )
    (line,) = [line for line in said.splitlines() if line.startswith("ticks ")]
    told: list[list[int]] = json.loads(line.removeprefix("ticks "))
    return told


def test_a_menu_stays_open_when_actions_come_and_a_held_game_never_runs(tmp_path: Path) -> None:
    told = ticks(tmp_path, mode=1, hints=1)
    world = [each[2] for each in told]
    # Ticks 1 and 2 are free. Held from 3 on; the menu is open from 6 to 10, and the actions are
    # there in 9. Held again from 13 to 16, though the tree is unpaused in 15. Paused in 18.
    assert world == [0, 1, 2, *[2] * 8, 3, 4, 4, 4, 4, 4, 5, 5, 6, 7]
    # Behind the menu the connection is kept alive, and nothing is decided.
    asked, polls = [each[0] for each in told], [each[1] for each in told]
    assert asked[5] == asked[10] == 5
    assert (polls[5], polls[10], polls[19]) == (0, 5, 6)


def test_no_episode_goes_on_behind_the_menu_of_a_game_that_people_play(tmp_path: Path) -> None:
    told = ticks(tmp_path, mode=0, hints=0)
    # Paused from tick 5 to 9. The agent's episode begins in the first tick.
    assert [each[2] for each in told][4:11] == [4, 4, 4, 4, 4, 4, 5]
    assert [each[3] for each in told][4:11] == [3, 3, 3, 3, 3, 3, 4]
