"""The life of a supervisor as a service: what is refused, deleted, and mended."""

import asyncio
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from entrain.errors import ConfigError, EntrainError, InUseError
from entrain.run.folder import RunFolder
from entrain.supervise.cleaning import Limits
from entrain.supervise.places import Places
from entrain.supervise.ports import Ports
from entrain.supervise.records import Record
from entrain.supervise.service import ServeOptions, Service, serve
from entrain.supervise.supervisor import Rules


def options(directory: Path, **more: Any) -> ServeOptions:
    rules = Rules(ports=Ports(61200, 61299), at_once=0)
    return ServeOptions(**{"directory": directory, "rules": rules, **more})


def a_service(tmp_path: Path, **more: Any) -> tuple[Service, Places]:
    places = Places(tmp_path)
    places.make()
    service = Service(options(tmp_path, **more), places)
    service.supervisor.find_again()
    return service, places


def test_what_is_no_directory_or_too_exposed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no folder; name the one with the settings files"):
        serve(options(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"http\.address is '0\.0\.0\.0:0'.*there is no TLS"):
        serve(options(tmp_path, page="0.0.0.0:0"))
    with pytest.raises(ConfigError, match="it must be HOST:PORT"):
        serve(options(tmp_path, page="unix:here"))
    with pytest.raises(ConfigError, match="has no option 'sed'"):
        serve(options(tmp_path, settings=["sed=3"]))
    assert [path.name for path in tmp_path.iterdir()] in ([], ["runs"])


def test_an_option_of_the_environment_holds_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENTRAIN__SED", "3")
    with pytest.raises(ConfigError, match="ENTRAIN__SED"):
        serve(options(tmp_path))


def test_two_supervisors_of_one_directory_are_one_too_many(tmp_path: Path) -> None:
    _, places = a_service(tmp_path)
    with places.lock():
        assert places.is_served
        with pytest.raises(InUseError, match=r"is served already, by process \d+ on"):
            serve(options(tmp_path))
    assert not places.is_served


async def test_a_completed_run_that_was_deleted_is_not_begun_again(tmp_path: Path) -> None:
    (tmp_path / "walk.yaml").write_text("seed: 1\n")
    service, places = a_service(tmp_path, limits=Limits(keep_last=0))
    await service.supervisor.step()
    run = service.supervisor.runs["walk"]
    RunFolder.create(places.runs_directory, "walk").write_config("seed: 1\n")
    run.note_record(rest="completed", ended=1)
    await service._clean_once()
    assert not run.folder.path.exists()
    for _ in range(3):
        await service.supervisor.step()
    assert (run.state(0.0), run.is_wanted) == ("deleted", False)
    again, _ = a_service(tmp_path)
    await again.supervisor.step()
    assert again.supervisor.runs["walk"].state(0.0) == "deleted"
    (tmp_path / "walk.yaml").write_text("seed: 12\n")
    for _ in range(3):
        await again.supervisor.step()
    assert again.supervisor.runs["walk"].state(0.0) == "waiting"


async def test_a_deleted_run_whose_file_is_gone_too_is_forgotten(tmp_path: Path) -> None:
    service, places = a_service(tmp_path, limits=Limits(keep_last=0))
    RunFolder.create(places.runs_directory, "walk").write_config("seed: 1\n")
    run = service.supervisor._new("walk", Record(name="walk", rest="removed", ended=1))
    await service.supervisor.step()
    assert service.supervisor.runs == {"walk": run}
    await service._clean_once()
    await service.supervisor.step()
    assert service.supervisor.runs == {}


async def test_what_fails_beside_the_supervisor_is_said_and_does_not_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service, _ = a_service(tmp_path)

    def fail(_runs: object) -> None:
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(service._standings, "look", fail)
    await service._guarded(service._read_once, "the folders of runs cannot be read")
    assert "the folders of runs cannot be read" in caplog.text
    assert "of ours" in caplog.text


def test_the_lock_is_had_again_after_its_folder_was_deleted(tmp_path: Path) -> None:
    service, places = a_service(tmp_path)
    with places.lock() as lock:
        shutil.rmtree(places.runs_directory)
        service._keep(lock)
        # Nothing is made where the user has deleted all.
        assert not places.runs_directory.exists()
        places.runs_directory.mkdir()
        service._keep(lock)
        assert lock.is_in_place
        assert places.is_served


def test_the_page_tells_of_the_service(tmp_path: Path) -> None:
    service, _ = a_service(tmp_path)
    service.supervisor._new("walk", Record(name="walk", restarts=3))
    begin = time.monotonic()
    facts = service.facts()
    assert (facts.is_ready, facts.restarts, facts.ports) == (False, 3, "61200-61299")
    assert facts.runs[0].name == "walk"
    assert service.chart("policy/kl", "", "env_steps").lines == []
    assert time.monotonic() - begin < 10.0


class Stops:
    """Set after so many looks: ends a supervisor's loop without waiting."""

    def __init__(self, service: Service, looks: int) -> None:
        self.event, self.ready = asyncio.Event(), list[bool]()
        step = service.supervisor.step

        async def note() -> None:
            self.ready.append(service.facts().is_ready)
            await step()
            if len(self.ready) == looks:
                self.event.set()

        service.supervisor.step = note  # type: ignore[method-assign]


async def test_a_service_looks_until_it_is_stopped_and_is_ready_no_more_then(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    service, places = a_service(tmp_path, every_s=0.0, limits=Limits(keep_last=0))
    stops = Stops(service, 3)
    with places.lock() as lock:
        async with asyncio.timeout(20.0):
            await service.run(stops.event, lock, None)
    assert stops.ready == [False, True, True]
    assert not service.facts().is_ready
    assert f"{tmp_path} is served: 0 of 0 runs live" in caplog.text


def test_a_lock_that_cannot_be_had_again_is_tried_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service, places = a_service(tmp_path)

    class Lock:
        is_in_place = False
        error: EntrainError = ConfigError("the disk is full")

        def restore(self) -> None:
            raise self.error

    lock = Lock()
    service._keep(lock)  # type: ignore[arg-type]
    assert "the lock is not had again: the disk is full" in caplog.text
    assert places.output.is_dir()
    lock.error = InUseError("another has it")
    with pytest.raises(InUseError, match="another has it"):
        service._keep(lock)  # type: ignore[arg-type]
