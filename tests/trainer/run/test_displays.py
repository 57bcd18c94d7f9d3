"""What a person at the terminal sees: lines in place that nothing tears, or log lines."""

import io
import json
import logging
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from entrain.run.display import Display, DisplayRow, SimulatorsRow
from entrain.run.json_lines import JsonFormatter, is_json_logged
from entrain.run.live_display import LiveDisplay, display_for
from entrain.run.log_display import LogDisplay, update_text
from entrain.run.log_lines import LineFormatter, logging_to
from entrain.run.progress import Progress

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def row(
    *,
    update: int = 120,
    env_steps: int = 491_520,
    total_steps: int = 1_000_000,
    new_episodes: int = 96,
    episodes: int = 12_345,
    return_last: float = 212.4,
    reward_per_step: float = 0.5,
    env_steps_per_second: float = 9830.0,
    entropy: float = 1.234,
    sigma: float = 0.4567,
) -> DisplayRow:
    return DisplayRow(
        update=update,
        env_steps=env_steps,
        total_steps=total_steps,
        new_episodes=new_episodes,
        episodes=episodes,
        return_last=return_last,
        reward_per_step=reward_per_step,
        env_steps_per_second=env_steps_per_second,
        entropy=entropy,
        sigma=sigma,
    )


def simulators(*, connected: int = 4, expected: int = 4, agents: int = 256) -> SimulatorsRow:
    return SimulatorsRow(
        address="localhost:50051", connected=connected, expected=expected, agents=agents
    )


class Terminal:
    """A terminal that remembers what was written, and a clock that the test sets."""

    def __init__(self, *, width: int = 100) -> None:
        self.screen = io.StringIO()
        self.console = Console(
            file=self.screen,
            force_terminal=True,
            width=width,
            height=30,
            _environ={"TERM": "xterm"},
        )
        self.now_s = 0.0
        self.display = LiveDisplay(self.console, clock=lambda: self.now_s)

    def update(self, behaviour: str, row: DisplayRow) -> None:
        """An update long enough after the last that it is drawn."""
        self.now_s += 1.0
        self.display.update(behaviour, row)

    def take(self) -> str:
        """What was written since this was last asked, without colours and cursor movements."""
        text = ESCAPE.sub("", self.screen.getvalue())
        self.screen.seek(0)
        self.screen.truncate()
        return text


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    with terminal.display:
        yield terminal


def cells(text: str, behaviour: str) -> list[str]:
    """Of the last line of that behaviour, without the bar."""
    line = [line for line in text.splitlines() if line.startswith(behaviour)][-1]
    return [word for word in line.split() if not set(word) <= set("━╸╺")][1:]


def test_late_steps_are_shown_where_there_are_any() -> None:
    for share, words in ((0.125, ", 12.5 % of the steps late"), (0.0, ""), (math.nan, "")):
        text = update_text(replace(row(), late_steps=share))
        assert text.endswith(f"9,830 steps/s{words}")
    progress = Progress(env_steps=1, updates=1, episodes=0, seconds=0.0)
    read = DisplayRow.from_metrics({"rollout/late_steps": 0.5}, progress=progress, total_steps=1)
    assert read.late_steps == 0.5


def test_a_row_is_read_from_metrics_by_their_standard_names() -> None:
    metrics = {
        "rollout/episodes": 96.0,
        "rollout/episode_return_last_100": 212.4,
        "rollout/reward_per_step": 0.5,
        "policy/entropy": 1.234,
        "policy/sigma/0": 0.5,
        "policy/sigma/1": 0.3,
        "time/env_steps_per_second": 9830.0,
    }
    expected = row(sigma=0.4)
    assert (
        DisplayRow.from_metrics(
            metrics,
            progress=Progress(updates=120, env_steps=491_520, episodes=12_345),
            total_steps=1_000_000,
        )
        == expected
    )


