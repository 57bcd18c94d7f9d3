"""Evaluations while a run trains: they change nothing that is learned, and survive a stop."""

import asyncio
import json
import logging
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from entrain.app.build import load_policies, make_launcher
from entrain.app.launcher import Launcher
from entrain.app.run_hooks import RunHooks
from entrain.app.training import TrainingRun
from entrain.config.run import RunConfig
from entrain.run.checkpoint import CheckpointStore
from entrain.run.episode_table import read_episodes
from entrain.run.folder import RunFolder
from entrain.run.log_display import LogDisplay
from entrain.run.table import read_metrics
from entrain.state import State
from entrain_envs.client import TrainerClient
from entrain_envs.errors import MisfitError
from entrain_envs.simulators.balance_ball import BalanceBall
from live_run import config_from, differences, newest, simulators, train
from support.ports import free_port

CONFIG = """
seed: 7
server: {{address: "localhost:{port}", lockstep: {lockstep}}}
simulators: {{expect: 2, launch: []}}
policies:
  ball:
    total_steps: {total_steps}
    rollout_steps: 360
    network: {{hidden_sizes: [16, 16]}}
    algorithm: {{minibatch_size: 64, num_epochs: 2}}
    {options}
{more}
"""
EVALUATION = "evaluation: {every_steps: 720, episodes: 4, launch: []}"


def config_of(folder: Path, **values: object) -> RunConfig:
    """A run of two simulators; what `values` do not say is as in the comparison below."""
    defaults = {"lockstep": "true", "total_steps": 1440, "options": "", "more": ""}
    return config_from(CONFIG.format(**{**defaults, "port": free_port(), **values}), folder)


@contextmanager
def in_training(config: RunConfig) -> Iterator[None]:
    """Two simulators that are learned from."""
    environments = {name: BalanceBall(count=3) for name in ("alpha", "beta")}
    with simulators(config.server.address, environments):
        yield


@contextmanager
def in_evaluations(config: RunConfig, *, count: int = 2) -> Iterator[None]:
    """One that joins for evaluations alone."""
    client = partial(TrainerClient, role="evaluation")
    environments = {"judge": BalanceBall(count=count)}
    with simulators(config.server.address, environments, make_client=client):
        yield


def evaluation_rows(folder: RunFolder) -> list[dict[str, float]]:
    """The evaluations that metrics.csv has of policy 'ball'."""
    series = read_metrics(folder.metrics)["ball"].evaluations
    return [
        {
            name: float(column[row])
            for name, column in series.columns.items()
            if name.startswith("evaluation/")
        }
        for row in range(len(series.env_steps))
    ]


async def test_a_seeded_run_learns_the_same_with_and_without_evaluations(tmp_path: Path) -> None:
    def learned(folder: RunFolder) -> State:
        state: State = newest(folder).state["policies"]["0"]["trainer"]
        return {name: value for name, value in state.items() if name != "progress"}

    plain = config_of(tmp_path, options="policy_lag: 1")
    without = RunFolder.create(tmp_path, "without")
    with in_training(plain):
        await train(plain, without)
    config = config_of(tmp_path, options="policy_lag: 1", more=EVALUATION)
    with_ = RunFolder.create(tmp_path, "with")
    with in_training(config), in_evaluations(config):
        outcome, run = await train(config, with_)
    assert outcome == "completed"
    # The last two of four updates end at the same env steps; the last evaluation is of the last.
    last = evaluation_rows(with_)[-1]
    assert (last["evaluation/version"], last["evaluation/env_steps"]) == (4, 1440)
    assert differences(learned(without), learned(with_)) == []
    # Training has counted its own steps alone, and its own simulators.
    assert run.env_steps == 1440
    assert run.participants.counters["sessions_joined"] == 2


async def test_what_an_evaluation_came_to_is_in_every_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = config_of(tmp_path, more=EVALUATION)
    folder = RunFolder.create(tmp_path, "run")
    with in_training(config), in_evaluations(config):
        _, run = await train(config, folder)
    rows = evaluation_rows(folder)
    last = rows[-1]
    assert last["evaluation/env_steps"] == 1440
    assert last["evaluation/version"] == 4
    assert last["evaluation/episodes"] == 4
    assert last["evaluation/return_min"] <= last["evaluation/return_mean"]
    assert last["evaluation/return_mean"] <= last["evaluation/return_max"]
    # Training has one row for each update beside them.
    assert len(read_metrics(folder.metrics)["ball"].updates.env_steps) == 4
    episodes = [row for row in read_episodes(folder.episodes) if row["evaluation"]]
    assert [row["evaluation"] for row in episodes][-4:] == [str(len(rows))] * 4
    assert {row["simulator"] for row in episodes} == {"judge"}
    returns = [float(row["return"]) for row in episodes[-4:]]
    assert math.isclose(np.mean(returns), last["evaluation/return_mean"])
    assert f"evaluation {len(rows)} of policy 'ball', update 4, 1,440 env steps" in caplog.text
    _require_best_is_kept(config, folder, run)


