"""The client of a simulator: join a trainer, exchange timesteps for actions, leave.

Calls block, because simulators are plain programs. `session` dials again where a stream breaks.
This module does not know gRPC or episodes.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType

import numpy as np

from entrain_envs.codec import decode_actions, encode_spec, encode_timesteps
from entrain_envs.connection import Connection, Destination
from entrain_envs.dialling import Dialler
from entrain_envs.errors import (
    BrokenStreamError,
    MisfitError,
    RefusedError,
    SilentStreamError,
    SpecError,
    TrainerClosed,
    WireError,
)
from entrain_envs.greeting import Welcome, write_hello
from entrain_envs.noted import NotedStatistics
from entrain_envs.patience import Patience, usual_reconnect_s
from entrain_envs.session import Session
from entrain_envs.silence import ANSWER_S, SILENCE_S, Silence
from entrain_envs.spec import BehaviourSpec
from entrain_envs.statistics import Aggregation
from entrain_envs.timestep import ActionBatch, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)


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
            stops ends the session, and a broken stream is dialled again only once. None:
            $ENTRAIN_RECONNECT_S, which a trainer sets for what it launches, or else 60.
        max_message_mib: largest message in either direction.
        max_agents: most agents alive at once, 0 if unknown.
        silence_s: how long a step may stay unanswered before the trainer is asked, on a second
            connection, whether it has the step. If it has, the client waits on, however long an
            update takes; otherwise it dials again. Infinite: it never asks.
        answer_s: longest wait for that answer, and for actions that it says were sent.
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
        reconnect_s: float | None = None,
        max_message_mib: float = 256.0,
        max_agents: int = 0,
        silence_s: float = SILENCE_S,
        answer_s: float = ANSWER_S,
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
        self._undeclared: list[BehaviourSpec] = []
        self._noted = NotedStatistics()
        self._has_beside_rows = False
        """Whether any of these two go with the next Step."""
        if reconnect_s is None:
            reconnect_s = usual_reconnect_s()
        dialler = Dialler(
            address,
            write_hello(behaviours, simulator=simulator, max_agents=max_agents),
            open_connection=open_connection or destination.open,
            can_wait=reconnect_s > 0.0,
        )
        self._dialler = dialler
        self._session = _Exchanges(
            dialler,
            connect_s=connect_s,
            reconnect_s=reconnect_s,
            patience=partial(Patience, clock=clock, sleep=sleep),
            silence=Silence(clock=clock, silence_s=silence_s, answer_s=answer_s),
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

        If the stream breaks meanwhile, or is silent and the trainer has not got the step, the
        client dials again for up to `reconnect_s` and sends the step again. The trainer counts it
        once.

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
        session = self._session
        if session.connection is None:
            session.join()
        request = pb.ConnectRequest()
        rows: dict[str, int] = {}
        longest = self._add_beside_rows(request.step) if self._has_beside_rows else 0
        knows_groups = session.welcome.revision > 0
        for name, batch in timesteps.items():
            spec = self._specs.get(name)
            if spec is None:
                raise SpecError(
                    f"there is no behaviour '{name}'; the handshake named {', '.join(self._specs)}"
                )
            rows[name] = int(np.count_nonzero(batch.needs_action))
            if len(batch):
                sent = batch if knows_groups else batch.without_groups()
                request.step.behaviours.append(encode_timesteps(spec, sent))
                longest += len(batch.agent_id) * spec.row_bytes
        act = session.answer(request, longest=longest)
        if self._has_beside_rows:
            self._undeclared.clear()
            self._noted.clear()
            self._has_beside_rows = False
        parts = {part.behaviour: part for part in act.behaviours}
        nothing = pb.BehaviourAct()
        return {
            name: decode_actions(self._specs[name], parts.get(name, nothing), count)
            for name, count in rows.items()
        }

    def add_behaviours(self, behaviours: Sequence[BehaviourSpec]) -> None:
        """Declare more kinds of agents; the next `exchange` may send rows of them.

        The trainer makes their policies before it answers that exchange. A behaviour that is
        declared already may be among them.

        Raises:
            SpecError: one of that name has another spec.
            MisfitError: the trainer is too old; declare all behaviours when the client is made.
        """
        new = [spec for spec in behaviours if self._specs.get(spec.name) != spec]
        for spec in new:
            if spec.name in self._specs:
                raise SpecError(
                    f"behaviour '{spec.name}' was declared otherwise before: "
                    f"{self._specs[spec.name]}, now {spec}; give it another name"
                )
        if new and self._session.connection is not None and self.welcome.revision < 1:
            raise MisfitError(
                f"'{self._dialler.simulator}' brings behaviour '{new[0].name}' after it has "
                "joined, which this trainer is too old for; declare every behaviour when the "
                "client is made, or upgrade the trainer"
            )
        self._specs = {**self._specs, **_by_name(new)} if new else self._specs
        self._dialler.declare(new)
        self._undeclared.extend(new)
        self._has_beside_rows = True

    def note(self, name: str, value: float, aggregation: Aggregation = "mean") -> None:
        """Report a number for people: the trainer shows it beside its metrics.

        It goes with the next `exchange`. A value that is not finite, or too many for one exchange,
        is left out, which is logged once. A trainer that is too old shows none.

        Args:
            name: such as `coins` or `player/speed`.
            value: one of any number of values.
            aggregation: what becomes of all values between two updates: their mean, their sum, the
                last of them, or how they are distributed (`histogram`).

        Raises:
            SpecError: `name` or `aggregation` is not allowed.
        """
        self._noted.add(name, value, aggregation)
        self._has_beside_rows = True

    def _add_beside_rows(self, step: pb.Step) -> int:
        """Put what is not rows into a Step; returns at most how many bytes."""
        if self.welcome.revision < 1:
            return 0
        step.new_behaviours.extend(map(encode_spec, self._undeclared))
        step.statistics.extend(self._noted.messages())
        return step.ByteSize()

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


class _Exchanges(Session):
    """Sends Steps and waits for their Acts."""

    def answer(self, request: pb.ConnectRequest, *, longest: int) -> pb.Act:
        """Send the Step in `request`, at most `longest` bytes, until it is answered."""
        request.step.sequence = self._sequence + 1
        patience: Patience | None = None
        while True:
            try:
                act = self._try(request, longest)
                break
            except BrokenStreamError as error:
                logger.warning("%s: lost the trainer (%s); dialling again", self._address, error)
                if patience is None or isinstance(error, SilentStreamError):
                    patience = self._patience(self._reconnect_s)
                self._resume(patience, error)
        self._sequence += 1
        if act.changed_environment_parameters:
            self.parameters = MappingProxyType(
                {**self.parameters, **act.changed_environment_parameters}
            )
        return act

    def _try(self, request: pb.ConnectRequest, longest: int) -> pb.Act:
        """Send a Step on the current stream and wait for its Act."""
        if 0 < self.welcome.max_message_bytes < longest:
            self.welcome.check_length(request, who=self._dialler.simulator)
        response = self._ask(request)
        if not response.HasField("act"):
            raise WireError(f"{self._address} sent a second Welcome; expected one per stream")
        if response.act.sequence != request.step.sequence:
            raise WireError(
                f"{self._address} answered step {response.act.sequence} when step "
                f"{request.step.sequence} was asked; an Act carries the sequence of its Step"
            )
        return response.act

    def _ask(self, request: pb.ConnectRequest) -> pb.ConnectResponse:
        """Send a message on the current stream and wait for its answer. A Close is raised."""
        assert self.connection is not None
        self.connection.send(request)
        self._is_waiting = True
        try:
            response = self.connection.receive()
        except (RefusedError, BrokenStreamError) as error:
            self._is_waiting = False
            if self._is_leaving:
                raise KeyboardInterrupt from None
            if isinstance(error, BrokenStreamError):
                raise
            self._drop()
            # The next Step may be taken: this one held a NaN, say.
            raise type(error)(self._dialler.refusal(error)) from None
        self._is_waiting = False
        if self._is_leaving:
            raise KeyboardInterrupt
        if response.HasField("close"):
            closed = self._dialler.closed(response.close)
            if isinstance(closed, TrainerClosed):
                self.end(reason="the trainer closed the session")
            raise closed
        return response


def _by_name(behaviours: Sequence[BehaviourSpec]) -> Mapping[str, BehaviourSpec]:
    """{name: spec}; SpecError if there are none, or two of one name."""
    specs = {spec.name: spec for spec in behaviours}
    if len(specs) != len(behaviours) or not behaviours:
        raise SpecError(
            f"a simulator needs behaviours of different names, at least one; "
            f"it was given {[spec.name for spec in behaviours]}"
        )
    return specs
