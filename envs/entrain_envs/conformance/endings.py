"""How a session or a life ends: stopped, lost, completed, refused, or told of a small limit."""

import contextlib
from typing import NoReturn

from entrain_envs.conformance.front_door import FrontDoor, Greeting
from entrain_envs.conformance.greetings import judge_return
from entrain_envs.conformance.pace import Pace
from entrain_envs.conformance.port import End, SilentError, Stream, StreamOverError
from entrain_envs.conformance.results import Results
from entrain_envs.conformance.resuming import hear_again
from entrain_envs.conformance.session import LeftError, Session
from entrain_envs.wire import trainer_pb2 as pb

_FEW_BYTES = 16
"""A limit on messages that no Step with rows keeps."""


class Endings:
    """See the module. Those of a session raise LeftError when it is over."""

    def __init__(self, door: FrontDoor, results: Results, *, pace: Pace) -> None:
        self._door = door
        self._results = results
        self._pace = pace

    def stop(self, session: Session) -> None:
        """Close STOPPED comes in place of an Act; it leaves with Goodbye, or dials again."""
        session.next_step()
        session.close(pb.CLOSE_REASON_STOPPED)
        said = self._last_words(session)
        if said == "goodbye":
            self._results.passed("stopped")
            raise LeftError("it left when the trainer stopped, which it may")
        if said == "step":
            self._fail_after_close("stopped", session)
        session.stream.end(End.NORMAL)
        greeting = self._door.dialled_again()
        if greeting is None and self._results.has_failed("resume"):
            self._results.not_shown(
                "stopped", "it does not dial again after a broken stream either"
            )
            raise LeftError("it did not dial again when the trainer stopped")
        if greeting is None:
            self._results.failed(
                "stopped",
                f"neither Goodbye nor another dial within {self._pace.dial_s:g} s of Close STOPPED",
                "say Goodbye, or dial again with resume_session_id, as after a broken stream",
            )
            raise LeftError("it did not dial again when the trainer stopped")
        if session.go_on(greeting.stream, greeting.hello):
            self._results.passed("stopped")
            hear_again(session)

    def lose(self, session: Session) -> None:
        """The stream breaks, and Welcome says that the session is forgotten."""
        session.next_step()
        session.stream.end(End.BROKEN, "the check breaks the stream")
        greeting = self._door.dialled_again()
        if greeting is None:
            self._results.failed(
                "resume",
                f"nobody dialled again within {self._pace.dial_s:g} s of a broken stream",
                "dial again each time a stream ends without Close",
            )
            raise LeftError("it did not dial again after its stream broke")
        judge_return(greeting.hello, session.hello, session.session_id, self._results)
        session.stream = greeting.stream
        session.begin(allowed=1)
        try:
            request, raw = session.message(self._pace.step_s)
        except SilentError:
            self._fail_anew(session, "nothing")
        except StreamOverError:
            self._fail_anew(session, "the end of the stream")
        if not request.HasField("step"):
            self._results.not_shown("begins-anew", "it left with Goodbye when its session was lost")
            session.stream.end(End.NORMAL)
            raise LeftError("it left when its session was lost, which it may")
        types = {each for part in request.step.behaviours for each in part.step_type}
        if request.step.sequence > 1 or types - {pb.STEP_TYPE_FIRST}:
            names = ", ".join(pb.StepType.Name(each)[10:] for each in sorted(types) if 0 < each < 5)
            self._fail_anew(session, f"Step {request.step.sequence} with rows {names or 'none'}")
        self._results.passed("begins-anew")
        session.put_back(raw)
        session.next_step()
        session.hold(self._pace.second_step_s)

    def _fail_anew(self, session: Session, arrived: str) -> NoReturn:
        self._results.failed(
            "begins-anew",
            f"{arrived} after Welcome with resumed false; expected Step 1 with FIRST rows alone",
            "look at `resumed` of Welcome: if it is false, forget all agents, reset the world, "
            "number Steps from 1 and begin with FIRST rows",
        )
        session.stream.end(End.INVALID_ARGUMENT, "the check says in its report what is wrong")
        raise LeftError("it did not begin anew")

    def complete(self, session: Session) -> None:
        """Close COMPLETED comes in place of an Act; it says Goodbye and stays away."""
        session.next_step()
        session.close(pb.CLOSE_REASON_COMPLETED)
        said = self._last_words(session)
        if said == "step":
            self._fail_after_close("completed", session)
        self._results.check(
            "completed",
            said == "goodbye",
            "the stream ended without Goodbye"
            if said == "over"
            else f"neither Goodbye nor an end of the stream within {self._pace.goodbye_s:g} s",
            "after Close COMPLETED send Goodbye, then end the stream",
        )
        session.stream.end(End.NORMAL)
        self._watch("stays-away", session.hello.instance_id)
        raise LeftError("all is done with it")

    def refuse(self, greeting: Greeting) -> None:
        """INVALID_ARGUMENT comes in place of Welcome."""
        greeting.stream.end(
            End.INVALID_ARGUMENT, "the check refuses this Hello to see what follows"
        )
        self._watch("refused", greeting.hello.instance_id)

    def close_at_once(self, greeting: Greeting) -> None:
        """Close COMPLETED comes in place of Welcome."""
        close = pb.Close(reason=pb.CLOSE_REASON_COMPLETED, message="nothing is left to do")
        greeting.stream.send(pb.ConnectResponse(close=close).SerializeToString())
        self._end(greeting.stream)
        self._watch("closed-at-once", greeting.hello.instance_id)

    def limit_messages(self, greeting: Greeting) -> None:
        """Welcome allows messages of 16 bytes: no Step with rows may follow."""
        session = Session(greeting.stream, greeting.hello, Results(), pace=self._pace, seed=1)
        session.begin(max_message_bytes=_FEW_BYTES)
        try:
            request, raw = session.message(self._pace.quiet_s)
        except (SilentError, StreamOverError):
            self._results.passed("message-length")
        else:
            is_step = request.HasField("step")
            if is_step and len(raw) <= _FEW_BYTES:
                self._results.not_shown("message-length", "its first Step has no rows")
            else:
                self._results.check(
                    "message-length",
                    not is_step,
                    f"a Step of {len(raw)} bytes; Welcome's max_message_bytes is {_FEW_BYTES}",
                    "compare before sending, and say in words that fewer agents, smaller images "
                    "or a larger server.max_message_mib are needed",
                )
        session.stream.end(End.RESOURCE_EXHAUSTED, "the check is over for this process")

    def _watch(self, rule: str, instance_id: str) -> None:
        self._results.check(
            rule,
            self._door.stays_away(instance_id),
            "the same process dialled again",
            "end, or wait for a person: the next dial would bring the same answer",
        )

    def _last_words(self, session: Session) -> str:
        """Say what follows Close: "goodbye", "step", "over" (the stream ended) or "silence"."""
        while True:
            try:
                request, raw = session.message(self._pace.goodbye_s)
            except SilentError:
                return "silence"
            except StreamOverError:
                return "over"
            if request.HasField("goodbye"):
                return "goodbye"
            if not session.may_send:
                return "step"
            # It was on its way when Close was sent.
            session.take(request, raw)

    def _fail_after_close(self, rule: str, session: Session) -> NoReturn:
        self._results.failed(rule, "a Step after Close", "send no Step after Close")
        session.stream.end(End.INVALID_ARGUMENT, "a Step came after Close")
        raise LeftError("it sent a Step after Close")

    def _end(self, stream: Stream) -> None:
        """Let the last words come, and end the stream."""
        with contextlib.suppress(SilentError, StreamOverError):
            stream.receive(timeout_s=self._pace.goodbye_s)
        stream.end(End.NORMAL)
