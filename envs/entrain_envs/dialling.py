"""Opens a stream to a trainer and greets it, again and again until it answers or patience is over.

This module does not know gRPC, Steps, or what became of the stream before.
"""

import logging
import threading
from collections.abc import Callable, Iterable

from entrain_envs.connection import Connection
from entrain_envs.errors import (
    BrokenStreamError,
    ConnectionLostError,
    MisfitError,
    NoRoomError,
    OptionError,
    RefusedError,
    StoppedError,
    TrainerClosed,
    WireError,
)
from entrain_envs.greeting import Welcome, read_welcome, require_role
from entrain_envs.patience import Patience
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)

GREETING_TIMEOUT_S = 30.0
"""Longest wait for a Welcome on an open stream."""

GOODBYE_TIMEOUT_S = 2.0
"""Longest wait, after a Goodbye, for the trainer to end the stream."""


class Dialler:
    """See the module. For one trainer and one simulator."""

    def __init__(
        self,
        address: str,
        hello: pb.Hello,
        *,
        open_connection: Callable[[], Connection],
        can_wait: bool,
    ) -> None:
        """Nothing is dialled yet.

        Args:
            address: of the trainer, for messages.
            hello: says who dials; its `resume_session_id` is filled in here.
            open_connection: opens a stream; OptionError if a file that it needs is wrong.
            can_wait: whether a trainer that stops may come back.
        """
        self.address = address
        self.simulator = hello.simulator
        self.instance_id = hello.instance_id
        self._hello = hello
        self._open = open_connection
        self._can_wait = can_wait
        self._has_opened = False
        """Whether its files, such as that of the token, were right once."""
        self._is_given_up = threading.Event()
        self._greeted: Connection | None = None
        """The stream whose Welcome is waited for."""

    def pause(self, seconds: float) -> None:
        """Wait between two dials; `give_up` ends it."""
        self._is_given_up.wait(seconds)

    def give_up(self) -> None:
        """From any thread: let `dial` raise ConnectionLostError, now and until `renew`."""
        self._is_given_up.set()
        greeted = self._greeted
        if greeted is not None:
            greeted.give_up("the client was closed")

    def renew(self) -> None:
        """Dial again after `give_up`. A `dial` that still runs stays given up."""
        if self._is_given_up.is_set():
            self._is_given_up = threading.Event()

    def declare(self, behaviours: Iterable[BehaviourSpec]) -> None:
        """The Hellos from now on name these behaviours, too."""
        self._hello.behaviours.extend(map(encode_spec, behaviours))

    def dial(
        self, patience: Patience, error: BrokenStreamError, *, resume: str
    ) -> tuple[Connection, Welcome]:
        """Greet the trainer until it answers or patience is over.

        Args:
            patience: how long.
            error: why it is dialled.
            resume: id of the session to go on with; empty: a new one.

        Raises:
            OptionError: a file is wrong at the first dial.
            ConnectionLostError: nobody answered, or `give_up` was called.
            MisfitError, NoRoomError, TrainerClosed: an answer, but no Welcome.
        """
        self._hello.resume_session_id = resume
        has_stopped = isinstance(error, StoppedError)
        given_up = self._is_given_up
        while patience.wait():
            try:
                return self._greet(given_up, timeout_s=patience.limit(GREETING_TIMEOUT_S))
            except BrokenStreamError as latest:
                if given_up.is_set():
                    raise self._closed_meanwhile() from None
                if str(latest) != str(error):
                    logger.warning("%s: no answer (%s); dialling again", self.address, latest)
                error = latest
        if has_stopped:
            raise TrainerClosed(f"{self.address} stopped and did not come back: {error}") from None
        raise ConnectionLostError(
            f"no trainer answered at {self.address} within {patience.total_s:g} s ({error}). "
            "Usual causes: the trainer is not running; it listens on another address or port, or "
            "only on its own machine; this is the port of its other transport (gRPC is dialled as "
            "HOST:PORT of server.address, WebSocket as ws://HOST:PORT of server.websocket); one "
            "side uses TLS and the other does not, or does not trust its certificate"
        )

    def _greet(self, given_up: threading.Event, *, timeout_s: float) -> tuple[Connection, Welcome]:
        """Open a stream, say Hello, and read the Welcome; otherwise the stream is let go."""
        if given_up.is_set():
            raise self._closed_meanwhile()
        connection = self._greeted = self._opened()
        if given_up.is_set():
            # It came between the two lines above, so that it saw no stream.
            connection.give_up("the client was closed")
        try:
            response = self._say_hello(connection, timeout_s)
            welcome = read_welcome(response, address=self.address)
            if given_up.is_set():
                raise self._closed_meanwhile()
            self._require_role(welcome, connection)
            return connection, welcome
        except (BrokenStreamError, RefusedError, WireError):
            connection.end(timeout_s=0.0)
            raise
        except BaseException as error:
            # The trainer may have made a session, which it would keep for a while.
            leave(connection, reason=f"{type(error).__name__} instead of a Welcome")
            raise
        finally:
            self._greeted = None

    def _opened(self) -> Connection:
        """A stream. OptionError if a file is wrong at the first dial."""
        try:
            connection = self._open()
        except OptionError as error:
            if not self._has_opened:
                raise
            # It was right before: somebody is renewing the file.
            raise BrokenStreamError(str(error)) from None
        self._has_opened = True
        return connection

    def _require_role(self, welcome: Welcome, connection: Connection) -> None:
        """Leave, and raise MisfitError, if the trainer does not know what the simulator is for."""
        try:
            require_role(welcome, self._hello.role, address=self.address)
        except MisfitError:
            leave(connection, reason="the trainer knows of no roles")
            raise

    def _closed_meanwhile(self) -> ConnectionLostError:
        return ConnectionLostError(f"{self.address}: the client was closed while it dialled")

    def _say_hello(self, connection: Connection, timeout_s: float) -> pb.ConnectResponse:
        """Say Hello and wait for the answer. A Close is raised."""
        connection.send(pb.ConnectRequest(hello=self._hello))
        try:
            response = connection.receive(timeout_s=timeout_s)
        except NoRoomError as error:
            raise NoRoomError(self.refusal(error)) from None
        except RefusedError as error:
            # The next Hello would be the same.
            raise MisfitError(self.refusal(error)) from None
        if response.HasField("close"):
            raise self.closed(response.close)
        return response

    def refusal(self, error: RefusedError) -> str:
        """Words for a refusal: the reason, and the address that was dialled."""
        # A misfit was found by this end.
        if isinstance(error, MisfitError):
            return f"{self.address} and '{self.simulator}' do not fit: {error}"
        return f"{self.address} refused '{self.simulator}': {error}"

    def closed(self, close: pb.Close) -> StoppedError | TrainerClosed:
        """Turns a Close into its exception: the run is over, or the trainer may come back."""
        words = close.message or pb.CloseReason.Name(close.reason)
        if close.reason == pb.CLOSE_REASON_STOPPED and self._can_wait:
            return StoppedError(words)
        return TrainerClosed(f"{self.address} is done: {words}")


def leave(connection: Connection, *, reason: str) -> None:
    """Say Goodbye on a stream, and wait a little for the trainer to end it."""
    connection.send(pb.ConnectRequest(goodbye=pb.Goodbye(reason=reason)))
    connection.end(timeout_s=GOODBYE_TIMEOUT_S)
