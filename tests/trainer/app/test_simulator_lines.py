"""What launched simulators say about their environments is repeated in the run's log, once."""

import logging
from pathlib import Path

import pytest

from entrain.app.simulator_lines import MOST_BYTES, MOST_FOLLOWED, MOST_LINES, SimulatorLines
from entrain_envs import log_lines

MASKED = "INFO  environment 'chess': actions are masked by info['action_mask']\n"


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def write(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_line_about_an_environment_is_repeated_once_with_its_level(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logs = [tmp_path / "game-0.log", tmp_path / "game-1.log"]
    lines = SimulatorLines(logs)
    lines.look()
    formatter = log_lines.LineFormatter(with_time=True)
    record = logging.makeLogRecord({"levelname": "WARNING", "msg": "behaviour 'cow': farther"})
    for log in logs:
        write(log, f"INFO  host:1: joined run 'x'\n{MASKED}plain\n")
        write(log, "WARNING behaviour 'cat': far off\n")
        write(log, f"{formatter.format(record)}\n")
    lines.look()
    lines.look()
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("INFO", "game-0 says: environment 'chess': actions are masked by info['action_mask']"),
        ("WARNING", "game-0 says: behaviour 'cat': far off"),
        ("WARNING", "game-0 says: behaviour 'cow': farther"),
    ]


def test_what_was_written_before_the_run_or_is_not_yet_a_line_is_not_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "game-0.log"
    write(log, MASKED)
    lines = SimulatorLines([log])
    write(log, "WARNING environment 'chess': half a")
    lines.look()
    assert not caplog.records
    write(log, " line\n")
    lines.look()
    assert [record.getMessage() for record in caplog.records] == [
        "game-0 says: environment 'chess': half a line"
    ]


def test_what_a_simulator_can_make_a_run_repeat_is_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logs = [tmp_path / f"game-{index}.log" for index in range(MOST_FOLLOWED + 1)]
    lines = SimulatorLines(logs)
    write(logs[-1], MASKED)
    write(logs[0], "x" * (2 * MOST_BYTES) + "\n")
    write(logs[0], f"INFO  environment {'long' * 1000} \x1b[2J\n")
    write(logs[0], "".join(f"WARNING environment number {number}\n" for number in range(100)))
    for _ in range(6):
        lines.look()
    assert len(caplog.records) == MOST_LINES
    first = caplog.records[0].getMessage()
    assert len(first) < 800
    assert "\x1b" not in first
