"""Notices that a trainer is silent for long, asks it why on a second connection, gives up a stream.

    waits --silence_s--> asks --held--> waits on, however long an update takes
                          |--answered--> waits answer_s more ------.
                          '--not held, or nobody answers in time --+--> the stream is given up

Bytes that were damaged or swallowed on the way can leave both ends of a stream waiting for each
other for ever, each answering the other's pings. The client dials again after a stream that was
given up and sends its Step again; the trainer counts it once. Nothing here knows gRPC.
"""

import logging
import math
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import MethodType
from typing import Protocol

from entrain_envs.errors import BrokenStreamError, OptionError, RefusedError
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)

SILENCE_S = 30.0
"""How long a Step may be without its Act before the trainer is asked about it."""

ANSWER_S = 5.0
"""Longest wait for the answer, and for an Act that the trainer says it has sent."""

LOOKS = 10
"""How often within a silence the clock is read: so much later than due the question may come."""


class Stream(Protocol):
    """The methods of a stream that a silence needs. Callable from any thread."""

    def inquire(self, request: pb.InquireRequest, *, timeout_s: float) -> pb.InquireResponse:
        """Ask the same trainer on a second connection.

        Raises:
            BrokenStreamError: nobody answered in time.
            RefusedError: the trainer does not answer such questions, or not from here.
            OptionError: a file that it needs cannot be used now.
        """
        ...

    def give_up(self, words: str) -> None:
        """End it, so that who waits for a message is told these words as a SilentStreamError."""
        ...


@dataclass(frozen=True)
class Wait:
    """A simulator that waits for the Act of one Step."""

    stream: Stream
    session_id: str
    instance_id: str
    sequence: int

    @property
    def step(self) -> tuple[str, int]:
        """Names the Step: the same value on every stream that it is sent on."""
        return self.session_id, self.sequence


class Silence:
    """See the module. Looks and asks in a thread of its own, which `start` starts.

    A stream that is given up doubles the time that the same Step has on the next one: a Step or
    an Act that takes longer on its way than a silence is long arrives nevertheless.
    """

    def __init__(self, *, clock: Callable[[], float], silence_s: float, answer_s: float) -> None:
        """Start without a wait. OptionError if a time is not above 0.

        Args:
            clock: monotonic, in seconds.
            silence_s: how long a Step may be without its Act; infinite: for ever.
            answer_s: longest wait for an answer, and for an Act that was sent.
        """
        for name, value in (("silence_s", silence_s), ("answer_s", answer_s)):
            if not value > 0.0:
                raise OptionError(f"{name} is {value}; expected seconds, more than 0")
        self._clock = clock
        self._silence_s = silence_s
        self._answer_s = answer_s
        self._wait: Wait | None = None
        self._given_up = ("", 0)
        self._allowed_s = silence_s
        self._due_s = math.inf
        self._is_answered = False
        self._over: threading.Event | None = None

    def start(self, waits_for: Callable[[], Wait | None]) -> None:
        """Look from now on, until `stop`. Started twice, it is started once.

        Args:
            waits_for: a method, called from the thread: for what the simulator waits now. Its
                object is not kept alive.
        """
        if self._over is not None or math.isinf(self._silence_s):
            return
        self._over = threading.Event()
        assert isinstance(waits_for, MethodType)
        arguments = (self._over, self._silence_s / LOOKS, self, weakref.WeakMethod(waits_for))
        threading.Thread(target=_watch, args=arguments, name="silence", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        over, self._over = self._over, None
        if over is not None:
            over.set()

    def look(self, waits_for: Callable[[], Wait | None]) -> None:
        """Compare with the last look, and ask or give up if it is time."""
        wait, now_s = waits_for(), self._clock()
        if wait != self._wait:
            self._begin(wait, now_s)
        elif wait is not None and now_s >= self._due_s:
            why = self._reason_to_give_up(wait)
            # It may have been answered while the trainer was asked.
            if why and waits_for() == wait:
                self._given_up = wait.step
                self._allowed_s *= 2.0
                self._due_s = math.inf
                wait.stream.give_up(why)

    def _begin(self, wait: Wait | None, now_s: float) -> None:
        self._wait = wait
        self._is_answered = False
        if wait is None:
            return
        if wait.step != self._given_up:
            self._allowed_s = self._silence_s
        self._due_s = now_s + self._allowed_s

    def _reason_to_give_up(self, wait: Wait) -> str:
        """Ask; "" if it is right to wait on."""
        silent = f"no Act came for Step {wait.sequence} within {self._allowed_s:g} s"
        if self._is_answered:
            return f"{silent}, although the trainer has sent it"
        request = pb.InquireRequest(
            session_id=wait.session_id, instance_id=wait.instance_id, sequence=wait.sequence
        )
        try:
            standing = wait.stream.inquire(request, timeout_s=self._answer_s).standing
        except BrokenStreamError as error:
            return f"{silent}, and the trainer does not say whether it has the Step ({error})"
        except (RefusedError, OptionError) as error:
            logger.info("%s; whether the trainer has the Step it does not tell (%s)", silent, error)
            standing = pb.STEP_STANDING_UNSPECIFIED
        if standing == pb.STEP_STANDING_NOT_HELD:
            return f"{silent}, and the trainer has not received the Step"
        self._is_answered = standing == pb.STEP_STANDING_ANSWERED
        self._due_s = self._clock() + (self._answer_s if self._is_answered else self._allowed_s)
        return ""


def _watch(
    over: threading.Event,
    every_s: float,
    silence: Silence,
    waits_for: "weakref.WeakMethod[Callable[[], Wait | None]]",
) -> None:
    """Look now and then, until it is over or the simulator's client is gone."""
    while not over.wait(every_s):
        ask = waits_for()
        if ask is None:
            return
        silence.look(ask)
        # Held while it waits, it would keep a client alive that nobody uses any more.
        del ask
