"""Carries the messages of one stream from the thread that reads them to the kit's.

Bounded, so that a simulator that sends without end costs no memory. The end of the stream is not
one of the messages, so it arrives however many wait. Nothing here knows gRPC or WebSocket.
"""

import threading
from collections import deque
from typing import Generic, TypeVar

from entrain_envs.conformance.port import SilentError, StreamOverError

T = TypeVar("T")

MOST_WAITING = 8
"""Messages that wait to be looked at."""


class Arrivals(Generic[T]):
    """A queue of messages with an end. One thread puts and ends, another one gets."""

    def __init__(self, most: int = MOST_WAITING) -> None:
        self._most = most
        self._messages: deque[T] = deque()
        self._changed = threading.Condition()
        self._is_given_up = False
        self._why_over: str | None = None

    def put(self, message: T) -> None:
        """Add a message, once there is room. It is lost if there is none after `give_up`."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._messages) < self._most or self._is_given_up)
            if len(self._messages) < self._most:
                self._messages.append(message)
                self._changed.notify_all()

    def give_up(self) -> None:
        """`put` waits for room no more: the stream is over, or the kit ends it."""
        with self._changed:
            self._is_given_up = True
            self._changed.notify_all()

    def end(self, why: str) -> None:
        """No message follows those that wait. `why` is for people."""
        with self._changed:
            self._why_over = why
            self._changed.notify_all()

    def get(self, *, timeout_s: float) -> T:
        """The next message, waited for if `timeout_s` is above 0.

        Raises:
            SilentError: none came in time.
            StreamOverError: none will come, now and whenever it is asked again.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._messages or self._why_over is not None, max(0.0, timeout_s)
            )
            if self._messages:
                message = self._messages.popleft()
                self._changed.notify_all()
                return message
            if self._why_over is not None:
                raise StreamOverError(self._why_over)
            raise SilentError
