"""The JavaScript client: its own tests, and a program of a user's in Node with a real trainer."""

import re
from pathlib import Path

from entrain.run.folder import RunFolder
from entrain.state import State
from live_run import Moment, config_from, differences, newest, train
from support.node import PACKAGE, needs_node, node, running
from support.ports import free_port

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
