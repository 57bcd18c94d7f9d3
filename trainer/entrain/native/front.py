"""The server as the rest of the trainer sees it: start, behaviours that appear, batches, stop.

Everything here happens on one event loop.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TypeAlias

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from entrain.config.run import ServerConfig
from entrain.errors import ServeError
from entrain.native.address import (
    TcpAddress,
    UnixAddress,
    check_exposure,
    claim_port,
    clear_unix_path,
    parse_address,
)
from entrain.native.credentials import TokenCheck, server_credentials
from entrain.native.service import HELLO_S, SERVICE_NAME, Service
from entrain.native.session import Send
from entrain.native.sessions import Roster
from entrain.native.stream import StreamProtocol
from entrain.serving.behaviours import Behaviour, Behaviours, prepare_nothing
from entrain.serving.limits import MAX_INT32, max_message_bytes
from entrain.serving.parameters import EnvironmentParameters
from entrain.state import State
from entrain.stopwatch import ServerTimings
from entrain_envs.spec import BehaviourSpec
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)

CloseReason: TypeAlias = pb.CloseReason
PORT_ATTEMPTS = 5


class Server:
    """Simulators dial in; batches of their requests come out of `Behaviour.batcher`.

    Order of a run: `load_state` if resumed, `start`, then serve; at the end `pause`, `stop`, and
    `state` if the run is to go on later.
    """

    def __init__(
        self,
        config: ServerConfig,
        *,
        run_id: str,
        seed: int,
        accepts: Callable[[str], bool],
        policies: Sequence[str],
        environment_parameters: Mapping[str, float],
        expect: int,
        prepare: Callable[[Sequence[BehaviourSpec]], None] = prepare_nothing,
        hello_s: float = HELLO_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is listened on yet. ConfigError if the address is wrong or too exposed.

        Args:
            config: where to listen, who may join, how requests are batched.
            run_id: told to simulators.
            seed: of the run.
            accepts: whether the run has a policy for a behaviour of that name.
            policies: the names it has policies for, for messages.
            environment_parameters: told to simulators.
            expect: simulators that must have joined before the first batch.
            prepare: gets the run ready for new behaviours before their simulator is welcomed;
                ConfigError, which refuses the simulator, and ready for none if it cannot serve one.
            hello_s: how long a stream may take to say Hello.
            clock: seconds.
        """
        self._config = config
        self._address = parse_address(config.address)
        check_exposure(self._address, config)
        self._clock = clock
        self._parameters = EnvironmentParameters(environment_parameters)
        self._seconds = ServerTimings()
        self._behaviours = Behaviours(
            config, accepts=accepts, policies=policies, prepare=prepare, clock=clock
        )
        self._roster = Roster(
            config,
            self._behaviours,
            self._parameters,
            seconds=self._seconds,
            seed=seed,
            expect=expect,
            clock=clock,
        )
        self._run_id = run_id
        self._hello_s = hello_s
        self._grpc: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._health_change: asyncio.Task[None] | None = None
        self._service: Service | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._is_paused = False

    def __repr__(self) -> str:
        return f"<Server {self._address}: {self.num_sessions} simulators>"

    @property
    def num_sessions(self) -> int:
        """Simulators that take part: connected, or with a broken stream in its grace time."""
        return len(self._roster)

    @property
    def num_running(self) -> int:
        """Simulators connected now."""
        return self._roster.num_running

    @property
    def num_agents(self) -> int:
        """Agents alive over all simulators."""
        return sum(behaviour.slots.num_agents for behaviour in self._behaviours)

    @property
    def has_batch_out(self) -> bool:
        """Whether a batch was handed out and is not answered yet."""
        return any(behaviour.batcher.unanswered is not None for behaviour in self._behaviours)

    @property
    def counters(self) -> Mapping[str, int]:
        """See `roster.COUNTED`."""
        return dict(self._roster.counters)

    @property
    def refusals(self) -> Mapping[str, str]:
        """{simulator: why its Hello was refused} of those whose next one would be as well."""
        return self._roster.refusals

    @property
    def seconds(self) -> Mapping[str, float]:
        """The event loop's seconds since the start, by what they went into: decode, encode."""
        return asdict(self._seconds)

    @property
    def has_begun(self) -> bool:
        """Whether as many simulators as expected have joined, so that batches are handed out."""
        return self._roster.has_begun

    def admit(self, spec: BehaviourSpec) -> None:
        """Know a behaviour before any simulator brings it: other specs of its name are refused."""
        self._behaviours.admit(spec)

    def set_environment_parameters(self, values: Mapping[str, float]) -> None:
        """Change these; each simulator is told with its next Act."""
        self._parameters.update(values)

    async def opened(self) -> AsyncIterator[Behaviour]:
        """Behaviours as they are first seen, restored ones first. Ends when the server pauses."""
        async for behaviour in self._behaviours.opened():
            yield behaviour

    async def start(self) -> str:
        """Listen, and return the address to dial; ServeError if that cannot be done."""
        credentials = server_credentials(self._config)
        token = None if self._config.token_file is None else TokenCheck(self._config.token_file)
        self._warn_of_exposure(token)
        self._service = Service(
            self._converse,
            token=token,
            on_change=self._schedule_expiry,
            on_sent=self._behaviours.note_sent,
            hello_s=self._hello_s,
        )
        address = await self._listen(self._service, credentials)
        await self._health.set(SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING)
        self._roster.renew_deadlines()
        self._schedule_expiry()
        return address

    def _warn_of_exposure(self, token: TokenCheck | None) -> None:
        if self._address.is_local or self._config.tls_certificate is not None:
            return
        logger.warning(
            "%s is open to other machines without TLS: anyone who reaches it can read along%s",
            self._address,
            " and learn the token" if token is not None else " and join",
        )

    async def _listen(self, service: Service, credentials: grpc.ServerCredentials | None) -> str:
        if isinstance(self._address, UnixAddress):
            clear_unix_path(self._address)
            self._grpc = self._make_grpc(service)
            bind(self._grpc, str(self._address), credentials)
            await self._grpc.start()
            self._address.path.chmod(0o600)
            return str(self._address)
        return await self._listen_on_tcp(self._address, service, credentials)

    async def _listen_on_tcp(
        self,
        address: TcpAddress,
        service: Service,
        credentials: grpc.ServerCredentials | None,
    ) -> str:
        attempts = PORT_ATTEMPTS if address.port == 0 else 1
        for attempt in range(1, attempts + 1):
            port = claim_port(address)
            self._grpc = self._make_grpc(service)
            try:
                for host in address.hosts:
                    bind(self._grpc, address.at(host, port), credentials)
            except ServeError:
                # Another program took the port in between.
                await self._grpc.stop(None)
                if attempt == attempts:
                    raise
                continue
            await self._grpc.start()
            return address.to_dial(port)
        raise AssertionError("the last attempt returns or raises")

    def _make_grpc(self, service: Service) -> grpc.aio.Server:
        server = grpc.aio.server(options=channel_options(self._config))
        server.add_generic_rpc_handlers((service.rpc_handler,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._config.reflection:
            names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        return server

    def _converse(self, peer: str, send: Send) -> StreamProtocol:
        return StreamProtocol(
            self._roster,
            self._parameters,
            self._seconds,
            run_id=self._run_id,
            grace_s=self._config.grace_s,
            max_message_bytes=max_message_bytes(self._config),
            peer=peer,
            send=send,
        )

    def _schedule_expiry(self) -> None:
        """Have `_expire` called when the next grace time is over."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        deadline_s = self._roster.next_deadline_s
        if deadline_s < float("inf") and not self._is_paused:
            delay_s = max(0.0, deadline_s - self._clock())
            self._expiry = asyncio.get_running_loop().call_later(delay_s, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        self._roster.expire()
        self._schedule_expiry()

    def pause(self) -> None:
        """Hand out no more batches: iterations over batchers and `opened` end, for good."""
        if self._is_paused:
            return
        self._is_paused = True
        self._behaviours.close()
        self._schedule_expiry()
        if self._grpc is not None:
            self._health_change = asyncio.create_task(self._health.enter_graceful_shutdown())

    async def stop(self, reason: CloseReason, message: str, *, goodbye_s: float = 1.0) -> None:
        """Tell every simulator, wait so long for their Goodbyes, and close the port.

        After CLOSE_REASON_STOPPED the sessions that did not say Goodbye stay, for `state`.
        After CLOSE_REASON_COMPLETED all are released.
        """
        self.pause()
        if self._health_change is not None:
            await self._health_change
        if self._service is not None:
            await self._service.close(reason, message, goodbye_s=goodbye_s)
        if self._grpc is not None:
            await self._grpc.stop(None)
            self._grpc = None
            if isinstance(self._address, UnixAddress):
                self._address.path.unlink(missing_ok=True)
        if reason == pb.CLOSE_REASON_COMPLETED:
            for session in list(self._roster):
                self._roster.leave(session, "the run is complete")

    def state(self) -> State:
        """Sessions, slots, and the Acts that simulators may ask for again. Also after `stop`.

        A batch may be out: then `unanswered` of its behaviour's batcher owes its answer after
        `load_state`, and its rows are not handed out again.
        """
        return {
            "behaviours": self._behaviours.state(),
            "roster": self._roster.state(),
        }

    def load_state(self, state: State) -> None:
        """Wait for the simulators of `state` to come back. Call before `start`.

        Restored sessions are detached; they have the grace time from `start` on.
        """
        self._behaviours.load_state(state["behaviours"])
        self._roster.load_state(state["roster"])


def bind(server: grpc.aio.Server, where: str, credentials: grpc.ServerCredentials | None) -> None:
    """Have `server` listen there; ServeError if it cannot."""
    try:
        if credentials is None:
            server.add_insecure_port(where)
        else:
            server.add_secure_port(where, credentials)
    except RuntimeError as error:
        raise ServeError(
            f"{where} cannot be listened on ({error}); is another trainer running? Stop it, or "
            "choose another server.address"
        ) from None


def channel_options(config: ServerConfig) -> list[tuple[str, int]]:
    """What gRPC is told for all streams."""
    return [
        # Twice what is taken: a message somewhat too long is refused in words that help, by its
        # conversation; gRPC itself would say "larger than max" and not what to do. Welcome tells
        # the limit, so that a simulator need not find out either way.
        ("grpc.max_receive_message_length", min(2 * max_message_bytes(config), MAX_INT32)),
        ("grpc.max_send_message_length", MAX_INT32),
        # Two trainers that share a port by accident would each see half of the simulators.
        ("grpc.so_reuseport", 0),
        # A simulator that vanished (power, cable) is noticed within half a minute.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        # Simulators ping every 10 s to notice a vanished trainer.
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ]
