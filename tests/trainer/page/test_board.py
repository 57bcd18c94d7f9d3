"""What a page remembers of a run."""

import logging

from entrain.page.board import (
    MOST_ALARMS,
    MOST_LINE,
    MOST_LINES,
    MOST_POLICIES,
    MOST_STATISTICS,
    Board,
    LogLines,
)


def lines_of(count: int, level: int = logging.INFO) -> LogLines:
    lines = LogLines(lambda record: (record.levelname, record.getMessage()))
    for number in range(count):
        lines.emit(logging.LogRecord("entrain", level, "", 0, f"line {number}", None, None))
    return lines


def test_the_newest_lines_are_kept_and_read_from_where_a_reader_is() -> None:
    lines = lines_of(MOST_LINES + 5)
    kept = lines.after(0)
    assert (len(kept), kept[0].message) == (MOST_LINES, "line 5")
    assert [line.message for line in lines.after(MOST_LINES + 3)] == [
        f"line {MOST_LINES + 3}",
        f"line {MOST_LINES + 4}",
    ]
    assert lines.after(MOST_LINES + 5) == []
    assert [line.number for line in lines.after(0, most=2)] == [MOST_LINES + 4, MOST_LINES + 5]


def test_warnings_are_alarms_newest_first_and_counted() -> None:
    lines = LogLines(lambda record: (record.levelname, record.getMessage()))
    for level, text in [(30, "sigma"), (20, "fine"), (40, "disk"), (30, "sigma")]:
        lines.emit(logging.LogRecord("entrain", level, "", 0, text, None, None))
    assert [(each.message, each.times) for each in lines.alarms] == [("sigma", 2), ("disk", 1)]
    assert len(lines_of(MOST_ALARMS + 5, logging.WARNING).alarms) == MOST_ALARMS


def test_a_long_line_is_cut() -> None:
    lines = LogLines(lambda record: (record.levelname, record.getMessage()))
    lines.emit(logging.LogRecord("entrain", 20, "", 0, "x" * 9999, None, None))
    assert len(lines.after(0)[0].message) == MOST_LINE


def test_policies_without_end_get_no_curves() -> None:
    board = Board(lines_of(0))
    for number in range(MOST_POLICIES + 5):
        board.note_update(f"policy {number}", {}, {}, env_steps=1, wall_time=1.0)
    assert len(board.policies) == MOST_POLICIES


def test_what_simulators_reported_stays_until_they_report_again() -> None:
    board = Board(lines_of(0))
    board.note_update("cat", {}, {"coins": 3.0, "level": 1.0}, env_steps=1, wall_time=1.0)
    board.note_update("cat", {}, {"coins": 4.0}, env_steps=2, wall_time=2.0)
    board.note_update("cat", {}, {}, env_steps=3, wall_time=3.0)
    assert board.reported("cat").newest == {"coins": 4.0, "level": 1.0}
    board.clear()
    assert (board.policies, board.reported("cat").newest) == ((), {})


def test_what_simulators_report_of_a_policy_has_curves_of_its_own() -> None:
    board = Board(lines_of(0))
    board.note_update("cat", {"policy/kl": 0.5}, {"coins": 3.0}, env_steps=1, wall_time=1.0)
    board.note_update("cat", {"policy/kl": 0.5}, {"coins": 5.0}, env_steps=2, wall_time=2.0)
    board.note_update("dog", {"policy/kl": 0.5}, {"bones": 1.0}, env_steps=2, wall_time=2.0)
    cat, dog = board.curves("cat"), board.curves("dog")
    assert cat is not None
    assert dog is not None
    coins = cat.curve("statistics/coins", cat.rows_after(0, most=9))
    assert coins is not None
    assert coins.mean.tolist() == [3.0, 5.0]
    assert dog.names == ("policy/kl", "statistics/bones")


def test_ever_new_names_of_statistics_get_no_curves_and_are_counted() -> None:
    board = Board(lines_of(0))
    for update in range(3):
        names = {f"name {update} {number}": 1.0 for number in range(MOST_STATISTICS)}
        board.note_update(
            "cat", {"policy/kl": 0.5}, {"coins": 3.0, **names}, env_steps=update, wall_time=1.0
        )
    cat, reported = board.curves("cat"), board.reported("cat")
    assert cat is not None
    assert len(cat.names) == 1 + MOST_STATISTICS
    assert len(reported.newest) == MOST_STATISTICS
    assert "coins" in reported.newest
    assert reported.left_out == MOST_STATISTICS
