"""The kit's port over gRPC: each call of Connect becomes a stream of bytes.

Only this module of the kit speaks gRPC. Streams wait in a short queue; those beyond it are refused.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from types import TracebackType

import grpc

from entrain_envs.conformance.arrivals import Arrivals
from entrain_envs.conformance.listening import Access, Place
from entrain_envs.conformance.port import End, Question, Stream
from entrain_envs.errors import OptionError
from entrain_envs.wire import trainer_pb2 as pb

SERVICE = "entrain.v1.Trainer"

MOST_BYTES = 64 * 2**20
"""Of one message."""

_THREADS = 16
_MOST_WAITING = 8
"""Streams and questions that wait to be looked at."""

_CODES = {end: code for end in End for code in grpc.StatusCode if code.value[0] == end.value} | {
    End.BROKEN: grpc.StatusCode.UNAVAILABLE
}


class GrpcStream:
    """One call of Connect. Written by the kit's thread, carried out by gRPC's."""

    def __init__(self, peer: str, token: str, opened_s: float) -> None:
        self.peer = peer
        self.token = token
        self.opened_s = opened_s
        self.offers_subprotocol: bool | None = None
        self._arrived: Arrivals[bytes] = Arrivals()
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._how = (End.NORMAL, "")

    def receive(self, *, timeout_s: float) -> bytes:
        """See `Stream`."""
        return self._arrived.get(timeout_s=timeout_s)

    def send(self, message: bytes) -> None:
        """See `Stream`."""
        self._outgoing.put(message)

    def answers_ping(self, *, timeout_s: float) -> bool | None:  # noqa: ARG002
        """See `Stream`: gRPC's library does it."""
        return None

    def end(self, how: End, words: str = "") -> None:
        """See `Stream`."""
        self._arrived.give_up()
        self._how = (how, words)
        self._outgoing.put(None)

    def carry(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Run the call, in gRPC's thread, until the kit or the simulator ends it."""
        context.add_callback(self._finish)
        threading.Thread(target=self._read, args=(requests,), daemon=True).start()
        while (message := self._outgoing.get()) is not None:
            yield message
        how, words = self._how
        if how is not End.NORMAL and context.is_active():
            context.abort(_CODES[how], words)

    def _read(self, requests: Iterator[bytes]) -> None:
        why_over = "it sent no more"
        try:
            for message in requests:
                self._arrived.put(message)
        except Exception as error:
            why_over = str(error) or "it was cancelled"
        self._arrived.end(why_over)

    def _finish(self) -> None:
        self._arrived.give_up()
        self._outgoing.put(None)


class GrpcPort:
    """See the module. Listens from the beginning, until `stop`."""

    def __init__(
        self, place: Place, access: Access, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """OptionError if it cannot listen there."""
        self._clock = clock
        self._streams: queue.Queue[Stream] = queue.Queue(_MOST_WAITING)
        self._questions: queue.Queue[Question] = queue.Queue(_MOST_WAITING)
        self._standing: pb.StepStanding = pb.STEP_STANDING_HELD
        self._token = access.token
        self._server = grpc.server(
            futures.ThreadPoolExecutor(_THREADS),
            options=[
                ("grpc.max_receive_message_length", MOST_BYTES),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ],
            maximum_concurrent_rpcs=_THREADS,
        )
        handlers = {
            "Connect": grpc.stream_stream_rpc_method_handler(self._connect),
            "Inquire": grpc.unary_unary_rpc_method_handler(self._inquire),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self.address = self._listen(place, access)
        """What simulators dial."""
        self._server.start()

    def _listen(self, place: Place, access: Access) -> str:
        try:
            if access.certificate:
                credentials = grpc.ssl_server_credentials(
                    [(access.key, access.certificate)],
                    access.client_ca or None,
                    bool(access.client_ca),
                )
                port = self._server.add_secure_port(place.text, credentials)
            else:
                port = self._server.add_insecure_port(place.text)
        except RuntimeError as error:
            raise OptionError(
                f"{place.text} cannot be listened on ({error}); is a trainer running there? Stop "
                "it, or choose another --listen"
            ) from None
        if place.text.startswith("unix:"):
            return place.text
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(place.host, place.host)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def __enter__(self) -> "GrpcPort":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop(0).wait()

    def next_stream(self, *, timeout_s: float) -> Stream | None:
        """See `Port`."""
        try:
            return self._streams.get(timeout=max(0.001, timeout_s))
        except queue.Empty:
            return None

    def answer_with(self, standing: pb.StepStanding) -> None:
        """See `Port`."""
        self._standing = standing

    def next_question(self, *, timeout_s: float) -> Question | None:
        """See `Port`."""
        try:
            return self._questions.get(timeout=max(0.001, timeout_s))
        except queue.Empty:
            return None

    def _connect(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        stream = GrpcStream(context.peer(), _token(context), self._clock())
        try:
            self._streams.put_nowait(stream)
        except queue.Full:
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "the conformance kit looks at one simulator at a time; start only one",
            )
        yield from stream.carry(requests, context)

    def _inquire(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        if self._token and _token(context) != self._token:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the token is missing or wrong")
        asked = pb.InquireRequest.FromString(request)
        try:
            self._questions.put_nowait(
                Question(asked.session_id, asked.instance_id, asked.sequence)
            )
        except queue.Full:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many questions")
        return pb.InquireResponse(standing=self._standing).SerializeToString()


def _token(context: grpc.ServicerContext) -> str:
    for name, value in context.invocation_metadata():
        scheme, _, token = str(value).partition(" ")
        if name == "authorization" and scheme.lower() == "bearer":
            return token.strip()
    return ""
