"""Runs whose simulators do not wait: late steps are counted, masked, repeated and resumed.

All go through gRPC, by the SDK's own loop; which answers are late is drawn by lot.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from entrain.app.training import TrainingRun
from entrain.run.folder import RunFolder
from entrain.run.table import read_metrics
from entrain.state import State
from entrain_envs.client import TrainerClient
from entrain_envs.copies import Copies
from entrain_envs.environment import Driver, Report
from entrain_envs.errors import OptionError
from entrain_envs.gymnasium_adapter import GymnasiumEnvironment
from entrain_envs.real_time import RealTime, in_real_time
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, TimestepBatch
from late_answers import LateClient
from live_run import Moment, config_from, differences, newest, simulators, train

CONFIG = """
seed: 3
server: {{address: "unix:{socket}", lockstep: true}}
policies:
  pole:
    total_steps: 480
    rollout_steps: 120
    policy_lag: 1
    network: {{hidden_sizes: [8], {memory}}}
    algorithm: {{minibatch_size: 60, num_epochs: 2}}
"""
MEMORY = "previous_action: true, memory: {kind: gru, size: 4, sequence_length: 5, burn_in: 2}"


def poles() -> GymnasiumEnvironment:
    return GymnasiumEnvironment(
        lambda: gymnasium.make("CartPole-v1"), behaviour="pole", part=Copies.all(4)
    )


class Sitting:
    """Runs in a folder of their own each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def run(
        self, name: str, *, stop_at: Moment | None = None, memory: str = "", **late: Any
    ) -> tuple[State, TrainingRun, Report, RunFolder]:
        """A run of 480 steps, perhaps stopped in between and resumed."""
        folder = self._folder / name
        folder.mkdir()
        config = config_from(CONFIG.format(socket=folder / "s", memory=memory), folder)
        runs = RunFolder.create(folder / "runs", "run")
        client: Callable[..., TrainerClient] = partial(LateClient, **late)
        with simulators(f"unix:{folder}/s", {"sim": poles()}, make_client=client) as reports:
            if stop_at is not None:
                outcome, _ = await train(config, runs, stop_at=stop_at)
                assert outcome == "stopped"
            outcome, run = await train(config, runs, resumed=stop_at is not None)
        assert outcome == "completed"
        return newest(runs).state["policies"]["0"]["trainer"]["algorithm"], run, reports[0], runs


def shares_of(folder: RunFolder) -> list[float]:
    """Of late steps in each update, if they were measured."""
    shares: list[float] = (
        read_metrics(folder.metrics)["pole"].columns.get("rollout/late_steps", np.zeros(0)).tolist()
    )
    return shares


@pytest.fixture
def sitting(tmp_path: Path) -> Sitting:
    return Sitting(tmp_path)


async def test_late_steps_are_counted_once_and_shown(sitting: Sitting) -> None:
    _, run, report, folder = await sitting.run("run", share=0.4, most_deadlines=3)
    ledger = run.trainers["pole"].ledger
    assert ledger.opened == ledger.closed + ledger.dropped + ledger.open
    assert report.opened == report.closed + report.unanswered + report.dropped
    assert report.closed <= ledger.closed <= report.closed + report.unanswered
    shares = shares_of(folder)
    assert len(shares) == 4
    assert 0.2 < np.mean(shares) < 0.6
    assert sum(120 * share for share in shares) == pytest.approx(report.late, abs=4)
    # One late step of the four agents is one to three of the world.
    columns = read_metrics(folder.metrics)["pole"].columns
    world_steps = np.nansum(columns["statistics/fallback_steps"])
    assert report.late / 4 < world_steps < 3 * report.late / 4


async def test_a_run_with_late_steps_repeats_and_is_resumed_exactly(sitting: Sitting) -> None:
    late: dict[str, Any] = {"share": 0.4, "most_deadlines": 2, "memory": MEMORY}
    straight, *_ = await sitting.run("straight", **late)
    stopped, *_ = await sitting.run("stopped", stop_at=lambda run: run.env_steps >= 150, **late)
    assert differences(straight, stopped) == []


async def test_a_deadline_that_is_always_kept_changes_nothing(sitting: Sitting) -> None:
    kept, _, report, folder = await sitting.run("kept", share=0.0)
    assert report.late == 0
    assert set(shares_of(folder)) == {0.0}

    alone = sitting._folder / "without"
    alone.mkdir()
    config = config_from(CONFIG.format(socket=alone / "s", memory=""), alone)
    runs = RunFolder.create(alone / "runs", "run")
    with simulators(f"unix:{alone}/s", {"sim": poles()}):
        await train(config, runs)
    plain = newest(runs).state["policies"]["0"]["trainer"]["algorithm"]
    assert differences(kept, plain) == []
    assert shares_of(runs) == []


class Controlled(GymnasiumEnvironment):
    """Has a controller of its own: always right."""

    asked = 0

    def control(self, timesteps: Mapping[str, TimestepBatch]) -> Mapping[str, ActionBatch]:
        self.asked += 1
        count = int(np.count_nonzero(timesteps["pole"].needs_action))
        return {
            "pole": ActionBatch(np.zeros((count, 0), np.float32), np.ones((count, 1), np.int32), 0)
        }


async def test_a_controller_of_the_environments_own_may_act(tmp_path: Path) -> None:
    config = config_from(CONFIG.format(socket=tmp_path / "s", memory=""), tmp_path)
    world = Controlled(lambda: gymnasium.make("CartPole-v1"), behaviour="pole", part=Copies.all(4))
    client = partial(LateClient, share=1.0, fallback="controller")
    with simulators(f"unix:{tmp_path}/s", {"sim": world}, make_client=client) as reports:
        outcome, _ = await train(config, RunFolder.create(tmp_path / "runs", "run"))
    assert outcome == "completed"
    assert world.asked >= 120
    # What an agent that is asked about for the first time has taken is no outcome.
    assert reports[0].late == reports[0].closed + reports[0].unanswered


def timed(fallback: str) -> list[BehaviourSpec]:
    return list(in_real_time(poles().behaviours, deadline_ms=50, fallback=fallback))


def test_a_controller_that_is_missing_is_told() -> None:
    with pytest.raises(OptionError, match="has no method `control`"):
        RealTime(poles(), timed("controller"), {})


def test_groups_that_wait_for_each_other_have_no_deadline() -> None:
    client = TrainerClient("localhost:1", timed("last"), simulator="sim", max_unanswered_steps=2)
    with pytest.raises(OptionError, match="give one group, or no deadline"):
        Driver([poles(), poles()], client)
