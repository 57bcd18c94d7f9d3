"""What the live display says of where time goes, in wide and narrow terminals."""

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from entrain.run.display import DisplayRow, RoundWords
from entrain.run.live_display import LiveDisplay
from entrain.run.progress import Progress

WORDS = RoundWords(
    shares="simulators 70%, acting 5%, recording 3%, messages 2%, updates 20%, other 0%",
    limit="simulators are the limit",
    remedy="raise simulators.launch.0.count (now 2), while processors are free",
)


def drawn(words: RoundWords, *, width: int) -> list[str]:
    """The lines on the screen after an update."""
    screen = io.StringIO()
    console = Console(
        file=screen, force_terminal=True, width=width, height=30, _environ={"TERM": "xterm"}
    )
    with LiveDisplay(console) as display:
        display.update(
            "walker",
            DisplayRow.from_metrics(
                {}, progress=Progress(updates=1), total_steps=10, round_words=words
            ),
        )
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()).splitlines()


def test_shares_and_what_follows_from_them_are_two_lines() -> None:
    lines = drawn(WORDS, width=120)
    assert f"time: {WORDS.shares}" in [line.strip() for line in lines]
    assert f"{WORDS.limit}: {WORDS.remedy}" in [line.strip() for line in lines]


def test_who_waits_for_whom_is_a_line_of_its_own_where_there_is_a_replay() -> None:
    pace = "1 gradient step for each env step; collecting waits for learning 40% of the time"
    lines = [line.strip() for line in drawn(replace(WORDS, pace=pace), width=120)]
    assert lines.index(pace) == lines.index(f"{WORDS.limit}: {WORDS.remedy}") + 1
    assert pace not in drawn(replace(WORDS, pace=pace), width=50)


@pytest.mark.parametrize("width", [24, 40, 59])
def test_a_narrow_terminal_shows_the_limit_alone(width: int) -> None:
    lines = [line.strip() for line in drawn(WORDS, width=width)]
    assert "simulators are the limit" in lines
    assert not any("70%" in line or "launch" in line for line in lines)
    assert max(map(len, lines)) <= width


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert not any("time:" in line or "limit" in line for line in drawn(RoundWords(), width=120))
