"""How far a run of mlagents-learn came becomes options, and a damaged file costs lessons alone."""

import json
import logging
from pathlib import Path

import pytest

from entrain.config.environment_parameters import curricula
from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.unity import stock_progress
from entrain.unity.stock_progress import is_stock_run, with_stock_progress

CONFIG = """
environment_parameters:
  mass: &two
    kind: curriculum
    lessons:
    - {name: light, value: 1, completion: {behaviour: A, threshold: 9}}
    - {name: heavy, value: 2}
  size: *two
  wind: *two
policies: {A: {}, B: {}, "*": {}}
"""


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return load_config(path, [])


def left_by(folder: Path, status: object) -> Path:
    """The folder of a run of mlagents-learn with a checkpoint of A."""
    (folder / "A").mkdir(exist_ok=True)
    (folder / "run_logs").mkdir(exist_ok=True)
    (folder / "A" / "checkpoint.pt").touch()
    text = status if isinstance(status, str) else json.dumps(status)
    (folder / "run_logs" / "training_status.json").write_text(text)
    return folder


def test_every_policy_that_has_a_checkpoint_goes_on(
    tmp_path: Path, config: RunConfig, caplog: pytest.LogCaptureFixture
) -> None:
    assert not is_stock_run(tmp_path)
    status = {"mass": {"lesson_num": 1}, "size": {"lesson_num": 7}, "A": {"elo": 1200.0}}
    with caplog.at_level(logging.WARNING):
        gone_on = with_stock_progress(config, left_by(tmp_path, status))
    assert is_stock_run(tmp_path)
    begins = {name: it.initial_progress for name, it in gone_on.policies.items()}
    assert begins == {"A": True, "B": False, "*": True}
    assert caplog.messages == [f"{tmp_path} has no B/checkpoint.pt: that policy begins anew"]
    there = curricula(gone_on.environment_parameters)
    assert {name: it.completed for name, it in there.items()} == {"mass": 1, "size": 1, "wind": 0}


@pytest.mark.parametrize(
    "status", ["{", "[]", "[" * 100_000, '{"mass": {"lesson_num": true}}', "x" * 999]
)
def test_a_damaged_status_lets_lessons_begin_with_the_first(
    tmp_path: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(stock_progress, "LARGEST_STATUS", 200_000)
    gone_on = with_stock_progress(config, left_by(tmp_path, status))
    assert gone_on.environment_parameters == config.environment_parameters
    monkeypatch.setattr(stock_progress, "LARGEST_STATUS", 10)
    gone_on = with_stock_progress(config, left_by(tmp_path, {"mass": {"lesson_num": 1}}))
    assert gone_on.environment_parameters == config.environment_parameters
