"""The client of a simulator: join a trainer, exchange timesteps for actions, leave.

Calls block, because simulators are plain programs; a game with a picture calls `exchange_async` and
`poll`, which do not. `exchanges` has what happens again and again, `session` dials again where a
stream breaks. This module does not know gRPC or episodes.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType

from entrain_envs.beside_rows import by_name
from entrain_envs.connection import Connection, Destination
from entrain_envs.dialling import Dialler
from entrain_envs.errors import TrainerClosed
from entrain_envs.exchanges import ArrayExchanges, Exchanges
from entrain_envs.greeting import Welcome, usual_role, write_hello
from entrain_envs.patience import Patience, usual_reconnect_s
from entrain_envs.silence import ANSWER_S, SILENCE_S, Silence
from entrain_envs.spec import BehaviourSpec


class TrainerClient(ArrayExchanges):
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
        role: "training", or "evaluation" to take part in the run's evaluations alone, of which
            nothing is learned; None: what $ENTRAIN_ROLE says, or else training.
        silence_s: how long a step may stay unanswered before the trainer is asked, on a second
            connection, whether it has the step. If it has, the client waits on, however long an
            update takes; otherwise it dials again. Infinite: it never asks.
        answer_s: longest wait for that answer, and for actions that it says were sent.
        open_connection: opens a stream in another way than dialling `address`.
        clock: monotonic, in seconds.
        sleep: waits between two dials; never called while the stream is whole. None: the system's
            clock does, and `close` ends the wait.
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
        role: str | None = None,
        silence_s: float = SILENCE_S,
        answer_s: float = ANSWER_S,
        open_connection: Callable[[], Connection] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
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
        specs = by_name(behaviours)
        self.wanted_unanswered_steps = max_unanswered_steps
        """How many the trainer is asked for."""
        reconnect_s = usual_reconnect_s() if reconnect_s is None else reconnect_s
        dialler = Dialler(
            address,
            write_hello(
                behaviours,
                simulator=simulator,
                max_agents=max_agents,
                max_unanswered_steps=max_unanswered_steps,
                role=usual_role() if role is None else role,
            ),
            open_connection=open_connection or destination.open,
            can_wait=reconnect_s > 0.0,
        )
        session = Exchanges(
            dialler,
            connect_s=connect_s,
            reconnect_s=reconnect_s,
            patience=partial(Patience, clock=clock, sleep=sleep or dialler.pause),
            silence=Silence(clock=clock, silence_s=silence_s, answer_s=answer_s),
        )
        super().__init__(specs, dialler, session)

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

    def connect(self) -> Welcome:
        """Join the trainer, waiting up to `connect_s` for one that is not up yet.

        Raises:
            ConnectionLostError: no trainer answered in time.
            MisfitError, NoRoomError: the trainer refused this simulator.
            TrainerClosed: the trainer needs no more simulators.
        """
        return self._session.join()

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
