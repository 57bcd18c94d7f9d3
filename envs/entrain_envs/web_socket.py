"""A WebSocket, bytes in and bytes out, for a program that blocks while it waits.

    dialled by the first receive --> open --> closed by either end, or broken

Whoever receives also reads: no thread stands between the network and the simulator, which costs a
change of threads for each message. While the simulator computes, a thread that otherwise sleeps
looks now and then, so that pings are answered.
"""

import contextlib
import select
import selectors
import socket
import ssl
import threading
import time
import weakref

from entrain_envs.errors import BrokenStreamError
from entrain_envs.web_socket_frames import (
    ClosedError,
    Endpoint,
    Frames,
    NotOpenedError,
    TooLongError,
)

PART_BYTES = 65536
"""Most that is read at once."""

LOOK_S = 5.0
"""How often the thread looks, while nobody receives."""

SILENT_S = 20.0
"""After so long without a byte this end pings; after as long again the connection is broken."""

LONGEST_WAIT_S = 3600.0
"""The longest that one system call may wait."""

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE

STUCK_S = 5.0
"""How long `send` waits for a trainer that reads nothing; `receive` then goes on with it."""


class WebSocket:
    """See the module. `receive` and `close` belong to one thread; any thread may send."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Nothing is dialled before `receive`."""
        self._endpoint = endpoint
        self._frames = Frames(endpoint)
        self._socket: socket.socket | None = None
        self._heard_s = 0.0
        self._asked_s = 0.0
        """When it was pinged because nothing was heard; 0: it was heard since."""
        self._guard = threading.Lock()
        """Held to write, and to read."""
        self._is_receiving = False
        self._over = threading.Event()

    def send(self, content: bytes) -> None:
        """Send one message, after those before. What cannot be sent is raised by `receive`."""
        self._frames.say(content)
        self._flush()
        until_s = time.monotonic() + STUCK_S
        while (left := self._left()) and not self._frames.failure and time.monotonic() < until_s:
            # Only what can be written: what can be read stays, and would end each wait at once.
            self._wait(0.1, events=_WRITE)
            self._flush()
            if self._left() != left:
                until_s = time.monotonic() + STUCK_S

    def _left(self) -> int:
        """Bytes of what is to be written next; 0 if nothing is, or another thread has it."""
        try:
            return len(self._frames.outgoing[0])
        except IndexError:
            return 0

    def receive(self, *, until_s: float) -> bytes:
        """Wait for the next message; what `time.monotonic` says then ends the wait.

        Raises:
            ClosedError, NotOpenedError, TooLongError: the other end's answer is none.
            BrokenStreamError: the connection broke, or the time is over.
        """
        if self._socket is None:
            self._dial(until_s)
        with self._guard:
            self._is_receiving = True
        try:
            while not self._frames.messages:
                if self._frames.failure is not None:
                    raise self._frames.failure
                self._wait(self._patience(until_s))
                self._exchange_bytes()
            return self._frames.messages.popleft()
        finally:
            self._is_receiving = False

    def _patience(self, until_s: float) -> float:
        """How long to wait for a byte now."""
        now_s = time.monotonic()
        if now_s >= until_s:
            raise BrokenStreamError("DEADLINE_EXCEEDED: no message came in time")
        if self._asked_s == 0.0:
            left_s = self._heard_s + SILENT_S - now_s
            if left_s > 0.0:
                return min(until_s - now_s, left_s)
            self._asked_s = now_s
            self._frames.ping()
            self._flush()
        left_s = self._asked_s + SILENT_S - now_s
        if left_s <= 0.0:
            raise BrokenStreamError(
                f"UNAVAILABLE: nothing was heard for {now_s - self._heard_s:.0f} s, not even the "
                "answer to a ping"
            )
        return min(until_s - now_s, left_s)

    def break_off(self) -> None:
        """From any thread: end the connection, so that who receives is told of a broken one."""
        if self._socket is None:
            # It is not dialled yet, or just now.
            self._frames.fail("the connection was closed here")
        found = self._socket
        if found is not None:
            with contextlib.suppress(OSError):
                # Of the plain socket: one of TLS would not be a thread's other than its owner's.
                socket.socket.shutdown(found, socket.SHUT_RDWR)

    def say_end(self) -> None:
        """Say that no more messages follow; the other end then closes."""
        self._frames.close()
        self._flush()

    def drain(self, *, until_s: float) -> None:
        """Read until the other end closes, or the time is over."""
        with contextlib.suppress(BrokenStreamError, ClosedError, NotOpenedError, TooLongError):
            while self._socket is not None:
                self.receive(until_s=until_s)

    def close(self) -> None:
        """Close the connection, whatever was sent on it."""
        self._over.set()
        # Another thread may wait on it, and a socket that is only closed wakes nobody.
        self.break_off()
        with self._guard:
            found, self._socket = self._socket, None
            self._frames.fail("the connection was closed here")
        if found is not None:
            found.close()

    # Dialling

    def _dial(self, until_s: float) -> None:
        if self._frames.failure is not None:
            raise self._frames.failure
        try:
            self._socket = self._connected(until_s)
        except (OSError, ValueError) as error:
            raise BrokenStreamError(f"UNAVAILABLE: {error}") from None
        self._heard_s = time.monotonic()
        self._frames.begin()
        looking = (weakref.ref(self), self._over)
        threading.Thread(target=_look, args=looking, name="web socket", daemon=True).start()

    def _connected(self, until_s: float) -> socket.socket:
        endpoint = self._endpoint
        left_s = min(30.0, max(0.1, until_s - time.monotonic()))
        found = socket.create_connection((endpoint.host, endpoint.port), timeout=left_s)
        try:
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if endpoint.tls is not None:
                found = endpoint.tls.wrap_socket(found, server_hostname=endpoint.host)
            found.setblocking(False)
        except BaseException:
            found.close()
            raise
        return found

    # Bytes

    def _wait(self, timeout_s: float, *, events: int = 0) -> None:
        """Wait until something can be read, or written if there is something to write."""
        found = self._socket
        if found is None:
            return
        if not events:
            if isinstance(found, ssl.SSLSocket) and found.pending():
                return
            events = _READ | (_WRITE if self._frames.outgoing else 0)
        ready_within(found, events, min(timeout_s, LONGEST_WAIT_S))

    def _flush(self) -> None:
        """Write what can be written. Where another holds the guard, that one writes it."""
        while self._frames.outgoing and self._guard.acquire(blocking=False):
            try:
                if not self._write():
                    return
            finally:
                self._guard.release()

    def look(self) -> None:
        """Read, and answer pings, unless a thread is in `receive`, which does both."""
        if self._guard.acquire(blocking=False):
            try:
                if not self._is_receiving:
                    self._read_and_write()
            finally:
                self._guard.release()

    def _exchange_bytes(self) -> None:
        with self._guard:
            self._read_and_write()

    def _read_and_write(self) -> None:
        self._write()
        self._read()
        self._write()

    def _write(self) -> bool:
        """Write until nothing is left; False if not all of it could be written now."""
        found = self._socket
        while self._frames.outgoing and found is not None:
            # Taken out before: Ctrl+C may come in `send`, and what is left would be sent twice.
            content = self._frames.outgoing.popleft()
            try:
                count = found.send(content)
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self._frames.outgoing.appendleft(content)
                return False
            except OSError:
                # The reason may still be there to be read; if not, reading says so.
                self._frames.outgoing.clear()
                return False
            if count < len(content):
                self._frames.outgoing.appendleft(memoryview(content)[count:])
        return True

    def _read(self) -> None:
        found = self._socket
        while found is not None and self._frames.failure is None:
            try:
                content = found.recv(PART_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError as error:
                self._frames.fail(f"UNAVAILABLE: {error}")
                return
            if not content:
                self._frames.end()
                return
            self._heard_s = time.monotonic()
            self._asked_s = 0.0
            self._frames.take(content)
            if len(content) < PART_BYTES and not isinstance(found, ssl.SSLSocket):
                return


def ready_within(found: socket.socket, events: int, timeout_s: float) -> None:
    """Wait until `found` is ready for one of the events of `selectors`, or the time is over."""
    if not hasattr(select, "poll"):
        reading = [found] if events & _READ else []
        select.select(reading, [found] if events & _WRITE else [], [], timeout_s)
        return
    # Unlike `select`, it takes a process with thousands of sockets.
    poll = select.poll()
    wanted = select.POLLIN if events & _READ else 0
    poll.register(found, wanted | (select.POLLOUT if events & _WRITE else 0))
    poll.poll(timeout_s * 1000)


def _look(socket_of: "weakref.ref[WebSocket]", over: threading.Event) -> None:
    """Call `look` every `LOOK_S` seconds until the socket is closed or garbage."""
    while not over.wait(LOOK_S):
        found = socket_of()
        if found is None:
            return
        found.look()
        # Held while it waits, it would keep a socket alive that nobody uses any more.
        del found
