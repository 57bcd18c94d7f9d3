"""A run that is stopped anywhere and resumed ends exactly like one that was never stopped."""

from pathlib import Path

import pytest

from entrain.app.training import TrainingRun
from entrain.run.folder import RunFolder
from entrain.state import State
from entrain_envs.simulators.balance_ball import BalanceBall
from live_run import Moment, config_from, differences, newest, simulators, train
from support.ports import free_port

CONFIG = """
seed: 7
stop_timeout_s: {stop_timeout_s}
server: {{address: "localhost:{port}", lockstep: true}}
simulators: {{expect: 2}}
policies:
  ball:
    total_steps: 1400
    normalize_rewards: true
    rollout_steps: 350
    algorithm: {{minibatch_size: 32, num_epochs: {num_epochs}}}
    {options}
"""

FEED_FORWARD = "network: {hidden_sizes: [16, 16]}"

LSTM = """
    network:
      hidden_sizes: [16]
      previous_action: true
      previous_reward: true
      memory: {kind: lstm, size: 12, sequence_length: 7, burn_in: 3}
"""

BEHIND = """
    policy_lag: 1
    network: {hidden_sizes: [16, 16]}
"""

LSTM_BEHIND = LSTM + "    policy_lag: 1"

GRU = """
    network:
      hidden_sizes: [16]
      memory: {kind: gru, size: 12, sequence_length: 7, refresh_states: true}
    entropy: {objective: entropy_critic, coefficient: 0.01, target: {per_dimension: 0.5}}
"""


MINGRU = GRU.replace("gru", "mingru")


async def final_state(
    folder: Path,
    stops: list[Moment],
    *,
    num_epochs: int,
    stop_timeout_s: float = 20.0,
    options: str = FEED_FORWARD,
) -> State:
    """The last checkpoint's policies of a run that was stopped at these moments, one a sitting."""
    folder.mkdir()
    port = free_port()
    text = CONFIG.format(
        port=port, num_epochs=num_epochs, stop_timeout_s=stop_timeout_s, options=options
    )
    config = config_from(text, folder)
    run_folder = RunFolder.create(folder / "runs", "run")
    environments = {name: BalanceBall(count=3) for name in ("alpha", "beta")}
    with simulators(f"localhost:{port}", environments):
        for sitting, moment in enumerate(stops):
            outcome, _ = await train(config, run_folder, stop_at=moment, resumed=sitting > 0)
            assert outcome == "stopped"
        outcome, _ = await train(config, run_folder, resumed=bool(stops))
    assert outcome == "completed"
    state: State = newest(run_folder).state["policies"]["0"]["trainer"]
    return {name: value for name, value in state.items() if name != "progress"}


class StraightRuns:
    """Runs that are never stopped, each done once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._final: dict[str, State] = {}

    async def final_state(self, *, num_epochs: int, options: str = FEED_FORWARD) -> State:
        """The last checkpoint's policies of the run with these options."""
        key = f"{num_epochs} epochs, {options}"
        if key not in self._final:
            folder = self._folder / str(len(self._final))
            self._final[key] = await final_state(folder, [], num_epochs=num_epochs, options=options)
        return self._final[key]


@pytest.fixture(scope="module")
def straight_runs(tmp_path_factory: pytest.TempPathFactory) -> StraightRuns:
    """Of this module."""
    return StraightRuns(tmp_path_factory.mktemp("straight"))


def after(env_steps: int) -> Moment:
    """Once so many outcomes are in."""
    return lambda run: run.env_steps >= env_steps


def learning(update: int) -> Moment:
    """In the middle of that update, counted from 1; of a later one, if nobody looked during it."""

    def moment(run: TrainingRun) -> bool:
        return any(
            trainer.is_learning and trainer.progress.updates >= update - 1
            for trainer in run.trainers.values()
        )

    return moment


@pytest.mark.parametrize(
    "env_steps", [1, 349, 350, 777], ids=lambda steps: f"stopped after {steps} steps"
)
async def test_a_run_stopped_between_batches_ends_bit_for_bit_like_one_never_stopped(
    tmp_path: Path, straight_runs: StraightRuns, env_steps: int
) -> None:
    straight = await straight_runs.final_state(num_epochs=2)
    resumed = await final_state(tmp_path / "resumed", [after(env_steps)], num_epochs=2)
    assert differences(straight, resumed) == []


async def test_a_run_stopped_in_updates_that_are_given_up_ends_bit_for_bit_the_same(
    tmp_path: Path, straight_runs: StraightRuns
) -> None:
    # 30 epochs of 11 minibatches take a twentieth of a second; 5 ms of patience give each one up.
    straight = await straight_runs.final_state(num_epochs=30)
    stops = [learning(1), after(500), learning(3)]
    resumed = await final_state(tmp_path / "resumed", stops, num_epochs=30, stop_timeout_s=0.005)
    assert differences(straight, resumed) == []


@pytest.mark.parametrize("env_steps", [1, 351, 600, 777, 1200])
async def test_a_run_that_learns_while_it_collects_ends_bit_for_bit_like_one_never_stopped(
    tmp_path: Path, straight_runs: StraightRuns, env_steps: int
) -> None:
    # Wherever it is stopped, an update that runs is waited for.
    straight = await straight_runs.final_state(num_epochs=2, options=BEHIND)
    resumed = await final_state(
        tmp_path / "resumed", [after(env_steps)], num_epochs=2, options=BEHIND
    )
    assert differences(straight, resumed) == []


async def test_an_update_given_up_while_the_next_rollout_is_collected_is_done_again_exactly(
    tmp_path: Path, straight_runs: StraightRuns
) -> None:
    # 12 epochs take longer than collecting 350 steps, so that updates run all the time: in the
    # second rollout, while that one waits for the first update, and later.
    straight = await straight_runs.final_state(num_epochs=12, options=LSTM_BEHIND)
    stops = [after(400), after(700), learning(2), after(1100)]
    resumed = await final_state(
        tmp_path / "resumed", stops, num_epochs=12, stop_timeout_s=0.02, options=LSTM_BEHIND
    )
    assert differences(straight, resumed) == []


@pytest.mark.parametrize("options", [LSTM, GRU, MINGRU], ids=["lstm", "gru", "mingru"])
async def test_a_run_with_memory_stopped_in_episodes_and_updates_ends_bit_for_bit_the_same(
    tmp_path: Path, straight_runs: StraightRuns, options: str
) -> None:
    # In the first rollout, in its update, and in the third rollout: with episodes on their way.
    straight = await straight_runs.final_state(num_epochs=3, options=options)
    resumed = await final_state(
        tmp_path / "resumed",
        [after(200), learning(1), after(777)],
        num_epochs=3,
        stop_timeout_s=0.02,
        options=options,
    )
    assert differences(straight, resumed) == []
