"""What agents of games see, may do and belong to, through whole runs: each row agrees with itself.

Every number of a row of a rollout follows from its code (see `support.unity_scene`), so a row that
was mixed up with another one, or with an action that is not its own, is noticed.
"""

import asyncio
import csv
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entrain.algorithms.ppo import PPO
from entrain.app.training import TrainingRun
from entrain.experience import Rollout
from entrain.run.folder import RunFolder
from entrain_envs.client import TrainerClient
from entrain_envs.spec import BehaviourSpec
from entrain_envs.unity.bridge import BridgedGame, GameSettings
from live_run import config_from, train
from support.ports import free_port
from support.unity_game import Exchange
from support.unity_player import dialled
from support.unity_scene import (
    CODE,
    Cast,
    UnityScene,
    camera,
    entities,
    forbidden,
    goal,
    picture_of,
    reward_of,
    vector,
)

CONFIG = """
{front}
policies:
  "*":
    total_steps: 1000000
    rollout_steps: {rollout_steps}
    action: {{clip: 3}}
    network:
      hidden_sizes: [8]
      image_encoder: match3
      image_features: 8
      entity_features: 8
      entity_heads: 2
      memory: {{kind: {memory}, size: 4, sequence_length: 4}}
    algorithm: {{minibatch_size: {rollout_steps}, num_epochs: 1}}
"""

CLIP = 3.0
ROLLOUT_STEPS = 20


@dataclass(frozen=True)
class Play:
    """A game in a run."""

    casts: tuple[Cast, ...]
    version: str = "3.0.0"
    memory: str = "none"
    ticks: int = 25


RUNNER = Cast("Vectors?team=0", continuous=2, sensors=(entities, goal, vector))
CHOOSER = Cast("Choices?team=0", branches=(3, 2), forbids=True)


def named(name: str, cast: Cast, *, team: int = 0, **differs: Any) -> Cast:
    """That cast as one of another behaviour."""
    return replace(cast, key=f"{name}?team={team}", **differs)


PLAYS = {
    "images, channels first": Play(
        (
            named(
                "Seeing",
                CHOOSER,
                sensors=(
                    camera("floats", (3, 8, 10)),
                    camera("said", (2, 11, 8), properties=(1, 2, 2)),
                    # As many channels as squares: no shape of ours tells them apart.
                    camera("board", (7, 9, 8)),
                    camera("grey", (1, 8, 8), png=True),
                    camera("colours", (3, 8, 10), png=True),
                    camera("stacked", (7, 8, 10), png=True),
                ),
            ),
        ),
        ticks=16,
    ),
    "images, channels last": Play(
        (
            named(
                "Seeing",
                CHOOSER,
                sensors=(
                    camera("floats", (10, 8, 3), properties=(2, 2, 1)),
                    camera("board", (9, 8, 11), properties=(2, 2, 1)),
                    camera("stacked", (10, 8, 6), properties=(2, 2, 1), png=True),
                ),
            ),
        ),
        version="2.3.0-exp.3",
        ticks=16,
    ),
    "memory": Play((RUNNER, named("Seldom", CHOOSER, count=4, period=3)), memory="lstm"),
    "agents": Play(
        (
            named("Hybrid", CHOOSER, continuous=2, branches=(4,)),
            named("Teams", RUNNER),
            named("Teams", RUNNER, team=1, count=3),
            named("Groups", RUNNER, group=1),
            named("Groups", RUNNER, team=1, group=2),
            # They ask at different times.
            named("Seldom", CHOOSER, count=4, period=3),
            # They are switched off, and come back under new ids: later, or in the same message.
            named("Renewed", RUNNER, count=3, pause=2),
            named("Renewed", RUNNER, team=1, pause=0),
            named("Late", CHOOSER, begins=5),
            named("Later", RUNNER, team=3, begins=12),
        )
    ),
}


@contextmanager
def direct(folder: Path) -> Iterator[tuple[str, Exchange]]:
    """The trainer's own port for games: its options, and the way there."""
    port = free_port()
    exchange, hang_up = dialled(port)
    try:
        yield f"unity: {{port: {port}}}", exchange
    finally:
        hang_up()


@contextmanager
def through_a_bridge(folder: Path) -> Iterator[tuple[str, Exchange]]:
    """To a trainer that knows no games of ML-Agents, through a bridge."""
    address = f"unix:{folder}/s"

    def client(behaviours: Sequence[BehaviourSpec]) -> TrainerClient:
        return TrainerClient(address, behaviours, simulator="game-0")

    bridge = BridgedGame(client, GameSettings(seed=3), name="game-0")
    yield f'server: {{address: "{address}"}}', lambda request: bridge.answer(request, "player")


Way = Callable[[Path], AbstractContextManager[tuple[str, Exchange]]]


async def played(play: Play, folder: Path, way: Way) -> tuple[UnityScene, TrainingRun]:
    """A run of that game, which leaves at its end; then the run is stopped."""
    with way(folder) as (front, exchange):
        return await played_on(play, folder, front, exchange)