def _require_best_is_kept(config: RunConfig, folder: RunFolder, run: TrainingRun) -> None:
    """The best weights are those of the best evaluation, beside the newest checkpoints."""
    rows = evaluation_rows(folder)
    best = max(rows, key=lambda row: row["evaluation/return_mean"])
    (path,) = folder.best.iterdir()
    about = json.loads((path / "manifest.json").read_text())["evaluation"]
    assert about["return"] == about["returns"]["ball"] == best["evaluation/return_mean"]
    assert about["versions"] == {"ball": best["evaluation/version"]}
    assert path.name.endswith(f"-step-{best['evaluation/env_steps']:.0f}")
    loaded = CheckpointStore(folder.best, keep=1).load_newest()
    (policy,) = load_policies(config, loaded).values()
    assert policy.spec == run.policies["ball"].spec
    assert newest(folder).step == 1440


async def test_a_resumed_run_goes_on_counting_evaluations(tmp_path: Path) -> None:
    config = config_of(tmp_path, total_steps=2160, more=EVALUATION)
    folder = RunFolder.create(tmp_path, "run")
    with in_training(config), in_evaluations(config):
        outcome, _ = await train(
            config, folder, stop_at=lambda run: bool(run.evaluations.state()["number"])
        )
        assert outcome == "stopped"
        before = evaluation_rows(folder)
        kept = [path.name for path in folder.best.iterdir()]
        outcome, run = await train(config, folder, resumed=True)
    assert outcome == "completed"
    after = evaluation_rows(folder)
    assert after[: len(before)] == before
    assert len(after) == run.evaluations.state()["number"] > len(before)
    steps = [row["evaluation/env_steps"] for row in after]
    assert steps == sorted(set(steps))
    episodes = [row["evaluation"] for row in read_episodes(folder.episodes) if row["evaluation"]]
    assert episodes == [str(number + 1) for number in range(len(after)) for _ in range(4)]
    means = [row["evaluation/return_mean"] for row in after]
    if max(means) == means[0]:
        assert [path.name for path in folder.best.iterdir()] == kept


async def test_a_run_is_complete_once_an_evaluation_is_good_enough(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    more = f"{EVALUATION}\nstop_at: {{return: 1}}"
    config = config_of(tmp_path, total_steps=100_000, lockstep="false", more=more)
    folder = RunFolder.create(tmp_path, "run")
    with in_training(config), in_evaluations(config):
        outcome, run = await train(config, folder)
    assert outcome == "completed"
    assert run.env_steps < 100_000
    assert "in an evaluation; stop_at.return is 1: the run is complete" in caplog.text
    assert "completed (the policy reached return" in caplog.text
    assert run.summary(outcome).reached == run.goal.words
    # It stays complete, unless more is asked of it.
    again = TrainingRun(
        config, folder, LogDisplay(), launcher=lambda _: run_nothing(), restored=newest(folder)
    )
    assert again.is_finished
    assert again.goal.words == run.goal.words
    harder = config_of(tmp_path, total_steps=100_000, more=more.replace("return: 1", "return: 1e9"))
    once_more = TrainingRun(
        harder, folder, LogDisplay(), launcher=lambda _: run_nothing(), restored=newest(folder)
    )
    assert not once_more.is_finished


async def test_the_run_launches_simulators_for_its_evaluations(tmp_path: Path) -> None:
    command = f"{sys.executable} -m entrain_envs balance-ball --count 2"
    more = f'evaluation: {{every_steps: 720, episodes: 2, launch: [{{command: "{command}"}}]}}'
    config = config_of(tmp_path, more=more, lockstep="false")
    folder = RunFolder.create(tmp_path, "run")
    run = TrainingRun(
        config,
        folder,
        LogDisplay(),
        launcher=lambda address: make_launcher(config, folder, address),
        hooks=RunHooks(),
    )
    with in_training(config):
        outcome = await run.run(asyncio.Event())
    assert outcome == "completed"
    rows = [row for row in read_episodes(folder.episodes) if row["evaluation"]]
    assert {row["simulator"] for row in rows} == {"simulator-0"}
    # Simulators that nothing keeps in step may run a few steps past the last one asked for.
    assert run.env_steps >= 1440
    # They may also join so late that the evaluation of the last weights is the first and only one.
    num_updates = len(read_metrics(folder.metrics)["ball"].updates.env_steps)
    assert evaluation_rows(folder)[-1]["evaluation/version"] == num_updates


async def test_who_joins_for_evaluations_of_a_run_without_any_is_refused(tmp_path: Path) -> None:
    config = config_of(tmp_path, total_steps=360)
    folder = RunFolder.create(tmp_path, "run")
    refusals: list[str] = []

    def join() -> None:
        behaviours = BalanceBall(count=1).behaviours
        with pytest.raises(MisfitError) as error:
            TrainerClient(
                config.server.address, behaviours, simulator="judge", role="evaluation"
            ).connect()
        refusals.append(str(error.value))

    with in_training(config):
        training = asyncio.create_task(train(config, folder))
        await asyncio.to_thread(join)
        await training
    assert "joins for evaluations, and this run makes none; add evaluation:" in refusals[0]


def run_nothing() -> Launcher:
    """A launcher of nothing."""
    return Launcher([], environment={})
