"""A display that redraws a few lines at the bottom of a terminal, below scrolling log lines."""

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from entrain.metrics import ENTROPY, EPISODE_RETURN_LAST, SIGMA, STEPS_PER_SECOND
from entrain.run.display import Display, DisplayRow, RoundWords, SimulatorsRow
from entrain.run.log_display import LogDisplay, is_update
from entrain.run.log_lines import LineFormatter
from entrain.run.quantities import compact, counted, duration

REFRESH_S = 0.25
"""Least time between two redraws."""

_SMOOTHING = 0.1
"""Weight of the newest rate in the mean rate from which the time left is estimated."""

_STYLES = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red", "DEBUG": "dim"}


def display_for(console: Console, *, for_programs: bool = False) -> Display:
    """Returns a live display if the terminal can show it, or else one that logs lines.

    Args:
        console: writes to stdout.
        for_programs: whether programs read what is logged, as JSON.
    """
    drawable = console.is_terminal and not console.is_dumb_terminal and not for_programs
    return LiveDisplay(console) if drawable else LogDisplay()


@dataclass
class _Policy:
    """The newest numbers of one policy's line."""

    row: DisplayRow
    env_steps: int
    """Newer than that of the row, between updates."""

    rate: float
    """Env steps per second, smoothed."""

    @property
    def left_s(self) -> float:
        steps = max(0, self.row.total_steps - self.env_steps)
        if steps == 0:
            return 0.0
        return steps / self.rate if self.rate > 0 else math.nan


class LiveDisplay:
    """Redraws its lines when it is told something, at most every REFRESH_S.

    Owned by the event loop. It also shows log records, which may come from any thread.
    """

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._handler = _LiveHandler(console)
        self._log = LogDisplay()
        self._silenced: list[logging.Handler] = []
        self._policies: dict[str, _Policy] = {}
        self._simulators: SimulatorsRow | None = None
        self._drawn_s = -math.inf
        self._started = False
        # Last, because Live calls `_render` at once.
        self._live = Live(console=console, auto_refresh=False, get_renderable=self._render)

    def __repr__(self) -> str:
        return f"<LiveDisplay of {len(self._policies)} policies>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Take over the terminal's last lines, and the log lines that would break into them."""
        if not self._started:
            self._started = True
            self._divert_logging()
            self._live.start()

    def stop(self) -> None:
        """Leave the last state on the screen, and restore logging."""
        if self._started:
            self._started = False
            # This draws once more.
            self._live.stop()
            self._restore_logging()

    def update(self, behaviour: str, row: DisplayRow) -> None:
        """Show the numbers of an update; the log's file has them as a line."""
        self._log.update(behaviour, row)
        before = self._policies.get(behaviour)
        self._policies[behaviour] = _Policy(
            row=row,
            env_steps=row.env_steps,
            rate=_smoothed(before.rate if before else math.nan, row.env_steps_per_second),
        )
        self._refresh()

    def serving(self, simulators: SimulatorsRow, env_steps: Mapping[str, int]) -> None:
        """Show who is connected, and how many steps each behaviour has done."""
        self._simulators = simulators
        self._log.serving(simulators, env_steps)
        for behaviour, steps in env_steps.items():
            if behaviour in self._policies:
                self._policies[behaviour].env_steps = steps
        self._refresh()

    def message(self, text: str) -> None:
        """Print a line above the live ones."""
        self._console.print(Text(text))

    def _refresh(self) -> None:
        now_s = self._clock()
        if self._started and now_s - self._drawn_s >= REFRESH_S:
            self._drawn_s = now_s
            self._live.refresh()

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = []
        if self._policies:
            parts.append(_policy_table(self._policies, width=self._console.width))
        # Every policy's newest row has them all; the last one is as good as any.
        for policy in list(self._policies.values())[-1:]:
            if policy.row.lessons:
                parts.append(Text(policy.row.lessons_text, style="dim", overflow="fold"))
            parts += _round_lines(policy.row.round, width=self._console.width)
        parts += [
            Text(f"{name}: {policy.row.late_text}", style="dim", overflow="fold")
            for name, policy in self._policies.items()
            if policy.row.late_text
        ]
        parts += [
            Text(f"{name}: {policy.row.statistics_text}", style="dim", overflow="fold")
            for name, policy in self._policies.items()
            if policy.row.statistics
        ]
        if self._simulators is not None:
            parts.append(_simulators_line(self._simulators))
        return Group(*parts)

    def _divert_logging(self) -> None:
        root = logging.getLogger()
        self._silenced = [handler for handler in root.handlers if _writes_to_terminal(handler)]
        for handler in self._silenced:
            root.removeHandler(handler)
            self._handler.setLevel(handler.level)
        root.addHandler(self._handler)

    def _restore_logging(self) -> None:
        root = logging.getLogger()
        root.removeHandler(self._handler)
        for handler in self._silenced:
            root.addHandler(handler)
        self._silenced = []


