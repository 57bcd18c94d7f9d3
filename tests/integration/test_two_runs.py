"""Two runs in one process, at the same time: neither touches the process nor the other."""

import asyncio
import gc
import logging
import signal
from pathlib import Path
from typing import Any

import torch

from entrain.app.signals import SIGNALS
from entrain.run.folder import RunFolder
from live_run import config_from, differences, newest, simulators, train
from toy_environments import DiscreteBandit

CONFIG = """
seed: {seed}
server: {{address: "unix:{socket}", lockstep: true}}
policies:
  toy:
    total_steps: 512
    rollout_steps: 64
    network: {{hidden_sizes: [8]}}
    algorithm: {{minibatch_size: 32, num_epochs: 2}}
"""


def of_the_process() -> dict[str, Any]:
    return {
        "signals": [signal.getsignal(number) for number in SIGNALS],
        "threads": torch.get_num_threads(),
        "handlers": list(logging.getLogger().handlers),
        "level": logging.getLogger().level,
        "frozen": gc.get_freeze_count(),
        "seed": torch.initial_seed(),
    }


async def weights_of_run(folder: Path, *, seed: int) -> Any:
    """What a whole run has learned."""
    folder.mkdir()
    config = config_from(CONFIG.format(seed=seed, socket=folder / "s"), folder)
    run_folder = RunFolder.create(folder / "runs", "toy")
    outcome, _ = await train(config, run_folder)
    assert outcome == "completed"
    return newest(run_folder).state["policies"]["0"]["trainer"]["algorithm"]


async def test_two_runs_at_once_learn_what_each_learns_alone(tmp_path: Path) -> None:
    before = of_the_process()
    both = [tmp_path / "first", tmp_path / "second"]
    with (
        simulators(f"unix:{both[0]}/s", {"a": DiscreteBandit([1.0, 0.0], num_agents=8)}),
        simulators(f"unix:{both[1]}/s", {"a": DiscreteBandit([1.0, 0.0], num_agents=8)}),
    ):
        first, second = await asyncio.gather(
            weights_of_run(both[0], seed=1), weights_of_run(both[1], seed=2)
        )
    assert of_the_process() == before
    alone = tmp_path / "alone"
    with simulators(f"unix:{alone}/s", {"a": DiscreteBandit([1.0, 0.0], num_agents=8)}):
        assert differences(first, await weights_of_run(alone, seed=1)) == []
    assert differences(first, second) != []
