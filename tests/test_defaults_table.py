"""What the table of default options does around its runs."""

from pathlib import Path

import numpy as np
import pytest
from benchmarks import defaults
from benchmarks.defaults_tasks import OneAgent

from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.simulators.cue_memory import CueMemory


def test_a_score_is_the_mean_of_the_last_tenth_or_else_the_last_episode() -> None:
    episodes = defaults.Episodes()
    for step in range(1, 101):
        episodes.add(1.0 if step > 90 else 0.0, is_over=step % 5 == 0)
    # The episodes that ended at 95 and 100 earned 5 each.
    assert defaults.last_tenth(episodes, 100) == 5.0
    episodes.ended = episodes.ended[:3]
    assert defaults.last_tenth(episodes, 100) == 0.0


def test_finished_runs_are_not_run_again_and_scores_are_in_units_of_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[defaults.Job] = []

    def episodes_of(job: defaults.Job, *_: object) -> defaults.Episodes:
        ran.append(job)
        episodes = defaults.Episodes()
        episodes.add(job.scale * (3.0 if job.who == "entrain" else 2.0), is_over=True)
        return episodes

    monkeypatch.setattr(defaults, "our_episodes", episodes_of)
    monkeypatch.setattr(defaults, "peer_episodes", episodes_of)
    arguments = ["defaults", str(tmp_path / "results.csv"), "--tasks", "CartPole-v1"]
    monkeypatch.setattr("sys.argv", [*arguments, "--seeds", "1", "--scales", "1"])
    defaults.main()
    monkeypatch.setattr("sys.argv", [*arguments, "--seeds", "1", "2", "--scales", "1", "1000"])
    defaults.main()
    assert len(ran) == len({job.key for job in ran}) == 8
    table = capsys.readouterr().out.splitlines()[-2:]
    assert table == [
        "| CartPole-v1 | 1 | 3 +- 0 (2) | 2 +- 0 (2) |",
        "| CartPole-v1 | 1000 | 3 +- 0 (2) | 2 +- 0 (2) |",
    ]


def test_one_agent_of_a_simulator_lives_as_in_gymnasium() -> None:
    env = OneAgent(BalanceBall(count=1))
    observation, _ = env.reset(seed=1)
    assert observation.shape == (8,)
    for _ in range(200):
        observation, reward, terminated, truncated, _ = env.step(np.zeros(2, np.float32))
        if terminated or truncated:
            break
    assert terminated
    assert reward == -1.0
    # The next episode is the one that the simulator has begun.
    again, _ = env.reset()
    assert not np.array_equal(again, observation)


def test_a_choice_reaches_the_simulator() -> None:
    env = OneAgent(CueMemory(count=1))
    env.reset(seed=1)
    ends = 0
    for _ in range(200):
        _, reward, terminated, _, _ = env.step(2)
        assert reward in {0.0, 1.0}
        if terminated:
            ends += 1
            env.reset()
    assert ends > 5
