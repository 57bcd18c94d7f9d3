"""The JavaScript client: its own tests, and a program of a user's in Node with a real trainer."""

import re
import subprocess
from pathlib import Path

import pytest

from entrain.run.folder import RunFolder
from entrain.state import State
from live_run import Moment, config_from, differences, newest, train
from support.node import NODE, PACKAGE, needs_node, node, running
from support.ports import free_port
from support.websocket_script import Line, scripted

pytestmark = needs_node

POINTS = PACKAGE / "examples" / "points.js"

CONFIG = """
seed: 3
server: {{address: "localhost:0", websocket: "localhost:{port}", lockstep: true}}
policies:
  point:
    total_steps: 1536
    rollout_steps: 512
    network: {{hidden_sizes: [8]}}
    algorithm: {{minibatch_size: 256, num_epochs: 1}}
"""


def test_the_packages_own_tests_pass() -> None:
    said = node("--test", "--test-reporter=tap", *sorted((PACKAGE / "test").glob("*.test.js")))
    # A runner that finds no tests passes, too.
    assert int(re.findall(r"^# pass (\d+)", said, re.MULTILINE)[0]) > 200


@pytest.mark.parametrize(("at", "code"), [("Hello", 78), ("Step", 1)])
def test_what_a_trainer_refuses_is_one_line_and_an_exit_code(at: str, code: int) -> None:
    """A Hello would be refused again; a Step's fault need not come again."""

    def refuses(line: Line) -> None:
        if at == "Step":
            line.welcome()
        line.receive()
        line.refuse(3, "not so")

    with scripted(refuses) as script:
        address = script.url
        done = subprocess.run(
            [NODE, str(POINTS), address], capture_output=True, text=True, timeout=60.0, check=False
        )
        assert script.is_over
    assert done.returncode == code
    assert done.stderr == f"entrain: {address} refused 'points': not so (INVALID_ARGUMENT)\n"


def after(env_steps: int) -> Moment:
    """Once so many outcomes are in."""
    return lambda run: run.env_steps >= env_steps


async def final_state(folder: Path, stops: list[Moment]) -> State:
    """The last checkpoint of a run whose simulator is a program in Node."""
    folder.mkdir()
    port = free_port()
    config = config_from(CONFIG.format(port=port), folder)
    run_folder = RunFolder.create(folder / "runs", "run")
    with running(POINTS, f"ws://localhost:{port}"):
        for sitting, moment in enumerate([*stops, None]):
            outcome, run = await train(config, run_folder, stop_at=moment, resumed=sitting > 0)
            assert outcome == ("completed" if moment is None else "stopped")
            assert run.participants.counters["sessions_joined"] == 1
    state: State = newest(run_folder).state["policies"]["0"]["trainer"]
    return state


async def test_a_run_with_a_simulator_in_node_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    # Twenty steps of sixteen points before the first update, and in the middle of an episode.
    straight = await final_state(tmp_path / "straight", [])
    stopped = await final_state(tmp_path / "stopped", [after(20 * 16), after(60 * 16)])
    assert straight["progress"]["updates"] == 3
    assert not [each for each in differences(straight, stopped) if "progress" not in each]
