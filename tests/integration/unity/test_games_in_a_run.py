"""Games of ML-Agents in a run: every step is counted once, whatever becomes of the games."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from entrain.app.training import TrainingRun
from entrain.config.policy import PolicyConfig
from entrain.config.run import RunConfig, SimulatorsConfig
from entrain.errors import ServeError
from entrain.run.folder import RunFolder
from entrain.run.summary import Outcome
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.unity.connections import open_connections
from live_run import config_from, differences, newest, train
from support.ports import free_ports
from support.unity_game import Exchange, GameOverError, Ledger, Style, UnityGame
from support.unity_player import dialled

CONFIG = """
seed: 3
server: {{max_wait_s: 60, lockstep: {lockstep}}}
unity: {{port: {port}, games: {games}}}
environment_parameters: {parameters}
policies:
  Ball:
    total_steps: {total_steps}
    rollout_steps: {rollout_steps}
    algorithm: {{minibatch_size: 64, num_epochs: 1}}
    network: {{hidden_sizes: [8]}}
"""


RESETTING = """
  size:
    kind: curriculum
    lessons:
    - name: large
      value: 8
      completion: {behaviour: Ball, measure: progress, threshold: 0.4, require_reset: true}
    - {name: small, value: 4}
"""


def configured(
    folder: Path,
    *,
    games: int = 1,
    lockstep: bool = False,
    rollout_steps: int = 100_000,
    total_steps: int = 1_000_000,
    parameters: str = "{}",
) -> RunConfig:
    folder.mkdir(exist_ok=True)
    text = CONFIG.format(
        port=free_ports(games),
        games=games,
        lockstep=str(lockstep).lower(),
        rollout_steps=rollout_steps,
        total_steps=total_steps,
        parameters=parameters,
    )
    return config_from(text, folder)


def port_of(config: RunConfig, game: int = 0) -> int:
    assert config.unity is not None
    return config.unity.port + game


def game_at(exchange: Exchange, *, count: int = 3, changes_ids: bool = False) -> UnityGame:
    balls = BalanceBall(count=count, behaviour="Ball")
    return UnityGame(balls, exchange, style=Style(changes_ids=changes_ids))


def played(port: int, exchanges: int | None = None, *, changes_ids: bool = False) -> Ledger:
    """Play on that port until the end, or so many exchanges; in a thread."""
    exchange, hang_up = dialled(port)
    try:
        return game_at(exchange, changes_ids=changes_ids).play(exchanges=exchanges)
    finally:
        hang_up()


async def trained(
    config: RunConfig, folder: Path, play: Callable[[], object], *, resumed: bool = False
) -> tuple[Outcome, TrainingRun]:
    """One sitting of a run during which `play` runs in a thread; it ends when that does."""
    is_over = threading.Event()

    def play_to_the_end() -> None:
        try:
            play()
        finally:
            is_over.set()

    run_folder = RunFolder(folder / "run") if resumed else RunFolder.create(folder, "run")
    playing = asyncio.create_task(asyncio.to_thread(play_to_the_end))
    outcome, run = await train(
        config, run_folder, stop_at=lambda _: is_over.is_set(), look_s=0.01, resumed=resumed
    )
    await playing
    return outcome, run


def ledger_of(run: TrainingRun) -> tuple[int, int, int]:
    """(opened, closed, dropped) as the trainer counts."""
    ledger = run.summary("stopped").policies["Ball"].ledger
    assert ledger["opened"] == ledger["closed"] + ledger["dropped"]
    return ledger["opened"], ledger["closed"], ledger["dropped"]


@pytest.mark.parametrize("changes_ids", [False, True])
async def test_play_and_stop_again_and_again_costs_only_open_steps(
    tmp_path: Path, changes_ids: bool
) -> None:
    config = configured(tmp_path)
    ledgers: list[Ledger] = []

    def play() -> None:
        for exchanges in (60, 1, 40):
            ledgers.append(played(port_of(config), exchanges, changes_ids=changes_ids))

    outcome, run = await trained(config, tmp_path, play)
    assert outcome == "stopped"
    opened, closed, dropped = ledger_of(run)
    assert (opened, closed) == (sum(it.opened for it in ledgers), sum(it.closed for it in ledgers))
    assert opened == 101 * 3
    assert dropped == 3 * 3
    counters = run.summary("stopped").counters
    assert (counters["sessions_joined"], counters["sessions_left"]) == (3, 3)


async def test_a_game_that_is_killed_costs_its_open_steps_and_comes_back(tmp_path: Path) -> None:
    config = configured(tmp_path, games=2)
    other, ledgers = threading.Event(), list[Ledger]()

    def play_the_other() -> None:
        exchange, hang_up = dialled(port_of(config, 0))
        game = game_at(exchange)
        rows = game.begin()
        for _ in range(20):
            rows = game.step(rows)
        # It computes for long: the batch waits for it, and with it the game that will be killed.
        assert other.wait(60.0)
        for _ in range(30):
            rows = game.step(rows)
        game.leave()
        hang_up()
        ledgers.append(game.ledger)

    def play() -> None:
        thread = threading.Thread(target=play_the_other)
        thread.start()
        exchange, kill = dialled(port_of(config, 1))
        game = game_at(exchange)
        rows = game.begin()
        for _ in range(20):
            rows = game.step(rows)
        killer = threading.Timer(0.3, kill)
        killer.start()
        with pytest.raises((grpc.RpcError, ValueError)):
            game.step(rows)
        assert game.ledger.unanswered == 3
        ledgers.append(game.ledger)
        # It comes back before the other one goes on.
        exchange, hang_up = dialled(port_of(config, 1))
        again = game_at(exchange)
        rows = again.begin()
        threading.Timer(0.2, other.set).start()
        for _ in range(25):
            rows = again.step(rows)
        again.leave()
        hang_up()
        ledgers.append(again.ledger)
        thread.join()

    _, run = await trained(config, tmp_path, play)
    opened, closed, dropped = ledger_of(run)
    assert (opened, closed) == (sum(it.opened for it in ledgers), sum(it.closed for it in ledgers))
    assert (opened, dropped) == ((50 + 20 + 25) * 3, 3 * 3)
    counters = run.summary("stopped").counters
    assert (counters["sessions_joined"], counters["sessions_left"]) == (3, 2)
    assert counters["sessions_lost"] == 1


async def test_a_game_that_is_killed_while_it_computes_is_noticed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("entrain.unity.front.LOOK_S", 0.02)
    config = configured(tmp_path)
    words = "closed its connection without a goodbye"
    looked = threading.Event()
    known = open_connections

    def look() -> frozenset[str] | None:
        found = known()
        if found:
            looked.set()
        return found

    monkeypatch.setattr("entrain.unity.front.open_connections", look)

    def play() -> None:
        exchange, kill = dialled(port_of(config))
        game = game_at(exchange)
        rows = game.step(game.begin())
        looked.clear()
        assert looked.wait(30.0)
        game.step(rows)
        kill()
        until = time.monotonic() + 30.0
        while words not in caplog.text and time.monotonic() < until:
            time.sleep(0.01)

    await trained(config, tmp_path, play)
    assert words in caplog.text


async def test_two_seeded_runs_in_lockstep_are_the_same_bit_for_bit_also_where_games_are_reset(
    tmp_path: Path,
) -> None:
    async def state_of(folder: Path) -> object:
        sizes = {"rollout_steps": 128, "total_steps": 512}
        config = configured(folder, games=2, lockstep=True, parameters=RESETTING, **sizes)
        ledgers: list[Ledger] = []

        def play() -> None:
            games = [
                threading.Thread(target=lambda at=port: ledgers.append(played(at)))
                for port in (port_of(config, 1), port_of(config, 0))
            ]
            for game in games:
                game.start()
            for game in games:
                game.join()

        outcome, run = await trained(config, folder, play)
        assert outcome == "completed"
        opened, closed, _ = ledger_of(run)
        # Three balls of each game got an order to reset instead of their actions.
        assert opened == sum(each.opened for each in ledgers) + 2 * 3
        assert closed == sum(each.closed for each in ledgers)
        return newest(RunFolder(folder / "run")).state["policies"]

    lines = differences(await state_of(tmp_path / "a"), await state_of(tmp_path / "b"))
    assert [line for line in lines if "/progress/seconds:" not in line] == []


async def test_a_run_goes_on_after_a_stop_with_new_games(tmp_path: Path) -> None:
    config = configured(tmp_path, lockstep=True)
    first: list[Ledger] = []

    def play_until_stopped() -> None:
        exchange, hang_up = dialled(port_of(config))
        game = game_at(exchange)
        rows = game.begin()
        for _ in range(10):
            rows = game.step(rows)
        first.append(game.ledger)
        hang_up()

    _, run = await trained(config, tmp_path, play_until_stopped)
    assert run.env_steps == first[0].closed
    second: list[Ledger] = []
    _, run = await trained(
        config, tmp_path, lambda: second.append(played(port_of(config), 15)), resumed=True
    )
    opened, closed, dropped = ledger_of(run)
    assert opened == first[0].opened + second[0].opened
    assert closed == first[0].closed + second[0].closed
    assert dropped == 3 + 3


async def test_the_end_of_a_run_reaches_a_game_that_waits(tmp_path: Path) -> None:
    config = configured(tmp_path, total_steps=300)
    # A file of ML-Agents may name the behaviors of other games, too.
    config = config.model_copy(
        update={
            "simulators": SimulatorsConfig(bring_all=False),
            "policies": {**config.policies, "Elsewhere": PolicyConfig()},
        }
    )
    ledgers: list[Ledger] = []

    def play() -> None:
        exchange, hang_up = dialled(port_of(config))
        game = game_at(exchange)
        with pytest.raises(GameOverError, match="training is complete"):
            rows = game.begin()
            while True:
                rows = game.step(rows)
        hang_up()
        ledgers.append(game.ledger)

    outcome, run = await trained(config, tmp_path, play)
    assert (outcome, run.env_steps) == ("completed", 300)
    assert ledgers[0].opened >= 300


async def test_a_second_game_on_a_port_is_refused_and_the_first_plays_on(tmp_path: Path) -> None:
    config = configured(tmp_path, games=1)

    def play() -> None:
        exchange, hang_up = dialled(port_of(config))
        game = game_at(exchange)
        rows = game.begin()
        second, hang_up_second = dialled(port_of(config))
        refusal: list[grpc.RpcError] = []

        def intrude() -> None:
            with pytest.raises(grpc.RpcError) as raised:
                game_at(second).begin()
            refusal.append(raised.value)

        intruder = threading.Thread(target=intrude)
        intruder.start()
        while intruder.is_alive():
            rows = game.step(rows)
        assert "another game plays on this port" in str(refusal[0])
        game.leave()
        hang_up()
        hang_up_second()

    _, run = await trained(config, tmp_path, play)
    counters = run.summary("stopped").counters
    assert (counters["sessions_joined"], counters["sessions_refused"]) == (1, 1)


async def test_a_busy_port_is_refused_with_its_number_and_its_owner(tmp_path: Path) -> None:
    config = configured(tmp_path)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port_of(config)))
        listener.listen()
        with pytest.raises(
            ServeError,
            match=rf":{port_of(config)}, which games dial, is in use .* unity.port, .* --base-port",
        ):
            await train(config, RunFolder.create(tmp_path, "run"))
