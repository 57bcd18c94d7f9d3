"""The native wire over gRPC: listens, checks tokens, and hands each stream over as a `Transport`.

Bytes are (de)serialised by the stream's state machine, not by gRPC, so that what cannot be read
gets an answer in words.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TypeAlias

import grpc
import grpc.aio
from grpc.aio import BaseError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from entrain.config.run import ServerConfig
from entrain.errors import ServeError, UnauthenticatedError
from entrain.native.address import (
    TcpAddress,
    UnixAddress,
    check_exposure,
    claim_port,
    clear_unix_path,
    parse_address,
    peer_host,
)
from entrain.native.certificates import ServerCertificates
from entrain.native.connection import Connections, Transport
from entrain.native.credentials import TokenCheck
from entrain.native.inquiry import Inquiries
from entrain.native.stream import EndCode, StreamEnd
from entrain.quoting import shortened
from entrain.serving.limits import MAX_INT32, max_message_bytes

logger = logging.getLogger(__name__)

SERVICE_NAME = "entrain.v1.Trainer"

TOO_LONG_PERHAPS = (
    "if gRPC told it that a message is larger than max, which only the simulator hears: raise "
    "server.max_message_mib"
)
"""Where gRPC itself refuses a message, this side sees no more than the end of the stream."""

STATUS: Mapping[EndCode, grpc.StatusCode] = {
    EndCode.DONE: grpc.StatusCode.OK,
    EndCode.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    EndCode.REFUSED: grpc.StatusCode.FAILED_PRECONDITION,
    EndCode.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    EndCode.LIMIT: grpc.StatusCode.RESOURCE_EXHAUSTED,
    EndCode.REPLACED: grpc.StatusCode.ABORTED,
    EndCode.LATE: grpc.StatusCode.DEADLINE_EXCEEDED,
    EndCode.STOPPING: grpc.StatusCode.UNAVAILABLE,
}
"""What a simulator sees. Of these, only UNAVAILABLE goes away by dialling again."""

MOST_REASON_BYTES = 6000
"""Of a status's words as gRPC sends them; of more than some 8,000 the other side sees nothing."""

PORT_ATTEMPTS = 5

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


