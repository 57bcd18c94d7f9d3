"""What docs/simulators.md shows runs: rows in order, masks obeyed, two policies that learn."""

import importlib
import os
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from entrain.app import commands, sittings
from entrain.config.load import load_config
from entrain.run.episode_table import read_episodes
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "envs" / "examples" / "meadow.py"
FIRST, MID, TERMINATED, TRUNCATED = (int(each) for each in StepType)

SMALL = [
    "server.address=localhost:0",
    "policies.rabbit.total_steps=800",
    "policies.fox.total_steps=410",
    *(f"policies.{name}.rollout_steps=400" for name in ("rabbit", "fox")),
    *(f"policies.{name}.network.hidden_sizes=[8]" for name in ("rabbit", "fox")),
    *(f"policies.{name}.algorithm.num_epochs=1" for name in ("rabbit", "fox")),
]


def test_the_page_shows_the_example_word_for_word() -> None:
    page = (ROOT / "docs" / "simulators.md").read_text(encoding="utf-8")
    assert re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) == [
        EXAMPLE.read_text(encoding="utf-8")
    ]


def chosen(rows: TimestepBatch, random: np.random.Generator) -> ActionBatch:
    """Random actions, of those allowed, for the rows that need one."""
    acting = rows.needs_action
    allowed = rows.action_mask[acting]
    branches = 1 if allowed.shape[1] else 0
    discrete = (allowed * random.random(allowed.shape)).argmax(1, keepdims=True) if branches else []
    return ActionBatch(
        random.uniform(-0.5, 0.5, (len(allowed), 1 - branches)).astype(np.float32),
        np.array(discrete, np.int32).reshape(len(allowed), branches),
        0,
    )


def test_each_agent_of_the_example_sends_its_rows_in_the_order_of_an_episode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    meadow = importlib.import_module("meadow")

    random = np.random.default_rng(1)
    world = meadow.Meadow()
    specs = {spec.name: spec for spec in world.behaviours}
    message = world.reset(seed=1, parameters={})
    last: dict[tuple[str, int], int] = {}
    seen: Counter[tuple[str, int]] = Counter()
    away: list[int] = []
    for _ in range(2 * meadow.ROUND_STEPS):
        for name, rows in message.items():
            rows.check(specs[name])
            assert not rows.reward[rows.step_type == FIRST].any()
            for agent, step_type in zip(
                rows.agent_id.tolist(), rows.step_type.tolist(), strict=True
            ):
                goes_on = last.get((name, agent), TRUNCATED) in (FIRST, MID)
                assert (step_type != FIRST) == goes_on, "FIRST follows an end, and nothing else"
                last[name, agent] = step_type
                seen[name, step_type] += 1
        away.append(meadow.RABBITS - int(message["rabbit"].needs_action.sum()))
        message = world.step({name: chosen(rows, random) for name, rows in message.items()})
    assert seen["rabbit", TERMINATED] > 5
    assert seen["rabbit", TRUNCATED] > 0
    assert seen["fox", TERMINATED] == 0
    assert seen["fox", TRUNCATED] == meadow.FOXES  # the second round has one step to go
    assert max(away) > 0, "those who were caught come back later"


@pytest.mark.skipif(os.name != "posix", reason="groups of processes")
def test_both_kinds_of_agents_of_the_example_train_over_grpc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sittings, "write_results", lambda *_, **__: None)
    command = f"simulators.launch.0.command={sys.executable} {EXAMPLE} {{address}}"
    config = load_config(
        ROOT / "docs" / "examples" / "meadow.yaml",
        [*SMALL, command, f"runs_directory={tmp_path}"],
    )
    assert commands.train(config) == 0
    endings = Counter(
        (row["policy"], row["ending"]) for row in read_episodes(tmp_path / "meadow/episodes.csv")
    )
    assert endings["rabbit", "terminated"] > 0
    assert endings["rabbit", "truncated"] > 0
    assert endings["fox", "truncated"] == 2  # a round of 200 steps, and a few more
    assert endings["fox", "terminated"] == 0
