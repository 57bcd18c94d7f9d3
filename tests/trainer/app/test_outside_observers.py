"""Observers of a run: what they are told, and that none of them can hold up or fail it."""

import dataclasses
import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import entrain
from entrain.app import outside_observers as module
from entrain.app.outside_observers import Delivery, OutsideObservers, made, outside_observers
from entrain.config.load import load_config, to_yaml
from entrain.config.observers import ObserverConfig
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, MissingExtraError, NoSimulatorError
from entrain.observers import METHODS, RunBegan
from entrain.run.folder import RunFolder
from entrain.serving.aggregates import Summary
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

WALKER = BehaviourSpec("walker", (ObservationSpec("eyes", (2,)),), ActionSpec(branches=(3,)))


class Recorder(entrain.Observer):
    """Keeps what it was told."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.told: list[tuple[str, Any]] = []
        self.threads: set[str] = set()

    def _note(self, method: str, fact: Any) -> None:
        self.told.append((method, fact))
        self.threads.add(threading.current_thread().name)

    def began(self, run: Any) -> None:
        self._note("began", run)

    def updated(self, update: Any) -> None:
        self._note("updated", update)

    def evaluated(self, evaluation: Any) -> None:
        self._note("evaluated", evaluation)

    def saved(self, checkpoint: Any) -> None:
        self._note("saved", checkpoint)

    def ended(self, end: Any) -> None:
        self._note("ended", end)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "walk")


def play(observers: OutsideObservers) -> None:
    """A short run, as the parts of one tell it."""
    observers.resume_at({"walker": 100})
    observers.is_resumed = True
    observers.begin()
    watch = observers.follow(WALKER, lambda: None, lambda: 0, lambda: {})
    watch.note_update({"policy/kl": 0.5}, {"laps": Summary(value=2.0)}, env_steps=200)
    watch.note_evaluation({"evaluation/return": 7.0}, env_steps=210)
    observers.note_checkpoint(Path("checkpoints/0001-step-210"), 210)
    observers.end("completed")
    observers.end("failed", error="only the first end is told")


def test_an_observer_is_told_the_whole_life_of_a_run_in_a_thread_of_its_own(
    folder: RunFolder,
) -> None:
    recorder = Recorder()
    config = RunConfig.model_validate({"notify": {"url": "https://hooks.example/T0/secret"}})
    folder.policy("walker").write_text("onnx")
    with outside_observers(config, folder, [recorder]) as observers:
        play(observers)
    assert [method for method, _ in recorder.told] == list(METHODS)
    began, updated, evaluated, saved, ended = (fact for _, fact in recorder.told)
    assert (began.run, began.folder, began.is_resumed) == ("walk", folder.path, True)
    assert began.env_steps == {"walker": 100}
    assert began.keep.parent == folder.path
    assert began.config["notify"]["url"] == ["https://hooks.example"]
    assert (updated.behaviour, updated.env_steps) == ("walker", 200)
    assert updated.metrics == {"policy/kl": 0.5, "statistics/laps": 2.0}
    assert evaluated.metrics == {"evaluation/return": 7.0}
    assert (saved.path.name, saved.env_steps) == ("0001-step-210", 210)
    assert (ended.outcome, ended.error, ended.env_steps) == ("completed", "", 210)
    assert ended.policies == {"walker": folder.policy("walker")}
    assert recorder.threads == {"observer Recorder"}
    for fact in (began, updated, ended):
        with pytest.raises(dataclasses.FrozenInstanceError):
            fact.run = "another"
    with pytest.raises(TypeError):
        updated.metrics["policy/kl"] = 0.0


@pytest.mark.parametrize(
    ("error", "words"),
    [(NoSimulatorError("nobody came"), "nobody came"), (KeyboardInterrupt(), "it was given up")],
)
def test_an_error_that_ends_the_run_is_told_and_goes_on(
    folder: RunFolder, error: BaseException, words: str
) -> None:
    recorder = Recorder()
    with (
        pytest.raises(type(error)),
        outside_observers(RunConfig(), folder, [recorder]) as observers,
    ):
        observers.begin()
        raise error
    (_, (_, ended)) = recorder.told
    assert (ended.outcome, ended.error) == ("failed", words)


def test_of_a_run_that_never_began_no_end_is_told(folder: RunFolder) -> None:
    recorder = Recorder()
    with pytest.raises(KeyError), outside_observers(RunConfig(), folder, [recorder]):
        raise KeyError
    assert recorder.told == []


def test_an_observer_that_fails_is_logged_once_and_goes_on_and_others_hear_all(
    folder: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        calls = 0

        def updated(self, update: Any) -> None:
            self.calls += 1
            raise RuntimeError("no network")

        def saved(self, checkpoint: Any) -> None:
            self.calls += 1
            sys.exit(3)

    broken, recorder = Broken(), Recorder()
    with outside_observers(RunConfig(), folder, [broken, recorder]) as observers:
        play(observers)
        play(observers)
    assert broken.calls == 4
    assert len(recorder.told) == 9
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "observer Broken failed in updated: RuntimeError: no network" in record.getMessage()


def test_a_slow_observer_holds_up_nobody(
    folder: RunFolder, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    goes_on = threading.Event()

    class Slow:
        def updated(self, update: Any) -> None:
            goes_on.wait(20.0)

    slow = Delivery(Slow(), "slow", wait_s=0.01)
    observers = OutsideObservers(RunConfig(), folder, [slow])
    watch = observers.follow(WALKER, lambda: None, lambda: 0, lambda: {})
    for steps in range(50):
        watch.note_update({}, {}, env_steps=steps)
    slow.close(within_s=0.01)
    goes_on.set()
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert "observer slow takes less than it is told: the oldest of 3 events" in warnings[0]
    assert "observer slow was not told of the last" in warnings[1]
    assert len(warnings) == 2


def test_without_observers_nothing_is_watched(folder: RunFolder) -> None:
    with outside_observers(RunConfig(), folder) as observers:
        assert observers.watching is None
        play(observers)


# Observers that the settings name


@pytest.fixture
def own_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    own = ModuleType("my_observers")
    vars(own).update(Recorder=Recorder, NUMBER=3, Silent=type("Silent", (), {}))
    monkeypatch.setitem(sys.modules, "my_observers", own)
    yield own


def test_the_settings_name_a_class_alone_or_with_options(
    own_module: ModuleType, folder: RunFolder
) -> None:
    config = RunConfig.model_validate(
        {
            "observers": [
                "my_observers:Recorder",
                {"class": "my_observers:Recorder", "options": {"channel": "walk"}, "wait_s": 2},
            ]
        }
    )
    first, second = config.observers
    assert (first.class_, first.options, first.wait_s) == ("my_observers:Recorder", {}, 15.0)
    assert made(second).options == {"channel": "walk"}
    folder.write_config(to_yaml(config))
    assert load_config(folder.config, []) == config
    assert "class: my_observers:Recorder" in folder.config.read_text()
    changed = load_config(None, ["observers=[my_observers:Recorder]"])
    assert changed.observers == (first,)


@pytest.mark.parametrize(
    ("observers", "words"),
    [
        ("[walk]", r"observers\.0 is 'walk'; it must be PACKAGE\.MODULE:CLASS, such as"),
        ("[{class: a:B, optoins: {}}]", r"observers\.0 has no option 'optoins'; did you mean"),
        ("[{options: {}}]", r"observers\.0 lacks 'class'; it must be PACKAGE"),
        ("[3]", r"observers\.0 is 3; it must be"),
    ],
)
def test_mistakes_in_the_settings_are_named(observers: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config(None, [f"observers={observers}"])


@pytest.mark.parametrize(
    ("class_", "options", "words"),
    [
        ("no_such_module:A", {}, "no_such_module cannot be imported: ModuleNotFoundError"),
        ("my_observers:Nobody", {}, "my_observers has no class 'Nobody'"),
        ("my_observers:silent", {}, "has no class 'silent'; did you mean 'Silent'"),
        ("my_observers:NUMBER", {}, "my_observers has no class 'NUMBER'"),
        ("my_observers:Silent", {"a": 1}, "cannot be made with the options {'a': 1}: TypeError"),
        ("my_observers:Silent", {}, "has none of the methods began, updated, evaluated, saved"),
    ],
)
def test_an_observer_that_cannot_be_made_keeps_the_run_from_starting(
    own_module: ModuleType, folder: RunFolder, class_: str, options: dict[str, Any], words: str
) -> None:
    observer = ObserverConfig.model_validate({"class": class_, "options": options})
    config = RunConfig(observers=(observer,))
    with pytest.raises(ConfigError, match=words), outside_observers(config, folder):
        pytest.fail("the run would start")


def test_a_package_that_is_missing_keeps_the_run_from_starting(folder: RunFolder) -> None:
    config = load_config(
        None, ["observers=[{class: entrain.observers:Wandb, options: {package: wandbee}}]"]
    )
    with (
        pytest.raises(MissingExtraError, match=r"entrain\.observers:Wandb: the package 'wandbee'"),
        outside_observers(config, folder),
    ):
        pytest.fail("the run would start")
    assert MissingExtraError.exit_code == ConfigError.exit_code


def test_every_fact_of_the_beginning_is_documented() -> None:
    assert {field.name for field in dataclasses.fields(RunBegan)} == {
        "run",
        "folder",
        "keep",
        "config",
        "is_resumed",
        "env_steps",
    }
