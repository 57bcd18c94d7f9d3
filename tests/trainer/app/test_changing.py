"""When a change of a run that goes on takes effect."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from entrain.app.changing import Changes
from entrain.app.folder_keeper import Unkept
from entrain.app.trainers import Trainers
from entrain.config.load import load_config
from entrain.errors import ConfigError
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
