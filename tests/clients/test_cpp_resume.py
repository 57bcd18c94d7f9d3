"""A run in lockstep with a C++ simulator that is stopped and resumed ends with the same weights."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from entrain.run.folder import RunFolder
from entrain.state import State
from live_run import Moment, config_from, differences, newest, train
from support.cpp_probe import QUICK, compiled, shared_folder
from support.ports import free_port

CONFIG = """
seed: 3
server: {{address: "localhost:0", websocket: "localhost:{port}", lockstep: true}}
policies:
  runner: {{total_steps: 540, rollout_steps: 180, network: {{hidden_sizes: [8]}},
            algorithm: {{minibatch_size: 90, num_epochs: 1}}}}
  chooser: {{total_steps: 180, rollout_steps: 60, network: {{hidden_sizes: [8]}},
             algorithm: {{minibatch_size: 30, num_epochs: 1}}}}
"""


@contextmanager
def simulating(program: Path, url: str) -> Iterator[None]:
    # A busy machine takes its time to make two policies: who dials again meanwhile joins twice.
    patience = ["connect_s=60", "reconnect_s=60", "greeting_s=60"]
    command = [str(program), "play", url, "steps=1000000", *patience]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as simulator:
        try:
            yield
            assert simulator.wait(timeout=300.0) == 0
        finally:
            simulator.kill()


def after(env_steps: int) -> Moment:
    return lambda run: run.env_steps >= env_steps


async def final_state(program: Path, folder: Path, stops: list[Moment]) -> State:
    """The policies of the last checkpoint."""
    folder.mkdir()
    port = free_port()
    config = config_from(CONFIG.format(port=port), folder)
    run_folder = RunFolder.create(folder / "runs", "run")
    with simulating(program, f"ws://localhost:{port}"):
        for sitting, moment in enumerate([*stops, None]):
            outcome, run = await train(config, run_folder, stop_at=moment, resumed=sitting > 0)
            assert outcome == ("completed" if moment is None else "stopped")
            assert run.participants.counters["sessions_joined"] == 1
    state: State = newest(run_folder).state["policies"]
    return state


async def test_a_run_with_a_simulator_in_cpp_is_resumed_bit_for_bit(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = compiled(QUICK, shared_folder(tmp_path_factory))
    straight = await final_state(program, tmp_path / "straight", [])
    stops = [after(100), after(330)]
    stopped = await final_state(program, tmp_path / "stopped", stops)
    for number in ("0", "1"):
        assert straight[number]["trainer"]["progress"]["updates"] == 3
        trained, again = straight[number]["trainer"], stopped[number]["trainer"]
        assert not [each for each in differences(trained, again) if "progress" not in each]