class _LiveHandler(logging.Handler):
    """Prints records through the live display's console, which draws its own lines below."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self.setFormatter(LineFormatter())
        # Updates are drawn.
        self.addFilter(lambda record: not is_update(record))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = Text(self.format(record))
            style = _STYLES.get(record.levelname, "cyan")
            text.stylize(style, 0, 5)
            self._console.print(text, soft_wrap=True)
        except Exception:  # logging's rule: a record never stops the program
            self.handleError(record)


def _writes_to_terminal(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    return stream in {sys.stdout, sys.stderr} and bool(stream.isatty())


def _smoothed(before: float, rate: float) -> float:
    if not math.isfinite(rate):
        return before
    return rate if not math.isfinite(before) else before + _SMOOTHING * (rate - before)


@dataclass(frozen=True)
class _Column:
    """One number of a policy's line."""

    title: str
    text: Callable[[_Policy], str]
    from_width: int
    """Of the narrowest terminal that shows it."""


_COLUMNS = (
    _Column(
        "env steps",
        lambda policy: f"{compact(policy.env_steps)} / {compact(policy.row.total_steps)}",
        30,
    ),
    _Column("return", lambda policy: EPISODE_RETURN_LAST.text(policy.row.return_last), 0),
    _Column("entropy", lambda policy: ENTROPY.text(policy.row.entropy), 80),
    _Column("sigma", lambda policy: SIGMA.text(policy.row.sigma), 80),
    _Column("steps/s", lambda policy: STEPS_PER_SECOND.text(policy.rate), 60),
    _Column("left", lambda policy: duration(policy.left_s), 40),
)

_SHARES_FROM_WIDTH = 60
"""Below it, the shares of time would take several lines."""

_BAR_FROM_WIDTH = 70
"""Below it, the bar would leave no room for a policy's name."""


def _policy_table(policies: Mapping[str, _Policy], *, width: int) -> Table:
    # The numbers and a short bar take 70 characters of 80; long names give way to them.
    columns = [column for column in _COLUMNS if width >= column.from_width]
    has_bar = width >= _BAR_FROM_WIDTH
    name_width = min(max(width - 70, 8), 24)
    table = Table(box=None, padding=(0, 2 if width >= 60 else 1, 0, 0), expand=has_bar)
    table.header_style = "dim"
    table.add_column(
        "policy", no_wrap=True, overflow="ellipsis", style="bold", max_width=name_width
    )
    if has_bar:
        table.add_column("", ratio=1, min_width=8)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for behaviour, policy in policies.items():
        bar = [_bar(policy)] if has_bar else []
        table.add_row(Text(behaviour), *bar, *(column.text(policy) for column in columns))
    return table


def _round_lines(words: RoundWords, *, width: int) -> Sequence[Text]:
    """Where the time goes; in a narrow terminal only what is the limit."""
    if not words.limit:
        return ()
    wide = width >= _SHARES_FROM_WIDTH
    lines = (words.shares_line, words.sentence, words.pace) if wide else (words.limit,)
    return [Text(line, style="dim", overflow="fold") for line in lines if line]


def _bar(policy: _Policy) -> ProgressBar:
    total = policy.row.total_steps
    return ProgressBar(
        total=total,
        completed=min(policy.env_steps, total),
        complete_style="cyan",
        finished_style="green",
    )


def _simulators_line(row: SimulatorsRow) -> Text:
    if row.connected < row.expected:
        who = f"{row.connected} of {row.expected} simulators are here; waiting for the others on "
    else:
        who = f"{counted(row.connected, 'simulator')} with {counted(row.agents, 'agent')} on "
    paused = "paused; " if row.is_paused else ""
    return Text(f"{paused}{who}{row.address}", style="dim", overflow="fold")