def test_metrics_that_were_not_measured_are_nan() -> None:
    empty = DisplayRow.from_metrics({}, progress=Progress(env_steps=1), total_steps=2)
    assert empty.new_episodes == 0
    for value in (empty.return_last, empty.entropy, empty.sigma, empty.env_steps_per_second):
        assert math.isnan(value)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (
            row(),
            "491,520 env steps, return 212.4 over the last 100 episodes (96 new), 9,830 steps/s",
        ),
        (
            row(new_episodes=0, env_steps_per_second=math.nan),
            "491,520 env steps, return 212.4 over the last 100 episodes (none new)",
        ),
        (
            row(episodes=1, new_episodes=1),
            "491,520 env steps, return 212.4 over 1 episode (1 new), 9,830 steps/s",
        ),
        (
            row(episodes=0, new_episodes=0, return_last=math.nan),
            "491,520 env steps, no episode has ended yet, reward 0.5 per step, 9,830 steps/s",
        ),
    ],
)
def test_a_log_line_says_what_an_update_came_to_as_far_as_it_is_known(
    changed: DisplayRow, text: str
) -> None:
    assert update_text(changed) == text


def test_the_log_display_names_behaviours_once_there_are_several(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), LogDisplay() as display:
        display.start()
        display.update("walker", row(update=1))
        display.update("jumper", row(update=1))
        display.update("walker", row(update=2))
        display.serving(simulators(), {"walker": 5})
        display.message("stopping")
    said = [record.getMessage().split(":")[0] for record in caplog.records]
    assert said == ["update 1", "update 1 of 'jumper'", "update 2 of 'walker'", "stopping"]


def test_the_log_display_names_the_first_of_several_behaviours_that_learns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO), LogDisplay() as display:
        display.serving(simulators(), {"walker": 0, "jumper": 0})
        display.update("walker", row(update=1))
    assert caplog.messages[0].startswith("update 1 of 'walker': ")


def test_a_pipe_gets_log_lines_and_a_terminal_gets_live_ones() -> None:
    assert isinstance(display_for(Console(file=io.StringIO())), LogDisplay)
    terminal = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "xterm"})
    assert isinstance(display_for(terminal), LiveDisplay)
    dumb = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": "dumb"})
    assert isinstance(display_for(dumb), LogDisplay)


@pytest.mark.parametrize("kind", [LogDisplay, lambda: Terminal().display])
def test_both_kinds_are_displays(kind: type[LogDisplay]) -> None:
    display: Display = kind()
    with display:
        pass


def test_the_live_display_shows_every_quantity(terminal: Terminal) -> None:
    terminal.update("walker", row(env_steps=500_000, env_steps_per_second=2000.0))
    text = terminal.take()
    # 500,000 steps are left at 2,000 a second: 250 s.
    assert cells(text, "walker") == ["500k", "/", "1M", "212.4", "1.23", "0.457", "2,000", "4:10"]
    assert re.search("policy +env steps +return +entropy +sigma +steps/s +left", text)


def test_the_bar_is_as_long_as_what_is_done(terminal: Terminal) -> None:
    lengths = []
    for env_steps in (0, 500_000, 1_000_000):
        terminal.screen.truncate(0)
        terminal.update("walker", row(env_steps=env_steps))
        # The part that is done has a colour of its own: cyan, or green when all is.
        done = re.findall(r"\x1b\[3[26]m([━╸]+)", terminal.screen.getvalue())
        lengths.append(sum(map(len, done)))
    assert lengths[0] == 0
    assert 0 < lengths[1] < lengths[2]


def test_what_was_never_known_is_a_dash(terminal: Terminal) -> None:
    nothing = DisplayRow.from_metrics({}, progress=Progress(env_steps=10), total_steps=1000)
    terminal.update("walker", nothing)
    assert cells(terminal.take(), "walker") == ["10", "/", "1k", "-", "-", "-", "-", "-"]


def test_time_left_follows_a_smoothed_rate(terminal: Terminal) -> None:
    terminal.update("walker", row(env_steps_per_second=1000.0))
    terminal.update("walker", row(env_steps_per_second=2000.0))
    # 1000 + 0.1 * (2000 - 1000)
    assert "1,100" in cells(terminal.take(), "walker")
    terminal.update("walker", row(env_steps_per_second=math.nan))
    assert "1,100" in cells(terminal.take(), "walker")


