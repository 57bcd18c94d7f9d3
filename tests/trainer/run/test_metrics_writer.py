"""Metrics in metrics.csv and in TensorBoard say the same, through stops and resumes."""

import errno
import logging
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from entrain.run.events import EventFile
from entrain.run.folder import RunFolder
from entrain.run.metrics_writer import MetricsWriter
from entrain.run.table import read_metrics


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "walk")


def ticking() -> Callable[[], float]:
    """A clock that is a second later each time."""
    seconds = iter(range(1_760_000_000, 1_770_000_000))
    return lambda: float(next(seconds))


def scalars(folder: RunFolder, behaviour: str, metric: str) -> list[tuple[int, float]]:
    """What TensorBoard shows of one curve."""
    accumulator = EventAccumulator(str(folder.events(behaviour)))
    accumulator.Reload()
    if metric not in accumulator.Tags()["scalars"]:
        return []
    return [(event.step, event.value) for event in accumulator.Scalars(metric)]


def rows(folder: RunFolder, behaviour: str, metric: str) -> list[tuple[int, float]]:
    """What metrics.csv has of one curve."""
    series = read_metrics(folder.metrics)[behaviour]
    return list(zip(series.env_steps.tolist(), series.columns[metric].tolist(), strict=True))


def full_disk(*arguments: object, **options: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def writer(folder: RunFolder) -> Iterator[MetricsWriter]:
    with MetricsWriter(folder, clock=ticking()) as writer:
        yield writer


def test_both_files_have_every_update_as_soon_as_it_is_written(
    folder: RunFolder, writer: MetricsWriter
) -> None:
    writer.write("walker", 2048, {"policy/kl": 0.5})
    writer.write("walker", 4096, {"policy/kl": 0.25, "loss/value": 8.0})
    # The writer is still open: a person may look while a run goes on.
    for shown in (rows, scalars):
        assert shown(folder, "walker", "policy/kl") == [(2048, 0.5), (4096, 0.25)]
    assert scalars(folder, "walker", "loss/value") == [(4096, 8.0)]


def test_a_name_that_is_not_declared_is_refused_and_nothing_is_written(
    folder: RunFolder, writer: MetricsWriter
) -> None:
    with pytest.raises(ValueError, match="no metric is called 'policy/mood'"):
        writer.write("walker", 2048, {"policy/kl": 0.5, "policy/mood": 1.0})
    assert not folder.metrics.exists()
    assert not any(folder.tensorboard.rglob("*"))


def test_each_behaviour_is_a_tensorboard_run_of_its_own(
    folder: RunFolder, writer: MetricsWriter
) -> None:
    writer.write("walker?team=0", 10, {"policy/kl": 1.0})
    writer.write("jumper", 20, {"policy/kl": 2.0})
    assert {path.name for path in folder.tensorboard.iterdir()} == {"walker%3Fteam=0", "jumper"}
    assert scalars(folder, "walker?team=0", "policy/kl") == [(10, 1.0)]
    assert scalars(folder, "jumper", "policy/kl") == [(20, 2.0)]


def test_a_resumed_run_shows_each_step_once(folder: RunFolder) -> None:
    clock = ticking()
    with MetricsWriter(folder, clock=clock) as writer:
        for step in (1, 2, 3, 4):
            writer.write("walker", step, {"policy/kl": 1.0})
    with MetricsWriter(folder, clock=clock) as writer:
        assert writer.resume_at({"walker": 2}).rows == 2
        for step in (3, 4, 5):
            writer.write("walker", step, {"policy/kl": 9.0})
    for shown in (rows, scalars):
        assert shown(folder, "walker", "policy/kl") == [
            (1, 1.0),
            (2, 1.0),
            (3, 9.0),
            (4, 9.0),
            (5, 9.0),
        ]


@pytest.mark.parametrize("set_back_s", [0.0, 86_400.0])
def test_resumes_are_read_in_the_right_order_when_the_clock_stands_or_is_set_back(
    folder: RunFolder, set_back_s: float
) -> None:
    now_s = [1.76e9]
    for first in (1, 3, 5):
        with MetricsWriter(folder, clock=lambda: now_s[0]) as writer:
            if first > 1:
                writer.resume_at({"walker": first - 1})
            for step in range(first, first + 4):
                writer.write("walker", step, {"policy/kl": float(first)})
        now_s[0] -= set_back_s
    expected = [(1, 1.0), (2, 1.0), (3, 3.0), (4, 3.0), (5, 5.0), (6, 5.0), (7, 5.0), (8, 5.0)]
    assert scalars(folder, "walker", "policy/kl") == expected


def test_a_behaviour_that_the_checkpoint_does_not_know_begins_anew(folder: RunFolder) -> None:
    clock = ticking()
    with MetricsWriter(folder, clock=clock) as writer:
        writer.write("walker", 10, {"policy/kl": 1.0})
        writer.write("late", 10, {"policy/kl": 1.0})
    with MetricsWriter(folder, clock=clock) as writer:
        writer.resume_at({"walker": 10})
        writer.write("late", 5, {"policy/kl": 2.0})
    for shown in (rows, scalars):
        assert shown(folder, "late", "policy/kl") == [(5, 2.0)]
        assert shown(folder, "walker", "policy/kl") == [(10, 1.0)]


def test_a_writer_that_was_closed_goes_on_without_forgetting(folder: RunFolder) -> None:
    writer = MetricsWriter(folder, clock=ticking())
    writer.resume_at({})
    for step in (1, 2, 3):
        writer.write("walker", step, {"policy/kl": 1.0})
        writer.close()
    for shown in (rows, scalars):
        assert shown(folder, "walker", "policy/kl") == [(1, 1.0), (2, 1.0), (3, 1.0)]


def test_what_is_no_number_is_kept_and_is_no_error(
    folder: RunFolder, writer: MetricsWriter
) -> None:
    writer.write("walker", 1, {"policy/kl": math.nan, "loss/value": math.inf, "loss/policy": 1e300})
    assert rows(folder, "walker", "loss/policy") == [(1, 1e300)]
    assert math.isnan(scalars(folder, "walker", "policy/kl")[0][1])
    assert scalars(folder, "walker", "loss/value") == [(1, math.inf)]
    # TensorBoard keeps 32 bits.
    assert scalars(folder, "walker", "loss/policy") == [(1, math.inf)]


def test_an_update_without_metrics_is_still_a_row(folder: RunFolder, writer: MetricsWriter) -> None:
    writer.write("walker", 7, {})
    assert read_metrics(folder.metrics)["walker"].env_steps.tolist() == [7]


def test_rows_say_when_they_were_measured(folder: RunFolder) -> None:
    with MetricsWriter(folder, clock=lambda: 1_763_638_811.25) as writer:
        writer.write("walker", 1, {"policy/kl": 1.0})
    assert read_metrics(folder.metrics)["walker"].wall_time.tolist() == [1_763_638_811.25]
    accumulator = EventAccumulator(str(folder.events("walker")))
    accumulator.Reload()
    assert accumulator.Scalars("policy/kl")[0].wall_time == 1_763_638_811.25


def test_a_full_disk_never_stops_a_run(
    folder: RunFolder,
    writer: MetricsWriter,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(Path, "open", full_disk)
        patch.setattr("entrain.run.table.replace_file", full_disk)
        for step in (1, 2, 3):
            writer.write("walker", step, {"policy/kl": 1.0})
    assert caplog.text.count("metrics.csv has the same numbers") == 1
    assert caplog.text.count("rows wait in memory") == 1
    writer.write("walker", 4, {"policy/kl": 1.0})
    assert [step for step, _ in rows(folder, "walker", "policy/kl")] == [1, 2, 3, 4]


@pytest.mark.parametrize("failing", ["write", "flush", "close"])
def test_an_event_file_that_breaks_is_given_up_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    file = EventFile(tmp_path, wall_time=1.0)
    writer: Any = file._writer
    really_close = writer.close
    setattr(writer, failing, full_disk)
    with caplog.at_level(logging.WARNING):
        file.add({"policy/kl": 1.0}, step=1, wall_time=1.0)
        file.flush()
        file.close()
        file.add({"policy/kl": 1.0}, step=2, wall_time=1.0)
    assert caplog.text.count("cannot be written (No space left on device)") == 1
    really_close()


def test_its_text_names_the_file(writer: MetricsWriter) -> None:
    assert "metrics.csv" in repr(writer)


def test_events_and_rows_are_written_again_once_there_is_room_and_that_is_said(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 100.0
    writer = MetricsWriter(folder, clock=lambda: 1.76e9 - now_s, retry_clock=lambda: now_s)
    caplog.set_level(logging.INFO)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full_disk)
        patch.setattr("entrain.run.table.replace_file", full_disk)
        for step in (1, 2, 3):
            writer.write("walker", step, {"policy/kl": 1.0})
            now_s += 31.0
    writer.write("walker", 4, {"policy/kl": 1.0})
    writer.write("walker", 5, {"policy/kl": 1.0})
    writer.close()
    # The fifth is of behaviours.json.
    assert len(caplog.messages) == 5
    assert caplog.text.count("cannot be written (No space left") == 1
    assert caplog.text.count("metrics.csv is written again, the 4 rows that waited too") == 1
    assert caplog.text.count("events of 'walker' are written again") == 1
    assert [step for step, _ in rows(folder, "walker", "policy/kl")] == [1, 2, 3, 4, 5]
    assert scalars(folder, "walker", "policy/kl") == [(4, 1.0), (5, 1.0)]


def test_files_that_were_deleted_are_begun_again(folder: RunFolder) -> None:
    now_s = 1_760_000_000.0
    writer = MetricsWriter(folder, retry_clock=lambda: now_s)
    writer.write("walker", 1, {"policy/kl": 1.0})
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    now_s += 31.0
    writer.write("walker", 2, {"policy/kl": 1.0})
    writer.close()
    assert [step for step, _ in rows(folder, "walker", "policy/kl")] == [2]
    assert scalars(folder, "walker", "policy/kl") == [(2, 1.0)]
