"""The weights of the best evaluation stay, whatever comes after."""

import json
import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from entrain.app.best_checkpoint import BestCheckpoint, Evaluated
from entrain.errors import DiskError
from entrain.run.checkpoint import CheckpointStore
from entrain.state import State


def evaluated(number: int, **returns: float) -> Evaluated:
    """An evaluation with these mean returns."""
    versions = dict.fromkeys(returns, 10 * number)
    return Evaluated(number=number, env_steps=100 * number, returns=returns, versions=versions)


def weights(value: float) -> State:
    """The policies of a checkpoint."""
    return {"0": {"weight": np.full(2, value)}}


def of_folder(folder: Path) -> BestCheckpoint:
    return BestCheckpoint(folder, check=lambda: None)


def kept(folder: Path) -> float:
    """What `weights` was given for the weights that are kept."""
    policies = CheckpointStore(folder, keep=1).load_newest().state["policies"]
    return float(policies["0"]["weight"][0])


async def test_only_a_better_evaluation_takes_the_place_of_the_best(tmp_path: Path) -> None:
    best = of_folder(tmp_path / "best")
    assert await best.offer(evaluated(1, walker=3.0), weights(1), {}) is not None
    assert await best.offer(evaluated(2, walker=2.0), weights(2), {}) is None
    # Of two that are equal, the older one.
    assert await best.offer(evaluated(3, walker=3.0), weights(3), {}) is None
    assert kept(tmp_path / "best") == 1.0
    path = await best.offer(evaluated(4, walker=3.5), weights(4), {"curricula": {}})
    assert path is not None
    assert [each.name for each in (tmp_path / "best").iterdir()] == ["0002-step-400"]
    assert kept(tmp_path / "best") == 4.0
    about = json.loads((path / "manifest.json").read_text())["evaluation"]
    assert about == {
        "number": 4,
        "env_steps": 400,
        "return": 3.5,
        "returns": {"walker": 3.5},
        "versions": {"walker": 40},
        "parameters": {},
    }


async def test_a_resumed_run_compares_with_what_is_on_the_disk(tmp_path: Path) -> None:
    first = of_folder(tmp_path)
    await first.offer(evaluated(1, walker=3.0), weights(1), {})
    again = of_folder(tmp_path)
    assert again.evaluated == first.evaluated
    assert await again.offer(evaluated(2, walker=2.9), weights(2), {}) is None
    assert await again.offer(evaluated(2, walker=3.1), weights(2), {}) is not None


async def test_the_best_is_of_the_newest_environment(tmp_path: Path) -> None:
    def played_in(number: int, size: object, value: float) -> Evaluated:
        return replace(evaluated(number, walker=value), parameters={"size": size})

    best = of_folder(tmp_path)
    uniform = {"kind": "uniform", "low": 3.0, "high": 5.0, "seed": None}
    assert await best.offer(played_in(1, 8.0, 50.0), weights(1), {}) is not None
    assert await best.offer(played_in(2, 8.0, 49.0), weights(2), {}) is None
    # The next lesson is harder: what the easy one came to is compared with nothing any more.
    assert await best.offer(played_in(3, uniform, 5.0), weights(3), {}) is not None
    again = of_folder(tmp_path)
    assert await again.offer(played_in(4, uniform, 4.0), weights(4), {}) is None
    assert await again.offer(played_in(5, uniform, 6.0), weights(5), {}) is not None
    assert kept(tmp_path) == 5.0


def test_several_policies_are_compared_by_the_mean_of_their_returns() -> None:
    # (1 + 5) / 2 = 3 is more than (3 + 2) / 2 = 2.5.
    assert evaluated(2, left=1.0, right=5.0).is_better_than(evaluated(1, left=3.0, right=2.0))
    assert not evaluated(2, left=3.0, right=2.0).is_better_than(evaluated(1, left=1.0, right=5.0))
    # Another set of policies is not comparable: the newer counts.
    assert evaluated(2, left=1.0).is_better_than(evaluated(1, left=1.0, right=5.0))


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_return_that_is_no_number_is_never_the_best(score: float) -> None:
    assert not evaluated(1, walker=score).is_better_than(None)


async def test_a_full_disk_costs_the_new_weights_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    best = of_folder(tmp_path)
    await best.offer(evaluated(1, walker=1.0), weights(1), {})

    def refuse(*_: object, **__: object) -> None:
        raise DiskError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointStore, "save", refuse)
        assert await best.offer(evaluated(2, walker=2.0), weights(2), {}) is None
    assert "no room; training goes on, and the best weights before are kept" in caplog.text
    assert kept(tmp_path) == 1.0
    # The next that is better is kept again.
    assert await best.offer(evaluated(3, walker=2.0), weights(3), {}) is not None


async def test_a_damaged_one_gives_way_to_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    path = await of_folder(tmp_path).offer(evaluated(1, walker=9.0), weights(1), {})
    assert path is not None
    (path / "state.json").write_text("{}")
    best = of_folder(tmp_path)
    assert best.evaluated is None
    assert "the best checkpoint cannot be read, and the next takes its place" in caplog.text
    assert await best.offer(evaluated(2, walker=1.0), weights(2), {}) is not None
    assert kept(tmp_path) == 2.0
