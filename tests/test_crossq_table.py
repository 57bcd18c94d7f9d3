"""The table of CrossQ beside SAC, from the folders of runs that may go on."""

from pathlib import Path

import pytest
from benchmarks import crossq
from benchmarks.runs import PROCESSOR_TIME

from entrain.config.load import load_config


def made_run(folder: Path, rows: str) -> Path:
    folder.mkdir(parents=True)
    head = "env_steps,rollout/episode_return_mean,rollout/episodes\n"
    (folder / "metrics.csv").write_text(head + rows, encoding="utf-8")
    return folder


def test_a_line_tells_the_returns_before_each_mark_that_a_run_has_come_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []

    def train(config: Path, folder: Path, *settings: str) -> None:
        trained.append(f"{config.stem} {folder.name} {settings[0]}")
        # At 25,000: (100 + 3 * 500) / 4. What ended at 15,000 is too old.
        rows = "15000,7,1\n20000,100,1\n25000,500,3\n26000,,0\n"
        if not folder.exists():
            (made_run(folder, rows) / PROCESSOR_TIME).write_text("90\n30\n", encoding="utf-8")

    monkeypatch.setattr(crossq, "train", train)
    also = made_run(tmp_path / "elsewhere", "10,,0\n")
    crossq.main([str(tmp_path / "runs"), "--seeds", "2", "--also", f"sac={also}"])
    assert trained == [
        "halfcheetah_sac sac-1 seed=1",
        "halfcheetah_crossq crossq-1 seed=1",
        "halfcheetah_sac sac-2 seed=2",
        "halfcheetah_crossq crossq-2 seed=2",
    ]
    head, _, *lines = capsys.readouterr().out.splitlines()
    assert head.count("|") == lines[0].count("|")
    line = "| 26,000 | 400 |  |  |  | 2 min |"
    assert lines == [
        *[f"| sac {line}"] * 2,
        "| sac | 10 |  |  |  |  |  |",
        *[f"| crossq {line}"] * 2,
    ]
    crossq.main([str(tmp_path / "runs"), "--only-read"])
    assert len(trained) == 4


@pytest.mark.parametrize(("last", "told"), [(149_937, 8.0), (149_936, None)])
def test_a_run_ends_with_steps_that_fill_no_rollout(
    tmp_path: Path, last: int, told: float | None
) -> None:
    run = made_run(tmp_path / "run", f"141000,8,1\n{last},,0\n")
    assert crossq.Curve.read("sac", run).return_at(150_000) == told


def test_both_learn_the_same_task_for_as_many_steps() -> None:
    sac, cross = (load_config(file, [crossq.STEPS]) for file in crossq.CONTENDERS.values())
    assert sac.simulators == cross.simulators
    ((name, policy),) = sac.policies.items()
    assert policy.total_steps == cross.policies[name].total_steps == crossq.MARKS[-1]
