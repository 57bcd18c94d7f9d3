"""Decides what follows the end of a run's process: it rests, or is started again after a pause."""

import logging
from collections.abc import Callable
from math import inf

from entrain.app.launch_plan import last_line
from entrain.errors import ConfigError
from entrain.run.summary import RunSummary
from entrain.supervise import retries
from entrain.supervise.processes import Living
from entrain.supervise.served_run import ServedRun

logger = logging.getLogger(__name__)


class Endings:
    """See the module. Owned by the event loop."""

    def __init__(self, clock: Callable[[], float], *, restarts: bool) -> None:
        """Nothing has ended yet.

        Args:
            clock: seconds that never jump.
            restarts: whether what died is started again.
        """
        self._clock = clock
        self._restarts = restarts
        self.number = 0
        """Of the newest end of any run; those of earlier supervisors count."""

    def note(self, run: ServedRun, living: Living) -> None:
        """Decide about a run whose process has ended."""
        now_s = self._clock()
        was_asked, lived_s = run.is_stopping, now_s - run.since_s
        run.living, run.asked_s, run.ended_s = None, inf, now_s
        words = retries.words_of(living.code)
        run.note_record(
            process=0, began="", is_own=False, ended=self._next(), code=living.code, words=words
        )
        if was_asked:
            rest = "removed" if run.file is None else ""
            run.note_record(rest=rest, words="stopped as asked", failures=0)
            logger.info("%s has %s", run.name, "saved" if living.code == 0 else f"ended: {words}")
            return
        stopped_code = 0 if run.config is None else run.config.stopped_exit_code
        end = retries.End(
            code=living.code,
            outcome=_outcome(run, living.code),
            lived_s=lived_s,
            stopped_code=stopped_code,
        )
        self._decide(run, end, words)

    def note_no_start(self, run: ServedRun, why: str) -> None:
        """Decide about a run whose process could not even be started."""
        run.note_record(is_starting=False, ended=self._next(), code=None)
        # As if the disk had refused: that may be mended.
        self._decide(run, retries.End(code=7, outcome="", lived_s=0.0), why)

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _decide(self, run: ServedRun, end: retries.End, words: str) -> None:
        decision = retries.after(end, failures=run.record.failures, restarts=self._restarts)
        if isinstance(decision, retries.Rest):
            self._rest(run, decision.state, words)
        else:
            self._pause(run, decision, words)

    def _rest(self, run: ServedRun, state: str, words: str) -> None:
        if state == "given up":
            words = f"{words}{_last_words(run)}"
            logger.error(
                "%s is given up, until its file is changed: it ended with %s", run.name, words
            )
        elif state == "stopped":
            words = "it was stopped by hand, and goes on when its file is changed (touch)"
            logger.info("%s: %s", run.name, words)
        else:
            words = ""
            logger.info("%s is %s", run.name, state)
        rest = "removed" if run.file is None else state
        run.note_record(rest=rest, failures=0, words=words)

    def _pause(self, run: ServedRun, again: retries.Again, words: str) -> None:
        words = f"{words}{_last_words(run)}"
        run.due_s = self._clock() + again.pause_s
        restarts = run.record.restarts + 1
        run.note_record(failures=again.failures, restarts=restarts, words=words)
        # What fails for ever must not fill the log: the 1st, 2nd, 4th, 8th ... time is said.
        if again.failures & (again.failures - 1) == 0:
            times = f", {again.failures} times in a row" if again.failures > 1 else ""
            logger.warning(
                "%s ended%s: %s. It is started again in %.0f s",
                run.name,
                times,
                words,
                again.pause_s,
            )


def stamp_of_summary(run: ServedRun) -> int:
    """When the run's summary was written; 0 if there is none. Compared, never ordered."""
    try:
        return run.folder.summary.stat().st_mtime_ns
    except OSError:
        return 0


def _outcome(run: ServedRun, code: int | None) -> str:
    """The outcome that the run wrote; "" if none, or if an earlier process wrote it."""
    try:
        outcome = RunSummary.load(run.folder.summary).outcome
    except ConfigError:
        return ""
    is_of_this = code == 0 or stamp_of_summary(run) != run.record.summary_stamp
    return outcome if is_of_this else ""


def _last_words(run: ServedRun) -> str:
    words = last_line(run.output) if run.output.is_file() else ""
    return f"; its last words: {words[:1000]}" if words else ""
