"""The native wire as the rest of the trainer sees it: one `Front` over gRPC."""

from entrain.native.connection import HELLO_S, Connections
from entrain.native.grpc_transport import GrpcServer
from entrain.native.inquiry import Inquiries
from entrain.native.sessions import Sessions
from entrain.serving.front import Ending
from entrain.serving.participants import Participants
from entrain.state import State

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
    ) -> None:
        """Nothing is listened on yet. ConfigError if the address is wrong or too exposed.

        Args:
            participants: of the run; its configuration says where to listen.
            run_id: told to simulators.
            hello_s: how long a stream may take to say Hello.
        """
        self._participants = participants
        self._sessions = Sessions(participants, run_id=run_id)
        self.connections = Connections(self._sessions, hello_s=hello_s)
        """Carries streams, also those of another transport than gRPC."""
        self._grpc = GrpcServer(participants.config, self.connections, Inquiries(self._sessions))

    def __repr__(self) -> str:
        return f"<NativeFront {self._grpc}: {len(self._participants)} simulators>"

    async def start(self) -> str:
        """Listen, and return the address to dial; ServeError if that cannot be done."""
        address = await self._grpc.start()
        self._participants.renew_deadlines()
        return address

    def pause(self) -> None:
        """Hand out no more batches, and tell health checks that the service has ended."""
        self._participants.pause()
        self._grpc.pause()

    async def stop(self, ending: Ending, message: str, *, goodbye_s: float = GOODBYE_S) -> None:
        """Tell every simulator, wait so long for their Goodbyes, and close the port.

        After `Ending.STOPPED` the sessions that did not say Goodbye stay, for `state`.
        After `Ending.COMPLETED` all are released.
        """
        self.pause()
        await self.connections.close(ending, message, goodbye_s=goodbye_s)
        await self._grpc.stop()
        if ending is Ending.COMPLETED:
            self._participants.leave_all("the run is complete")

    def state(self) -> State:
        """Which participants speak this wire. Also after `stop`."""
        return self._sessions.state()

    def load_state(self, state: State) -> None:
        """Wait for the simulators of `state`. Call before `start`, after the participants'."""
        self._sessions.load_state(state)
