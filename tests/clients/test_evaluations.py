"""Simulators in C++, JavaScript and Godot that join for a run's evaluations alone."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrain.run.episode_table import read_episodes
from entrain.run.folder import RunFolder
from live_run import config_from, train
from support.cpp_probe import QUICK, ROOT, compiled, shared_folder
from support.godot import command, environment, needs_godot, project
from support.node import NODE, PACKAGE, needs_node
from support.ports import free_port

pytestmark = pytest.mark.clients

CONFIG = """
seed: 3
server: {{address: "localhost:0", websocket: "localhost:{port}"}}
evaluation: {{every_steps: 512, episodes: 4, launch: []}}
policies:
  {policy}:
    total_steps: 1024
    rollout_steps: 512
    network: {{hidden_sizes: [8]}}
    algorithm: {{minibatch_size: 256, num_epochs: 1}}
"""


@dataclass(frozen=True)
class Program:
    """A simulator that is launched as a trainer would."""

    policy: str
    command: Sequence[str]
    environment: Mapping[str, str]


@pytest.fixture(
    params=["cpp", pytest.param("node", marks=needs_node), pytest.param("godot", marks=needs_godot)]
)
def program(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Program:
    if request.param == "cpp":
        game = str(ROOT / "envs" / "cpp" / "examples" / "box2d.cpp")
        carts = compiled(QUICK, shared_folder(tmp_path_factory), game, "-lbox2d")
        return Program("cart", [str(carts)], os.environ)
    if request.param == "node":
        points = str(PACKAGE / "examples" / "points.js")
        return Program("point", [NODE, points], os.environ)
    drift = project(tmp_path / "game", Path(__file__).parent / "godot" / "drift.gd")
    return Program("ball", command(drift, "-s", "drift.gd"), environment(drift))


@contextmanager
def started(program: Program, **variables: str) -> Iterator[None]:
    """Within the block it runs; after it, it must end by itself and with 0."""
    variables = {**program.environment, **variables}
    with subprocess.Popen(program.command, env=variables) as process:
        try:
            yield
            assert process.wait(300.0) == 0
        finally:
            process.kill()


async def test_what_joins_for_evaluations_is_not_learned_from(
    program: Program, tmp_path: Path
) -> None:
    port = free_port()
    config = config_from(CONFIG.format(port=port, policy=program.policy), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "run")
    url = f"ws://localhost:{port}"
    with ExitStack() as running:
        for name, role in (("player", ""), ("judge", "evaluation")):
            variables = {"ENTRAIN_WEBSOCKET": url, "ENTRAIN_SIMULATOR": name, "ENTRAIN_ROLE": role}
            running.enter_context(started(program, **variables))
        # The run is over once the evaluation of its last weights is.
        outcome, run = await train(config, folder)
    assert outcome == "completed"
    assert run.participants.counters["sessions_joined"] == 1
    judged = [row for row in read_episodes(folder.episodes) if row["evaluation"]]
    assert len(judged) >= 4
    assert {row["simulator"] for row in judged} == {"judge"}
    learned = [row for row in read_episodes(folder.episodes) if not row["evaluation"]]
    assert {row["simulator"] for row in learned} <= {"player"}
