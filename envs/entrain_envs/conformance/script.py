"""The order of events: what the kit does to a simulator so that it shows every rule.

A *life* is one process of the simulator. Tasks that end it are last; those that are left are done
with the next one, if it is started again.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from entrain_envs.conformance.endings import Endings
from entrain_envs.conformance.front_door import FrontDoor, Greeting
from entrain_envs.conformance.pace import Pace
from entrain_envs.conformance.port import Port
from entrain_envs.conformance.results import Results, shown
from entrain_envs.conformance.rules import RULES
from entrain_envs.conformance.session import LeftError, Session
from entrain_envs.conformance.trials import Trials

logger = logging.getLogger("entrain_envs")

_ENDS = 4
"""Ends of streams to keep time for: each takes `goodbye_s`, and `quiet_s` without a dial."""

_LOOK_S = 1.0
"""How often to look whether the simulator still runs that has not dialled yet."""

_PLAYED = tuple(rule.name for rule in RULES if rule.part != "life")
"""A simulator that breaks one of these while it plays is not led further: it would again."""

_LATER = tuple(rule.name for rule in RULES if rule.part in {"acts", "life"})

_RECONNECTING = ("same-instance", "resume", "names-all", "sends-again", "waits-to-dial")


class Launcher(Protocol):
    """Starts the simulator for each life."""

    def start(self) -> None:
        """Start it."""
        ...

    def stop(self) -> None:
        """See that it has ended."""
        ...

    @property
    def is_running(self) -> bool:
        """Whether it still runs."""
        ...


class Script:
    """See the module. `run` returns the results."""

    def __init__(
        self,
        port: Port,
        *,
        pace: Pace,
        timeout_s: float,
        seed: int = 1,
        token: str = "",
        launcher: Launcher | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.results = Results()
        self._pace = pace
        self._seed = seed
        self._launcher = launcher
        self._clock = clock
        self._deadline_s = clock() + timeout_s
        self._door = FrontDoor(port, self.results, pace=pace, token=token, clock=clock)
        self._trials = Trials(port, self._door, self.results, pace=pace, clock=clock)
        self._endings = Endings(self._door, self.results, pace=pace)
        self._is_first = True

    @property
    def simulator(self) -> str:
        """The name in its Hello; empty if none has come."""
        return self._door.simulator

    def run(self) -> Results:
        """Serve one life after another until all is done, or the time is over."""
        with_session: list[Callable[[Session], None]] = [
            self._trials.play,
            self._trials.break_unanswered,
            self._trials.break_answered,
            self._be_silent,
            self._deny,
            self._endings.stop,
            self._endings.lose,
            self._endings.complete,
        ]
        at_once = [self._endings.refuse, self._endings.close_at_once, self._endings.limit_messages]
        while with_session or at_once:
            greeting = self._next_life(len(with_session) + len(at_once))
            if greeting is None:
                break
            if with_session:
                self._serve(greeting, with_session)
            else:
                at_once.pop(0)(greeting)
            if self._launcher is not None:
                self._launcher.stop()
        if self._left_s() <= 0.0:
            self._note_not_shown(_LATER, "the time was over")
        return self.results

    def _left_s(self) -> float:
        return self._deadline_s - self._clock()

    def _next_life(self, num_tasks: int) -> Greeting | None:
        """The first Hello of the next process; None if the time is over."""
        if self._left_s() <= 0.0:
            return None
        if self._launcher is not None:
            self._door.expect_new_process()
            self._launcher.start()
        elif not self._is_first:
            logger.info(
                "to go on (%d more), start the simulator again within %.0f s; Ctrl+C ends it",
                num_tasks,
                self._left_s(),
            )
        self._is_first = False
        while (left_s := self._left_s()) > 0.0:
            is_running = self._launcher is None or self._launcher.is_running
            greeting = self._door.first_greeting(min(left_s, _LOOK_S))
            if greeting is not None:
                return greeting
            if not is_running:
                logger.warning("the simulator ended and said no Hello that can be answered")
                return None
        return None

    def _serve(self, greeting: Greeting, tasks: list[Callable[[Session], None]]) -> None:
        """Do what is left with one life, until it ends."""
        session = Session(
            greeting.stream, greeting.hello, self.results, pace=self._pace, seed=self._seed
        )
        session.begin(allowed=2)
        try:
            while tasks and self._left_s() > 0.0:
                task = tasks.pop(0)
                logger.info("%s: %s", self.simulator, (task.__doc__ or "").partition(".")[0])
                task(session)
        except LeftError as left:
            logger.info("%s: this life is over: %s", self.simulator, shown(str(left)))
            if task == self._trials.play and any(map(self.results.has_failed, _PLAYED)):
                tasks.clear()
                self._note_not_shown(_LATER, "a rule was broken that ends a session")
            self._note_not_shown(_RECONNECTING, f"before its stream was broken, {left}")

    def _be_silent(self, session: Session) -> None:
        """Leave a Step without its Act until Inquire comes."""
        if self._has_time_for_silence("inquires"):
            self._trials.be_silent(session)

    def _deny(self, session: Session) -> None:
        """Leave a Step without its Act, and say that the trainer has not got it."""
        if not self.results.has_passed("inquires"):
            self.results.not_shown("gives-up", "it did not ask before")
        elif self._has_time_for_silence("gives-up"):
            self._trials.deny(session)

    def _has_time_for_silence(self, rule: str) -> bool:
        """Whether enough is left for what comes after it, too."""
        needed_s = self._pace.silence_s + _ENDS * (self._pace.quiet_s + self._pace.goodbye_s)
        if self._left_s() >= needed_s:
            return True
        self.results.not_shown(rule, f"only {max(0.0, self._left_s()):.0f} s were left")
        return False

    def _note_not_shown(self, names: Sequence[str], why: str) -> None:
        for name in names:
            self.results.not_shown(name, why)
