"""What the commands do around a run: folder, configuration, threads, what is left of a failure."""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from entrain.app import commands, run_results, sittings
from entrain.app.kubeflow import KubeflowProgress
from entrain.app.observing import RunObserver
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import (
    CheckpointError,
    ConfigError,
    DiskError,
    EntrainError,
    ExportError,
    InUseError,
    MissingExtraError,
    NoSimulatorError,
    ServeError,
    TrainingDivergedError,
)
from entrain.rollout.ledger import Ledger
from entrain.run.checkpoint import CheckpointStore
from entrain.run.folder import RunFolder
from entrain.run.progress import Progress
from entrain.run.summary import Outcome, PolicySummary, RunSummary


class FakeTrainer:
    progress = Progress(env_steps=7)
    ledger = Ledger()


class FakeRun:
    """A run that ends as it is told to."""

    ends_with: Outcome | BaseException = "completed"
    policies: Mapping[str, Any] = {}
    trainers: Mapping[str, Any] = {}
    measures = ""
    is_finished = False
    env_steps = 7
    checkpointing = SimpleNamespace()
    reporting = nullcontext()
    returns: Mapping[str, float] = defaultdict(float)
    prints = ""
    observer: RunObserver | None = None

    def __init__(self, _config: RunConfig, folder: RunFolder, *_: Any, **options: Any) -> None:
        self.folder = folder
        self.restored = options["restored"]
        type(self).observer = options["hooks"].observer

    async def run(self, _stop: Any) -> Outcome:
        if self.measures:
            self.folder.metrics.write_text(self.measures)
        if self.prints:
            self.folder.simulators.mkdir()
            (self.folder.simulators / "game-0.log").write_text(self.prints)
        if isinstance(self.ends_with, BaseException):
            raise self.ends_with
        CheckpointStore(self.folder.checkpoints, keep=1).save({}, step=7)
        return self.ends_with

    def summary(self, outcome: Outcome) -> RunSummary:
        return RunSummary(
            name="run",
            outcome=outcome,
            started_at=0.0,
            ended_at=1.0,
            seconds=1.0,
            simulators=(),
            software=(),
            policies={
                name: PolicySummary(progress=trainer.progress, total_steps=9, ledger={})
                for name, trainer in self.trainers.items()
            },
            counters={},
        )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> type[FakeRun]:
    """The class of the run that the commands make; set how it ends."""

    class Run(FakeRun):
        pass

    monkeypatch.setattr(sittings, "TrainingRun", Run)
    monkeypatch.setattr(run_results, "export_policy", lambda *_, **__: None)
    return Run


def config(tmp_path: Path, *overrides: str) -> RunConfig:
    return load_config(None, [f"runs_directory={tmp_path}", *overrides])


def folders(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir())


