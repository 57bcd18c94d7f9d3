"""`entrain tune` from its command line to its report, with runs that are made up."""

import asyncio
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from entrain.cli import main
from entrain.config.load import load_config
from entrain.run.lock import RunLock
from entrain.tune import service
from support.made_up_tunings import SETTINGS, TuningWorld, learning_rate

pytestmark = [
    pytest.mark.usefixtures("logging_as_before"),
    pytest.mark.skipif(os.name != "posix", reason="signals"),
]


class Command:
    """The command in this process."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = TuningWorld(folder)
        self.folder = self.world.runs / "hop-tuning"
        options = self.world.options()
        quick = partial(
            service.TuneOptions, start=options.start, every_s=0.001, processors=options.processors
        )
        monkeypatch.setattr(service, "TuneOptions", quick)

    def __call__(self, *words: str) -> int:
        return main(["tune", str(self.world.file), *words])


@pytest.fixture
def tune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(tmp_path, monkeypatch)


def test_a_tuning_ends_with_its_report_and_the_next_command(
    tune: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune() == 0
    said = capsys.readouterr().out
    assert "4 trials: 4 completed, compared by rollout/episode_return_last_100" in said
    assert f"entrain train {tune.folder / 'best.yaml'}" in said
    best = load_config(tune.folder / "best.yaml", [])
    assert (best.name, best.seed, best.search) == ("hop-best", 7, None)
    assert best.runs_directory == tune.world.runs
    tried = [learning_rate(tune.world.config_of(f"trial-{number:03d}")) for number in range(4)]
    assert learning_rate(best) == max(tried)
    for name in ("history", "importances"):
        assert (tune.folder / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (tune.folder / "report.html").read_text()
    assert page.count("<figure>") == 5
    assert page.count("<tr>") == 5
    assert re.search(r'(?:src|href)="(?!data:)', page) is None
    # The same values as text: the table's best row is the first.
    assert f"{max(tried):.4g}" in page.partition("<tbody>")[2].partition("</tr>")[0]


def test_more_trials_may_be_asked_for_and_other_settings_may_not(
    tune: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune("--set", "search.trials=1") == 0
    assert tune("--set", "search.trials=2", "--set", "search.parallel=3") == 0
    assert len(tune.world.started) == 2
    capsys.readouterr()
    assert tune("--set", "policies.hopper.discount=0.9") == 2
    words = capsys.readouterr().err
    assert "was begun with other settings: policies.hopper.discount is 0.9, there 0.99" in words
    assert len(tune.world.started) == 2


def test_the_report_says_how_it_stands_and_tries_nothing(
    tune: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("entrain.tune.report.MOST_SHOWN", 1)
    assert tune("--report") == 2
    assert "holds no tuning yet; begin it with: entrain tune" in capsys.readouterr().err
    assert tune("--set", "search.trials=2") == 0
    before = list(tune.world.started)
    capsys.readouterr()
    assert tune("--report") == 0
    said = capsys.readouterr().out
    assert "... 1 more are in the report" in said
    assert tune.world.started == before
    # Its trials have no value of an option that is searched only since.
    also = "search.options={policies.hopper.discount: {low: 0.9, high: 0.99}}"
    assert tune("--report", "--set", also) == 2
    assert "was begun with other settings: search.options" in capsys.readouterr().err


def test_two_processes_do_not_tune_the_same(
    tune: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    tune.folder.mkdir(parents=True)
    with RunLock(tune.folder / "tune.lock"):
        assert tune() == 75
        assert "is being tuned already, by process" in capsys.readouterr().err
        assert not tune.world.started


def test_a_tuning_without_a_completed_trial_says_so(
    tune: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    tune.world.code, tune.world.outcome = 6, "failed"
    assert tune("--set", "search.trials=1") == 0
    said = capsys.readouterr().out
    assert "1 trial: 1 stopped early" in said
    assert "no trial is completed yet" in said
    assert "best.yaml" not in said


def test_a_tuning_that_ends_with_failures_reports_the_trials_before(
    tune: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune("--set", "search.trials=1") == 0
    tune.world.code, tune.world.outcome = 2, "failed"
    capsys.readouterr()
    assert tune("--set", "search.trials=9") == 2
    said = capsys.readouterr()
    assert "4 trials: 1 completed, 3 failed" in said.out
    assert f"entrain train {tune.folder / 'best.yaml'}" in said.out
    assert f"to go on: entrain tune {tune.world.file}" in said.out
    assert "3 trials failed one after the other" in said.err


def test_options_of_policies_of_any_name_have_pictures_of_their_own(tune: Command) -> None:
    others = ("Hopper", "team/hopper", "team/Hopper")
    policies = "".join(f"  {name}: {{{{total_steps: 1000}}}}\n" for name in others)
    options = "".join(
        f"    policies.{name}.algorithm.learning_rate: {{{{low: 1e-4, high: 1e-2}}}}\n"
        for name in others
    )
    tune.world.write(SETTINGS.replace("search:\n", f"{policies}search:\n") + options)
    assert tune("--set", "search.trials=2") == 0
    pictures = sorted(path.name for path in (tune.folder / "plots").glob("option-*"))
    assert len({name.lower() for name in pictures}) == 6
    assert sum("learning_rate" in name for name in pictures) == 4
    assert (tune.folder / "report.html").is_file()


def test_an_interrupted_tuning_names_the_command_that_goes_on(
    tune: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("entrain.app.signals.StopRequest.event", _is_set)
    assert tune() == 0
    said = capsys.readouterr().out
    assert "no trial yet" in said
    assert f"to go on: entrain tune {tune.world.file}" in said


def _is_set(_request: object) -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


def test_runs_at_a_time_are_as_many_as_the_processors_bear(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # 4 processors: a trainer with one simulator takes two, one with three takes all of them.
    world = TuningWorld(tmp_path, SETTINGS.replace("  parallel: 1\n", ""))
    read = service.Tuning.read
    assert service.parallel_runs(read(world.options()), 4) == 2
    evaluated = world.options("evaluation={}")
    assert service.parallel_runs(read(evaluated), 6) == 2
    three = world.options("simulators.launch.0.count=3")
    assert service.parallel_runs(read(three), 4) == 1
    assert service.parallel_runs(read(three), 1) == 1
    assert not caplog.records
    many = world.options("search.parallel=9")
    assert service.parallel_runs(read(many), 4) == 9
    assert "search.parallel is 9, and there are 4 processors" in caplog.text


def test_pages_of_runs_have_free_ports(tmp_path: Path) -> None:
    world = TuningWorld(tmp_path)
    with_page = service.Tuning.read(world.options("http.address=localhost:8080"))
    assert service.page_host(with_page.config) == "localhost"
    assert service.page_host(service.Tuning.read(world.options()).config) is None


def test_a_system_without_signals_is_refused(
    tune: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(service, "IS_POSIX", False)
    assert tune() == 2
    assert "entrain tune needs signals" in capsys.readouterr().err


def test_the_command_line_imports_optuna_only_for_a_tuning() -> None:
    code = "import sys; from entrain import cli; print('optuna' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "False\n"
