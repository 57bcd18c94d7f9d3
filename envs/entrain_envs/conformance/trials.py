"""Ordinary play, and what a session must survive: broken streams, late and odd Acts, silence."""

import itertools
from collections.abc import Callable

from entrain_envs.conformance.acting import UNKNOWN, padding
from entrain_envs.conformance.front_door import FrontDoor, Greeting
from entrain_envs.conformance.pace import Pace
from entrain_envs.conformance.port import (
    End,
    Port,
    Question,
    SilentError,
    StreamOverError,
)
from entrain_envs.conformance.results import Results
from entrain_envs.conformance.resuming import hear_again
from entrain_envs.conformance.session import LeftError, Session
from entrain_envs.wire import trainer_pb2 as pb

_MEBIBYTE = 2**20

_PARAMETERS = {"conformance_kit": -1.5, "unheard_of": 0.0}
"""Names without a meaning, because a simulator may refuse values of those that it knows."""


class Trials:
    """See the module. Each raises LeftError if the session cannot go on."""

    def __init__(
        self,
        port: Port,
        door: FrontDoor,
        results: Results,
        *,
        pace: Pace,
        clock: Callable[[], float],
    ) -> None:
        self._port = port
        self._door = door
        self._results = results
        self._pace = pace
        self._clock = clock

    def play(self, session: Session) -> None:
        """Ordinary Steps until some episodes have ended, with Acts that are late, long and odd."""
        odd: list[tuple[str, Callable[[], None]]] = [
            ("parameters", lambda: session.answer(parameters=_PARAMETERS)),
            ("unknown-fields", lambda: session.answer(extra=UNKNOWN)),
            ("late-act", lambda: self._answer_late(session)),
            ("long-act", lambda: session.answer(extra=padding(_MEBIBYTE))),
        ]
        session.next_step()
        for number in range(self._pace.max_steps):
            if number >= self._pace.min_steps and session.ended >= self._pace.episodes:
                return
            rule = "plays-on"
            if odd and number >= 2 and number % 2 == 0:
                rule, answer = odd.pop(0)
                answer()
            else:
                session.answer()
            session.next_step(rule)

    def _answer_late(self, session: Session) -> None:
        deadline_s = session.deadline_s
        late_s = max(self._pace.late_s, 2.0 * deadline_s)
        session.hold(late_s)
        answers = session.stream.answers_ping(timeout_s=self._pace.step_s)
        if answers is not None:
            self._results.check(
                "pongs",
                answers,
                f"no pong within {self._pace.step_s:g} s of a ping",
                "answer pings also while the game simulates or waits; a trainer ends a connection "
                "that is silent for 20 s after one",
            )
        session.answer()
        if deadline_s and not self._results.has_failed("waits"):
            session.next_step("late-act")
            self._judge_late(session, deadline_s, late_s)

    def _judge_late(self, session: Session, deadline_s: float, late_s: float) -> None:
        """Look at the outcomes in the Step after an Act that came after the deadline.

        Of agents that have a deadline. What those without one did is their own affair.
        """
        late, others = session.late_outcomes()
        early = sorted(each for each, is_late in others.items() if is_late)
        if early:
            self._results.failed(
                "says-late",
                f"rows of {early[:3]} with late 1, and no row in the Step whose Act came late",
                "write late = 1 for the agents of that Step alone; the others act by an Act that "
                "came in time",
            )
        if not late:
            return
        wrong = sorted(each for each, is_late in late.items() if not is_late)
        self._results.check(
            "says-late",
            not wrong,
            f"rows of {wrong[:3]} with late 0 after an Act that came after {late_s * 1000:.0f} ms, "
            f"with a deadline of {deadline_s * 1000:.0f} ms",
            "do not apply an action that comes after the deadline, and write late = 1 in the next "
            "row of each agent of that Step whose behaviour has a deadline",
        )

    def break_unanswered(self, session: Session) -> None:
        """The stream breaks while a Step has no Act, and two dials more fail."""
        session.next_step()
        session.stream.end(End.BROKEN, "the check breaks the stream")
        opened = []
        for _ in range(2):
            stream = self._door.next_dial()
            if stream is None:
                break
            opened.append(stream.opened_s)
            stream.end(End.UNAVAILABLE, "the check is not ready yet")
        greeting = self._returned(session)
        opened.append(greeting.stream.opened_s)
        pauses = [after - before for before, after in itertools.pairwise(opened)]
        self._results.check(
            "waits-to-dial",
            min(pauses, default=1.0) >= self._pace.pause_s,
            f"dialled again {min(pauses, default=0.0) * 1000:.0f} ms after a dial that failed",
            "wait before each dial, twice as long each time (0.1 s to 2 s), with jitter",
        )
        if session.go_on(greeting.stream, greeting.hello):
            hear_again(session)

    def break_answered(self, session: Session) -> None:
        """The stream breaks right after an Act, which may be lost."""
        session.next_step()
        session.answer()
        session.stream.end(End.BROKEN, "the check breaks the stream")
        greeting = self._returned(session)
        if session.go_on(greeting.stream, greeting.hello):
            hear_again(session)

    def _returned(self, session: Session) -> Greeting:
        greeting = self._door.dialled_again()
        if greeting is not None:
            return greeting
        self._results.failed(
            "resume",
            f"nobody dialled again within {self._pace.dial_s:g} s of a broken stream",
            "dial again when the stream ends without Close, with resume_session_id in Hello",
        )
        raise LeftError(f"it did not dial again after its stream broke ({session.session_id})")

    def be_silent(self, session: Session) -> None:
        """Leave a Step without its Act until Inquire comes, say HELD, and answer late."""
        # A Step that was sent again after a broken stream may be silent for twice as long.
        for _ in range(session.wanted):
            session.next_step()
            session.answer()
        session.next_step()
        question = self._asked()
        if question is None:
            self._results.failed(
                "inquires",
                f"no Inquire, though Step {session.unanswered[0].sequence} had no Act for "
                f"{self._pace.silence_s:g} s",
                "after 30 s without an Act, ask on a second connection whether the trainer holds "
                "the Step: damaged bytes can let both ends wait for ever",
            )
        else:
            arrived = (question.session_id, question.instance_id, question.sequence)
            first = session.unanswered[0].sequence
            expected = (session.session_id, session.hello.instance_id, first)
            self._results.check(
                "inquires",
                arrived == expected,
                f"Inquire names {arrived}; expected {expected}",
                "name the session of Welcome, the instance_id of Hello, and the first Step "
                "without an Act",
            )
        self._must_wait_on(session, was_asked=question is not None)
        session.answer()
        session.next_step("inquires" if question is not None else "plays-on")

    def _asked(self) -> Question | None:
        """The Inquire that comes while a Step has no Act; None if none comes."""
        until_s = self._clock() + self._pace.silence_s
        question = None
        while question is None and self._clock() < until_s:
            question = self._port.next_question(timeout_s=1.0)
        return question

    def deny(self, session: Session) -> None:
        """Leave a Step without its Act, and say NOT_HELD: the stream must be given up."""
        session.next_step()
        self._port.answer_with(pb.STEP_STANDING_NOT_HELD)
        try:
            asked = self._asked()
        finally:
            self._port.answer_with(pb.STEP_STANDING_HELD)
        if asked is None:
            return
        greeting = self._door.dialled_again()
        self._results.check(
            "gives-up",
            greeting is not None,
            f"nobody dialled again within {self._pace.dial_s:g} s of NOT_HELD",
            "after NOT_HELD cancel the stream, dial again with resume_session_id, and send the "
            "Step again",
        )
        if greeting is None:
            session.answer()
        elif session.go_on(greeting.stream, greeting.hello):
            hear_again(session)

    def _must_wait_on(self, session: Session, *, was_asked: bool) -> None:
        try:
            session.stream.receive(timeout_s=self._pace.late_s)
        except SilentError:
            return
        except StreamOverError:
            if was_asked:
                self._results.failed(
                    "inquires",
                    "the stream was given up although the trainer said HELD",
                    "after HELD wait on, however long, and ask again after another 30 s",
                )
            raise LeftError("it gave up a stream that was silent") from None
