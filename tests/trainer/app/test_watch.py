"""A run that is followed by its folder: what is shown, when it ends, and with which exit code."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from entrain.app.watch import watch
from entrain.errors import NoSimulatorError
from entrain.metrics import ENTROPY, EPISODE_RETURN_LAST, EPISODES, SECONDS, STEPS_PER_SECOND
from entrain.run.folder import RunFolder
from entrain.run.history import History
from entrain.run.table import MetricsTable

Moment = Callable[[], object]


class Followed:
    """A run whose folder changes while it is watched: one moment before each look but the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = RunFolder.create(folder, "walk")
        self.folder.write_config("policies: {walker: {total_steps: 10000}}")
        self.table = MetricsTable(self.folder.metrics)
        self.history = History(self.folder.history)
        self.now_s = 0.0

    def measure(self, env_steps: int, **more: float) -> None:
        metrics = {
            EPISODES.name: 2.0,
            EPISODE_RETURN_LAST.name: 12.5,
            ENTROPY.name: 1.0,
            STEPS_PER_SECOND.name: 100.0,
            SECONDS.name: env_steps / 100.0,
            **more,
        }
        self.table.append("walker", env_steps=env_steps, wall_time=1.0, metrics=metrics)
        self.table.flush()

    def watched(
        self, moments: Sequence[Moment], *, as_json: bool = False, linger_s: float = 1.0
    ) -> tuple[int, list[str]]:
        """Exit code and lines; the moments happen one after the other, and then nothing does."""
        left, lines = list(moments), list[str]()

        def sleep(seconds: float) -> None:
            self.now_s += seconds
            if left:
                left.pop(0)()

        code = watch(
            self.folder.path,
            as_json=as_json,
            linger_s=linger_s,
            console=Console(file=io.StringIO()),
            write=lines.append,
            sleep=sleep,
            clock=lambda: self.now_s,
        )
        assert not left
        return code, lines


def test_a_run_is_followed_until_it_is_completed(tmp_path: Path) -> None:
    run = Followed(tmp_path)
    lock = run.folder.lock()
    run.history.note("began")
    for env_steps in (1000, 2000):
        run.measure(env_steps)
    log = run.folder.log
    log.write_text("2026-11-29T15:00:00.000Z WARN  an old one\n")

    def more() -> None:
        # A column that is new rewrites the file.
        run.measure(3000, **{"statistics/coins": 3.0})
        run.measure(4000)
        with log.open("a") as file:
            file.write("2026-11-29T15:00:00.000Z INFO  nothing\n")
            file.write("2026-11-29T15:00:01.000Z ERROR it broke\n2026-11-29T15:00:02.000Z WARN  ha")
        run.history.note("paused")

    def end() -> None:
        run.history.note("ended", outcome="completed", exit_code=0)
        lock.__exit__(None, None, None)

    with lock:
        code, lines = run.watched([more, lambda: None, end])
    assert code == 0
    text = "return 12.5 over 4 episodes (2 new), 100 steps/s"
    assert lines[:2] == ["WARN  an old one", f"update 2 of 'walker': 2,000 env steps, {text}"]
    assert lines[2:4] == ["ERROR it broke", "paused"]
    assert lines[4].startswith("update 3 of 'walker': 3,000 env steps, return 12.5 over 6 episodes")
    assert lines[4].endswith("coins 3")
    assert lines[5].startswith("update 4 of 'walker': 4,000 env steps")
    assert lines[6:] == ["walk: completed after 4,000 env steps"]


@pytest.mark.parametrize("went_on", [False, True])
def test_a_watch_that_begins_in_a_pause_says_so(tmp_path: Path, went_on: bool) -> None:
    run = Followed(tmp_path)
    lock = run.folder.lock()
    for what in ["began", "paused", *["went on"] * went_on, "changed"]:
        run.history.note(what)
    run.measure(1000)

    def end() -> None:
        run.history.note("ended", outcome="completed", exit_code=0)
        lock.__exit__(None, None, None)

    with lock:
        _, lines = run.watched([end])
    assert ("paused" in lines) is not went_on


def test_a_run_that_is_resumed_is_followed_on(tmp_path: Path) -> None:
    run = Followed(tmp_path)
    locks = [run.folder.lock()]
    locks[0].__enter__()
    run.history.note("began")
    for env_steps in (1000, 2000, 3000):
        run.measure(env_steps)

    def stop() -> None:
        run.history.note("ended", outcome="stopped", exit_code=143)
        locks[0].__exit__(None, None, None)

    def resume() -> None:
        locks.append(run.folder.lock())
        locks[1].__enter__()
        run.history.note("began")
        run.table.drop_rows_beyond({"walker": 1000})

    def fail() -> None:
        run.measure(1500)
        with pytest.raises(NoSimulatorError), run.history.sitting(lambda: 1600):
            raise NoSimulatorError("no simulator came")
        locks[1].__exit__(None, None, None)

    code, lines = run.watched([stop, resume, fail, *[lambda: None] * 2], as_json=True)
    told = [json.loads(line) for line in lines]
    shown = [(it["what"], it.get("env_steps")) for it in told]
    assert shown == [
        ("update", 3000),
        ("began", None),
        ("went back", None),
        ("update", 1000),
        ("began", None),
        ("update", 1500),
        ("end", 1600),
    ]
    assert told[3]["update"] == 1
    assert told[5]["update"] == 2
    assert (code, told[-1]["outcome"], told[-1]["exit_code"]) == (5, "failed", 5)
    assert told[-1]["text"] == "walk: failed after 1,600 env steps: no simulator came"


def test_a_run_that_was_killed_says_so(tmp_path: Path) -> None:
    run = Followed(tmp_path)
    run.history.note("began")
    code, lines = run.watched([lambda: None] * 2)
    assert code == 1
    assert lines == ["walk: killed after 0 env steps: its trainer ended without saving"]


def test_the_end_counts_the_steps_behind_the_last_update_as_the_run_does(tmp_path: Path) -> None:
    run = Followed(tmp_path)
    run.history.note("began")
    run.measure(9000)
    run.history.note("ended", outcome="completed", exit_code=0, env_steps=9160)
    _, lines = run.watched([])
    assert lines[-1] == "walk: completed after 9,160 env steps"


def test_words_of_others_cannot_move_the_terminal(tmp_path: Path) -> None:
    run = Followed(tmp_path)
    run.folder.log.write_text("2026-11-29T15:00:00.000Z WARN  \x1b[2Jgone\n")
    _, lines = run.watched([], linger_s=0.0)
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_is_drawn_on_and_left_as_it_was(tmp_path: Path) -> None:
    run = Followed(tmp_path)
    run.history.note("began")
    run.measure(1000)
    run.history.note("ended", outcome="completed", exit_code=0)
    drawn, lines = io.StringIO(), list[str]()
    console = Console(file=drawn, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    never: Any = None
    code = watch(
        run.folder.path,
        as_json=False,
        linger_s=0.0,
        console=console,
        write=lines.append,
        sleep=never,
    )
    assert code == 0
    assert "walker" in drawn.getvalue()
    assert "12.5" in drawn.getvalue()
    assert lines == ["walk: completed after 1,000 env steps"]
