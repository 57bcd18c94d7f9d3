"""What came to no finite number is saved as it was before, and the run can be gone on with."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from entrain.app import commands, run_results
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import TrainingDivergedError, UnlearnableRolloutError
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.summary import RunSummary
from entrain.state import State
from entrain_envs.environment import Environment
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.timestep import ActionBatch
from live_run import differences, newest, simulators
from toy_environments import DiscreteBandit, Floats

RUN = """
runs_directory: {folder}/runs
server: {{address: "unix:{folder}/s", lockstep: true}}
policies:
  toy:
    total_steps: 256
    network: {{hidden_sizes: [8]}}
    rollout_steps: 64
    algorithm: {{minibatch_size: 32, num_epochs: 2, learning_rate: {learning_rate}}}
"""
FAR_TOO_HIGH, FINE = "1e30", "0.01"
LOWER = f"policies.toy.algorithm.learning_rate={FINE}"


@pytest.fixture(autouse=True)
def _no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has tests of its own, and takes longer than all the rest."""
    monkeypatch.setattr(run_results, "export_policy", lambda *_arguments, **_options: None)
    monkeypatch.setattr("entrain.run.report.draw_plots", lambda _series: [])


def config_of(folder: Path, *, learning_rate: str, text: str = RUN) -> RunConfig:
    """The configuration of a run in `folder`, which is made."""
    folder.mkdir(exist_ok=True)
    path = folder / "toy.yaml"
    path.write_text(text.format(folder=folder, learning_rate=learning_rate))
    return load_config(path, [])


def diverged_in(folder: Path) -> RunFolder:
    """The folder of a run that has just diverged."""
    with pytest.raises(TrainingDivergedError, match="resume with a lower learning_rate"):
        commands.train(config_of(folder, learning_rate=FAR_TOO_HIGH))
    return RunFolder(folder / "runs" / "run")


def learned(folder: RunFolder) -> State:
    """What the newest checkpoint holds of the policy, without how long it took."""
    return {**newest(folder).state["policies"]["0"]["trainer"], "progress": None}


def bandit() -> DiscreteBandit:
    return DiscreteBandit([1.0, 0.0, 0.0], num_agents=16)


def test_resumed_with_a_lower_learning_rate_it_ends_as_if_it_had_been_low_from_the_start(
    tmp_path: Path,
) -> None:
    # The first update diverges, so all that was learned until then is nothing.
    straight, diverged = tmp_path / "straight", tmp_path / "diverged"
    with simulators(f"unix:{straight}/s", {"a": bandit()}):
        assert commands.train(config_of(straight, learning_rate=FINE)) == 0
    expected = learned(RunFolder(straight / "runs" / "run"))
    with simulators(f"unix:{diverged}/s", {"a": bandit()}):
        folder = diverged_in(diverged)
        assert RunSummary.load(folder.summary).outcome == "failed"
        assert commands.resume(folder.path, [LOWER]) == 0
    assert RunSummary.load(folder.summary).outcome == "completed"
    assert differences(learned(folder), expected) == []


def test_what_diverges_again_pushes_no_older_checkpoint_out(tmp_path: Path) -> None:
    with simulators(f"unix:{tmp_path}/s", {"a": bandit()}):
        folder = diverged_in(tmp_path)
        saved = CheckpointStore(folder.checkpoints, keep=3).paths
        for _ in range(2):
            with pytest.raises(TrainingDivergedError, match="update 1 of policy 'toy'"):
                commands.resume(folder.path, [])
            assert CheckpointStore(folder.checkpoints, keep=3).paths == saved
        assert len(saved) == 1
        assert commands.resume(folder.path, [LOWER]) == 0


class PaysTooMuchOnce(DiscreteBandit):
    """Its first episodes but `after` end with a reward that no float can square."""

    def __init__(self, *, after: int) -> None:
        super().__init__([1.0, 0.0, 0.0], num_agents=16)
        self._left = after

    def act(self, actions: ActionBatch) -> tuple[Floats, npt.NDArray[np.uint8]]:
        reward, step_type = super().act(actions)
        self._left -= 1
        return (reward + 3e38 * (self._left == 0)).astype(np.float32), step_type


TAKES_ANY_REWARD = (
    RUN.replace("lockstep: true", "lockstep: true, max_reward: 1e39")
    + "    normalize_values: false\n"
)


def test_a_rollout_that_nothing_can_be_learned_from_is_left_out_on_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # In the second of four rollouts.
    with simulators(f"unix:{tmp_path}/s", {"a": PaysTooMuchOnce(after=6)}):
        with pytest.raises(UnlearnableRolloutError, match=r"update 2 .* 3e\+38"):
            commands.train(config_of(tmp_path, learning_rate=FINE, text=TAKES_ANY_REWARD))
        folder = RunFolder(tmp_path / "runs" / "run")
        assert commands.resume(folder.path, []) == 0
    assert "policy 'toy', update 2: the rollout of 64 env steps that no" in caplog.text
    policy = RunSummary.load(folder.summary).policies["toy"]
    assert policy.left_out_steps == 64
    assert policy.progress.env_steps == 256
    assert policy.progress.updates == 3
    assert any("is left out" in warning for warning in policy.warnings)


TWO = """  ball:
    total_steps: 3000
    network: {{hidden_sizes: [8]}}
    rollout_steps: 500
    algorithm: {{minibatch_size: 250, num_epochs: 1}}
"""


@pytest.mark.parametrize("policy_lag", [0, 1])
def test_while_others_learn_one_that_diverged_acts_on_and_the_end_names_it(
    tmp_path: Path, policy_lag: int, caplog: pytest.LogCaptureFixture
) -> None:
    text = RUN.replace(", lockstep: true", "") + f"    policy_lag: {policy_lag}\n" + TWO
    both: dict[str, Environment] = {"a": bandit(), "b": BalanceBall(count=10)}
    # The second sitting may be over before the ball's simulator has dialled again.
    with simulators(f"unix:{tmp_path}/s", both, reconnect_s=10.0):
        with pytest.raises(TrainingDivergedError, match="policy 'toy'") as caught:
            commands.train(config_of(tmp_path, learning_rate=FAR_TOO_HIGH, text=text))
        assert caught.value.exit_code == 6
        folder = RunFolder(tmp_path / "runs" / "run")
        summary = RunSummary.load(folder.summary)
        assert summary.outcome == "failed"
        ball, toy = summary.policies["ball"], summary.policies["toy"]
        assert (ball.progress.env_steps, ball.progress.updates, ball.diverged) == (3000, 6, "")
        told = 64 * (1 + policy_lag)
        assert (toy.progress.env_steps, toy.progress.updates) == (told, 0)
        assert "lower learning_rate" in toy.diverged
        assert "It acts on without learning; the other policies go on" in caplog.text
        # Each step is an episode: it was answered until the end.
        assert toy.progress.episodes > told
        assert commands.resume(folder.path, [LOWER]) == 0
    summary = RunSummary.load(folder.summary)
    assert summary.outcome == "completed"
    toy = summary.policies["toy"]
    assert (toy.progress.env_steps, toy.progress.updates, toy.diverged) == (256, 4, "")
