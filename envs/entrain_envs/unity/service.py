"""The port of one game: the unary method `Exchange` over gRPC, bytes in and bytes out.

The caller's `answer` interprets the bytes. Games wait for an answer without a deadline, for example
while a trainer learns.
"""

import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import grpc
import grpc.aio

from entrain_envs.unity.errors import GameRefusedError
from entrain_envs.unity.ports import at, claim, hosts_of, refused

METHOD = "/communicator_objects.UnityToExternalProto/Exchange"

PORT_ATTEMPTS = 5

LATE_S = 2.0
"""How long the message of a call may take to come, after which it is taken for refused or lost."""

MOST_REASON_CHARACTERS = 2000
"""Of a refusal; of a much longer one gRPC shows the game nothing."""

MOST_CALLS = 4
"""Of one connection at once; those of whoever makes more wait or fail."""

MAX_INT32 = 2**31 - 1

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Answer = Callable[[bytes, str], Awaitable[bytes]]
"""Given a message and its sender's address and port, returns what to answer; is cancelled if the
game is gone before. GameRefusedError: the game is told, and its call fails."""


class ExchangePort:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        answer: Answer,
        *,
        host: str = "localhost",
        port: int,
        max_message_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is listened on yet.

        Args:
            answer: answers messages.
            host: localhost is both loopback addresses.
            port: 0 takes any free one.
            max_message_bytes: of a game. gRPC refuses messages twice as long, in its own words; the
                caller's `answer` refuses one that is a little too long (`check_length`).
            clock: seconds.
        """
        self._answer = answer
        self._host = host
        self.port = port
        self._max_message_bytes = max_message_bytes
        self._clock = clock
        self._server: grpc.aio.Server | None = None
        self._handler = _Handler(self._exchange, self._begin)
        self._without_message = 0
        self._since_s = 0.0

    def __repr__(self) -> str:
        return f"<ExchangePort {self.address}>"

    @property
    def address(self) -> str:
        """HOST:PORT that games dial."""
        return at(self._host, self.port)

    async def start(self) -> None:
        """Listen; PortError, which names the port's owner if it can, if that cannot be done."""
        attempts = PORT_ATTEMPTS if self.port == 0 else 1
        for attempt in range(1, attempts + 1):
            port = claim(self._host, self.port)
            self._server = self._make_server()
            try:
                for host in hosts_of(self._host):
                    self._server.add_insecure_port(at(host, port))
            except RuntimeError as error:
                # Another program took the port in between.
                await self._server.stop(None)
                if attempt == attempts:
                    raise refused(self._host, port, OSError(0, str(error))) from None
                continue
            await self._server.start()
            self.port = port
            return

    def _make_server(self) -> grpc.aio.Server:
        server = grpc.aio.server(
            options=[
                # Twice what is taken: a message somewhat too long is refused in words that help.
                (
                    "grpc.max_receive_message_length",
                    min(2 * self._max_message_bytes, MAX_INT32),
                ),
                ("grpc.max_send_message_length", MAX_INT32),
                # Each call's message is held while it is answered; a game makes one call at a time.
                ("grpc.max_concurrent_streams", MOST_CALLS),
                # Two trainers that share a port by accident would each see half of the messages.
                ("grpc.so_reuseport", 0),
            ]
        )
        server.add_generic_rpc_handlers((self._handler,))
        return server

    async def stop(self, *, grace_s: float = 0.5) -> None:
        """Close the port once what was answered is on its way, or after `grace_s`."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(grace_s)

    def _begin(self) -> None:
        """A call begins; its message is still to come."""
        if not self._without_message:
            self._since_s = self._clock()
        self._without_message += 1

    async def _exchange(self, message: bytes, context: Context) -> bytes:
        self._without_message = max(0, self._without_message - 1)
        try:
            return await self._answer(message, context.peer())
        except GameRefusedError as error:
            words = str(error)[:MOST_REASON_CHARACTERS]
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, words)
            raise AssertionError("abort raises") from error

    def take_lost(self) -> str:
        """Why calls came whose message never did, once after each; "" if there are none.

        gRPC refuses far too long messages by itself and tells only the game.
        """
        if not self._without_message or self._clock() - self._since_s < LATE_S:
            return ""
        self._without_message = 0
        return (
            f"a call came on {self.address} and its message did not: the game ended meanwhile, or "
            f"its message is longer than {2 * self._max_message_bytes:,} bytes, which gRPC tells "
            "only the game (RESOURCE_EXHAUSTED); if so, raise server.max_message_mib "
            "(--receive-mib of entrain learn)"
        )


class _Handler(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # only the stubs know it
    """Offers the one method, and sees calls begin before their message has come."""

    def __init__(
        self, exchange: Callable[[bytes, Context], Awaitable[bytes]], begin: Callable[[], None]
    ) -> None:
        self._method = grpc.unary_unary_rpc_method_handler(exchange)
        self._begin = begin

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """The method, if it is what is called."""
        if handler_call_details.method != METHOD:
            return None
        self._begin()
        return self._method
