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

from entrain.app.best_checkpoint import Evaluated
from entrain.app.episode_quota import Scores
from entrain.app.evaluation_rounds import PolicyRound, Round
from entrain.app.evaluation_side import EvaluationSide
from entrain.app.evaluations import Evaluations
from entrain.app.trainers import Trainers
from entrain.app.training import TrainingRun
from entrain.config.evaluation import EvaluationConfig
from entrain.config.run import RunConfig
from entrain.rollout.curricula import reached_lessons
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.table import read_metrics
from entrain.serving.parameters import EnvironmentParameters
from entrain.state import State
from entrain_envs.environment import Environment
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from live_run import config_from, judged_simulators, simulators, train
from toy_environments import DiscreteBandit, Endless, Floats

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
    *,
    policy_lag: int = 0,
) -> tuple[RunFolder, TrainingRun]:
    """A short run, and where it is."""
    text = CONFIG.format(folder=folder, evaluation=evaluation)
    text = text.replace("rollout_steps: 64", f"rollout_steps: 64, policy_lag: {policy_lag}")
    config: RunConfig = config_from(text, folder)
    run_folder = RunFolder.create(folder, "run")
    with judged_simulators(
        config.server.address, {"player": trained_in}, judges={"judge": judged_in}
    ):
        outcome, run = await train(config, run_folder)
    assert outcome == "completed"
    return run_folder, run


@pytest.mark.parametrize("policy_lag", [0, 1])
async def test_a_round_is_over_once_every_policy_has_its_episodes(
    tmp_path: Path, policy_lag: int
) -> None:
    def pair(left: int, right: int) -> Pair:
        return Pair(
            BalanceBall(count=left, behaviour="left"), BalanceBall(count=right, behaviour="right")
        )

    folder, run = await evaluated(
        tmp_path,
        pair(4, 4),
        pair(2, 1),
        "{every_steps: 200, episodes: 4, launch: []}",
        policy_lag=policy_lag,
    )
    series = read_metrics(folder.metrics)
    for name in ("left", "right"):
        evaluations = series[name].evaluations
        # Two of each of the two agents, four of the one.
        assert set(evaluations.columns["evaluation/episodes"]) == {4.0}
        assert len(evaluations.env_steps) == run.evaluations.number
        # The last one is of the last weights, although one policy's last update ends when that of
        # the other still goes on, with all steps counted.
        progress = run.trainers[name].progress
        last = [evaluations.columns[f"evaluation/{it}"][-1] for it in ("version", "env_steps")]
        assert last == [progress.updates, progress.env_steps]
        assert progress.updates == 2
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


class Paying(Endless):
    """An episode pays in each step what the parameter `pay` was when it began."""

    def __init__(self, *, num_agents: int) -> None:
        super().__init__(StepType.TRUNCATED, episode_steps=3, num_agents=num_agents)
        self._told = 0.0
        self._pay = np.zeros(num_agents, np.float32)

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        self._told = parameters["pay"]

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        self.set_parameters(parameters)
        return super().reset(seed=seed, parameters=parameters)

    def begin(self, agents: npt.NDArray[np.bool_]) -> None:
        super().begin(agents)
        self._pay[agents] = self._told

    def act(self, actions: ActionBatch) -> tuple[Floats, npt.NDArray[np.uint8]]:
        _, step_type = super().act(actions)
        return self._pay.copy(), step_type


LESSONS = """
environment_parameters:
  pay:
    kind: curriculum
    lessons:
      - {name: rich, value: 10, completion: {behaviour: toy, measure: progress, threshold: 0.5}}
      - {name: poor, value: 1}
stop_at: {return: 20}
"""


async def test_the_best_weights_and_the_goal_are_those_of_the_last_lesson(tmp_path: Path) -> None:
    evaluation = "{every_steps: 64, episodes: 4, launch: []}"
    text = CONFIG.format(folder=tmp_path, evaluation=evaluation).replace(": 128", ": 256")
    config = config_from(text + LESSONS, tmp_path)
    folder = RunFolder.create(tmp_path, "run")
    judges = {"judge": Paying(num_agents=2), "jury": Paying(num_agents=2)}
    players = {"player": Paying(num_agents=8)}
    with judged_simulators(config.server.address, players, judges=judges):
        outcome, run = await train(config, folder)
    assert outcome == "completed"
    shown = read_metrics(folder.metrics)["toy"].evaluations.columns
    # Three steps of 10, or of 1, and never some of either in one evaluation.
    assert list(shown["evaluation/return_min"]) == list(shown["evaluation/return_max"])
    assert (shown["evaluation/return_mean"][0], shown["evaluation/return_mean"][-1]) == (30.0, 3.0)
    # A return of 30 was enough, but for an easier task.
    assert not run.goal.is_reached
    best = CheckpointStore(folder.best, keep=1).load_newest().state
    assert best["evaluated"]["returns"] == {"toy": 3.0}
    assert best["evaluated"]["parameters"] == {"pay": 1.0}
    assert reached_lessons(best["curricula"]) == {"pay": 1}


def never_called(*_: Any) -> None:
    raise AssertionError


def evaluations_of(there: SimpleNamespace, **parts: Any) -> Evaluations:
    """Those of a run that has made 25 env steps, with `there` as its simulators of evaluations."""
    side = SimpleNamespace(
        participants=there,
        options=EvaluationConfig(every_steps=10),
        seed=1,
        are_launched=False,
    )
    trainers = SimpleNamespace(acting={}, policies={}, env_steps=25, env_steps_by_name={"toy": 25})
    given = {
        "best": None,
        "training": there,
        "report": never_called,
        "note_returns": never_called,
        "others": dict,
        **parts,
    }
    return Evaluations(
        cast(EvaluationSide, side), trainers=cast(Trainers, trainers), seconds=float, **given
    )


async def test_an_evaluation_that_is_over_in_the_next_lesson_is_one_of_the_lesson_before() -> None:
    training = SimpleNamespace(parameters=EnvironmentParameters({"size": 8.0}))
    there = SimpleNamespace(
        has_begun=True, num_running=1, behaviours=[], parameters=EnvironmentParameters({})
    )
    offered: list[tuple[Evaluated, State]] = []
    noted: list[Mapping[str, float]] = []
    lesson = 1

    async def offer(evaluated: Evaluated, _policies: State, others: State) -> None:
        offered.append((evaluated, others))

    evaluations = evaluations_of(
        there,
        best=SimpleNamespace(offer=offer),
        training=training,
        report=lambda _: None,
        note_returns=noted.append,
        others=lambda: {"lesson": lesson},
    )
    no_names = np.zeros(1, np.object_)
    scores = Scores(np.ones(1), np.ones(1, np.int64), np.full(1, 2, np.uint8), no_names)
    policy = PolicyRound(version=3, scores=scores, is_whole=True, statistics={})

    async def over() -> Round:
        nonlocal lesson
        lesson = 2
        training.parameters.update({"size": 3.0})
        return Round(seconds=1.0, is_cut=False, policies={"toy": policy})

    evaluations._rounds.begin = lambda: True  # type: ignore[method-assign]
    evaluations._rounds.over = over  # type: ignore[method-assign]
    evaluations.look()
    assert evaluations._evaluating is not None
    await evaluations._evaluating
    ((evaluated, others),) = offered
    assert (evaluated.parameters, others) == ({"size": 8.0}, {"lesson": 1})
    assert noted == []


async def test_no_evaluation_begins_while_all_of_its_simulators_are_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    there = SimpleNamespace(
        has_begun=True, num_running=0, behaviours=[], parameters=EnvironmentParameters({})
    )
    evaluations = evaluations_of(there)
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
