"""Every PPO configuration of ML-Agents' examples trains a game of that game's shapes.

Networks are those of the files; rollouts and minibatches are cut short, so that one update is soon
done. The stand-in game checks each answer, and the policy becomes a model for games.
"""

import asyncio
import threading
from functools import partial
from pathlib import Path

import pytest

from entrain.app.training import TrainingRun
from entrain.config.run import RunConfig
from entrain.run.folder import RunFolder
from entrain.unity.models.export import export_model
from entrain.unity.stock_file import load_stock
from entrain.unity.translation import translate
from live_run import train
from support.ports import free_port
from support.unity_player import dialled
from support.unity_scene import Cast, Shower, UnityScene, camera, entities, goal, vector

pytestmark = pytest.mark.learning

STOCK = Path(__file__).parents[1] / "trainer" / "unity" / "stock" / "ppo"
ROLLOUT_STEPS = 64
TICKS = 45


def numbers(size: int) -> Shower:
    return partial(vector, size=size)


def agents(behaviour: str, *sensors: Shower, continuous: int = 0, branches: str = "") -> Cast:
    """Agents with that many actions; branches as "3 3 2", and in each step some are forbidden."""
    sizes = tuple(map(int, branches.split()))
    return Cast(
        f"{behaviour}?team=0",
        sensors=sensors,
        continuous=continuous,
        branches=sizes,
        forbids=bool(sizes),
    )


JUMPERS = (
    agents("BigWallJump", numbers(74), branches="3 3 3 2"),
    agents("SmallWallJump", numbers(74), branches="3 3 3 2"),
)
CELLS = (camera("cells", (7, 9, 8)), camera("special", (3, 9, 8)))

GAMES = {
    "3DBall": (agents("3DBall", numbers(8), continuous=2),),
    "3DBallHard": (agents("3DBallHard", numbers(45), continuous=2),),
    "3DBall_randomize": (agents("3DBall", numbers(8), continuous=2),),
    "Basic": (agents("Basic", numbers(20), branches="3"),),
    "Crawler": (agents("Crawler", numbers(158), continuous=20),),
    "FoodCollector": (
        agents("GridFoodCollector", camera("grid", (6, 40, 40)), continuous=3, branches="2"),
    ),
    "GridWorld": (agents("GridWorld", camera("seen", (3, 64, 84), png=True), goal, branches="5"),),
    "Hallway": (agents("Hallway", numbers(105), branches="5"),),
    "Match3": (
        agents("Match3VectorObs", numbers(500), branches="127"),
        agents("Match3VisualObs", *CELLS, branches="127"),
        agents("Match3SimpleHeuristic", numbers(500), branches="127"),
    ),
    "PushBlock": (agents("PushBlock", numbers(210), branches="7"),),
    "Sorter_curriculum": (agents("Sorter", entities, numbers(4), branches="3 3 3"),),
    "Visual3DBall": (agents("Visual3DBall", camera("seen", (9, 36, 64), png=True), continuous=2),),
    "VisualFoodCollector": (
        agents(
            "VisualFoodCollector",
            *(camera("seen", (3, 84, 84), png=True), numbers(4)),
            continuous=3,
            branches="2",
        ),
    ),
    "Walker": (agents("Walker", numbers(243), continuous=39),),
    "WallJump": JUMPERS,
    "WallJump_curriculum": JUMPERS,
    "Worm": (agents("Worm", numbers(64), continuous=9),),
}
"""{configuration: agents of its behaviours}; those of Pyramids need what is not built yet."""


def shortened(name: str, port: int) -> RunConfig:
    """What the file means, with rollouts of a few steps."""
    config = translate(load_stock(STOCK / f"{name}.yaml", {})).config
    assert config.unity is not None
    policies = {
        behaviour: policy.model_copy(
            update={
                "rollout_steps": ROLLOUT_STEPS,
                "algorithm": policy.algorithm.model_copy(
                    update={"minibatch_size": ROLLOUT_STEPS, "num_epochs": 1}
                ),
            }
        )
        for behaviour, policy in config.policies.items()
    }
    unity = config.unity.model_copy(update={"port": port})
    return config.model_copy(update={"policies": policies, "unity": unity})


async def played(name: str, folder: Path) -> tuple[UnityScene, TrainingRun]:
    """A run of that game, until the game leaves."""
    config = shortened(name, free_port())
    assert config.unity is not None
    exchange, hang_up = dialled(config.unity.port)
    scene = UnityScene(GAMES[name], exchange)
    is_over = threading.Event()

    def play() -> None:
        try:
            scene.play(TICKS)
        finally:
            hang_up()
            is_over.set()

    playing = asyncio.create_task(asyncio.to_thread(play))
    _, run = await train(
        config, RunFolder.create(folder, "run"), stop_at=lambda _: is_over.is_set(), look_s=0.01
    )
    await playing
    return scene, run


@pytest.mark.parametrize("name", GAMES)
async def test_a_game_of_its_shapes_is_trained_and_gets_a_model(name: str, tmp_path: Path) -> None:
    scene, run = await played(name, tmp_path)
    summaries = run.summary("stopped").policies
    assert set(summaries) == set(scene.tallies)
    for behaviour, tally in scene.tallies.items():
        progress = summaries[behaviour].progress
        assert (progress.env_steps, progress.updates) == (tally.closed, 1)
        assert progress.episodes == len(tally.episodes)
        policy = run._trainers.policies[behaviour]
        export_model(policy, tmp_path / f"{behaviour}.onnx", metadata={})


def test_every_configuration_that_can_be_trained_is_among_them() -> None:
    missing = {"Pyramids", "PyramidsRND"}
    assert {path.stem for path in STOCK.glob("*.yaml")} - missing == set(GAMES)