def test_a_completed_run_leaves_its_configuration_and_says_where_it_is(
    tmp_path: Path, run: type[FakeRun], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.ends_with == "completed"
    assert commands.train(config(tmp_path, "seed=11")) == 0
    assert load_config(tmp_path / "run" / "config.yaml", []).seed == 11
    told = capsys.readouterr().out
    assert str(tmp_path / "run") in told
    assert "stopped" not in told


def test_a_stopped_run_says_how_to_go_on(
    tmp_path: Path, run: type[FakeRun], capsys: pytest.CaptureFixture[str]
) -> None:
    run.ends_with = "stopped"
    assert commands.train(config(tmp_path)) == 0
    assert f"entrain resume {tmp_path / 'run'}" in capsys.readouterr().out


@pytest.mark.parametrize(("outcome", "code"), [("stopped", 143), ("completed", 0)])
def test_only_a_run_that_was_stopped_ends_with_the_code_that_was_asked_for(
    tmp_path: Path, run: type[FakeRun], outcome: Outcome, code: int
) -> None:
    run.ends_with = outcome
    assert commands.train(config(tmp_path, "stopped_exit_code=143")) == code


def test_a_run_in_a_job_of_kubeflow_is_watched_for_its_progress(
    tmp_path: Path, run: type[FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commands.train(config(tmp_path)) == 0
    assert run.observer is None
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_URL", "https://localhost:1/")
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_TOKEN", str(tmp_path / "token"))
    monkeypatch.setenv("KUBEFLOW_TRAINER_SERVER_CA_CERT", str(tmp_path / "ca.crt"))
    assert commands.train(config(tmp_path)) == 0
    assert isinstance(run.observer, KubeflowProgress)


@pytest.mark.parametrize("error", [ServeError("in use"), NoSimulatorError("nobody")])
def test_a_run_that_never_began_leaves_no_folder(
    tmp_path: Path, run: type[FakeRun], error: EntrainError
) -> None:
    run.ends_with = error
    with pytest.raises(type(error)):
        commands.train(config(tmp_path))
    assert folders(tmp_path) == []


def test_a_mistake_of_ours_leaves_the_folder_for_whoever_looks_for_it(
    tmp_path: Path, run: type[FakeRun]
) -> None:
    run.ends_with = ZeroDivisionError("ours")
    with pytest.raises(ZeroDivisionError):
        commands.train(config(tmp_path))
    assert folders(tmp_path) == ["run"]


def test_a_run_that_failed_on_the_way_leaves_a_report_of_what_it_reached(
    tmp_path: Path, run: type[FakeRun]
) -> None:
    run.ends_with = TrainingDivergedError("loss is nan")
    run.trainers = {"walker": FakeTrainer()}
    run.policies = {"walker": object()}
    run.measures = "behaviour,env_steps,wall_time\n"
    with pytest.raises(TrainingDivergedError):
        commands.train(config(tmp_path))
    assert RunSummary.load(tmp_path / "run" / "summary.json").outcome == "failed"
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_report_that_cannot_be_drawn_never_fails_a_run_that_was_saved(
    tmp_path: Path, run: type[FakeRun], caplog: pytest.LogCaptureFixture
) -> None:
    run.measures = "no header of ours\n"
    assert commands.train(config(tmp_path)) == 0
    assert "no report" in caplog.text


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (MissingExtraError("pip install 'entrain-rl[export]'"), "WARNING"),
        (ExportError("it deviates"), "ERROR"),
        (OSError("disk full"), "ERROR"),
        (RuntimeError("what no exporter should raise"), "ERROR"),
    ],
)
def test_a_policy_that_cannot_be_exported_never_fails_a_run_that_was_saved(
    tmp_path: Path,
    run: type[FakeRun],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: str,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    run.trainers, run.policies = {"walker": FakeTrainer()}, {"walker": object()}
    monkeypatch.setattr(run_results, "export_policy", fail)
    assert commands.train(config(tmp_path)) == 0
    (record,) = [it for it in caplog.records if "not exported:" in it.message]
    assert record.levelname == level
    assert str(error) in record.message
    assert (tmp_path / "run" / "report.html").is_file()


def test_no_policy_is_exported_where_others_write_the_models(
    tmp_path: Path, run: type[FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[Any] = []
    run.trainers, run.policies = {"walker": FakeTrainer()}, {"walker": object()}
    monkeypatch.setattr(run_results, "export_policy", lambda *it, **_: exported.append(it))
    folder = RunFolder.create(tmp_path, "run")
    for exports, number in ((False, 0), (True, 1)):
        with folder.lock() as lock:
            sittings.train_in(folder, config(tmp_path), lock, restored=None, exports=exports)
        assert len(exported) == number


def test_of_policies_that_cannot_be_exported_each_is_told(
    tmp_path: Path,
    run: type[FakeRun],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("of torch")

    caplog.set_level("DEBUG", "entrain.app.run_results")
    run.trainers = {"walker": FakeTrainer(), "jumper": FakeTrainer()}
    run.policies = {"walker": object(), "jumper": object()}
    monkeypatch.setattr(run_results, "export_policy", fail)
    assert commands.train(config(tmp_path)) == 0
    told = [it.message for it in caplog.records if it.levelname == "ERROR"]
    assert told == [
        "policy 'walker' is not exported: ZeroDivisionError: of torch",
        "policy 'jumper' is not exported: ZeroDivisionError: of torch",
    ]
    assert caplog.text.count("Traceback") == 2


def test_whoever_stops_a_run_waits_for_its_report_but_not_for_its_policies(
    tmp_path: Path,
    run: type[FakeRun],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    exported: list[Path] = []
    monkeypatch.setattr(run_results, "export_policy", lambda _, path, **__: exported.append(path))
    run.trainers, run.policies = {"walker": FakeTrainer()}, {"walker": object()}
    run.ends_with = "stopped"
    assert commands.train(config(tmp_path)) == 0
    assert exported == []
    assert (tmp_path / "run" / "report.html").is_file()
    assert f"entrain export {tmp_path / 'run'}" in capsys.readouterr().out
    run.ends_with = "completed"
    assert commands.train(config(tmp_path)) == 0
    assert exported == [tmp_path / "run-2" / "policies" / "walker.onnx"]


def test_resuming_without_a_checkpoint_is_refused_and_changes_nothing(
    tmp_path: Path, run: type[FakeRun]
) -> None:
    assert commands.train(config(tmp_path)) == 0
    text = (tmp_path / "run" / "config.yaml").read_text()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        commands.resume(tmp_path / "run", ["seed=5"])
    assert (tmp_path / "run" / "config.yaml").read_text() == text
    assert run.ends_with == "completed"


def test_what_a_user_wrote_into_the_configuration_stays_if_nothing_is_overridden(
    tmp_path: Path, run: type[FakeRun]
) -> None:
    assert run.ends_with == "completed"
    folder = RunFolder.create(tmp_path, "run")
    written = "# mine\nseed: 3\n"
    folder.config.write_text(written)
    sittings._write_config(folder, load_config(folder.config, []))
    assert folder.config.read_text() == written
    sittings._write_config(folder, load_config(folder.config, ["seed=4"]))
    assert load_config(folder.config, []).seed == 4


def test_the_process_gets_the_threads_of_the_configuration_before_the_run(
    tmp_path: Path, run: type[FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []

    class Watched(run):  # type: ignore[valid-type,misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            assert told == [2]
            super().__init__(*arguments, **options)

    @contextmanager
    def preparing(*, threads: int) -> Iterator[None]:
        told.append(threads)
        yield

    monkeypatch.setattr(sittings, "TrainingRun", Watched)
    monkeypatch.setattr(sittings, "prepared_process", preparing)
    assert commands.train(config(tmp_path, "threads=2")) == 0
    assert told == [2]


def test_what_simulators_printed_before_a_failure_stays(tmp_path: Path, run: type[FakeRun]) -> None:
    run.prints, run.ends_with = "no licence\n", NoSimulatorError("see game-0.log")
    with pytest.raises(NoSimulatorError):
        commands.train(config(tmp_path))
    assert folders(tmp_path) == ["run"]


def test_resume_or_start_begins_in_the_folder_of_that_name_and_goes_on_in_it(
    tmp_path: Path, run: type[FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.ends_with = "stopped"
    began_with: list[Any] = []
    original = run.__init__

    def remember(self: FakeRun, *arguments: Any, **options: Any) -> None:
        original(self, *arguments, **options)
        began_with.append(self.restored)

    monkeypatch.setattr(run, "__init__", remember)
    for _ in range(2):
        assert commands.train(config(tmp_path), resume_or_start=True) == 0
    assert folders(tmp_path) == ["run"]
    assert began_with[0] is None
    assert began_with[1].step == 7


def test_where_this_sitting_listens_counts_whatever_the_folder_has(
    tmp_path: Path, run: type[FakeRun], caplog: pytest.LogCaptureFixture
) -> None:
    run.ends_with = "stopped"
    for port in (5, 6):
        given = config(tmp_path, f"server.address=localhost:{port}")
        listening = [f"server.address=localhost:{port}"]
        assert commands.train(given, resume_or_start=True, listening=listening) == 0
    kept = load_config(tmp_path / "run" / "config.yaml", [])
    assert kept.server.address == "localhost:6"
    assert "differs" not in caplog.text
    # Of a file it is said, and does not count.
    commands.train(config(tmp_path, "server.address=localhost:7"), resume_or_start=True)
    assert 'server.address is "localhost:7", there "localhost:6"' in caplog.text


def test_resume_or_start_after_a_crash_before_the_first_checkpoint_begins_anew(
    tmp_path: Path, run: type[FakeRun]
) -> None:
    folder = RunFolder.create(tmp_path, "run")
    sittings._write_config(folder, config(tmp_path, "seed=3"))
    assert commands.train(config(tmp_path, "seed=3"), resume_or_start=True) == 0
    with pytest.raises(ConfigError, match="seed is 4, there 3") as refusal:
        commands.train(config(tmp_path, "seed=4"), resume_or_start=True)
    assert refusal.value.exit_code == 2
    assert run.ends_with == "completed"


def test_resume_or_start_never_begins_anew_over_damaged_checkpoints(
    tmp_path: Path, run: type[FakeRun]
) -> None:
    folder = RunFolder.create(tmp_path, "run")
    (folder.checkpoints / "0001-step-5").mkdir()
    with pytest.raises(CheckpointError, match=r"manifest\.json is missing"):
        commands.train(config(tmp_path), resume_or_start=True)
    assert (folder.checkpoints / "0001-step-5").is_dir()
    assert run.ends_with == "completed"


def test_a_finished_run_starts_nothing_and_gets_what_a_kill_kept_from_it(
    tmp_path: Path, run: type[FakeRun], capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.train(config(tmp_path)) == 0
    folder = RunFolder(tmp_path / "run")
    folder.summary.unlink()
    run.is_finished, run.ends_with = True, ServeError("nothing may be started")
    assert commands.train(config(tmp_path), resume_or_start=True) == 0
    assert commands.resume(folder.path, []) == 0
    assert f"{folder.path} is finished: 7 env steps" in capsys.readouterr().out
    assert RunSummary.load(folder.summary).outcome == "completed"


@pytest.mark.parametrize("error", [DiskError("full"), InUseError("taken over")])
def test_where_nothing_may_or_can_be_written_no_results_are(
    tmp_path: Path, run: type[FakeRun], error: EntrainError
) -> None:
    run.ends_with, run.trainers, run.measures = error, {"ball": FakeTrainer()}, "rows"
    with pytest.raises(type(error)):
        commands.train(config(tmp_path))
    assert not RunFolder(tmp_path / "run").summary.exists()


def test_a_folder_that_is_deleted_as_the_run_ends_is_an_error(
    tmp_path: Path, run: type[FakeRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sittings, "write_results", lambda folder, *_, **__: shutil.rmtree(folder.path)
    )
    with pytest.raises(DiskError, match="was deleted, at least in part, as the run ended"):
        commands.train(config(tmp_path))
    assert run.ends_with == "completed"
