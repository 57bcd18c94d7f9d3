"""A simulator's side of the conversation: greet, exchange steps for actions, resume, leave.

Plain blocking calls, for simulators are plain programs. Nothing here knows of gRPC or of episodes.

    GREETING --Welcome--> RUNNING --broken stream--> dials again --resumed--> RUNNING
                             |                            |---- forgotten --> SessionLostError
                             |---- Close COMPLETED ---------------------------> TrainerClosed
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType

import numpy as np

from entrain_envs.codec import PROTOCOL_VERSION, decode_actions, encode_spec, encode_timesteps
from entrain_envs.connection import Connection, Destination
from entrain_envs.errors import (
    BrokenStreamError,
    ConnectionLostError,
    MisfitError,
    NoRoomError,
    RefusedError,
    SessionLostError,
    SpecError,
    TrainerClosed,
    WireError,
)
from entrain_envs.patience import Patience
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, TimestepBatch
from entrain_envs.welcome import NOT_JOINED, Welcome
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)

GREETING_TIMEOUT_S = 30.0
"""Longest wait for a Welcome on a stream that could be opened."""

GOODBYE_TIMEOUT_S = 2.0
"""Longest wait, when leaving, for the trainer to end its side."""


class TrainerClient:
    """One simulator's connection to a trainer. Owned by one thread.

        with TrainerClient("localhost:50051", [spec], simulator="walker-sim") as client:
            world = World(seed=client.connect().seed)
            timesteps = world.reset()
            while True:
                timesteps = world.step(client.exchange({"walker": timesteps})["walker"])

    The `with` block ends quietly once the trainer is done (TrainerClosed), and says Goodbye
    however it ends.
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
        """Prepare; nothing is dialled before `connect`.

        Args:
            address: HOST:PORT, [IPV6]:PORT or unix:PATH of the trainer.
            behaviours: every kind of agent this simulator may send.
            simulator: its name in the trainer's logs and errors.
            token: bearer token; empty presents none.
            tls_ca: PEM file of the authority behind the trainer's certificate; switches TLS on.
            tls_certificate: PEM file of this simulator's own certificate, where one is asked for.
            tls_key: PEM file of its private key.
            connect_s: how long to wait for a trainer that is not up yet.
            reconnect_s: how long to wait for one that went away. 0: a trainer that says it
                stops ends the conversation, and a broken stream is dialled again only once.
            max_message_mib: largest message in either direction.
            max_agents: most agents alive at once, 0 if not known.
            open_connection: how to open a stream, instead of dialling `address`.
            clock: monotonic, in seconds.
            sleep: waits between two dials; never called while the stream is whole.
        """
        destination = Destination(
            address=address,
            token=token,
            tls_ca=tls_ca,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            max_message_mib=max_message_mib,
        )
        self._address = address
        self._open = destination.open if open_connection is None else open_connection
        self._specs = {spec.name: spec for spec in behaviours}
        if len(self._specs) != len(behaviours) or not behaviours:
            raise SpecError(
                f"a simulator needs behaviours of different names, at least one; "
                f"it was given {[spec.name for spec in behaviours]}"
            )
        self._simulator = simulator
        self._instance_id = secrets.token_hex(16)
        self._max_agents = max_agents
        self._connect_s = connect_s
        self._reconnect_s = reconnect_s
        self._clock = clock
        self._sleep = sleep
        self._connection: Connection | None = None
        self._welcome = NOT_JOINED
        self._sequence = 0
        self._may_leave = False
        self._is_leaving = False
        self._parameters = NOT_JOINED.environment_parameters

    def __repr__(self) -> str:
        session = self._welcome.session_id or "not connected"
        return f"<TrainerClient {self._simulator} at {self._address}: {session}>"

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
        """What this simulator said it may send."""
        return tuple(self._specs.values())

    @property
    def welcome(self) -> Welcome:
        """The latest Welcome; without a session id if not connected."""
        return self._welcome

    @property
    def environment_parameters(self) -> Mapping[str, float]:
        """Settings of the environment itself, as the trainer last said them.

        A new mapping each time one changes, so `is` tells whether any did.
        """
        return self._parameters

    def connect(self) -> Welcome:
        """Join the trainer, waiting up to `connect_s` for one that is not up yet.

        Raises:
            ConnectionLostError: none answered in time.
            MisfitError, NoRoomError: it answered and will not have this simulator.
            TrainerClosed: it needs no more simulators.
        """
        self.close(reason="joining anew")
        welcome = self._dial(self._patience(self._connect_s), BrokenStreamError("not dialled"))
        logger.info("%s: joined run '%s'", self._address, welcome.run_id)
        return welcome

    def exchange(self, timesteps: Mapping[str, TimestepBatch]) -> Mapping[str, ActionBatch]:
        """Send what happened, by behaviour, and wait for the actions.

        A stream that breaks meanwhile is dialled again for up to `reconnect_s`, and the step
        sent again, so that the trainer counts it once.

        Args:
            timesteps: {behaviour: its rows}; a behaviour may be left out, or be empty.

        Returns:
            {behaviour: actions for its rows that needed one, in their order}.

        Raises:
            SpecError: `timesteps` do not fit the behaviours; nothing was sent.
            SessionLostError: the trainer forgot this session. Reset, then send FIRST rows.
            TrainerClosed: it is done. Ends a `with` block quietly.
            MisfitError: the step is longer than the trainer takes; nothing was sent.
            RefusedError, ConnectionLostError, WireError: see `errors`.
        """
        step = pb.Step(sequence=self._sequence + 1)
        rows: dict[str, int] = {}
        for name, batch in timesteps.items():
            spec = self._spec(name)
            rows[name] = int(np.count_nonzero(batch.needs_action))
            if len(batch):
                step.behaviours.append(encode_timesteps(spec, batch))
        act = self._answer(step)
        self._sequence = step.sequence
        if act.changed_environment_parameters:
            self._parameters = MappingProxyType(
                {**self._parameters, **act.changed_environment_parameters}
            )
        parts = {part.behaviour: part for part in act.behaviours}
        nothing = pb.BehaviourAct()
        return {
            name: decode_actions(self._specs[name], parts.get(name, nothing), count)
            for name, count in rows.items()
        }

    def leave(self) -> bool:
        """From a signal handler: say Goodbye while `exchange` waits, which then is interrupted.

        An exception that a handler raises inside a read of gRPC can leave that read half done, and
        the next one waiting for ever. So Goodbye goes out, the trainer ends the stream, the read
        returns, and `exchange` raises KeyboardInterrupt.

        Returns:
            False if nothing was waited for, or this was said before: raise KeyboardInterrupt.
        """
        if not self._may_leave or self._is_leaving or self._connection is None:
            return False
        self._is_leaving = True
        self._connection.send(pb.ConnectRequest(goodbye=pb.Goodbye(reason="interrupted")))
        return True

    def close(self, *, reason: str = "") -> None:
        """Leave for good, if connected. Safe to call twice."""
        connection, self._connection = self._connection, None
        self._welcome = NOT_JOINED
        self._sequence = 0
        if connection is not None:
            connection.send(pb.ConnectRequest(goodbye=pb.Goodbye(reason=reason)))
            connection.end(timeout_s=GOODBYE_TIMEOUT_S)

    def _spec(self, name: str) -> BehaviourSpec:
        try:
            return self._specs[name]
        except KeyError:
            raise SpecError(
                f"there is no behaviour '{name}'; the handshake named {', '.join(self._specs)}"
            ) from None

    def _answer(self, step: pb.Step) -> pb.Act:
        """Send `step` until it is answered, over as many streams as that takes."""
        if self._connection is None:
            self.connect()
        request = pb.ConnectRequest(step=step)
        patience: Patience | None = None
        while True:
            try:
                return self._try(request)
            except BrokenStreamError as error:
                logger.warning("%s: lost the trainer (%s); dialling again", self._address, error)
                patience = patience or self._patience(self._reconnect_s)
                self._resume(patience, error)

    def _try(self, request: pb.ConnectRequest) -> pb.Act:
        """Send a step on the present stream and wait for its Act."""
        self._welcome.check_length(request, self._specs, who=self._simulator)
        response = self._ask(request, timeout_s=0.0)
        if not response.HasField("act"):
            raise WireError(f"{self._address} sent a second Welcome; it must be sent once a stream")
        if response.act.sequence != request.step.sequence:
            raise WireError(
                f"{self._address} answered step {response.act.sequence} when step "
                f"{request.step.sequence} was asked; an Act carries the sequence of its Step"
            )
        return response.act

    def _ask(self, request: pb.ConnectRequest, *, timeout_s: float) -> pb.ConnectResponse:
        """Send a message on the present stream and wait for its answer, unless that is Close."""
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
            words = f"{self._address} refused '{self._simulator}': {error}"
            # The next Hello would be the same; a Step refused for a NaN, say, is one of many.
            is_for_good = request.HasField("hello") and not isinstance(error, NoRoomError)
            raise (MisfitError if is_for_good else type(error))(words) from None
        self._may_leave = False
        if self._is_leaving:
            raise KeyboardInterrupt
        if response.HasField("close"):
            raise self._closed(response.close)
        return response

    def _closed(self, close: pb.Close) -> Exception:
        """What a Close means: the end, or a trainer worth waiting for."""
        words = close.message or pb.CloseReason.Name(close.reason)
        if close.reason == pb.CLOSE_REASON_STOPPED and self._reconnect_s > 0.0:
            return _StoppedError(words)
        self.close(reason="the trainer closed the session")
        return TrainerClosed(f"{self._address} is done: {words}")

    def _resume(self, patience: Patience, error: BrokenStreamError) -> None:
        """Dial until the session goes on; SessionLostError if another one began instead."""
        lost = self._welcome.session_id
        self._drop()
        if not self._dial(patience, error).resumed:
            raise SessionLostError(
                f"{self._address} no longer knows session {lost}: its grace time is over, or the "
                "trainer is a new one; reset the environment and go on with FIRST rows"
            )
        logger.info("%s: session %s goes on", self._address, lost)

    def _dial(self, patience: Patience, error: BrokenStreamError) -> Welcome:
        """Greet the trainer, again and again, until it answers or patience is over."""
        has_stopped = isinstance(error, _StoppedError)
        while patience.wait():
            try:
                return self._greet(timeout_s=patience.limit(GREETING_TIMEOUT_S))
            except BrokenStreamError as latest:
                self._drop()
                if str(latest) != str(error):
                    logger.warning("%s: no answer (%s); dialling on", self._address, latest)
                error = latest
        if has_stopped:
            raise TrainerClosed(f"{self._address} stopped and did not come back: {error}") from None
        raise ConnectionLostError(
            f"no trainer answered at {self._address} within {patience.total_s:g} s ({error}). "
            "Usual causes: the trainer is not running; it listens on another address or port, or "
            "only on its own machine; one side uses TLS and the other does not, or distrusts "
            "its certificate"
        )

    def _greet(self, *, timeout_s: float) -> Welcome:
        """Open a stream, say Hello, and take in the Welcome."""
        hello = pb.Hello(
            min_version=PROTOCOL_VERSION,
            max_version=PROTOCOL_VERSION,
            simulator=self._simulator,
            instance_id=self._instance_id,
            behaviours=[encode_spec(spec) for spec in self._specs.values()],
            max_agents=self._max_agents,
            resume_session_id=self._welcome.session_id,
        )
        response = self._ask(pb.ConnectRequest(hello=hello), timeout_s=timeout_s)
        if not response.HasField("welcome"):
            raise WireError(f"{self._address} answered Hello with an Act; expected a Welcome")
        answer = response.welcome
        if answer.version != PROTOCOL_VERSION:
            self._drop()
            raise MisfitError(
                f"{self._address} chose protocol {answer.version}, this simulator speaks "
                f"{PROTOCOL_VERSION}; install the entrain-envs that belongs to the trainer"
            )
        parameters = MappingProxyType(dict(answer.environment_parameters))
        if parameters != self._parameters:
            self._parameters = parameters
        if not answer.resumed:
            self._sequence = 0
        self._welcome = Welcome(
            version=answer.version,
            session_id=answer.session_id,
            run_id=answer.run_id,
            seed=answer.seed,
            environment_parameters=parameters,
            resumed=answer.resumed,
            max_message_bytes=answer.max_message_bytes,
        )
        return self._welcome

    def _drop(self) -> None:
        """Let go of the stream without a Goodbye: the session may be resumed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end(timeout_s=0.0)

    def _patience(self, total_s: float) -> Patience:
        return Patience(total_s, clock=self._clock, sleep=self._sleep)


class _StoppedError(BrokenStreamError):
    """The trainer said that it stops and may come back."""
