"""One gRPC stream to a trainer. The only module of the SDK that dials with gRPC."""

import collections
import queue
import threading
import time
from collections.abc import Iterator

import grpc

from entrain_envs.connection import Destination, failure_of, file_content
from entrain_envs.errors import BrokenStreamError, MisfitError, RefusedError, SilentStreamError
from entrain_envs.wire import trainer_pb2 as pb
from entrain_envs.wire import trainer_pb2_grpc

CLOSE_S = 2.0
"""Longest wait for gRPC to close a channel. Normally it takes milliseconds."""


def open_channel(to: Destination) -> grpc.Channel:
    """A connection of its own, which is made when something is called on it."""
    options = [
        ("grpc.max_receive_message_length", to.max_message_bytes),
        ("grpc.max_send_message_length", to.max_message_bytes),
        # Pings notice a trainer whose machine has gone, even while nothing is being sent.
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.enable_http_proxy", 0),
        # The client dials again by itself. gRPC must not keep copies of messages for a retry,
        # and a new channel must not wait for the back-off of the previous one.
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if to.tls_ca is None:
        return grpc.insecure_channel(to.address, options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=file_content(to.tls_ca),
        private_key=file_content(to.tls_key) if to.tls_key else None,
        certificate_chain=file_content(to.tls_certificate) if to.tls_certificate else None,
    )
    return grpc.secure_channel(to.address, credentials, options)


class GrpcConnection:
    """A stream whose requests come from a queue that gRPC's own thread empties.

    asyncio and a reader thread of our own were measured too. All three are within 5 % of each
    other, so this is the simplest one.
    """

    def __init__(self, to: Destination, token: str) -> None:
        """Dial. OptionError if a file of certificates cannot be read.

        Args:
            to: where, and with which certificates.
            token: that is shown; empty: none.
        """
        self._destination = to
        self._metadata = metadata = [("authorization", f"Bearer {token}")] if token else []
        self._why_given_up = ""
        channel = self._channel = open_channel(to)
        self._requests: queue.SimpleQueue[pb.ConnectRequest | None] = queue.SimpleQueue()
        outgoing: Iterator[pb.ConnectRequest] = iter(self._requests.get, None)
        stub = trainer_pb2_grpc.TrainerStub(channel)  # type: ignore[no-untyped-call]
        self._call = stub.Connect(outgoing, metadata=metadata)

    def send(self, request: pb.ConnectRequest) -> None:
        self._requests.put(request)

    def receive(self, *, timeout_s: float = 0.0) -> pb.ConnectResponse:
        if timeout_s > 0.0:
            return self._receive_within(timeout_s)
        try:
            response: pb.ConnectResponse = next(self._call)
        except StopIteration:
            raise BrokenStreamError("the trainer ended the stream without a Close") from None
        except grpc.RpcError as error:
            if self._why_given_up:
                raise SilentStreamError(self._why_given_up) from None
            raise _translated(error) from None
        return response

    def give_up(self, words: str) -> None:
        self._why_given_up = words
        self._call.cancel()

    def inquire(self, request: pb.InquireRequest, *, timeout_s: float) -> pb.InquireResponse:
        # A channel has a connection of its own, so this one is not held up by what holds up the
        # stream's.
        with open_channel(self._destination) as channel:
            stub = trainer_pb2_grpc.TrainerStub(channel)  # type: ignore[no-untyped-call]
            try:
                answer: pb.InquireResponse = stub.Inquire(
                    request, metadata=self._metadata, timeout=timeout_s
                )
            except grpc.RpcError as error:
                raise _translated(error) from None
        return answer

    def _receive_within(self, timeout_s: float) -> pb.ConnectResponse:
        # A synchronous stream has no read with a timeout. Cancelling the call ends the read.
        timer = threading.Timer(timeout_s, self._call.cancel)
        timer.start()
        try:
            return self.receive()
        finally:
            timer.cancel()

    def end(self, *, timeout_s: float) -> None:
        self._requests.put(None)
        if timeout_s > 0.0:
            timer = threading.Timer(timeout_s, self._call.cancel)
            timer.start()
            self._drain()
            timer.cancel()
        self._call.cancel()
        # A signal can interrupt gRPC between registering a read and starting it. Closing then
        # waits for ever for that read, so it runs in a thread that nothing waits for.
        closing = threading.Thread(target=self._channel.close, daemon=True)
        closing.start()
        closing.join(CLOSE_S)

    def _drain(self) -> None:
        """Read until the stream ends, because its final status arrives only after all messages."""
        while True:
            try:
                collections.deque(self._call, maxlen=0)
            except grpc.RpcError:
                return
            except ValueError:
                # A signal interrupted a read that still runs inside gRPC. It allows no second
                # read until the trainer answers or ends the stream.
                time.sleep(0.005)
            else:
                return


def _translated(error: grpc.RpcError) -> BrokenStreamError | RefusedError:
    code: grpc.StatusCode = error.code()
    words = str(error.details() or "no details")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in words:
        return _too_long(words)
    return failure_of(code.name, words)


def _too_long(words: str) -> MisfitError:
    """The error for a message that gRPC refused, on either side, with the remedy."""
    if "CLIENT" in words:
        remedy = (
            "raise max_message_mib of this simulator's TrainerClient (--max-message-mib of "
            "entrain-env)"
        )
    else:
        # A trainer sets gRPC's limit to twice its own, so the message names the wrong number.
        remedy = "raise server.max_message_mib of the trainer (gRPC's limit is twice that)"
    return MisfitError(
        f"a message is too long ({words}); send fewer agents in a message or smaller images, or "
        f"{remedy} (RESOURCE_EXHAUSTED)"
    )
