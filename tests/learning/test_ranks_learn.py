"""Two ranks with half of the agents each learn what one rank learns."""

from pathlib import Path

import pytest
from benchmarks.learning import TASKS
from benchmarks.runs import read

from support.ports import free_ports
from support.rank_processes import two_ranks

LONGEST_S = 7200.0
"""Minutes on a quiet machine; other work there makes it ten times as slow, or more."""


@pytest.mark.learning
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("cartpole", "entrain-env gymnasium CartPole-v1 --count 4"),
        ("ball", "entrain-env balance-ball --count 6"),
    ],
)
def test_two_ranks_reach_the_threshold_of_one(name: str, command: str, tmp_path: Path) -> None:
    task = TASKS[name]
    settings = (
        f"server.address=localhost:{free_ports(2)}",
        f'simulators.launch=[{{command: "{command}", count: 2}}]',
    )
    options = [word for setting in settings for word in ("--set", setting)]
    where = ["--runs-directory", str(tmp_path), "--name", name]
    with two_ranks(tmp_path, "train", str(task.config), *where, *options) as started:
        assert started.codes(LONGEST_S) == [0, 0], started.logs[0].read_text()
    assert task.score(read(tmp_path / name)) >= task.threshold
