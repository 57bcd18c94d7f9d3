"""`entrain learn` with a build: what settings and flags say reaches the game, lesson by lesson."""

import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from entrain.app import commands
from entrain.cli import main
from entrain.run.summary import RunSummary
from entrain_envs.unity.side_channels import (
    ENGINE_CONFIGURATION,
    ENVIRONMENT_PARAMETERS,
    Uniform,
    messages,
    write_parameter,
    write_sampler,
)
from support.ports import free_ports

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="a shell script stands in for a build"),
    pytest.mark.usefixtures("logging_as_before"),
]

TESTS = Path(__file__).parents[2]

SETTINGS = """
behaviors:
  3DBall:
    trainer_type: ppo
    max_steps: 600
    hyperparameters: {batch_size: 50, buffer_size: 200, num_epoch: 1}
    network_settings: {hidden_units: 8, num_layers: 1}
engine_settings:
  width: 100
  height: 50
  quality_level: 3
  time_scale: 7.5
  target_frame_rate: 25
  capture_frame_rate: 11
environment_parameters:
  gravity: 9.0
  mass: {sampler_type: uniform, sampler_parameters: {min_value: 1, max_value: 2}}
  size:
    curriculum:
      - name: large
        value: 6
        completion_criteria:
          {behavior: 3DBall, measure: progress, threshold: 0.5, require_reset: true}
      - name: small
        value: 3
"""

BUILD = """#!/bin/sh
PYTHONPATH={tests} exec {python} -m support.unity_player "$@"
"""


def engine_of(stream: bytes) -> dict[int, tuple[float, ...]]:
    """{kind: numbers} of the settings of the engine."""
    forms = {0: "<ii", 1: "<i", 2: "<f", 3: "<i", 4: "<i"}
    found = {}
    for channel, content in messages(stream):
        if channel == ENGINE_CONFIGURATION:
            (kind,) = struct.unpack_from("<i", content)
            found[kind] = struct.unpack(forms[kind], content[4:])
    return found


def parameters_of(stream: bytes) -> set[bytes]:
    """What was said of environment parameters."""
    return {content for channel, content in messages(stream) if channel == ENVIRONMENT_PARAMETERS}


def contents(*written: bytes) -> set[bytes]:
    return {content for each in written for _, content in messages(each)}


def learned(folder: Path, *flags: str) -> Any:
    """A run of the stand-in; returns what it was told and counted."""
    (folder / "ball.yaml").write_text(SETTINGS)
    build = folder / "Ball.x86_64"
    build.write_text(BUILD.format(tests=TESTS, python=sys.executable))
    build.chmod(0o755)
    words = ["learn", f"{folder}/ball.yaml", f"--env={build}", f"--results-dir={folder}"]
    game = ["--env-args", "--balls", "3", "--told", f"{folder}/told.json"]
    assert main([*words, *flags, *game]) == 0
    return json.loads((folder / "told.json").read_text())


def test_engine_and_parameters_come_with_the_reset_and_a_lesson_may_reset_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What takes longer than all the rest, and has tests of its own.
    monkeypatch.setattr("entrain.run.report.draw_plots", lambda _series: [])
    monkeypatch.setattr(commands, "export_policy", lambda *_arguments, **_options: None)
    flags = ("--seed=70", "--width=320", "--time-scale=2")
    said = learned(tmp_path, f"--base-port={free_ports(1)}", *flags)
    (is_reset, first), (is_reset_again, second) = said["told"]
    assert (is_reset, is_reset_again) == (True, True)
    # Flags count more than the file.
    assert engine_of(bytes.fromhex(first)) == {0: (320, 50), 1: (3,), 2: (2.0,), 3: (25,), 4: (11,)}
    # Gravity is number 0 of what is drawn or constant, so the sampler has the run's seed plus 1.
    assert parameters_of(bytes.fromhex(first)) == contents(
        write_parameter("gravity", 9.0),
        write_sampler("mass", Uniform(1.0, 2.0), seed=71),
        write_parameter("size", 6.0),
    )
    assert engine_of(bytes.fromhex(second)) == {}
    assert parameters_of(bytes.fromhex(second)) == contents(write_parameter("size", 3.0))

    ledger = RunSummary.load(tmp_path / "ppo" / "summary.json").policies["3DBall"].ledger
    # The game never got the three actions whose answer became the reset.
    assert ledger["opened"] == said["opened"] + 3
    assert ledger["closed"] == said["closed"] == 600
    assert ledger["opened"] == ledger["closed"] + ledger["dropped"]