async def played_on(
    play: Play, folder: Path, front: str, exchange: Exchange
) -> tuple[UnityScene, TrainingRun]:
    text = CONFIG.format(front=front, memory=play.memory, rollout_steps=ROLLOUT_STEPS)
    config = config_from(text, folder)
    scene = UnityScene(play.casts, exchange, package_version=play.version)
    is_over = threading.Event()

    def run_the_scene() -> None:
        try:
            scene.play(play.ticks)
        finally:
            is_over.set()

    playing = asyncio.create_task(asyncio.to_thread(run_the_scene))
    async with asyncio.timeout(60):
        _, run = await train(
            config, RunFolder.create(folder, "run"), stop_at=lambda _: is_over.is_set(), look_s=0.01
        )
        await playing
    return scene, run


@pytest.fixture
def rollouts(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, list[Rollout]]:
    """{behaviour: the rollouts that were learned from}, filled while a run learns."""
    learned: dict[str, list[Rollout]] = {}
    update = PPO.update

    def noting(ppo: PPO, rollout: Rollout, **options: Any) -> Any:
        learned.setdefault(ppo._policy.spec.name, []).append(rollout)
        return update(ppo, rollout, **options)

    monkeypatch.setattr(PPO, "update", noting)
    return learned


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, direct) for name in PLAYS),
        ("images, channels first", through_a_bridge),
        ("agents", through_a_bridge),
    ],
)
async def test_every_step_is_counted_once_and_each_row_agrees_with_itself(
    name: str, way: Way, tmp_path: Path, rollouts: Mapping[str, list[Rollout]]
) -> None:
    play = PLAYS[name]
    scene, run = await played(play, tmp_path, way)
    policies = run.summary("stopped").policies
    assert set(policies) == set(scene.tallies)
    for behaviour, tally in scene.tallies.items():
        ledger, progress = policies[behaviour].ledger, policies[behaviour].progress
        assert (ledger["opened"], ledger["closed"]) == (tally.opened, tally.closed)
        assert ledger["dropped"] == tally.opened - tally.closed
        assert progress.env_steps == tally.closed
        assert progress.episodes == len(tally.episodes)
        assert episodes_of(tmp_path / "run", behaviour) == rounded(tally.episodes)
        casts = [each for each in play.casts if each.key.startswith(f"{behaviour}?")]
        seen = [code for each in rollouts[behaviour] for code in agreeing(each, casts[0])]
        assert len(set(seen)) == len(seen) == sum(it.num_steps for it in rollouts[behaviour])
        assert len(seen) <= tally.closed < len(seen) + ROLLOUT_STEPS


def episodes_of(folder: Path, behaviour: str) -> Counter[tuple[float, int, str]]:
    """The rows of episodes.csv of those that ended."""
    with (folder / "episodes.csv").open() as file:
        return rounded(
            (float(row["return"]), int(row["length"]), row["ending"])
            for row in csv.DictReader(file)
            if row["policy"] == behaviour and row["ending"] != "dropped"
        )


def rounded(
    episodes: Iterator[tuple[float, int, str]] | Sequence[tuple[float, int, str]],
) -> Counter[tuple[float, int, str]]:
    return Counter((round(value, 3), length, ending) for value, length, ending in episodes)


def agreeing(rollout: Rollout, cast: Cast) -> Iterator[int]:
    """The codes of a rollout's rows; raises if a row does not agree with itself or its next one."""
    observation = {name: rows.numpy() for name, rows in rollout.observation.items()}
    for column in range(rollout.valid.shape[1]):
        follows: tuple[int, ...] | None = None
        for row in range(int(rollout.valid[:, column].sum())):
            at = (row, column)
            seen = {name: rows[at] for name, rows in observation.items()}
            code, agent, episode, step = map(int, seen[CODE])
            assert follows in (None, (agent, episode, step))
            assert bool(rollout.reset[at]) == (step == 0)
            action = {name: rows[at].numpy() for name, rows in rollout.action.items()}
            sent = np.clip(action.get("continuous", np.zeros(0)), -CLIP, CLIP) / CLIP
            discrete = action.get("discrete", np.zeros(0, np.int32))
            expected = reward_of(code, sent, discrete)
            assert float(rollout.reward[at]) == pytest.approx(expected, abs=1e-5)
            require_mask(rollout.action_mask[at].tolist(), code, cast)
            require_pictures(seen, code, cast)
            follows = None if rollout.boundary[at] else (agent, episode, step + 1)
            yield code


def require_mask(mask: Sequence[bool], code: int, cast: Cast) -> None:
    allowed = [
        not cast.forbids or choice != forbidden(code, size)
        for size in cast.branches
        for choice in range(size)
    ]
    assert mask == allowed


def require_pictures(seen: Mapping[str, Any], code: int, cast: Cast) -> None:
    """Every sensor shows what follows from the code."""
    codes = np.array([code])
    for show in cast.sensors:
        told = show(codes)
        values = seen[told.name]
        if len(told.shape) != 3:
            assert told.values is not None
            np.testing.assert_array_equal(values, told.values[0])
            continue
        is_first = told.dimension_properties != (2, 2, 1)
        height, width, channels = (*told.shape[1:], told.shape[0]) if is_first else told.shape
        picture = picture_of(code, height, width, channels)
        # As float images are; pixels that were compressed stay bytes, unless some are averaged.
        pixels = values / 255 if values.dtype == np.uint8 else values
        if pixels.ndim == 4:
            pixels = pixels[:, 0]
        if pixels.shape != picture.shape:
            pixels = np.moveaxis(pixels, 0, 2)
        np.testing.assert_array_equal(pixels, picture / 255)
