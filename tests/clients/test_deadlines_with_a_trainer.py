"""Games in C++, JavaScript and Godot with deadlines, and a trainer whose updates take longer."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from entrain.run.folder import RunFolder
from entrain.run.table import read_metrics
from live_run import config_from, train
from support.cpp_probe import QUICK, compiled, shared_folder
from support.godot import command, environment, needs_godot, project
from support.node import NODE, needs_node
from support.ports import free_port

pytestmark = pytest.mark.clients

HERE = Path(__file__).parent
DEADLINE_MS = 10
# Without lag no action is chosen during an update, of which one takes several deadlines.
CONFIG = """
seed: 3
server: {{address: "localhost:0", websocket: "localhost:{port}"}}
policies:
  "*":
    total_steps: 1500
    rollout_steps: 250
    network: {{hidden_sizes: [128, 128]}}
    algorithm: {{minibatch_size: 10, num_epochs: 10}}
"""


@dataclass(frozen=True)
class Program:
    """A simulator, and which of its agents have a deadline."""

    timed: str
    command: Sequence[str]
    """With "{address}" where that is to stand."""

    environment: Mapping[str, str]


@pytest.fixture(
    params=["cpp", pytest.param("node", marks=needs_node), pytest.param("godot", marks=needs_godot)]
)
def program(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Program:
    if request.param == "cpp":
        probe = compiled(QUICK, shared_folder(tmp_path_factory))
        words = ["use=poll", "steps=1000000", f"deadline={DEADLINE_MS}", "fallback=1"]
        return Program("runner", [str(probe), "play", "{address}", *words], os.environ)
    if request.param == "node":
        world = HERE / "javascript" / "real_time.js"
        return Program("runner", [NODE, str(world), "{address}", str(DEADLINE_MS)], os.environ)
    game = project(tmp_path / "game", HERE / "godot" / "real_time.gd")
    words = ["-s", "real_time.gd", f"--deadline={DEADLINE_MS}", "--address={address}"]
    return Program("walker", command(game, *words), environment(game))


async def test_every_late_step_is_counted_and_none_is_lost(
    program: Program, tmp_path: Path
) -> None:
    port = free_port()
    config = config_from(CONFIG.format(port=port), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "run")
    words = [word.replace("{address}", f"ws://localhost:{port}") for word in program.command]
    with subprocess.Popen(words, env=program.environment, stdout=subprocess.DEVNULL) as process:
        try:
            outcome, run = await train(config, folder)
            assert process.wait(300.0) == 0
        finally:
            process.kill()
    assert outcome == "completed"
    for trainer in run.trainers.values():
        ledger = trainer.ledger
        assert ledger.opened == ledger.closed + ledger.dropped + ledger.open
        assert ledger.closed >= 1500
    late = read_metrics(folder.metrics)[program.timed].updates.columns["rollout/late_steps"]
    # The first rollout may be collected without an update; each later one has an update in it.
    assert np.nanmax(late) > 0.0
    assert np.nanmin(late) >= 0.0
