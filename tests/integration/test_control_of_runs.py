"""A run that is paused, changed and exported while it goes on, and stopped in between."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from entrain.app.training import TrainingRun
from entrain.errors import ConfigError
from entrain.metrics import ENTROPY_COEFFICIENT, LEARNING_RATE
from entrain.run.folder import RunFolder
from entrain.run.history import read_history
from entrain.state import State
from entrain_envs.simulators.balance_ball import BalanceBall
from live_run import Moment, config_from, differences, newest, simulators, train

CONFIG = """
seed: 7
server: {{address: "unix:{socket}", lockstep: true}}
simulators: {{expect: 2}}
environment_parameters: {{gravity: 9.81}}
policies:
  ball:
    total_steps: 1400
    rollout_steps: 350
    policy_lag: {lag}
    network: {{hidden_sizes: [16, 16]}}
    algorithm: {{minibatch_size: 64, num_epochs: 2}}
"""

RATE = "policies.ball.algorithm.learning_rate=1e-3"
ENTROPY = "policies.ball.entropy.coefficient=0.02"
GRAVITY = "environment_parameters.gravity={kind: uniform, low: 8, high: 12}"


class Remembering(BalanceBall):
    """Remembers the gravities that it was told, with how many steps came before."""

    def __init__(self) -> None:
        super().__init__(count=3)
        self.steps = 0
        self.told: list[tuple[int, float]] = []

    def set_parameters(self, parameters: Any) -> None:
        if "gravity" in parameters and [parameters["gravity"]] != [it[1] for it in self.told[-1:]]:
            self.told.append((self.steps, parameters["gravity"]))
        super().set_parameters(parameters)

    def step(self, actions: Any) -> Any:
        self.steps += 1
        return super().step(actions)


async def final_state(
    folder: Path, stops: Sequence[Moment], *, lag: int = 0
) -> tuple[State, Any, RunFolder]:
    """Weights, what a simulator was told, and the folder of a run that is stopped so often."""
    folder.mkdir()
    config = config_from(CONFIG.format(socket=folder / "s", lag=lag), folder)
    run_folder = RunFolder.create(folder / "runs", "run")
    environments = {name: Remembering() for name in ("alpha", "beta")}
    with simulators(f"unix:{folder / 's'}", environments):
        for sitting, moment in enumerate(stops):
            outcome, run = await train(config, run_folder, stop_at=moment, resumed=sitting > 0)
            # As the file has it, where a command keeps the folder.
            config = run.control.changes.config
    assert outcome == "completed"
    state: State = newest(run_folder).state["policies"]["0"]["trainer"]
    told = environments["alpha"].told, environments["beta"].told
    return {name: it for name, it in state.items() if name != "progress"}, told, run_folder


def asking(settings: Sequence[str], *, from_update: int, until: int) -> Moment:
    """Asks for a change at first, and stops once so many outcomes are in."""
    asked: list[bool] = []

    def moment(run: TrainingRun) -> bool:
        if not asked:
            run.control.change(settings, from_update=from_update)
            asked.append(True)
        return run.env_steps >= until

    return moment


def until(env_steps: int) -> Moment:
    return lambda run: run.env_steps >= env_steps


NEVER = 10**9


@pytest.mark.parametrize(
    ("lag", "stops"),
    [(0, [777, 1200]), pytest.param(1, [777, 1200], marks=pytest.mark.hostile)],
)
async def test_a_changed_run_that_is_stopped_ends_bit_for_bit_like_one_that_is_not(
    tmp_path: Path, lag: int, stops: Sequence[int]
) -> None:
    changes = [RATE, ENTROPY, GRAVITY]
    straight, told, folder = await final_state(
        tmp_path / "straight", [asking(changes, from_update=3, until=NEVER)], lag=lag
    )
    # While the change waits, and when it is in force.
    moments = [asking(changes, from_update=3, until=stops[0]), *map(until, [*stops[1:], NEVER])]
    stopped, told_too, _ = await final_state(tmp_path / "stopped", moments, lag=lag)
    assert differences(straight, stopped) == []
    assert told == told_too
    with folder.metrics.open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row[ENTROPY_COEFFICIENT.name]) for row in rows] == [0.0, 0.0, 0.02]
    # Rates of linear schedules, 1e-3 instead of 3e-4 at first, when half of the run is done.
    assert [float(row[LEARNING_RATE.name]) for row in rows] == pytest.approx(
        [3e-4, 0.75 * 3e-4, 0.5 * 1e-3], rel=0.02
    )
    (before, first), (after, second) = told[0][:2]
    assert (before, first) == (0, pytest.approx(9.81))
    assert 8.0 <= second <= 12.0
    # Two simulators with three agents each: 1,050 steps are three rollouts.
    assert after >= 1050 // 6
    changed = [it for it in read_history(folder.history) if it["what"] == "changed"]
    assert [(it["from_update"], it["was"]) for it in changed] == [
        ({"ball": 3}, ["9.81"]),
        ({"ball": 3}, ["0.0", "0.0003"]),
    ]


async def test_a_paused_run_stands_still_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    # An update that runs beside the collecting is not waited for by a batch.
    straight, _, _ = await final_state(tmp_path / "straight", [until(NEVER)], lag=1)
    seen: list[tuple[int, float]] = []

    def pausing(run: TrainingRun) -> bool:
        pause = run.control.pause
        if run.env_steps >= 360 and not seen:
            run.control.hold()
            run.control.hold()
        if pause.is_settled and len(seen) < 60:
            seen.append((run.env_steps, run.seconds))
        if len(seen) == 60:
            run.control.go_on()
            seen.append(seen[-1])
        return len(seen) > 100

    def stopped_in_a_pause(run: TrainingRun) -> bool:
        if run.env_steps < 710:
            return False
        run.control.hold()
        return run.control.pause.is_settled

    paused, _, folder = await final_state(
        tmp_path / "paused",
        [pausing_and_stopping(pausing, stopped_in_a_pause), until(NEVER)],
        lag=1,
    )
    assert len(seen) >= 60
    # Nothing moved, and no time passed.
    assert len(set(seen)) == 1
    assert differences(straight, paused) == []
    whats = [it["what"] for it in read_history(folder.history)]
    assert whats == ["paused", "went on", "paused"]
    assert newest(folder).state["participants"]["counters"]["sessions_lost"] == 0


def pausing_and_stopping(first: Moment, then: Moment) -> Moment:
    return lambda run: first(run) or then(run)


async def test_what_cannot_change_is_refused_in_the_words_of_the_file(tmp_path: Path) -> None:
    refused: list[str] = []

    def moment(run: TrainingRun) -> bool:
        for setting in (
            "policies.ball.algorithm.learning_rate=fast",
            "policies.ball.algorithm.learning_rat=1e-3",
            "policies.ball.network.hidden_sizes=[8]",
            "policies.ball.total_steps=10",
            "environment_parameters.gravity={kind: curriculum, lessons: [{name: a, value: 1}]}",
        ):
            with pytest.raises(ConfigError) as caught:
                run.control.change([setting])
            refused.append(str(caught.value))
        with pytest.raises(ConfigError, match="next update of 'ball' to begin is 1"):
            run.control.change([RATE], from_update=0)
        assert run.control.changes.waiting == ()
        return True

    config = config_from(CONFIG.format(socket=tmp_path / "s", lag=0), tmp_path)
    await train(config, RunFolder.create(tmp_path, "run"), stop_at=moment)
    words = json.dumps(refused)
    for expected in (
        "learning_rate is 'fast'; it must be a number",
        "did you mean 'learning_rate'?",
        "hidden_sizes cannot change: it is part of what the run is",
        "total_steps cannot change while the run goes on",
        "gravity is a curriculum, or would become one",
    ):
        assert expected in words
