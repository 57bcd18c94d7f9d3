"""The native wire as the rest of the trainer sees it: one `Front`, over gRPC and WebSocket."""

from typing import TYPE_CHECKING

from entrain.native.connection import HELLO_S, Connections
from entrain.native.credentials import TokenCheck
from entrain.native.grpc_transport import GrpcServer
from entrain.native.inquiry import Inquiries
from entrain.native.sessions import Sessions
from entrain.serving.front import Ending
from entrain.serving.participants import Participants
from entrain.state import State

if TYPE_CHECKING:
    from entrain.native.websocket_server import WebSocketServer
    from entrain.native.websocket_transport import Simulators

GOODBYE_S = 1.0
"""How long simulators have to say Goodbye when a run ends."""


class NativeFront:
    """Simulators that speak proto/entrain/v1. Owned by the event loop."""

    def __init__(
        self,
        participants: Participants,
        *,
        run_id: str,
        hello_s: float = HELLO_S,
        is_on_page: bool = False,
        evaluation: Participants | None = None,
    ) -> None:
        """Nothing is listened on yet. ConfigError if the address is wrong or too exposed.

        Args:
            participants: of the run; its configuration says where to listen.
            run_id: told to simulators.
            hello_s: how long a stream may take to say Hello.
            is_on_page: whether the run's page hands WebSockets to `simulators`.
            evaluation: see `Sessions`. They are told of the end here, and released elsewhere.
        """
        self._participants = participants
        self._sessions = Sessions(participants, run_id=run_id, evaluation=evaluation)
        self.connections = Connections(self._sessions, hello_s=hello_s)
        """Carries streams, also those of another transport than gRPC."""
        inquiries = Inquiries(self._sessions)
        self._grpc = GrpcServer(participants.config, self.connections, inquiries)
        self._websocket = self._make_websocket(inquiries, is_on_page=is_on_page)

    def __repr__(self) -> str:
        return f"<NativeFront {self._grpc}: {len(self._participants)} simulators>"

    def _make_websocket(
        self, inquiries: Inquiries, *, is_on_page: bool
    ) -> "WebSocketServer | None":
        config = self._participants.config
        if config.websocket is None:
            return None
        # Only for who wants it: a web server takes a while to import.
        from entrain.native.websocket_server import WebSocketServer  # noqa: PLC0415

        return WebSocketServer(config, self.connections, inquiries, is_on_page=is_on_page)

    @property
    def simulators(self) -> "Simulators | None":
        """The application that answers their WebSockets, if there are to be any."""
        return None if self._websocket is None else self._websocket.simulators

    @property
    def websocket_url(self) -> str:
        """The URL for simulators that speak WebSocket; "" if there is none or none yet."""
        return "" if self._websocket is None else self._websocket.simulators.url

    async def start(self) -> str:
        """Listen, and return the address to dial; ServeError if that cannot be done."""
        config = self._participants.config
        token = None if config.token_file is None else TokenCheck(config.token_file)
        address = await self._grpc.start(token)
        if self._websocket is not None:
            await self._websocket.start(token)
        self._participants.renew_deadlines()
        return address

    def pause(self) -> None:
        """Hand out no more batches, and tell health checks that the service has ended."""
        self._participants.pause()
        self._grpc.pause()
        if self._websocket is not None:
            self._websocket.pause()

    async def stop(self, ending: Ending, message: str, *, goodbye_s: float = GOODBYE_S) -> None:
        """Tell every simulator, wait so long for their Goodbyes, and close the port.

        After `Ending.STOPPED` the sessions that did not say Goodbye stay, for `state`.
        After `Ending.COMPLETED` all are released.
        """
        self.pause()
        await self.connections.close(ending, message, goodbye_s=goodbye_s)
        await self._grpc.stop()
        if self._websocket is not None:
            await self._websocket.stop()
        if ending is Ending.COMPLETED:
            self._participants.leave_all("the run is complete")

    def state(self) -> State:
        """Which participants speak this wire. Also after `stop`."""
        return self._sessions.state()

    def load_state(self, state: State) -> None:
        """Wait for the simulators of `state`. Call before `start`, after the participants'."""
        self._sessions.load_state(state)
