"""The example game made with Godot learns from a trainer, is resumed, and plays what it learned."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.run.folder import RunFolder
from entrain.run.json_policy import export_json
from entrain.state import State
from live_run import Moment, config_from, differences, newest, train
from support.godot import PACKAGE, command, environment, needs_godot, output, project, running
from support.ports import free_port

pytestmark = [needs_godot, pytest.mark.clients]

GAME = PACKAGE / "godot3"
SCRIPTS = Path(__file__).parent / "godot"
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "godot_coins.yaml"
CONFIG = """
seed: 3
server: {{address: "localhost:0", websocket: "localhost:{port}", lockstep: true}}
policies:
  ball:
    total_steps: {steps}
    rollout_steps: 512
    network: {{hidden_sizes: [8]}}
    algorithm: {{minibatch_size: 256, num_epochs: 1}}
"""


def after(env_steps: int) -> Moment:
    """Once so many outcomes are in."""
    return lambda run: run.env_steps >= env_steps


async def final_state(folder: Path, stops: list[Moment]) -> State:
    """The last checkpoint of a run with a game."""
    folder.mkdir()
    port = free_port()
    config = config_from(CONFIG.format(port=port, steps=1536), folder)
    run_folder = RunFolder.create(folder / "runs", "run")
    url = f"ws://localhost:{port}"
    drift = project(folder / "game", SCRIPTS / "drift.gd")
    async with running(drift, "-s", "drift.gd", ENTRAIN_WEBSOCKET=url) as game:
        for sitting, moment in enumerate([*stops, None]):
            outcome, run = await train(config, run_folder, stop_at=moment, resumed=sitting > 0)
            assert outcome == ("completed" if moment is None else "stopped")
            assert run.participants.counters["sessions_joined"] == 1
        code, said = await game.ended()
    assert code == 0, said
    state: State = newest(run_folder).state["policies"]["0"]["trainer"]
    return state


async def test_a_run_with_a_game_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    straight = await final_state(tmp_path / "straight", [])
    stopped = await final_state(tmp_path / "stopped", [after(20 * 8), after(90 * 8)])
    assert straight["progress"]["updates"] == 3
    assert not [each for each in differences(straight, stopped) if "progress" not in each]


NEEDED = "mask", "new-behaviours", "statistics", "final-observation", "inquires", "parameters"


def test_the_addon_keeps_every_rule_of_the_conformance_kit(tmp_path: Path) -> None:
    game = project(tmp_path / "game", SCRIPTS / "scene.gd")
    options = [word for rule in NEEDED for word in ("--need", rule)]
    kit = [sys.executable, "-m", "entrain_envs", "check", "--listen", "ws://localhost:0", *options]
    words = [*kit, "--", *command(game, "-s", "scene.gd", "--address={address}")]
    done = subprocess.run(
        words,
        env=environment(game),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert " 0 failed" in done.stdout


def example(folder: Path, *files: Path) -> Path:
    """A copy of the example; Godot writes files of its own beside it."""
    game = project(folder, *files)
    shutil.copytree(GAME / "example", game / "example")
    shutil.copy(GAME / "project.godot", game)
    return game


def coins(policy: ActorNetwork, folder: Path) -> int:
    """How many a policy reaches in half a minute of game time."""
    game = example(folder, SCRIPTS / "play.gd")
    export_json(policy, game / "policy.json", metadata={})
    code, said = output(game, "-s", "play.gd")
    assert code == 0, said
    assert said.count("entrain: res://policy.json acts for 'ball'") == 1
    return int(said.split("coins ")[1].split()[0])


async def test_a_game_learns_and_then_plays_its_policy(tmp_path: Path) -> None:
    port = free_port()
    text = EXAMPLE.read_text().replace("localhost:50052", f"localhost:{port}")
    config = config_from(text.replace("server:\n", "server:\n  address: localhost:0\n"), tmp_path)
    run_folder = RunFolder.create(tmp_path / "runs", "run")
    game = example(tmp_path / "game")
    async with running(game, ENTRAIN_WEBSOCKET=f"ws://localhost:{port}"):
        outcome, run = await train(config, run_folder)
    assert outcome == "completed"
    trained = run.policies["ball"]
    untrained = ActorCritic(trained.spec, trained.config, seed=0)
    before = coins(untrained, tmp_path / "before")
    learned = coins(trained, tmp_path / "after")
    assert learned > 5 * max(before, 20), (before, learned)
