"""An ML-Agents game trained through the bridge, by a trainer that knows nothing of ML-Agents."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from entrain.run.folder import RunFolder
from entrain_envs.client import TrainerClient
from entrain_envs.environment import Environment
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.spec import BehaviourSpec
from entrain_envs.statistics import Statistic
from entrain_envs.unity.bridge import BridgedGame, GameSettings
from entrain_envs.unity.errors import GameRefusedError
from entrain_envs.unity.side_channels import write_parameter, write_statistic
from live_run import config_from, train
from support.unity_game import Ledger, Style, UnityGame

CONFIG = """
server: {{address: "unix:{folder}/s"}}
environment_parameters: {{gravity: 9.5}}
policies:
  3DBall:
    total_steps: {steps}
    network: {{hidden_sizes: [8]}}
    rollout_steps: 100
    algorithm: {{minibatch_size: 50, num_epochs: 1}}
"""


def bridged(folder: Path, name: str = "game-0", *, reconnect_s: float = 30.0) -> BridgedGame:
    """A game's bridge to the trainer that listens in `folder`."""

    def client(behaviours: Sequence[BehaviourSpec]) -> TrainerClient:
        return TrainerClient(
            f"unix:{folder}/s", behaviours, simulator=name, reconnect_s=reconnect_s
        )

    return BridgedGame(client, GameSettings(seed=3, engine=b""), name=name)


def game_of(
    bridge: BridgedGame, environment: Environment, *, changes_ids: bool = False
) -> UnityGame:
    """A game that talks to `bridge`."""
    style = Style(changes_ids=changes_ids)
    return UnityGame(environment, lambda request: bridge.answer(request, "player"), style=style)


@pytest.mark.parametrize("changes_ids", [False, True])
async def test_every_step_of_a_bridged_game_is_counted_once(
    tmp_path: Path, changes_ids: bool
) -> None:
    config = config_from(CONFIG.format(folder=tmp_path, steps=600), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "bridged")
    bridge = bridged(tmp_path)
    game = game_of(bridge, BalanceBall(count=4, behaviour="3DBall"), changes_ids=changes_ids)
    game.statistics = write_statistic(Statistic("Score", 2.5, "mean"))
    playing = asyncio.create_task(asyncio.to_thread(game.play))
    async with asyncio.timeout(60.0):
        outcome, run = await train(config, folder)
    ledger = await playing
    assert outcome == "completed"
    assert bridge.is_complete
    trained = run.trainers["3DBall"].ledger
    assert trained.closed == 600
    # The last message was answered with the end.
    assert ledger.closed <= trained.closed <= ledger.closed + ledger.unanswered
    assert ledger.opened == ledger.closed + ledger.unanswered
    assert write_parameter("gravity", 9.5) in game.side_channels


async def test_a_trainer_that_stops_and_comes_back_loses_nothing_of_a_bridged_game(
    tmp_path: Path,
) -> None:
    config = config_from(CONFIG.format(folder=tmp_path, steps=800), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "bridged")
    bridge = bridged(tmp_path)
    game = game_of(bridge, BalanceBall(count=4, behaviour="3DBall"))
    playing = asyncio.create_task(asyncio.to_thread(game.play))
    async with asyncio.timeout(60.0):
        outcome, _ = await train(config, folder, stop_at=lambda run: run.env_steps >= 300)
        assert outcome == "stopped"
        outcome, run = await train(config, folder, resumed=True)
    ledger = await playing
    assert outcome == "completed"
    trained = run.trainers["3DBall"].ledger
    assert trained.closed == 800
    assert trained.dropped == trained.opened - trained.closed - trained.open
    assert ledger.closed <= 800 <= ledger.closed + ledger.unanswered


async def test_a_game_that_was_killed_and_started_again_takes_its_place(
    tmp_path: Path,
) -> None:
    config = config_from(CONFIG.format(folder=tmp_path, steps=400), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "bridged")
    bridge = bridged(tmp_path)

    def play_twice() -> tuple[Ledger, Ledger]:
        first = game_of(bridge, BalanceBall(count=2, behaviour="3DBall"))
        rows = first.begin()
        for _ in range(20):
            rows = first.step(rows)
        # Killed: it says nothing. Another process greets.
        return first.ledger, game_of(bridge, BalanceBall(count=2, behaviour="3DBall")).play()

    playing = asyncio.create_task(asyncio.to_thread(play_twice))
    async with asyncio.timeout(60.0):
        outcome, run = await train(config, folder)
    before, after = await playing
    assert outcome == "completed"
    trained = run.trainers["3DBall"].ledger
    assert trained.closed == 400
    lower = before.closed + after.closed
    assert lower <= trained.closed <= lower + after.unanswered
    assert trained.dropped >= 2


def test_a_second_game_on_the_same_bridge_is_told_what_helps(tmp_path: Path) -> None:
    bridge = bridged(tmp_path)
    game = game_of(bridge, BalanceBall(count=2, behaviour="3DBall"))
    game.begin()
    with pytest.raises(GameRefusedError, match="another game plays on this port"):
        bridge.answer(b"\x0a\x03\x08\xc8\x01", "somebody else")


def test_a_trainer_that_is_not_there_is_named_to_the_game(tmp_path: Path) -> None:
    def client(behaviours: Sequence[BehaviourSpec]) -> TrainerClient:
        return TrainerClient(
            f"unix:{tmp_path}/nobody", behaviours, simulator="game-0", connect_s=0.0
        )

    bridge = BridgedGame(client, GameSettings(seed=1), name="game-0")
    game = game_of(bridge, BalanceBall(count=2, behaviour="3DBall"))
    ledger = game.play()
    assert (ledger.opened, ledger.closed) == (0, 0)
    assert bridge.failure is not None
    assert "nobody" in str(bridge.failure)


def test_a_game_that_said_goodbye_is_not_called_vanished(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = bridged(tmp_path)
    game = game_of(bridge, BalanceBall(count=2, behaviour="3DBall"))
    game.begin()
    game.leave()
    bridge.lose("player")
    assert "vanished" not in caplog.text
