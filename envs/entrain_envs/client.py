"""The client of a simulator: join a trainer, exchange timesteps for actions, resume, leave.

Calls block, because simulators are plain programs. This module does not know gRPC or episodes.

    GREETING --Welcome--> RUNNING --broken stream--> dials again --resumed--> RUNNING
                             |                            |---- forgotten --> SessionLostError
                             |---- Close COMPLETED ---------------------------> TrainerClosed
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType

import numpy as np

from entrain_envs.codec import decode_actions, encode_timesteps
from entrain_envs.connection import Connection, Destination
from entrain_envs.errors import (
    BrokenStreamError,
    ConnectionLostError,
    MisfitError,
    NoRoomError,
    RefusedError,
    SessionLostError,
    SpecError,
    StoppedError,
    TrainerClosed,
    WireError,
)
from entrain_envs.greeting import NOT_JOINED, Welcome, read_welcome, write_hello
from entrain_envs.patience import Patience
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)

GREETING_TIMEOUT_S = 30.0
"""Longest wait for a Welcome on an open stream."""

GOODBYE_TIMEOUT_S = 2.0
"""Longest wait, after a Goodbye, for the trainer to end the stream."""


class TrainerClient:
    """One simulator's connection to a trainer. Owned by one thread.

        with TrainerClient("localhost:50051", [spec], simulator="walker-sim") as client:
            world = World(seed=client.connect().seed)
            timesteps = world.reset()
            while True:
                timesteps = world.step(client.exchange({"walker": timesteps})["walker"])

    The `with` block ends quietly when the trainer is done (TrainerClosed). It says Goodbye
    however it ends.

    Args:
        address: HOST:PORT, [IPV6]:PORT or unix:PATH of the trainer.
        behaviours: every kind of agent this simulator may send.
        simulator: its name in the trainer's logs and errors.
        token: bearer token; empty sends none.
        tls_ca: PEM file of the authority behind the trainer's certificate; switches TLS on.
        tls_certificate: PEM file of this simulator's certificate, if the trainer wants one.
        tls_key: PEM file of its private key.
        connect_s: how long to wait for a trainer that is not up yet.
        reconnect_s: how long to wait for a trainer that went away. With 0, a trainer that
            stops ends the session, and a broken stream is dialled again only once.
        max_message_mib: largest message in either direction.
        max_agents: most agents alive at once, 0 if unknown.
        open_connection: opens a stream in another way than dialling `address`.
        clock: monotonic, in seconds.
        sleep: waits between two dials; never called while the stream is whole.
    """

    def __init__(
        self,
        address: str,
        behaviours: Sequence[BehaviourSpec],
        *,
        simulator: str,
        token: str = "",
        tls_ca: Path | None = None,
        tls_certificate: Path | None = None,
        tls_key: Path | None = None,
        connect_s: float = 300.0,
        reconnect_s: float = 60.0,
        max_message_mib: float = 256.0,
        max_agents: int = 0,
        open_connection: Callable[[], Connection] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare the client. Nothing is dialled before `connect`."""
        destination = Destination(
            address=address,
            token=token,
            tls_ca=tls_ca,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            max_message_mib=max_message_mib,
        )
        self._specs = _by_name(behaviours)
        self._session = _Session(
            address,
            write_hello(behaviours, simulator=simulator, max_agents=max_agents),
            open_connection=open_connection or destination.open,
            connect_s=connect_s,
            reconnect_s=reconnect_s,
            patience=partial(Patience, clock=clock, sleep=sleep),
        )

    def __repr__(self) -> str:
        return f"<TrainerClient {self._session}>"

    def __enter__(self) -> "TrainerClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.close(reason="" if error is None else f"{type(error).__name__}: {error}")
        return isinstance(error, TrainerClosed)

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """Every kind of agent this simulator may send."""
        return tuple(self._specs.values())

    @property
    def welcome(self) -> Welcome:
        """The latest Welcome; its session id is empty if not connected."""
        return self._session.welcome

    @property
    def environment_parameters(self) -> Mapping[str, float]:
        """The latest environment parameters from the trainer.

        A new mapping whenever one changes, so that `is` tells whether any did.
        """
        return self._session.parameters

    def connect(self) -> Welcome:
        """Join the trainer, waiting up to `connect_s` for one that is not up yet.

        Raises:
            ConnectionLostError: no trainer answered in time.
            MisfitError, NoRoomError: the trainer refused this simulator.
            TrainerClosed: the trainer needs no more simulators.
        """
        return self._session.join()

    def exchange(self, timesteps: Mapping[str, TimestepBatch]) -> Mapping[str, ActionBatch]:
        """Send the timesteps of each behaviour and wait for the actions.

        If the stream breaks meanwhile, the client dials again for up to `reconnect_s` and sends
        the step again. The trainer counts it once.

        Args:
            timesteps: {behaviour: its rows}; a behaviour may be left out, or be empty.

        Returns:
            {behaviour: actions for those of its rows that need one, in the same order}.

        Raises:
            SpecError: `timesteps` do not fit the behaviours; nothing was sent.
            SessionLostError: the trainer forgot this session. Reset, then send FIRST rows.
            TrainerClosed: the trainer is done. Ends a `with` block quietly.
            MisfitError: the step is longer than the trainer takes; nothing was sent.
            RefusedError, ConnectionLostError, WireError: see `errors`.
        """
        request = pb.ConnectRequest()
        rows: dict[str, int] = {}
        longest = 0
        for name, batch in timesteps.items():
            spec = self._specs.get(name)
            if spec is None:
                raise SpecError(
                    f"there is no behaviour '{name}'; the handshake named {', '.join(self._specs)}"
                )
            rows[name] = int(np.count_nonzero(batch.needs_action))
            if len(batch):
                request.step.behaviours.append(encode_timesteps(spec, batch))
                longest += len(batch.agent_id) * spec.row_bytes
        act = self._session.answer(request, longest=longest)
        parts = {part.behaviour: part for part in act.behaviours}
        nothing = pb.BehaviourAct()
        return {
            name: decode_actions(self._specs[name], parts.get(name, nothing), count)
            for name, count in rows.items()
        }

    def leave(self) -> bool:
        """From a signal handler: say Goodbye while `exchange` waits, which ends that wait.

        An exception that a handler raises inside a read of gRPC can leave that read half done, and
        the next read then waits for ever. So this sends Goodbye instead: the trainer ends the
        stream, the read returns, and `exchange` raises KeyboardInterrupt.

        Returns:
            False if `exchange` is not waiting, or on a second call: raise KeyboardInterrupt then.
        """
        return self._session.leave()

    def close(self, *, reason: str = "") -> None:
        """Leave for good, if connected. Safe to call twice."""
        self._session.end(reason=reason)


