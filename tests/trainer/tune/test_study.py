"""Which values are tried, and what is remembered of them: by Optuna, in a file."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from entrain.errors import MissingExtraError
from entrain.tune.service import Tuning
from entrain.tune.study import Study
from support.made_up_tunings import SETTINGS, TuningWorld, values_of

HALVING = "search.pruner={kind: successive_halving, first: 0.1, factor: 2}"


def open_study(folder: Path, *overrides: str, text: str = SETTINGS) -> Study:
    tuning = Tuning.read(TuningWorld(folder, text).options(*overrides))
    tuning.folder.make()
    return tuning.study()


def try_one(study: Study) -> None:
    """A trial that comes to its number of epochs."""
    number, settings, _ = study.ask()
    algorithm = settings.values["policies"]["hopper"]["algorithm"]
    study.complete(number, float(algorithm["num_epochs"]))


def test_values_are_within_their_ranges_and_steps(tmp_path: Path) -> None:
    study = open_study(tmp_path, "search.sampler=random")
    for _ in range(8):
        try_one(study)
    for chosen in values_of(study.trials()):
        rate, epochs, sizes = (
            chosen[f"policies.hopper.{it}"]
            for it in ("algorithm.learning_rate", "algorithm.num_epochs", "network.hidden_sizes")
        )
        assert 1e-4 <= rate <= 1e-2
        assert isinstance(epochs, int)
        assert epochs in range(2, 21, 2)
        assert sizes in ([64], [64, 64])


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_an_interrupted_study_tries_what_one_that_was_not_does(
    tmp_path: Path, sampler: str
) -> None:
    option = f"search.sampler={sampler}"
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = open_study(tmp_path / "whole", option)
    for _ in range(4):
        try_one(whole)
    for _ in range(4):
        try_one(open_study(tmp_path / "parts", option))
    assert values_of(whole.trials()) == values_of(open_study(tmp_path / "parts").trials())
    assert len({str(it) for it in values_of(whole.trials())}) == 4


def test_another_seed_tries_other_values(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = open_study(tmp_path), open_study(tmp_path / "other", "search.sampler_seed=2")
    try_one(one)
    try_one(other)
    assert values_of(one.trials()) != values_of(other.trials())


def test_what_failed_may_be_tried_again(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    number, *_ = study.ask()
    study.fail(number, "the machine went down", again=True)
    study.ask()
    first, second = study.trials()
    assert (first.state, first.words) == ("failed", "the machine went down")
    assert second.state == "running"
    assert first.chosen == second.chosen


def test_what_is_worse_than_the_median_at_a_look_is_to_be_stopped(tmp_path: Path) -> None:
    study = open_study(tmp_path, "search.pruner={kind: median, startup_trials: 3, warmup: 0.2}")
    for value in (1.0, 2.0, 3.0):
        number, *_ = study.ask()
        assert not any(study.report(number, look, value) for look in range(1, 21))
        study.complete(number, value)
    number, *_ = study.ask()
    # The median at each look is 2; before a fifth of the steps (look 4) nobody is stopped.
    assert [study.report(number, look, 1.9) for look in (3, 4)] == [False, True]
    study.prune(number, "worse")
    assert study.trials()[3].value == 1.9
    number, *_ = study.ask()
    assert not study.report(number, 4, 2.1)


def test_of_what_is_halved_only_the_best_go_on(tmp_path: Path) -> None:
    study = open_study(tmp_path, HALVING)
    stopped = []
    for value in (1.0, 3.0, 2.0, 4.0):
        number, *_ = study.ask()
        # The first comparison is at look 2 of 20.
        assert not study.report(number, 1, value)
        stopped.append(study.report(number, 2, value))
    # 1 is the best of one; 3 that of two; 2 is not among the best 1 of 3, 4 among the best 2 of 4.
    assert stopped == [False, False, True, False]


def test_nothing_is_stopped_if_so_asked(tmp_path: Path) -> None:
    study = open_study(tmp_path, "search.pruner={kind: none}")
    for value in (10.0, 10.0, 0.0):
        number, *_ = study.ask()
        assert not any(study.report(number, look, value) for look in range(1, 21))
        study.complete(number, value)


@pytest.mark.parametrize(("direction", "best"), [("maximize", 1), ("minimize", 2)])
def test_the_best_is_the_first_of_those_alike(tmp_path: Path, direction: str, best: int) -> None:
    study = open_study(tmp_path, f"search.direction={direction}")
    assert study.best() is None
    for value in (2.0, 3.0, 1.0, 3.0, 1.0):
        number, *_ = study.ask()
        study.complete(number, value)
    number, *_ = study.ask()
    study.report(number, 1, 99.0)
    study.prune(number, "does not count")
    found = study.best()
    assert found is not None
    assert found.number == best


def test_what_decides_the_value_matters_most(tmp_path: Path) -> None:
    study = open_study(tmp_path, "search.sampler=random")
    assert study.importances() == {}
    for _ in range(25):
        try_one(study)
    shares: Mapping[str, float] = study.importances()
    assert next(iter(shares)) == "policies.hopper.algorithm.num_epochs"
    assert shares["policies.hopper.algorithm.num_epochs"] > 0.5
    assert sum(shares.values()) == pytest.approx(1.0)


def test_without_optuna_it_is_said_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = importlib.import_module

    def without(name: str, *more: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return imported(name, *more)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtraError, match=r"needs the package optuna; install it with: pip"):
        open_study(tmp_path)
