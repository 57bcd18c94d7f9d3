"""A simulator's membership with one trainer, over as many streams as that takes.

    GREETING --Welcome--> RUNNING --broken stream--> dials again --resumed--> RUNNING
                             |  or silent for long
                             |                            |---- forgotten --> SessionLostError
                             |---- Close COMPLETED ---------------------------> TrainerClosed

Nothing here knows gRPC, or what a Step holds.
"""

import logging
from collections import deque
from collections.abc import Callable, Mapping

from entrain_envs.connection import Connection
from entrain_envs.dialling import Dialler, leave
from entrain_envs.errors import BrokenStreamError, SessionLostError, TrainerClosed
from entrain_envs.greeting import NOT_JOINED, Welcome
from entrain_envs.patience import Patience
from entrain_envs.silence import Silence, Wait
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)


Sent = tuple[pb.ConnectRequest, int, Mapping[str, int]]
"""A Step that was sent, at most how many bytes it has, and {behaviour: rows that need an action}.
"""


class Session:
    """Joins, resumes and ends; `client` sends Steps. Owned by one thread, but for
    `waits_for`.
    """

    def __init__(
        self,
        dialler: Dialler,
        *,
        connect_s: float,
        reconnect_s: float,
        patience: Callable[[float], Patience],
        silence: Silence,
    ) -> None:
        self.welcome = NOT_JOINED
        self.parameters = NOT_JOINED.environment_parameters
        """Replaced, never changed, so that `is` tells whether one changed."""
        self._dialler = dialler
        self._address = dialler.address
        self._connect_s = connect_s
        self._reconnect_s = reconnect_s
        self._patience = patience
        self._silence = silence
        self.connection: Connection | None = None
        """The stream, if there is one as far as is known."""
        self._sequence = 0
        """Number of the last Step that has its Act."""
        self.unanswered: deque[Sent] = deque()
        """Steps without an Act, in the order in which they were sent."""
        self._num_sent = 0
        """How many of them were sent on this stream."""
        self._is_waiting = False
        self._is_leaving = False

    def __str__(self) -> str:
        session = self.welcome.session_id or "not connected"
        return f"{self._dialler.simulator} at {self._address}: {session}"

    def join(self) -> Welcome:
        """Begin a new session. See `TrainerClient.connect`."""
        self.end(reason="joining anew")
        self._dialler.renew()
        welcome = self._dial(self._patience(self._connect_s), BrokenStreamError("not dialled"))
        self._silence.start(self.waits_for)
        logger.info("%s: joined run '%s'", self._address, welcome.run_id)
        return welcome

    def waits_for(self) -> Wait | None:
        """The Step that `receive` waits for now. Called from the thread that watches silences."""
        connection, sequence = self.connection, self._sequence + 1
        if connection is None or not self._is_waiting:
            return None
        ids = self.welcome.session_id, self._dialler.instance_id
        return Wait(connection, *ids, sequence)

    def leave(self) -> bool:
        """Say Goodbye while `receive` waits. See `TrainerClient.leave`."""
        if not self._is_waiting or self._is_leaving or self.connection is None:
            return False
        self._is_leaving = True
        self.connection.send(pb.ConnectRequest(goodbye=pb.Goodbye(reason="interrupted")))
        return True

    def give_up(self) -> None:
        """From another thread than the one that has the session: let it end its call soon.

        It then raises: a wait ends with a Goodbye, dialling is given up until `join`.
        """
        self._dialler.give_up()
        self.leave()

    def end(self, *, reason: str) -> None:
        """Say Goodbye and forget the session, if there is one."""
        self._silence.stop()
        connection, self.connection = self.connection, None
        self.welcome = NOT_JOINED
        self._sequence = 0
        self._forget_unanswered()
        if connection is not None:
            leave(connection, reason=reason)

    def _forget_unanswered(self) -> None:
        self.unanswered.clear()
        self._num_sent = 0

    def _resume(self, patience: Patience, error: BrokenStreamError) -> None:
        """Dial until the session continues; SessionLostError if the trainer began another one."""
        lost = self.welcome.session_id
        self._drop()
        if not self._dial(patience, error).resumed:
            raise SessionLostError(
                f"{self._address} no longer knows session {lost}: it was away for too long, or "
                "the trainer is a new one; reset the environment and continue with FIRST rows"
            )
        logger.info("%s: session %s resumed", self._address, lost)

    def _dial(self, patience: Patience, error: BrokenStreamError) -> Welcome:
        """Have a stream, on which the session goes on or a new one begins."""
        resume = self.welcome.session_id
        try:
            self.connection, self.welcome = self._dialler.dial(patience, error, resume=resume)
        except TrainerClosed:
            self.end(reason="the trainer closed the session")
            raise
        if self.welcome.environment_parameters != self.parameters:
            self.parameters = self.welcome.environment_parameters
        if not self.welcome.resumed:
            self._sequence = 0
        return self.welcome

    def _drop(self) -> None:
        """Close the stream without a Goodbye, so that the session may be resumed."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.end(timeout_s=0.0)
