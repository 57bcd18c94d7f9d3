"""A rank of two that is killed: the other one ends within a bound, and both can go on after it."""

import signal
import sys
from pathlib import Path

import pytest

from support.ports import free_ports
from support.rank_processes import RESUMED_S, SETTINGS, two_ranks

pytestmark = pytest.mark.hostile

END_S = 60.0
"""Bound of the end; a busy machine takes most of it for the report."""


@pytest.mark.parametrize("rank", [0, 1])
def test_when_one_is_killed_the_other_ends_with_the_reason_and_all_can_go_on(
    tmp_path: Path, rank: int
) -> None:
    settings = tmp_path / "run.yaml"
    settings.write_text(
        SETTINGS.format(
            folder=tmp_path, port=free_ports(2), python=sys.executable, total_steps=10_000_000
        )
    )
    with two_ranks(tmp_path, "train", str(settings)) as started:
        started.until("update 2:")
        started.until_saved(tmp_path / "runs" / "killed")
        started.processes[rank].send_signal(signal.SIGKILL)
        codes = started.codes(END_S)
        assert codes[rank] == -signal.SIGKILL
        assert codes[1 - rank] == 9
        words = started.logs[1 - rank].read_text()
        assert f"rank {rank}" in words
        assert "was lost: its connection closed" in words
    more = ("resume", str(tmp_path / "runs" / "killed"), "--set", "policies.*.total_steps=3000")
    with two_ranks(tmp_path, *more) as resumed:
        assert resumed.codes(RESUMED_S) == [0, 0], resumed.logs[0].read_text()
    assert "completed after 3,000 env steps" in resumed.logs[0].read_text()
