"""Evaluations of several policies, of tasks without ends, and of simulators that do not fit."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from entrain.app.best_checkpoint import BestCheckpoint
from entrain.app.evaluation_side import EvaluationSide
from entrain.app.evaluations import Evaluations
from entrain.app.trainers import Trainers
from entrain.app.training import TrainingRun
from entrain.config.evaluation import EvaluationConfig
from entrain.config.run import RunConfig
from entrain.run.folder import RunFolder
from entrain.run.table import read_metrics
from entrain.serving.parameters import EnvironmentParameters
from entrain.serving.participants import Participants
from entrain_envs.environment import Environment
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from live_run import config_from, judged_simulators, simulators, train
from toy_environments import DiscreteBandit, Endless

CONFIG = """
server: {{address: "unix:{folder}/s"}}
evaluation: {evaluation}
policies: {{"*": {{total_steps: 128, rollout_steps: 64, network: {{hidden_sizes: [4]}}}}}}
"""


class Pair:
    """Two environments with different behaviours, stepped together."""

    def __init__(self, *parts: Environment) -> None:
        self._parts = {part.behaviours[0].name: part for part in parts}

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        return [part.behaviours[0] for part in self._parts.values()]

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        rows = [part.reset(seed=seed, parameters=parameters) for part in self._parts.values()]
        return {name: each for of_part in rows for name, each in of_part.items()}

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        rows = [part.step(actions) for part in self._parts.values()]
        return {name: each for of_part in rows for name, each in of_part.items()}


async def evaluated(
    folder: Path,
    trained_in: Environment,
    judged_in: Environment,
    evaluation: str = "{every_steps: 64, episodes: 4, launch: []}",
) -> tuple[RunFolder, TrainingRun]:
    """A short run, and where it is."""
    config: RunConfig = config_from(CONFIG.format(folder=folder, evaluation=evaluation), folder)
    run_folder = RunFolder.create(folder, "run")
    with judged_simulators(
        config.server.address, {"player": trained_in}, judges={"judge": judged_in}
    ):
        outcome, run = await train(config, run_folder)
    assert outcome == "completed"
    return run_folder, run


async def test_a_round_is_over_once_every_policy_has_its_episodes(tmp_path: Path) -> None:
    def pair(count: int) -> Pair:
        return Pair(
            BalanceBall(count=count, behaviour="left"), BalanceBall(count=1, behaviour="right")
        )

    folder, run = await evaluated(tmp_path, pair(4), pair(2))
    series = read_metrics(folder.metrics)
    for name in ("left", "right"):
        evaluations = series[name].evaluations
        # Two of each of the two agents, four of the one.
        assert set(evaluations.columns["evaluation/episodes"]) == {4.0}
        assert len(evaluations.env_steps) == run.evaluations.number
    (best,) = folder.best.iterdir()
    assert best.is_dir()


async def test_a_task_without_ends_is_given_up_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    endless = partial(Endless, StepType.TRUNCATED, episode_steps=10**6, num_agents=8)
    folder, run = await evaluated(
        tmp_path,
        endless(),
        endless(),
        "{every_steps: 64, episodes: 4, max_seconds: 0.2, launch: []}",
    )
    assert run.evaluations.number >= 1
    assert "was ended after 0.2 s (evaluation.max_seconds) with 0 episodes ended" in caplog.text
    assert len(read_metrics(folder.metrics)["toy"].evaluations.env_steps) == 0
    assert not folder.best.exists()


class OneGoesOn(Endless):
    """All agents but the first have short episodes; its own does not end."""

    def begin(self, agents: npt.NDArray[np.bool_]) -> None:
        super().begin(agents)
        self._age[0] = -(10**9)


async def test_episodes_that_ended_before_the_time_was_over_decide_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = partial(Endless, StepType.TRUNCATED, num_agents=8)
    evaluation = "{every_steps: 64, episodes: 8, max_seconds: 0.3, launch: []}"
    judge = OneGoesOn(StepType.TRUNCATED, episode_steps=2, num_agents=8)
    folder, run = await evaluated(tmp_path, short(), judge, evaluation)
    assert run.evaluations.number >= 1
    assert "so it counts neither for the best checkpoint nor for stop_at" in caplog.text
    # They are shown, and their weights are not the best: the longest episode is missing.
    shown = read_metrics(folder.metrics)["toy"].evaluations.columns["evaluation/episodes"]
    assert set(shown) == {7.0}
    assert not folder.best.exists()


def never_called(*_: Any) -> None:
    raise AssertionError


async def test_no_evaluation_begins_while_all_of_its_simulators_are_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = SimpleNamespace(
        has_begun=True, num_running=0, behaviours=[], parameters=EnvironmentParameters({})
    )
    side = SimpleNamespace(
        participants=there,
        options=EvaluationConfig(every_steps=10),
        seed=1,
        are_launched=False,
    )
    trainers = SimpleNamespace(acting={}, env_steps=25, env_steps_by_name={"toy": 25})
    evaluations = Evaluations(
        cast(EvaluationSide, side),
        cast(BestCheckpoint, None),
        training=cast(Participants, there),
        trainers=cast(Trainers, trainers),
        report=never_called,
        note_returns=never_called,
        others=dict,
        seconds=float,
    )
    begun: list[int] = []

    def begin() -> bool:
        begun.append(there.num_running)
        return False

    evaluations._rounds.begin = begin  # type: ignore[method-assign]
    for there.num_running in (0, 0, 1, 0):
        evaluations.look()
    assert begun == [1]
    gone = "an evaluation is due, and all simulators of evaluations have left; it is made as soon"
    assert [each.startswith(gone) for each in caplog.messages] == [True, True]


async def test_a_simulator_of_another_build_is_not_evaluated_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    folder, run = await evaluated(
        tmp_path, DiscreteBandit([1.0, 0.0], num_agents=8), DiscreteBandit([1.0], num_agents=8)
    )
    assert run.evaluations.number == 0
    assert "'toy' is not evaluated: simulators of evaluations declare it otherwise" in caplog.text
    assert len(caplog.messages) == 1
    assert len(read_metrics(folder.metrics)["toy"].evaluations.env_steps) == 0


async def test_a_run_does_not_wait_for_evaluations_that_nobody_joins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    evaluation = "{every_steps: 64, episodes: 4, launch: []}"
    config = config_from(CONFIG.format(folder=tmp_path, evaluation=evaluation), tmp_path)
    folder = RunFolder.create(tmp_path, "run")
    toy = DiscreteBandit([1.0, 0.0], num_agents=8)
    with simulators(config.server.address, {"player": toy}):
        async with asyncio.timeout(60.0):
            outcome, run = await train(config, folder)
    assert outcome == "completed"
    assert run.evaluations.number == 0
    due, none = (it.message for it in caplog.records if it.name == "entrain.app.evaluations")
    assert due.startswith("an evaluation is due, and no simulator has joined for evaluations")
    assert none == (
        "the run ends without a single evaluation: no simulator joined for evaluations "
        "(--role evaluation)"
    )
