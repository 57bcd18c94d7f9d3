"""Every episode of a run is one row of episodes.csv, whatever stops and crashes lie in between."""

import shutil
from collections import Counter
from pathlib import Path

from entrain.app.training import TrainingRun
from entrain.run.checkpoint import CheckpointStore
from entrain.run.episode_table import read_episodes
from entrain.run.folder import RunFolder
from entrain_envs.simulators.balance_ball import BalanceBall
from live_run import config_from, simulators, train

CONFIG = """
seed: 3
server: {{address: "unix:{folder}/s"}}
checkpoints: {{every_steps: 300, keep: 20}}
policies:
  ball:
    total_steps: 1500
    network: {{hidden_sizes: [8]}}
    rollout_steps: 200
    algorithm: {{minibatch_size: 100, num_epochs: 1}}
"""


def require_exact_rows(folder: RunFolder, run: TrainingRun) -> None:
    """A row for each episode, numbered without a gap; those that ended are as many as counted."""
    rows = list(read_episodes(folder.episodes))
    assert [int(row["episode"]) for row in rows] == list(range(1, len(rows) + 1))
    endings = Counter(row["ending"] for row in rows)
    assert endings["terminated"] + endings["truncated"] == run.trainers["ball"].progress.episodes
    assert endings["terminated"] > 5
    assert {row["policy"] for row in rows} == {"ball"}
    assert {row["simulator"] for row in rows} <= {"a", "b"}
    steps = [int(row["env_steps"]) for row in rows]
    assert steps == sorted(steps)


async def test_a_run_that_is_stopped_and_resumed_has_each_episode_once(tmp_path: Path) -> None:
    config = config_from(CONFIG.format(folder=tmp_path), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "ball")
    balls = {"a": BalanceBall(count=3), "b": BalanceBall(count=2)}
    with simulators(f"unix:{tmp_path}/s", balls):
        await train(config, folder, stop_at=lambda run: run.env_steps >= 333)
        await train(config, folder, stop_at=lambda run: run.env_steps >= 777, resumed=True)
        outcome, run = await train(config, folder, resumed=True)
    assert outcome == "completed"
    require_exact_rows(folder, run)
    # At the end all simulators leave, each agent in the middle of an episode.
    assert [row["ending"] for row in read_episodes(folder.episodes)].count("dropped") > 0


async def test_episodes_after_the_checkpoint_that_a_run_goes_on_from_are_forgotten(
    tmp_path: Path,
) -> None:
    config = config_from(CONFIG.format(folder=tmp_path), tmp_path)
    folder = RunFolder.create(tmp_path / "runs", "ball")
    with simulators(f"unix:{tmp_path}/s", {"a": BalanceBall(count=3)}):
        _, before = await train(config, folder, stop_at=lambda run: run.env_steps >= 900)
        # As after a crash: the newest checkpoint is not there.
        store = CheckpointStore(folder.checkpoints, keep=20)
        newest = store.load_newest()
        shutil.rmtree(newest.path)
        older = store.load_newest()
        assert older.step < newest.step
        outcome, run = await train(config, folder, resumed=True)
    assert outcome == "completed"
    assert run.trainers["ball"].progress.episodes > before.trainers["ball"].progress.episodes
    require_exact_rows(folder, run)