class Service:
    """Answers `Connect` and `Inquire`. Owned by the event loop."""

    def __init__(
        self, connections: Connections, inquiries: Inquiries, *, token: TokenCheck | None
    ) -> None:
        """No calls yet.

        Args:
            connections: carries the streams.
            inquiries: answers questions about a Step.
            token: what simulators must show; None lets everyone in.
        """
        self._connections = connections
        self._inquiries = inquiries
        self._token = token

    def __repr__(self) -> str:
        return f"<Service: {self._connections}>"

    @property
    def rpc_handler(self) -> "grpc.GenericRpcHandler[bytes, bytes]":
        """The handler to register with a gRPC server."""
        # On the wire a unary call is a stream of one message each way. Handled as such, a call
        # whose message never comes can be ended after a while.
        methods = {"Connect": self.connect, "Inquire": self.inquire}
        return grpc.method_handlers_generic_handler(
            SERVICE_NAME,
            {name: grpc.stream_stream_rpc_method_handler(each) for name, each in methods.items()},
        )

    async def connect(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        """Carry a simulator's stream from its beginning to its end."""
        await self._carry(self._connections.carry, context)

    async def inquire(self, _requests: AsyncIterator[bytes], context: Context) -> None:
        """Carry a question about a Step, and its answer."""
        await self._carry(self._inquiries.carry, context)

    async def _carry(
        self, carry: Callable[[Transport], Awaitable[StreamEnd]], context: Context
    ) -> None:
        peer = peer_host(context.peer())
        try:
            self._check_token(context, peer)
        except UnauthenticatedError as error:
            how = self._connections.refuse(error)
        else:
            # The call's own methods: no Python of ours between them and the stream's tasks.
            transport = Transport(peer, context.read, context.write, BaseError, TOO_LONG_PERHAPS)
            how = await carry(transport)
        await self._end(context, how)

    def _check_token(self, context: Context, peer: str) -> None:
        if self._token is not None:
            metadata = context.invocation_metadata() or ()
            self._token.check(metadata, who=f"a simulator@{peer}")

    @staticmethod
    async def _end(context: Context, how: StreamEnd) -> None:
        code = STATUS[how.code]
        if code is grpc.StatusCode.OK:
            return
        try:
            await context.abort(code, fitting(how.words))
        except BaseError as error:
            logger.debug("nobody is there to be told %s: %s", how.words, error)


def fitting(words: str) -> str:
    """`words`, shortened if need be: a status writes each byte beyond ASCII as three."""
    encoded = sum(1 if 32 <= byte < 127 and byte != ord("%") else 3 for byte in words.encode())
    # A character has at most four bytes, each written as three.
    return words if encoded <= MOST_REASON_BYTES else shortened(words, MOST_REASON_BYTES // 15)


class GrpcServer:
    """Listens where the configuration says. Owned by the event loop."""

    def __init__(
        self, config: ServerConfig, connections: Connections, inquiries: Inquiries
    ) -> None:
        """Nothing is listened on yet. ConfigError if the address is wrong or too exposed.

        Args:
            config: address, certificates, token, reflection, longest message.
            connections: carries the streams.
            inquiries: answers questions about a Step.
        """
        self._config = config
        self._connections = connections
        self._inquiries = inquiries
        self._address = parse_address(config.address)
        check_exposure(self._address, config)
        self._server: grpc.aio.Server | None = None
        self._certificates: ServerCertificates | None = None
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._health_change: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<GrpcServer {self._address}>"

    async def start(self, token: TokenCheck | None) -> str:
        """Listen, and return the address to dial; ServeError if that cannot be done.

        `token` is what simulators must show; None lets everyone in.
        """
        self._certificates = ServerCertificates.of(self._config)
        self._warn_of_exposure(token)
        service = Service(self._connections, self._inquiries, token=token)
        address = await self._listen(service)
        await self._health.set(SERVICE_NAME, health_pb2.HealthCheckResponse.SERVING)
        return address

    def _warn_of_exposure(self, token: TokenCheck | None) -> None:
        if self._address.is_local or self._config.tls_certificate is not None:
            return
        logger.warning(
            "%s is open to other machines without TLS: anyone who reaches it can read along%s",
            self._address,
            " and learn the token" if token is not None else " and join",
        )

    async def _listen(self, service: Service) -> str:
        if isinstance(self._address, UnixAddress):
            clear_unix_path(self._address)
            self._server = self._make_server(service)
            bind(self._server, str(self._address), self._certificates)
            await self._server.start()
            self._address.path.chmod(0o600)
            return str(self._address)
        return await self._listen_on_tcp(self._address, service)

    async def _listen_on_tcp(self, address: TcpAddress, service: Service) -> str:
        attempts = PORT_ATTEMPTS if address.port == 0 else 1
        for attempt in range(1, attempts + 1):
            port = claim_port(address)
            self._server = self._make_server(service)
            try:
                for host in address.hosts:
                    bind(self._server, address.at(host, port), self._certificates)
            except ServeError:
                # Another program took the port in between.
                await self._server.stop(None)
                if attempt == attempts:
                    raise
                continue
            await self._server.start()
            return address.to_dial(port)
        raise AssertionError("the last attempt returns or raises")

    def _make_server(self, service: Service) -> grpc.aio.Server:
        server = grpc.aio.server(options=channel_options(self._config))
        server.add_generic_rpc_handlers((service.rpc_handler,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._config.reflection:
            names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        return server

    def pause(self) -> None:
        """Tell health checks that the service has ended."""
        if self._server is not None and self._health_change is None:
            self._health_change = asyncio.create_task(self._health.enter_graceful_shutdown())

    async def stop(self) -> None:
        """Close the port."""
        if self._health_change is not None:
            await self._health_change
        if self._server is not None:
            await self._server.stop(None)
            self._server = None
            if isinstance(self._address, UnixAddress):
                self._address.path.unlink(missing_ok=True)


def bind(server: grpc.aio.Server, where: str, certificates: ServerCertificates | None) -> None:
    """Have `server` listen there; ServeError if it cannot."""
    try:
        if certificates is None:
            server.add_insecure_port(where)
        else:
            server.add_secure_port(where, certificates.credentials())
    except RuntimeError as error:
        raise ServeError(
            f"{where} cannot be listened on ({error}); is another trainer running? Stop it, or "
            "choose another server.address"
        ) from None


def channel_options(config: ServerConfig) -> list[tuple[str, int]]:
    """Options of gRPC, for all streams."""
    return [
        # Twice what is taken: a message somewhat too long is refused in words that help, by its
        # stream; gRPC itself would say "larger than max" and not what to do. Welcome tells
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
