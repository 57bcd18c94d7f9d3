"""`entrain profile`: what it prints of a run's files, for people and for programs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from entrain.app.profile import describe_profile, profile_of
from entrain.cli import main
from entrain.config.load import to_yaml
from entrain.config.policy import PolicyConfig
from entrain.config.run import RunConfig
from entrain.run.folder import RunFolder

pytestmark = pytest.mark.usefixtures("logging_as_before")

HEADER = (
    "behaviour,env_steps,wall_time,time/env_steps_per_second,time/wait,time/observe,time/act,"
    "time/record,time/learn,time/decode,time/encode,time/report,time/checkpoint,"
    "time/update_seconds,time/seconds\n"
)
FIRST = "walker,100,1000,10,0.1,0,0,0,0,0,0,0,0,0.1,10\n"
"""Nine tenths of it were before the first batch."""

SECOND = "walker,200,1002,50,0.7,0.05,0.05,0.05,0.1,0.05,0.05,0.04,0.01,1.0,12\n"
JUMPER = "jumper,300,1003,70,0.4,0.05,0.05,0,0.5,0.05,0.05,0,0,2.8,14\n"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder.create(tmp_path, "walk")
    policies = {"walker": PolicyConfig(), "jumper": PolicyConfig(policy_lag=1)}
    folder.write_config(to_yaml(RunConfig(policies=policies)))
    return folder


def lines(folder: RunFolder, *, width: int = 80, updates: int = 20) -> list[str]:
    return list(describe_profile(profile_of(folder.path, updates=updates), width=width))


def test_a_run_without_updates_has_no_profile_yet(folder: RunFolder) -> None:
    assert lines(folder) == ["walk (stopped): no update yet"]


def test_shares_are_drawn_and_followed_by_what_is_the_limit(folder: RunFolder) -> None:
    folder.metrics.write_text(HEADER + FIRST + SECOND, encoding="utf-8")
    assert lines(folder) == [
        "walk (stopped)",
        "walker: the last 1 of 2 updates, 0:02, 50 steps/s",
        "  waiting for simulators  60%  ########################",
        "  acting                  10%  ####",
        "  recording                5%  ##",
        "  messages                10%  ####",
        "  waiting for updates     10%  ####",
        "  checkpoints, files       5%  ##",
        "  an update runs 50% of the time",
        "simulators are the limit: the trainer waits for them 60% of the time",
        "  - start more simulators, while processors are free",
        "  - put more agents into each, which share one message: entrain-env has --count",
    ]


def test_several_policies_are_told_one_by_one_and_then_together(folder: RunFolder) -> None:
    folder.metrics.write_text(HEADER + FIRST + SECOND + JUMPER, encoding="utf-8")
    text = "\n".join(lines(folder))
    assert "walker: the last 1 of 2 updates" in text
    assert "jumper: the last 1 of 1 update," in text
    together = text[text.index("all policies, each of which the others wait for") :]
    # 0.1 and 0.5 of learning, 0.1 each of acting.
    assert "  waiting for updates     60%" in together
    assert "  acting                  20%" in together
    assert "updates are the limit" in together
    assert "policies.jumper.algorithm.minibatch_size" in together


@pytest.mark.parametrize("width", [20, 38, 49, 50, 60, 100])
def test_lines_are_as_wide_as_the_terminal_but_for_names_of_options(
    folder: RunFolder, width: int
) -> None:
    folder.metrics.write_text(HEADER + SECOND + JUMPER, encoding="utf-8")
    told = lines(folder, width=width)
    for line in told:
        is_row = line.startswith("  ") and "%" in line
        longest_word = max(map(len, line.split())) + 4
        assert len(line) <= max(width, longest_word, 30 if is_row else 0), line
    assert any("#" in line for line in told) == (width >= 50)


def test_so_many_updates_are_looked_at_as_are_asked_for(folder: RunFolder) -> None:
    rows = "".join(
        f"walker,{100 * row},{1000 + row},10,{row / 10},0,0,0,0,0,0,0,0,0.1,{row}\n"
        for row in range(1, 6)
    )
    folder.metrics.write_text(HEADER + rows, encoding="utf-8")
    assert "  waiting for simulators  50%" in lines(folder, width=40, updates=1)
    assert "  waiting for simulators  45%" in lines(folder, width=40, updates=2)
    # All but the first.
    assert "  waiting for simulators  35%" in lines(folder, width=40)


def test_files_of_before_there_were_such_metrics_are_read(folder: RunFolder) -> None:
    folder.metrics.write_text(
        "behaviour,env_steps,wall_time,time/wait,time/learn\n"
        "walker,100,1000,0.2,0.7\nwalker,200,1001,0.2,0.7\n",
        encoding="utf-8",
    )
    told = lines(folder)
    assert told[1] == "walker: the last 1 of 2 updates, 0:01, - steps/s"
    assert any(line.startswith("updates are the limit") for line in told)


def test_the_command_prints_lines_and_json(
    folder: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    folder.metrics.write_text(HEADER + FIRST + SECOND, encoding="utf-8")
    assert main(["profile", str(folder.path)]) == 0
    assert capsys.readouterr().out.splitlines() == lines(folder)
    assert main(["profile", str(folder.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {
        "name", "path", "state", "policies", "shares", "limit", "sentence", "ways",
    }  # fmt: skip
    walker = told["policies"]["walker"]
    assert sum(walker["shares"].values()) == pytest.approx(1.0)
    assert walker["shares"]["waiting"] == pytest.approx(0.6)
    assert {name: walker[name] for name in walker if name != "shares"} == {
        "updates": 1,
        "seconds": 2.0,
        "env_steps_per_second": 50.0,
        "update_share": 0.5,
    }
    assert told["limit"] == "simulators"
    assert told["ways"][0].startswith("start more simulators")


def test_it_answers_without_loading_torch() -> None:
    program = "import sys, entrain.cli, entrain.app.profile; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_json_of_a_run_without_updates_has_nulls(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(folder.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["policies"], told["shares"], told["limit"], told["ways"]) == ({}, None, None, [])


def test_a_folder_that_holds_no_run_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profile", str(tmp_path / "nothing")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