class _Session:
    """The messages exchanged with one trainer, over as many streams as that takes."""

    def __init__(
        self,
        address: str,
        hello: pb.Hello,
        *,
        open_connection: Callable[[], Connection],
        connect_s: float,
        reconnect_s: float,
        patience: Callable[[float], Patience],
    ) -> None:
        self.welcome = NOT_JOINED
        self.parameters = NOT_JOINED.environment_parameters
        """Replaced, never changed, so that `is` tells whether one changed."""
        self._address = address
        self._hello = hello
        self._open = open_connection
        self._connect_s = connect_s
        self._reconnect_s = reconnect_s
        self._patience = patience
        self._connection: Connection | None = None
        self._sequence = 0
        self._may_leave = False
        self._is_leaving = False

    def __str__(self) -> str:
        session = self.welcome.session_id or "not connected"
        return f"{self._hello.simulator} at {self._address}: {session}"

    def join(self) -> Welcome:
        """Begin a new session. See `TrainerClient.connect`."""
        self.end(reason="joining anew")
        welcome = self._dial(self._patience(self._connect_s), BrokenStreamError("not dialled"))
        logger.info("%s: joined run '%s'", self._address, welcome.run_id)
        return welcome

    def answer(self, request: pb.ConnectRequest, *, longest: int) -> pb.Act:
        """Send the Step in `request`, at most `longest` bytes, until it is answered."""
        if self._connection is None:
            self.join()
        request.step.sequence = self._sequence + 1
        patience: Patience | None = None
        while True:
            try:
                act = self._try(request, longest)
                break
            except BrokenStreamError as error:
                logger.warning("%s: lost the trainer (%s); dialling again", self._address, error)
                patience = patience or self._patience(self._reconnect_s)
                self._resume(patience, error)
        self._sequence += 1
        if act.changed_environment_parameters:
            self.parameters = MappingProxyType(
                {**self.parameters, **act.changed_environment_parameters}
            )
        return act

    def leave(self) -> bool:
        """Say Goodbye while `answer` waits. See `TrainerClient.leave`."""
        if not self._may_leave or self._is_leaving or self._connection is None:
            return False
        self._is_leaving = True
        self._connection.send(pb.ConnectRequest(goodbye=pb.Goodbye(reason="interrupted")))
        return True

    def end(self, *, reason: str) -> None:
        """Say Goodbye and forget the session, if there is one."""
        connection, self._connection = self._connection, None
        self.welcome = NOT_JOINED
        self._sequence = 0
        if connection is not None:
            connection.send(pb.ConnectRequest(goodbye=pb.Goodbye(reason=reason)))
            connection.end(timeout_s=GOODBYE_TIMEOUT_S)

    def _try(self, request: pb.ConnectRequest, longest: int) -> pb.Act:
        """Send a Step on the current stream and wait for its Act."""
        if 0 < self.welcome.max_message_bytes < longest:
            self.welcome.check_length(request, who=self._hello.simulator)
        response = self._ask(request, timeout_s=0.0)
        if not response.HasField("act"):
            raise WireError(f"{self._address} sent a second Welcome; expected one per stream")
        if response.act.sequence != request.step.sequence:
            raise WireError(
                f"{self._address} answered step {response.act.sequence} when step "
                f"{request.step.sequence} was asked; an Act carries the sequence of its Step"
            )
        return response.act

    def _ask(self, request: pb.ConnectRequest, *, timeout_s: float) -> pb.ConnectResponse:
        """Send a message on the current stream and wait for its answer. A Close is raised."""
        if self._connection is None:
            self._connection = self._open()
        self._connection.send(request)
        self._may_leave = timeout_s == 0.0
        try:
            response = self._connection.receive(timeout_s=timeout_s)
        except (RefusedError, BrokenStreamError) as error:
            self._may_leave = False
            if self._is_leaving:
                raise KeyboardInterrupt from None
            if isinstance(error, BrokenStreamError):
                raise
            self._drop()
            words = f"{self._address} refused '{self._hello.simulator}': {error}"
            # The next Hello would be the same. A refused Step (it held a NaN, say) is one of many.
            is_for_good = request.HasField("hello") and not isinstance(error, NoRoomError)
            raise (MisfitError if is_for_good else type(error))(words) from None
        self._may_leave = False
        if self._is_leaving:
            raise KeyboardInterrupt
        if response.HasField("close"):
            raise self._closed(response.close)
        return response

    def _closed(self, close: pb.Close) -> Exception:
        """Translate a Close: the run is over, or the trainer may come back."""
        words = close.message or pb.CloseReason.Name(close.reason)
        if close.reason == pb.CLOSE_REASON_STOPPED and self._reconnect_s > 0.0:
            return StoppedError(words)
        self.end(reason="the trainer closed the session")
        return TrainerClosed(f"{self._address} is done: {words}")

    def _resume(self, patience: Patience, error: BrokenStreamError) -> None:
        """Dial until the session continues; SessionLostError if the trainer began another one."""
        lost = self.welcome.session_id
        self._drop()
        if not self._dial(patience, error).resumed:
            raise SessionLostError(
                f"{self._address} no longer knows session {lost}: it was away for too long, or "
                "the trainer is a new one; reset the environment and continue with FIRST rows"
            )
        logger.info("%s: session %s resumed", self._address, lost)

    def _dial(self, patience: Patience, error: BrokenStreamError) -> Welcome:
        """Greet the trainer until it answers or patience is over."""
        has_stopped = isinstance(error, StoppedError)
        while patience.wait():
            try:
                return self._greet(timeout_s=patience.limit(GREETING_TIMEOUT_S))
            except BrokenStreamError as latest:
                self._drop()
                if str(latest) != str(error):
                    logger.warning("%s: no answer (%s); dialling again", self._address, latest)
                error = latest
        if has_stopped:
            raise TrainerClosed(f"{self._address} stopped and did not come back: {error}") from None
        raise ConnectionLostError(
            f"no trainer answered at {self._address} within {patience.total_s:g} s ({error}). "
            "Usual causes: the trainer is not running; it listens on another address or port, or "
            "only on its own machine; one side uses TLS and the other does not, or does not trust "
            "its certificate"
        )

    def _greet(self, *, timeout_s: float) -> Welcome:
        """Open a stream, say Hello, and read the Welcome."""
        self._hello.resume_session_id = self.welcome.session_id
        response = self._ask(pb.ConnectRequest(hello=self._hello), timeout_s=timeout_s)
        try:
            self.welcome = read_welcome(response, address=self._address)
        except MisfitError:
            self._drop()
            raise
        if self.welcome.environment_parameters != self.parameters:
            self.parameters = self.welcome.environment_parameters
        if not self.welcome.resumed:
            self._sequence = 0
        return self.welcome

    def _drop(self) -> None:
        """Close the stream without a Goodbye, so that the session may be resumed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end(timeout_s=0.0)


def _by_name(behaviours: Sequence[BehaviourSpec]) -> Mapping[str, BehaviourSpec]:
    """{name: spec}; SpecError if there are none, or two of one name."""
    specs = {spec.name: spec for spec in behaviours}
    if len(specs) != len(behaviours) or not behaviours:
        raise SpecError(
            f"a simulator needs behaviours of different names, at least one; "
            f"it was given {[spec.name for spec in behaviours]}"
        )
    return specs