def test_a_policy_that_is_done_has_no_time_left(terminal: Terminal) -> None:
    terminal.update("walker", row(env_steps=1_000_448, env_steps_per_second=0.0))
    assert cells(terminal.take(), "walker")[-1] == "0:00"


def test_steps_go_on_between_updates(terminal: Terminal) -> None:
    terminal.update("walker", row(env_steps=100_000))
    terminal.now_s += 1.0
    terminal.display.serving(simulators(), {"walker": 150_000, "unseen": 3})
    assert cells(terminal.take(), "walker")[0] == "150k"


@pytest.mark.parametrize(
    ("who", "text"),
    [
        (simulators(), "4 simulators with 256 agents on localhost:50051"),
        (simulators(connected=1, expected=1, agents=1), "1 simulator with 1 agent on localhost"),
        (
            simulators(connected=1),
            "1 of 4 simulators are here; waiting for the others on localhost:50051",
        ),
    ],
)
def test_the_last_line_says_who_is_connected_and_where(
    terminal: Terminal, who: SimulatorsRow, text: str
) -> None:
    terminal.now_s += 1.0
    terminal.display.serving(who, {})
    assert text in terminal.take()


def test_it_is_drawn_at_most_four_times_a_second(terminal: Terminal) -> None:
    terminal.update("walker", row())
    terminal.take()
    for _ in range(10):
        terminal.now_s += 0.02
        terminal.display.update("walker", row(env_steps=600_000))
    assert terminal.take() == ""
    terminal.now_s += 0.05
    terminal.display.update("walker", row(env_steps=600_000))
    assert "600k" in terminal.take()


def test_the_last_state_is_on_the_screen_when_it_stops() -> None:
    terminal = Terminal()
    with terminal.display:
        terminal.update("walker", row())
        terminal.display.update("walker", row(env_steps=999_424))
        terminal.take()
    assert "999k / 1M" in terminal.take()
    terminal.display.stop()
    assert terminal.take() == ""


def test_every_number_fits_a_terminal_of_80_characters() -> None:
    terminal = Terminal(width=80)
    with terminal.display:
        terminal.update("a behaviour with a very long name", row(env_steps_per_second=12_345.0))
        text = terminal.take()
    expected = ["491k", "/", "1M", "212.4", "1.23", "0.457", "12,345", "0:41"]
    assert cells(text, "a behav")[-8:] == expected
    # The bar keeps a length that can be read.
    assert re.search("[━╸╺]{8}", text)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (60, ["491k", "/", "1M", "212.4", "12,345", "0:41"]),
        (40, ["491k", "/", "1M", "212.4", "0:41"]),
        (24, ["212.4"]),
    ],
)
def test_a_narrow_terminal_shows_fewer_numbers_and_cuts_none(
    width: int, expected: list[str]
) -> None:
    terminal = Terminal(width=width)
    with terminal.display:
        terminal.update("a behaviour with a very long name", row(env_steps_per_second=12_345.0))
        terminal.now_s += 1.0
        terminal.display.serving(simulators(), {})
        text = terminal.take()
    assert cells(text, "a ")[-len(expected) :] == expected
    assert max(map(len, text.splitlines())) <= width
    # The address is wrapped, not cut: simulators are to be started with it.
    assert "localhost:50051" in text


def test_updates_are_lines_in_the_logs_file_while_the_terminal_draws_them(
    root: logging.Logger, tmp_path: Path
) -> None:
    terminal = Terminal()
    with logging_to(tmp_path / "log.txt", root), terminal.display:
        terminal.update("walker", row(update=3))
        text = terminal.take()
    assert "update 3: 491,520 env steps, return 212.4" in (tmp_path / "log.txt").read_text()
    assert "update 3" not in text


