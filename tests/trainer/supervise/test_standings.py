"""How runs stand, read from their folders."""

import json
import math
from pathlib import Path

import pytest

from entrain.config.load import load_config, to_yaml
from entrain.run.folder import RunFolder
from entrain.run.lock import RunLock
from entrain.run.progress import Progress
from entrain.run.summary import PolicySummary, RunSummary
from entrain.run.table import MetricsTable
from entrain.supervise.endings import stamp_of_summary
from entrain.supervise.files import SettingsFile
from entrain.supervise.records import Record
from entrain.supervise.served_run import ServedRun
from entrain.supervise.standings import RunStanding, Standings
from support.served_runs import MadeUp


def a_run(tmp_path: Path, name: str = "walk") -> ServedRun:
    folder = RunFolder.create(tmp_path, name)
    config = load_config(None, ["policies.ball.total_steps=1000"])
    folder.write_config(to_yaml(config))
    table = MetricsTable(folder.metrics)
    for steps in (100, 990):
        metrics = {"rollout/episode_return_last_100": steps / 10, "time/seconds": steps / 100}
        table.append("ball", env_steps=steps, wall_time=1000.0, metrics=metrics)
    table.flush()
    file = SettingsFile(tmp_path / f"{name}.yaml", (0, 0, 0), is_regular=True)
    return ServedRun(name, folder, tmp_path / "o", Record(name=name), file=file, config=config)


def standing(run: ServedRun, standings: Standings | None = None) -> RunStanding:
    standings = standings or Standings()
    standings.look([run])
    return standings.of(run, now_s=5.0, address="localhost:50100")


def save_summary(run: ServedRun, env_steps: int) -> None:
    RunSummary(
        name=run.name,
        outcome="completed",
        started_at=0.0,
        ended_at=2000.0,
        seconds=4.0,
        simulators=(),
        software=(),
        policies={
            "ball": PolicySummary(
                progress=Progress(env_steps=env_steps), total_steps=1000, ledger={}
            )
        },
        counters={},
    ).save(run.folder.summary)


def test_a_run_that_lives_is_starting_then_running_then_ending(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.folder.page.write_text(json.dumps({"url": "https://localhost:8081/", "read_token": "s"}))
    run.living = MadeUp([])
    run.note_record(summary_stamp=stamp_of_summary(run))
    assert (standing(run).state, standing(run).page_port) == ("starting", 0)
    with RunLock(run.folder.lock_file):
        now = standing(run)
        assert (now.state, now.address, now.process) == ("running", "localhost:50100", 4711)
        assert (now.page_port, now.is_page_secure) == (8081, True)
        save_summary(run, 1003)
        assert standing(run).state == "ending"


def test_a_run_that_has_ended_has_the_steps_behind_its_last_update_too(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    standings = Standings()
    (ball,) = standing(run, standings).policies
    assert (ball.env_steps, ball.total_steps, ball.return_last) == (990, 1000, 99.0)
    save_summary(run, 1003)
    run.note_record(rest="completed")
    now = standing(run, standings)
    assert (now.state, now.address, now.seconds) == ("completed", "", 9.9)
    assert now.policies[0].env_steps == 1003


def test_the_time_until_the_next_start_is_told_of_what_failed(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    run.due_s = 7.5
    run.note_record(words="exit code 7: the disk refuses")
    now = standing(run)
    assert (now.state, now.again_in_s, now.words) == ("failed", 2.5, run.record.words)
    run.due_s = 5.0
    assert math.isnan(standing(run).again_in_s)


def test_lines_are_of_runs_that_have_the_policy_over_steps_or_time(tmp_path: Path) -> None:
    runs = [a_run(tmp_path, name) for name in ("walk-2", "walk-1")]
    standings = Standings()
    standings.look(runs)
    metric = "rollout/episode_return_last_100"
    lines = standings.lines(metric, "ball", "env_steps")
    assert [line.run for line in lines] == ["walk-1", "walk-2"]
    assert lines[0].x.tolist() == [100.0, 990.0]
    assert standings.lines(metric, "ball", "seconds")[0].x.tolist() == [1.0, 9.9]
    assert standings.lines(metric, "other", "seconds") == []
    assert standings.policies() == ["ball"]
    assert len(set(standings.likenesses().values())) == 1
    standings.look(runs[:1])
    assert [line.run for line in standings.lines(metric, "ball", "env_steps")] == ["walk-2"]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"url": 7}', '{"url": "http://[x/"}', "\x00"])
def test_a_damaged_page_file_is_no_page(tmp_path: Path, content: str) -> None:
    run = a_run(tmp_path)
    run.folder.page.write_text(content)
    run.living = MadeUp([])
    with RunLock(run.folder.lock_file):
        assert standing(run).page_port == 0
