"""The run folder: where each file lies, and what a person is told of it."""

import os
from pathlib import Path
from typing import NoReturn

import pytest

from entrain.errors import ConfigError, InUseError
from entrain.run.folder import RunFolder


def fill(folder: RunFolder) -> None:
    """Everything that a whole run leaves behind."""
    for path in (
        folder.report,
        folder.plot("walker", "return"),
        folder.plot("walker", "sigma"),
        folder.metrics,
        folder.events("walker") / "events.out.tfevents.1",
        folder.policy("walker"),
        folder.policy("3DBall"),
        folder.checkpoints / "0001-step-10" / "manifest.json",
        folder.config,
        folder.log,
        folder.simulators / "ball-0.log",
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")


def test_a_run_gets_a_folder_of_its_name(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "runs", "walk")
    assert folder.path == tmp_path / "runs" / "walk"
    assert folder.name == "walk"
    assert folder.checkpoints.is_dir()
    assert folder.policies.is_dir()


def test_a_second_and_a_third_run_of_one_name_are_numbered(tmp_path: Path) -> None:
    names = [RunFolder.create(tmp_path, "walk").name for _ in range(3)]
    assert names == ["walk", "walk-2", "walk-3"]


def test_a_file_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "walk").write_text("mine")
    assert RunFolder.create(tmp_path, "walk").name == "walk-2"
    assert (tmp_path / "walk").read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(ConfigError, match=r"runs: Permission denied; .*set runs_directory"):
        RunFolder.create(tmp_path / "runs", "walk")


def test_a_file_in_the_place_of_the_runs_directory_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot make a run folder in"):
        RunFolder.create(tmp_path / "runs", "walk")


def test_files_are_named_as_the_manual_says(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    named = {
        folder.config: "config.yaml",
        folder.metrics: "metrics.csv",
        folder.summary: "summary.json",
        folder.report: "report.html",
        folder.log: "log.txt",
        folder.policy("walker"): "policies/walker.onnx",
        folder.plot("walker", "return"): "plots/walker-return.png",
        folder.events("walker"): "tensorboard/walker",
        folder.policy("a/b?team=0"): "policies/a%2Fb%3Fteam=0.onnx",
    }
    for path, expected in named.items():
        assert path == folder.path / expected


@pytest.mark.parametrize("behaviour", ["../../../etc/x", "/etc/x", "..", "C:\\x", "a/../../b"])
def test_no_behaviour_leads_out_of_its_folder(tmp_path: Path, behaviour: str) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    for path, home in [
        (folder.policy(behaviour), folder.policies),
        (folder.events(behaviour), folder.tensorboard),
        (folder.plot(behaviour, "return"), folder.plots),
    ]:
        assert path.resolve().parent == home.resolve()


def test_behaviours_that_differ_in_case_have_different_files(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    one, other = folder.policy("Walker"), folder.policy("walker")
    assert one.name.lower() != other.name.lower()
    again = RunFolder(folder.path)
    assert (again.policy("walker"), again.policy("Walker")) == (other, one)


def test_the_configuration_is_kept_and_makes_it_a_run_folder(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    folder.write_config("name: walk\n")
    assert RunFolder.existing(folder.path).config.read_text() == "name: walk\n"


def test_a_configuration_that_cannot_be_kept_is_a_clear_error(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    folder.config.mkdir()
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be written"):
        folder.write_config("")


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere is no folder; name the folder that"):
        RunFolder.existing(tmp_path / "nowhere")


def test_a_folder_of_runs_is_refused_and_its_runs_are_named(tmp_path: Path) -> None:
    for name in ("walk", "run"):
        RunFolder.create(tmp_path, name).write_config("")
    with pytest.raises(ConfigError, match=r"has no config\.yaml.*runs there: .*run, .*walk"):
        RunFolder.existing(tmp_path)


def test_a_misspelt_run_is_refused_and_its_neighbours_are_named(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "walk").write_config("")
    with pytest.raises(ConfigError, match=r"wlak is no folder; runs there: .*walk"):
        RunFolder.existing(tmp_path / "wlak")


def test_two_trainers_never_have_one_folder(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    with folder.lock(), pytest.raises(InUseError, match="is in use by process"):
        RunFolder(folder.path).lock()
    folder.lock().release()


def test_the_end_of_a_run_shows_what_is_in_its_folder(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    fill(folder)
    lines = folder.describe()
    assert lines[0] == str(folder.path)
    assert [line.split()[0] for line in lines[1:]] == [
        "report.html",
        "plots/",
        "metrics.csv",
        "tensorboard/",
        "policies/",
        "checkpoints/",
        "config.yaml",
        "log.txt",
        "simulators/",
    ]
    said = "\n".join(lines)
    assert "2 pictures" in said
    assert "3DBall.onnx, walker.onnx" in said
    assert f"entrain resume {folder.path}" in said
    # The meanings stand in one column.
    assert len({line.index(line.split(maxsplit=1)[1]) for line in lines[1:]}) == 1


def test_what_is_not_there_is_not_shown(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    assert folder.describe() == (str(folder.path),)
    folder.write_config("")
    assert len(folder.describe()) == 2


def test_files_of_another_form_come_first_and_may_mean_otherwise(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    fill(folder)
    others = {folder.path / "walker.onnx": "a model", folder.policies: "other models"}
    others[folder.path / "not there"] = "nothing"
    (folder.path / "walker.onnx").write_text("content")
    lines = [line.split(maxsplit=1) for line in folder.describe(resume="type this", others=others)]
    assert lines[1:3] == [["walker.onnx", "a model"], ["policies/", "other models"]]
    assert ["checkpoints/", "type this goes on from the newest"] in lines
    assert [name for name, _ in lines[1:]].count("policies/") == 1
    assert not any(name == "not" for name, _ in lines[1:])


def test_logs_of_simulators_may_lie_elsewhere_and_are_cleared_there(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, "walk")
    folder.keep_logs_in("run_logs")
    (tmp_path / "walk" / "run_logs").mkdir()
    (tmp_path / "walk" / "run_logs" / "Player-0.log").write_text("hello")
    shown = [line.split() for line in folder.describe()[1:]]
    assert shown[0][0] == "run_logs/"
    folder.clear()
    assert not (tmp_path / "walk" / "run_logs").exists()


def test_its_text_is_its_path(tmp_path: Path) -> None:
    assert repr(RunFolder(tmp_path)) == f"<RunFolder {tmp_path}>"
