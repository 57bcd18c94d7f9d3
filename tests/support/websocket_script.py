"""A trainer over WebSocket that says what a script tells it to, for tests of foreign clients."""

import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from entrain_envs.wire import trainer_pb2 as pb


class Line:
    """One connection, as the trainer's end of it."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket

    def receive(self) -> pb.ConnectRequest:
        """The next message; ConnectionClosed if the client is gone."""
        return pb.ConnectRequest.FromString(self.raw())

    def raw(self) -> bytes:
        content = self.socket.recv(timeout=60.0)
        assert isinstance(content, bytes)
        return content

    def send(self, response: pb.ConnectResponse | pb.InquireResponse) -> None:
        self.socket.send(response.SerializeToString())

    def welcome(self, session_id: str = "session", **fields: object) -> pb.Hello:
        """Takes the Hello and answers it."""
        hello = self.receive().hello
        fields = {"seed": 5, "revision": 3, **fields}
        answer = pb.Welcome(version=1, session_id=session_id, run_id="run", **fields)  # type: ignore[arg-type]
        self.send(pb.ConnectResponse(welcome=answer))
        return hello

    def act(self, step: pb.Step, **fields: object) -> None:
        """Answers a Step of the probe: row i of runners gets i, and a chooser its number's."""
        act = pb.Act(sequence=step.sequence, **fields)  # type: ignore[arg-type]
        for part in step.behaviours:
            rows = sum(step_type <= pb.STEP_TYPE_MID for step_type in part.step_type)
            answer = act.behaviours.add(behaviour=part.behaviour, policy_version=3)
            if part.behaviour == "runner":
                numbers = [float(row) for row in range(rows) for _ in range(2)]
                answer.continuous = struct.pack(f"<{2 * rows}f", *numbers)
            else:
                answer.discrete = struct.pack(f"<{2 * rows}i", *[1] * 2 * rows)
        self.send(pb.ConnectResponse(act=act))

    def serve_steps(self, count: int) -> list[pb.Step]:
        """Answers so many Steps, fewer if a Goodbye comes before."""
        steps: list[pb.Step] = []
        while len(steps) < count:
            request = self.receive()
            if request.HasField("goodbye"):
                break
            self.act(request.step)
            steps.append(request.step)
        return steps

    def close(self, reason: pb.CloseReason, words: str = "done") -> str:
        """Sends a Close, and returns the reason of the client's Goodbye; "" if there is none."""
        self.send(pb.ConnectResponse(close=pb.Close(reason=reason, message=words)))
        try:
            while True:
                request = self.receive()
                if request.HasField("goodbye"):
                    return request.goodbye.reason
        except ConnectionClosed:
            return ""

    def refuse(self, code: int, words: str) -> None:
        """As the trainer does: a message, then a close frame."""
        self.send(pb.ConnectResponse(refusal=pb.Refusal(code=code, message=words)))
        self.socket.close(4000 + code, words)

    def cut(self) -> None:
        """Without a close frame, as when a machine goes away."""
        self.socket.socket.shutdown(2)


Talk = Callable[[Line], None]


class Script:
    """What is said on each connection, in turn, and what was heard."""

    def __init__(
        self, talks: Sequence[Talk], inquiries: Sequence[pb.StepStanding], statuses: Sequence[int]
    ) -> None:
        self.url = ""
        self.requests: list[tuple[str, Headers]] = []
        self.faults: list[BaseException] = []
        self.inquired: list[pb.InquireRequest] = []
        self._talks = list(talks)
        self._inquiries = list(inquiries)
        self._statuses = list(statuses)
        self._lock = threading.Lock()

    def answer(self, _: ServerConnection, request: Request) -> Response | None:
        """An HTTP status instead of an upgrade, while there are some."""
        self.requests.append((request.path, request.headers))
        if request.path == "/simulate" and self._statuses:
            status = HTTPStatus(self._statuses.pop(0))
            words = f"no, by {status.value}\n".encode()
            headers = Headers({"Content-Length": str(len(words)), "Content-Type": "text/plain"})
            return Response(status.value, status.phrase, headers, words)
        return None

    def serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        if socket.request.path == "/inquire":
            return self._inquire(socket)
        with self._lock:
            talk = self._talks.pop(0)
        try:
            talk(Line(socket))
        except BaseException as fault:
            self.faults.append(fault)

    def _inquire(self, socket: ServerConnection) -> None:
        content = socket.recv(timeout=60.0)
        assert isinstance(content, bytes)
        self.inquired.append(pb.InquireRequest.FromString(content))
        answer = pb.InquireResponse(standing=self._inquiries.pop(0))
        socket.send(answer.SerializeToString())

    @property
    def is_over(self) -> bool:
        """Whether every talk was had, without a fault."""
        if self.faults:
            raise self.faults[0]
        return not self._talks


@contextmanager
def scripted(
    *talks: Talk,
    inquiries: Sequence[pb.StepStanding] = (),
    statuses: Sequence[int] = (),
    tls: ssl.SSLContext | None = None,
) -> Iterator[Script]:
    """Serves one connection after the other.

    Args:
        talks: what is said on each connection.
        inquiries: what is answered to each question about a Step.
        statuses: with which HTTP status each of the first dials is answered instead.
        tls: makes it wss://.
    """
    script = Script(talks, inquiries, statuses)
    server = serve(
        script.serve,
        "localhost",
        0,
        subprotocols=[Subprotocol("entrain.v1")],
        compression=None,
        process_request=script.answer,
        max_size=None,
        ssl=tls,
    )
    script.url = f"{'wss' if tls else 'ws'}://localhost:{server.socket.getsockname()[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
