"""`entrain watch`: follows a run in the terminal from another one, by the files in its folder."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console

from entrain.app.limits import round_words
from entrain.app.run_status import status_of
from entrain.config.load import load_config
from entrain.errors import EntrainError
from entrain.metrics import SECONDS, STATISTICS
from entrain.run.display import DisplayRow, RoundWords
from entrain.run.folder import RunFolder
from entrain.run.following import AlarmTail, Measured, MetricsTail
from entrain.run.history import read_history
from entrain.run.live_display import LiveDisplay
from entrain.run.lock_probe import Hold, look_at
from entrain.run.log_display import update_text
from entrain.run.log_lines import escape_control_chars
from entrain.run.progress import Progress
from entrain.run.round_shares import RunRounds

LOOK_S = 0.5
"""Time between two looks at the folder."""

FEW = 3
"""Alarms of before that are shown at the beginning."""

KILLED = 1
"""Exit code for a run that was killed, and so has none."""

_SHOWN = {"paused": "paused", "went on": "goes on after a pause", "began": "begins a sitting"}


class Viewer(Protocol):
    """Shows what has happened in a run."""

    def update(self, behaviour: str, row: DisplayRow) -> None:
        """An update is done."""
        ...

    def event(self, what: str, text: str, **facts: object) -> None:
        """Something else happened."""
        ...


class LineViewer:
    """A line for each thing that happens."""

    def __init__(self, write: Callable[[str], None]) -> None:
        """Write lines by calling `write`."""
        self._write = write

    def update(self, behaviour: str, row: DisplayRow) -> None:
        """Write it."""
        self._write(f"update {row.update} of '{behaviour}': {update_text(row)}")

    def event(self, what: str, text: str, **facts: object) -> None:  # noqa: ARG002 - for programs
        """Write its words."""
        self._write(text)


class JsonViewer:
    """A JSON object for each thing that happens."""

    def __init__(self, write: Callable[[str], None]) -> None:
        """Write lines by calling `write`."""
        self._write = write

    def update(self, behaviour: str, row: DisplayRow) -> None:
        """Write it."""
        self._line(
            what="update",
            policy=behaviour,
            update=row.update,
            env_steps=row.env_steps,
            total_steps=row.total_steps,
            episodes=row.episodes,
            **{"return": row.return_last},
            reward_per_step=row.reward_per_step,
            entropy=row.entropy,
            env_steps_per_second=row.env_steps_per_second,
            shares=row.round.shares,
            limit=row.round.limit,
            statistics=dict(row.statistics),
        )

    def event(self, what: str, text: str, **facts: object) -> None:
        """Write it."""
        self._line(what=what, text=text, **facts)

    def _line(self, **facts: object) -> None:
        known = {
            name: None if isinstance(it, float) and not math.isfinite(it) else it
            for name, it in facts.items()
        }
        self._write(json.dumps(known, default=str))


class LiveViewer:
    """Redraws a few lines, as the run itself does in its terminal."""

    def __init__(self, display: LiveDisplay) -> None:
        """Draw on `display`."""
        self._display = display

    def update(self, behaviour: str, row: DisplayRow) -> None:
        """Draw it."""
        self._display.update(behaviour, row)

    def event(self, what: str, text: str, **facts: object) -> None:  # noqa: ARG002 - for programs
        """Write its words above."""
        self._display.message(text)


@dataclass(frozen=True)
class End:
    """How a sitting ended."""

    outcome: str
    exit_code: int
    why: str = ""
    env_steps: int | None = None
    """Over all policies, those behind their last updates too; None if nobody noted them."""


def _first_to_show(entries: Sequence[Mapping[str, Any]]) -> int:
    """Where the news begin: behind all that has been noted, or with the pause that still lasts."""
    for index in range(len(entries) - 1, -1, -1):
        what = entries[index]["what"]
        if what == "paused":
            return index
        if what in {"went on", "began", "ended"}:
            break
    return len(entries)


class Watch:
    """Looks at the folder of one run, again and again."""

    def __init__(self, folder: RunFolder, viewer: Viewer) -> None:
        """Show nothing yet."""
        self._folder = folder
        self._viewer = viewer
        self._metrics = MetricsTail(folder.metrics)
        self._alarms = AlarmTail(folder.log)
        self._rounds = RunRounds()
        self._history = _first_to_show(read_history(folder.history))
        self._is_first = True
        self._env_steps: dict[str, int] = {}

    @property
    def env_steps(self) -> int:
        """Over all policies, at their last updates."""
        return sum(self._env_steps.values())

    @property
    def is_running(self) -> bool:
        """Whether a trainer has the run."""
        return look_at(self._folder.lock_file).hold is Hold.HELD

    def look(self) -> None:
        """Show what is new. EntrainError if the folder has no configuration any more."""
        alarms = self._alarms.read()
        for level, words in alarms[-FEW:] if self._is_first else alarms:
            text = f"{level:5} {escape_control_chars(words)}"
            self._viewer.event("alarm", text, level=level)
        self._is_first = False
        entries = read_history(self._folder.history)
        for entry in entries[self._history :]:
            self._show(entry)
        self._history = len(entries)
        rows = self._metrics.read()
        if self._metrics.went_back:
            self._env_steps.clear()
            self._viewer.event("went back", "went back to an older checkpoint")
        config = load_config(self._folder.config, []) if rows else None
        for row in rows:
            assert config is not None
            self._env_steps[row.behaviour] = row.env_steps
            shares = self._rounds.add(
                row.behaviour, row.values, now_s=row.values.get(SECONDS.name, math.nan)
            )
            options = config.policy_for(row.behaviour)
            total = options.total_steps if options else row.env_steps
            of_rounds = round_words(config, shares, pace=self._rounds.pace)
            shown = _display_row(row, of_rounds, total_steps=total)
            self._viewer.update(row.behaviour, shown)

    def _show(self, entry: Mapping[str, Any]) -> None:
        what = str(entry["what"])
        facts = {name: it for name, it in entry.items() if name not in {"what", "text"}}
        if what == "changed":
            settings = ", ".join(map(str, entry.get("settings", ())))
            self._viewer.event(what, f"changed: {escape_control_chars(settings)}", **facts)
        elif what in _SHOWN:
            self._viewer.event(what, _SHOWN[what], **facts)

    def end(self) -> End:
        """How the last sitting ended; call if nobody has the run."""
        entries = read_history(self._folder.history)
        if not any(entry["what"] == "began" for entry in entries):  # of before there was a history
            state = status_of(self._folder, load_config(self._folder.config, [])).state
            return End(state, 0 if state in {"completed", "stopped"} else KILLED)
        for entry in reversed(entries):
            if entry["what"] == "ended":
                code = entry.get("exit_code")
                code = code if isinstance(code, int) else KILLED
                steps = entry.get("env_steps")
                return End(
                    str(entry.get("outcome")),
                    code,
                    str(entry.get("why", "")),
                    steps if isinstance(steps, int) else None,
                )
            if entry["what"] == "began":
                break
        return End("killed", KILLED, "its trainer ended without saving")


def watch(
    run: Path,
    *,
    as_json: bool,
    linger_s: float,
    console: Console,
    write: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> int:
    """Follow the run in folder `run` until it has ended; returns its exit code.

    Args:
        run: its folder.
        as_json: write a JSON object a line.
        linger_s: how long a run that ended and is not completed may take to be resumed.
        console: of the terminal.
        write: writes a line that is no drawing.
        sleep: waits for seconds.
        clock: seconds.

    Raises:
        ConfigError: there is no such run.
    """
    folder = RunFolder.existing(run)
    if console.is_terminal and not console.is_dumb_terminal and not as_json:
        with LiveDisplay(console) as display:
            watching = Watch(folder, LiveViewer(display))
            end = _follow(watching, linger_s=linger_s, sleep=sleep, clock=clock)
    else:
        viewer = JsonViewer(write) if as_json else LineViewer(write)
        watching = Watch(folder, viewer)
        end = _follow(watching, linger_s=linger_s, sleep=sleep, clock=clock)
    # An update is told of with the steps that it had; a rollout that was not full has more.
    steps = watching.env_steps if end.env_steps is None else end.env_steps
    why = f": {escape_control_chars(end.why)}" if end.why else ""
    text = f"{folder.name}: {end.outcome} after {steps:,} env steps{why}"
    last = JsonViewer(write) if as_json else LineViewer(write)
    last.event("end", text, outcome=end.outcome, exit_code=end.exit_code, env_steps=steps)
    return end.exit_code


def _follow(
    watching: Watch,
    *,
    linger_s: float,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> End:
    until_s: float | None = None
    while True:
        is_running = watching.is_running
        # After the look at the lock: what a run writes last is not missed.
        try:
            watching.look()
        except EntrainError:
            if is_running:
                raise
        if is_running:
            until_s = None
        else:
            end = watching.end()
            until_s = clock() + linger_s if until_s is None else until_s
            if end.outcome == "completed" or clock() >= until_s:
                return end
        sleep(LOOK_S)


def _display_row(row: Measured, words: RoundWords, *, total_steps: int) -> DisplayRow:
    progress = Progress(
        env_steps=row.env_steps,
        updates=row.updates,
        episodes=row.episodes,
        seconds=row.values.get(SECONDS.name, math.nan),
    )
    statistics = {
        name.removeprefix(STATISTICS): it
        for name, it in row.values.items()
        if name.startswith(STATISTICS)
    }
    return DisplayRow.from_metrics(
        row.values,
        progress=progress,
        total_steps=total_steps,
        statistics=statistics,
        round_words=words,
    )
