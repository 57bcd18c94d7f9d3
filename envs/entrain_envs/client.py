"""The client of a simulator: join a trainer, exchange timesteps for actions, leave.

Calls block, because simulators are plain programs; a game with a picture calls `exchange_async` and
`poll`, which do not. `session` dials again where a stream breaks.
This module does not know gRPC or episodes.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np

from entrain_envs.asynchronous import Asynchronous
from entrain_envs.beside_rows import by_name
from entrain_envs.codec import decode_actions, encode_timesteps
from entrain_envs.connection import Connection, Destination
from entrain_envs.dialling import Dialler
from entrain_envs.errors import OptionError, OutOfTurnError, SpecError, TrainerClosed
from entrain_envs.exchanges import Exchanges
from entrain_envs.greeting import Welcome, write_hello
from entrain_envs.patience import Patience, usual_reconnect_s
from entrain_envs.silence import ANSWER_S, SILENCE_S, Silence
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb


class TrainerClient(Asynchronous):
    """One simulator's connection to a trainer. Owned by one thread.

        with TrainerClient("localhost:50051", [spec], simulator="walker-sim") as client:
            world = World(seed=client.connect().seed)
            timesteps = world.reset()
            while True:
                timesteps = world.step(client.exchange({"walker": timesteps})["walker"])

    The `with` block ends quietly when the trainer is done (TrainerClosed). It says Goodbye
    however it ends.

    Args:
        address: HOST:PORT, [IPV6]:PORT or unix:PATH of the trainer; over WebSocket,
            ws://HOST:PORT or wss://HOST:PORT.
        behaviours: every kind of agent this simulator may send.
        simulator: its name in the trainer's logs and errors.
        token: bearer token, or a file whose first line it is; empty sends none. All files are read
            for each dial, so that they may be renewed.
        tls_ca: PEM file of the authority behind the trainer's certificate; switches TLS on, but
            for ws:// and wss://, which say it themselves.
        tls_certificate: PEM file of this simulator's certificate, if the trainer wants one.
        tls_key: PEM file of its private key.
        connect_s: how long to wait for a trainer that is not up yet.
        reconnect_s: how long to wait for a trainer that went away. With 0, a trainer that
            stops ends the session, and a broken stream is dialled again only once. None:
            $ENTRAIN_RECONNECT_S, which a trainer sets for what it launches, or else 60.
        max_message_mib: largest message in either direction.
        max_agents: most agents alive at once, 0 if unknown.
        max_unanswered_steps: how many steps this simulator would like to send before the first of
            them is answered: 2, to simulate one half of its agents while the other half's actions
            are chosen. The property of that name says how many the trainer allows.
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
        token: str | Path = "",
        tls_ca: Path | None = None,
        tls_certificate: Path | None = None,
        tls_key: Path | None = None,
        connect_s: float = 300.0,
        reconnect_s: float | None = None,
        max_message_mib: float = 256.0,
        max_agents: int = 0,
        max_unanswered_steps: int = 1,
        silence_s: float = SILENCE_S,
        answer_s: float = ANSWER_S,
        open_connection: Callable[[], Connection] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare the client. Nothing is dialled before `connect`."""
        if max_unanswered_steps < 1:
            raise OptionError(
                f"max_unanswered_steps is {max_unanswered_steps}; it must be at least 1"
            )
        destination = Destination(
            address=address,
            token=token,
            tls_ca=tls_ca,
            tls_certificate=tls_certificate,
            tls_key=tls_key,
            max_message_mib=max_message_mib,
        )
        specs = by_name(behaviours)
        self.wanted_unanswered_steps = max_unanswered_steps
        """How many the trainer is asked for."""
        if reconnect_s is None:
            reconnect_s = usual_reconnect_s()
        dialler = Dialler(
            address,
            write_hello(
                behaviours,
                simulator=simulator,
                max_agents=max_agents,
                max_unanswered_steps=max_unanswered_steps,
            ),
            open_connection=open_connection or destination.open,
            can_wait=reconnect_s > 0.0,
        )
        self._session = Exchanges(
            dialler,
            connect_s=connect_s,
            reconnect_s=reconnect_s,
            patience=partial(Patience, clock=clock, sleep=sleep),
            silence=Silence(clock=clock, silence_s=silence_s, answer_s=answer_s),
        )
        super().__init__(specs, dialler, self._session)

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
    def welcome(self) -> Welcome:
        """The latest Welcome; its session id is empty if not connected."""
        return self._session.welcome

    @property
    def max_unanswered_steps(self) -> int:
        """How many steps may be sent before the first is answered; 1 if not connected."""
        return self._session.welcome.max_unanswered_steps

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
        if self._session.unanswered:
            raise OutOfTurnError(
                f"exchange was called while {len(self._session.unanswered)} steps have no actions "
                "yet; receive those first"
            )
        self._send(timesteps)
        act, rows = self._session.receive()
        if self._has_beside_rows:
            self._clear_beside_rows()
        return self._decoded(act, rows)

    def send(self, timesteps: Mapping[str, TimestepBatch]) -> None:
        """Send the timesteps of each behaviour; `receive` returns the actions for them.

        As many may be sent before the first is received as `max_unanswered_steps` says. No agent
        may be in two of them: what it does next depends on its action.

        Args:
            timesteps: as of `exchange`.

        Raises:
            OutOfTurnError: so many are unanswered already; nothing was sent.
            SpecError, MisfitError: as of `exchange`; nothing was sent.
        """
        self._send(timesteps)
        if self._has_beside_rows:
            self._clear_beside_rows()

    def receive(self) -> Mapping[str, ActionBatch]:
        """Wait for the actions for what was sent first and has none yet.

        Returns and raises what `exchange` does. After an exception nothing is unanswered any more:
        after SessionLostError reset all agents.

        Raises:
            OutOfTurnError: nothing was sent.
        """
        return self._decoded(*self._session.receive())

    def _send(self, timesteps: Mapping[str, TimestepBatch]) -> None:
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
        session.send((request, longest, rows))

    def _decoded(self, act: pb.Act, rows: Mapping[str, int]) -> Mapping[str, ActionBatch]:
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
        self._end_background()
        self._session.end(reason=reason)
