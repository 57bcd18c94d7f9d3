"""Mistakes of who makes a game with the Godot addon are told in words, and end it."""

import re
from pathlib import Path

import pytest

from entrain_envs.wire import trainer_pb2 as pb
from support.godot import needs_godot, output, project, running, scripted_trainer
from support.websocket_script import Line, scripted

pytestmark = [needs_godot, pytest.mark.clients]

SCRIPT = Path(__file__).parent / "godot" / "mistakes.gd"


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("observation", "get_obs gives 'place' no array; expected one, such as [x]"),
        ("empty", "get_obs gives 'place' an empty array; expected numbers"),
        ("type", "'move' the action_type 'discreet'; expected continuous or discrete"),
        ("key", "'move' the action_type 'none'; expected continuous or discrete"),
        ("alone", "no EntrainAgent is in the scene; errors above may tell why"),
    ],
)
def test_a_game_that_is_wrong_ends_before_it_joins(
    tmp_path: Path, mistake: str, words: str
) -> None:
    folder = project(tmp_path / "game", SCRIPT)
    given = ["--address=localhost:1", f"--mistake={mistake}"]
    code, said = output(folder, "-s", "mistakes.gd", *given)
    assert code == 78, said
    assert words in said
    assert "SCRIPT ERROR" not in said


def test_an_address_of_another_kind_is_told_so(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", SCRIPT)
    code, said = output(folder, "-s", "mistakes.gd", "--address=http://localhost:1")
    assert code == 78, said
    assert "http://localhost:1 is no address of a trainer; expected ws://HOST:PORT" in said


@pytest.mark.parametrize("status", [200, 302, 401, 405])
def test_what_a_status_of_http_means_is_told(tmp_path: Path, status: int) -> None:
    folder = project(tmp_path / "game", SCRIPT)
    # It is asked a second time, why it did not take the first one.
    with scripted(statuses=(status, status)) as script:
        code, said = output(folder, "-s", "mistakes.gd", f"--address={script.url}")
    assert code == 78, said
    answer = f"{status}: no, by {status}"
    words = f"no trainer, or one without server.websocket ({answer}); check the address"
    if status == 401:
        words = f"the trainer refuses this game: {answer}"
    assert f"{words}\n" in said


@pytest.mark.parametrize("status", [408, 507])
def test_a_server_that_is_not_ready_is_asked_again(tmp_path: Path, status: int) -> None:
    def ends(line: Line) -> None:
        line.welcome()
        line.close(pb.CLOSE_REASON_COMPLETED)

    folder = project(tmp_path / "game", SCRIPT)
    with scripted(ends, statuses=(status, status)) as script:
        code, said = output(folder, "-s", "mistakes.gd", f"--address={script.url}")
        assert script.is_over
    assert code == 0, said
    assert f"({status}: no, by {status}); dialling again" in said


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("--action_repeat=0", "action_repeat is 0; expected 1 physics tick or more"),
        ("--action_repeat=-8", "action_repeat is -8; expected 1 physics tick or more"),
        ("--speedup=0", "speed_up is 0; expected more than 0"),
        ("--speedup=fast", "speed_up is 0; expected more than 0"),
    ],
)
def test_a_rhythm_that_makes_no_sense_is_told_so(tmp_path: Path, word: str, words: str) -> None:
    folder = project(tmp_path / "game", SCRIPT)
    code, said = output(folder, "-s", "mistakes.gd", "--address=localhost:1", word)
    assert code == 78, said
    assert words in said
    assert "ERROR" not in said.split("godotengine.org")[1].split("entrain: ")[0]


@pytest.mark.parametrize("end", ["/", "//", "/simulate", "/simulate/"])
async def test_an_address_may_end_with_what_a_browser_adds(tmp_path: Path, end: str) -> None:
    folder = project(tmp_path / "game", SCRIPT)
    async with (
        scripted_trainer() as trainer,
        running(folder, "-s", "mistakes.gd", ENTRAIN_WEBSOCKET=trainer.url + end),
    ):
        assert (await trainer.stream("/simulate")).path == "/simulate"


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("mask", "gives 'move' 2 values, and get_action_space says 3 choices"),
        ("mask_name", "get_action_mask gives 'mov', which is no discrete action"),
    ],
)
async def test_a_mask_that_does_not_fit_is_told_so(
    tmp_path: Path, mistake: str, words: str
) -> None:
    folder = project(tmp_path / "game", SCRIPT)
    given = ["-s", "mistakes.gd", f"--mistake={mistake}"]
    async with (
        scripted_trainer() as trainer,
        running(folder, *given, ENTRAIN_WEBSOCKET=trainer.url) as game,
    ):
        stream = await trainer.stream()
        await stream.receive()
        await stream.send(welcome=pb.Welcome(version=1, session_id="s1", run_id="run"))
        code, said = await game.ended()
    assert code == 78, said
    assert words in said


async def test_a_function_that_is_missing_is_told_once(tmp_path: Path) -> None:
    folder = project(tmp_path / "game", SCRIPT)
    async with (
        scripted_trainer() as trainer,
        running(folder, "-s", "mistakes.gd", ENTRAIN_WEBSOCKET=trainer.url) as game,
    ):
        stream = await trainer.stream()
        await stream.receive()
        await stream.send(welcome=pb.Welcome(version=1, session_id="s1", run_id="run"))
        for _ in range(3):
            step = (await stream.receive()).step
            part = pb.BehaviourAct(behaviour="shared_policy", discrete=bytes(4))
            await stream.send(act=pb.Act(sequence=step.sequence, behaviours=[part]))
        await stream.send(close=pb.Close(reason=pb.CLOSE_REASON_COMPLETED))
        code, said = await game.ended()
    assert code == 0, said
    assert len(re.findall("extend the script and write set_action", said)) == 1
