"""The trainer of `scripted_trainer` over WebSocket: the same talks, by the package `websockets`."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import grpc
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection
from websockets.sync.server import serve as serve_websockets

from entrain_envs.wire import trainer_pb2 as pb
from scripted_trainer import Talk


class AbortedError(Exception):
    """A talk refused its stream."""

    def __init__(self, code: grpc.StatusCode, words: str) -> None:
        super().__init__(words)
        self.refusal = pb.Refusal(code=code.value[0], message=words)


class Context:
    """What a talk has of gRPC's context."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    def abort(self, code: grpc.StatusCode, words: str) -> NoReturn:
        raise AbortedError(code, words)

    def add_callback(self, callback: Callable[[], None]) -> None:
        """Call it when the simulator is gone."""

        def wait() -> None:
            self.socket.recv_events_thread.join()
            callback()

        threading.Thread(target=wait, daemon=True).start()

    def invocation_metadata(self) -> Iterator[tuple[str, str]]:
        assert self.socket.request is not None
        return ((name.lower(), it) for name, it in self.socket.request.headers.raw_items())


class ScriptedWebSocket:
    """Answers stream n by talk n, and those beyond the last talk by the last."""

    def __init__(self, talks: tuple[Talk, ...], **options: Any) -> None:
        self._talks = list(talks)
        self._server: Server = serve_websockets(
            self._carry,
            "localhost",
            0,
            subprotocols=["entrain.v1"],  # type: ignore[list-item]
            compression=None,
            max_size=None,
            **options,
        )
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        scheme = "wss" if "ssl" in options else "ws"
        self.url = f"{scheme}://localhost:{self._server.socket.getsockname()[1]}"

    def _carry(self, socket: ServerConnection) -> None:
        talk = self._talks.pop(0) if len(self._talks) > 1 else self._talks[0]
        context: Any = Context(socket)
        with contextlib.suppress(ConnectionClosed):
            try:
                for response in talk(requests_of(socket), context):
                    socket.send(response.SerializeToString())
            except AbortedError as error:
                socket.send(pb.ConnectResponse(refusal=error.refusal).SerializeToString())
                socket.close(4000 + error.refusal.code, error.refusal.message[:100])

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()


def requests_of(socket: ServerConnection) -> Iterator[pb.ConnectRequest]:
    with contextlib.suppress(ConnectionClosed):
        while True:
            content = socket.recv()
            assert isinstance(content, bytes)
            yield pb.ConnectRequest.FromString(content)
