"""When a change of a run that goes on takes effect."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from entrain.app import changing
from entrain.app.changing import Change, Changes
from entrain.app.folder_keeper import Unkept
from entrain.app.trainers import Trainers
from entrain.config.changes import Part
from entrain.config.load import load_config
from entrain.errors import ConfigError, DiskError
from entrain.run.history import History
from entrain.serving.parameters import EnvironmentParameters

RATE = "policies.walker.algorithm.learning_rate"
CONFIG = load_config(
    None, [f"{RATE}=3e-4", "environment_parameters.gravity={kind: uniform, low: 8, high: 12}"]
)


class MadeUp:
    """The trainer of one policy, whose next update a test names, and all there are."""

    def __init__(self) -> None:
        self.walker = SimpleNamespace(next_update=2, is_complete=False)
        self.by_name = {"walker": self.walker}
        self.env_steps: dict[str, int] = {}
        self.rates: list[float] = []
        self._config = CONFIG

    def configure(self, config: Any) -> None:
        self._config = config

    def change(self, behaviour: str) -> None:
        self.rates.append(self._config.policies[behaviour].algorithm.learning_rate)


def changes_of(trainers: MadeUp) -> Changes:
    return Changes(
        CONFIG,
        cast("Trainers", trainers),
        EnvironmentParameters({}),
        keeper=Unkept(),
        history=cast("History", SimpleNamespace(note=lambda *_, **__: None)),
    )


def test_what_waits_for_a_later_update_keeps_nothing_from_changing_before() -> None:
    trainers = MadeUp()
    changes = changes_of(trainers)
    changes.ask([f"{RATE}=1e-3"], from_update=9)
    changes.ask([f"{RATE}=1e-3"])
    changes.before_update("walker", 2)
    assert trainers.rates == [1e-3]
    trainers.walker.next_update = 3
    changes.ask([f"{RATE}=3e-4"])
    changes.before_update("walker", 3)
    assert trainers.rates == [1e-3, 3e-4]
    changes.before_update("walker", 9)
    assert trainers.rates == [1e-3, 3e-4, 1e-3]
    assert not changes.waiting


def test_what_will_be_so_by_then_is_no_change() -> None:
    changes = changes_of(MadeUp())
    changes.ask([f"{RATE}=1e-3"], from_update=5)
    changes.ask([f"{RATE}=1e-3"], from_update=5)
    changes.ask([f"{RATE}=1e-3"], from_update=7)
    changes.ask([f"{RATE}=3e-4"])
    assert len(changes.waiting) == 1


def test_what_does_not_fit_a_change_to_come_is_refused_at_once() -> None:
    changes = changes_of(MadeUp())
    changes.ask(["environment_parameters.gravity.high=9"], from_update=5)
    with pytest.raises(ConfigError, match="low is 10; it must be at most high 9"):
        changes.ask(["environment_parameters.gravity.low=10"])
    assert len(changes.waiting) == 1


def test_a_change_of_several_policies_waits_for_each_and_environment_for_the_first() -> None:
    trainers = MadeUp()
    runner = SimpleNamespace(next_update=3, is_complete=False)
    trainers.by_name["runner"] = runner
    changes = changes_of(trainers)
    assert repr(changes) == "<Changes: 0 wait>"
    changes.ask(["environment_parameters.gravity.high=13"])
    assert [dict(each.due) for each in changes.waiting] == [{"walker": 2, "runner": 3}]
    assert str(changes.waiting[0]).endswith("before update 2 of 'walker' or update 3 of 'runner'")
    changes.before_update("runner", 3)
    assert not changes.waiting
    assert changes.config.environment_parameters["gravity"].high == 13.0  # type: ignore[union-attr]


def test_no_more_changes_wait_than_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "MOST_WAITING", 1)
    changes = changes_of(MadeUp())
    changes.ask([f"{RATE}=1e-3"])
    with pytest.raises(ConfigError, match="1 changes wait for updates already; try again later"):
        changes.ask([f"{RATE}=2e-3"], from_update=5)
    assert len(changes.waiting) == 1


def test_a_policy_with_no_update_to_come_does_not_change() -> None:
    trainers = MadeUp()
    trainers.walker.is_complete = True
    with pytest.raises(ConfigError, match="no update is to come of walker, so nothing can change"):
        changes_of(trainers).ask([f"{RATE}=1e-3"])


def test_an_update_that_has_begun_is_too_late() -> None:
    changes = changes_of(MadeUp())
    with pytest.raises(
        ConfigError, match="from_update is 1, and the next update of 'walker' to begin is 2"
    ):
        changes.ask([f"{RATE}=1e-3"], from_update=1)
    changes.ask([f"{RATE}=1e-3"], from_update=2)
    assert [dict(each.due) for each in changes.waiting] == [{"walker": 2}]


def test_before_any_policy_is_there_a_change_is_in_force_or_waits_for_its_name() -> None:
    trainers = MadeUp()
    del trainers.by_name["walker"]
    changes = changes_of(trainers)
    changes.ask([f"{RATE}=1e-3"])
    assert not changes.waiting
    assert changes.config.policies["walker"].algorithm.learning_rate == 1e-3
    changes.ask([f"{RATE}=2e-3"], from_update=4)
    assert [dict(each.due) for each in changes.waiting] == [{"walker": 4}]


def test_a_waiting_change_that_is_possible_no_more_is_dropped_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    changes = changes_of(MadeUp())
    part = Part("", ("environment_parameters.gravity.low=99",), ("8.0",))
    changes._waiting = [Change(part, {"walker": 2})]
    changes.before_update("walker", 1)
    assert len(changes.waiting) == 1
    changes.before_update("walker", 2)
    assert not changes.waiting
    assert "what was asked for cannot be changed any more" in caplog.text
    assert changes.config is CONFIG


def test_a_change_that_cannot_be_written_is_in_force_and_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trainers = MadeUp()
    changes = changes_of(trainers)

    def configure(config: Any, settings: Any) -> None:
        raise DiskError("the disk is full")

    changes._keeper = cast("Any", SimpleNamespace(configure=configure))
    changes.ask([f"{RATE}=1e-3"])
    changes.before_update("walker", 2)
    assert trainers.rates == [1e-3]
    assert "the disk is full; the change is in force, but a resumed run" in caplog.text


def test_waiting_changes_are_those_of_before_after_a_resume() -> None:
    changes, resumed = changes_of(MadeUp()), changes_of(MadeUp())
    for number in range(11):
        changes.ask([f"{RATE}={number + 1}e-5"], from_update=20 + number)
    resumed.load_state(changes.state())
    assert resumed.waiting == changes.waiting