def test_a_json_line_has_time_level_message_and_the_numbers_of_the_update(
    root: logging.Logger,
) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root.addHandler(handler)
    with LogDisplay() as display:
        display.update("walker", row(update=3, return_last=math.nan))
    logging.getLogger("entrain").warning("two\nlines %s", "läufer")
    assert is_json_logged()
    update, warning = (json.loads(line) for line in stream.getvalue().splitlines())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", update["time"])
    assert (update["level"], update["policy"], update["update"]) == ("INFO", "walker", 3)
    assert (update["env_steps"], update["return"]) == (491_520, None)
    assert (warning["level"], warning["message"]) == ("WARN", "two\nlines läufer")


def test_a_name_that_looks_like_markup_is_shown_as_it_is(terminal: Terminal) -> None:
    terminal.update("[red]x[/]", row())
    terminal.display.message("[bold]saved[/nonsense]")
    text = terminal.take()
    assert "[red]x[/]" in text
    assert "[bold]saved[/nonsense]" in text


class TtyStream(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    root.setLevel(logging.INFO)
    yield root
    root.handlers[:] = before
    root.setLevel(level)


def test_log_lines_go_above_the_live_ones_and_then_where_they_went_before(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = TtyStream()
    monkeypatch.setattr(sys, "stderr", stderr)
    handler = logging.StreamHandler(stderr)
    root.addHandler(handler)
    terminal = Terminal()
    with terminal.display:
        terminal.update("walker", row())
        terminal.take()
        logging.getLogger("entrain.native").warning("ball-0 left [without] goodbye")
        text = terminal.take()
    assert "WARN  ball-0 left [without] goodbye" in text
    # The live lines are drawn again below it.
    assert text.index("goodbye") < text.index("walker")
    assert stderr.getvalue() == ""
    logging.getLogger("entrain.native").warning("afterwards")
    assert stderr.getvalue() == "afterwards\n"
    assert "afterwards" not in terminal.take()


def test_logging_to_a_file_goes_on_untouched(root: logging.Logger, tmp_path: Path) -> None:
    terminal = Terminal()
    with logging_to(tmp_path / "log.txt", root), terminal.display:
        logging.getLogger("entrain").info("joined")
    assert "joined" in (tmp_path / "log.txt").read_text()
    assert "joined" in terminal.take()


def test_the_level_of_the_terminal_stays_the_level(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = TtyStream()
    monkeypatch.setattr(sys, "stderr", stderr)
    handler = logging.StreamHandler(stderr)
    handler.setLevel(logging.WARNING)
    root.addHandler(handler)
    terminal = Terminal()
    with terminal.display:
        logging.getLogger("entrain").info("quiet")
        logging.getLogger("entrain").warning("loud")
    text = terminal.take()
    assert "quiet" not in text
    assert "loud" in text


def test_an_error_inside_puts_the_terminal_back(root: logging.Logger) -> None:
    handlers = list(root.handlers)
    with pytest.raises(ZeroDivisionError), Terminal().display:
        raise ZeroDivisionError
    assert root.handlers == handlers


@pytest.mark.parametrize(
    ("level", "line"),
    [
        (logging.INFO, "INFO  joined"),
        (logging.WARNING, "WARN  joined"),
        (logging.ERROR, "ERROR joined"),
        (logging.CRITICAL, "ERROR joined"),
        (logging.DEBUG, "DEBUG joined"),
    ],
)
def test_a_line_begins_with_its_level(level: int, line: str) -> None:
    record = logging.LogRecord("entrain", level, __file__, 1, "joined", None, None)
    assert LineFormatter().format(record) == line


def test_a_log_file_has_times_and_is_gone_on_with(tmp_path: Path) -> None:
    # A logger that nothing else listens to: test reports cannot carry half a surrogate pair.
    logger = logging.Logger("detached", logging.INFO)
    path = tmp_path / "log.txt"
    for text in ("first", "Läufer \ud800"):
        with logging_to(path, logger):
            logger.info(text)
    logger.info("not any more")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO  first", lines[0])
    assert lines[1].endswith("Läufer \\ud800")
