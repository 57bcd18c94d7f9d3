"""The part of a client that does not wait: a thread of its own does, in the caller's place.

Nothing here knows gRPC, or what rows are.
"""

from abc import abstractmethod
from collections.abc import Mapping

from entrain_envs.background import Background
from entrain_envs.beside_rows import BesideRows
from entrain_envs.dialling import GOODBYE_TIMEOUT_S, Dialler
from entrain_envs.errors import OutOfTurnError
from entrain_envs.session import Session
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, TimestepBatch


class Asynchronous(BesideRows):
    """See the module. `client.TrainerClient` is the part that waits."""

    def __init__(
        self, behaviours: Mapping[str, BehaviourSpec], dialler: Dialler, session: Session
    ) -> None:
        super().__init__(behaviours, dialler, session)
        self._background: Background[Mapping[str, ActionBatch]] = Background()

    @abstractmethod
    def send(self, timesteps: Mapping[str, TimestepBatch]) -> None:
        """See `TrainerClient.send`."""

    @abstractmethod
    def receive(self) -> Mapping[str, ActionBatch]:
        """See `TrainerClient.receive`."""

    def exchange_async(self, timesteps: Mapping[str, TimestepBatch]) -> None:
        """Send the timesteps of each behaviour and return at once; `poll` has the actions later.

        For a game that draws while an update runs. Meanwhile the same happens as in `exchange`, in
        a thread of the client's own: broken streams are dialled again, and so on. Until `poll` has
        returned the actions, only `poll`, `note`, `leave`, `close` and the properties may be used.
        Call `connect` first, for without a session this waits for one.

        Args:
            timesteps: as of `exchange`. They may be changed when this returns.

        Raises:
            OutOfTurnError: the actions for the timesteps before have not been polled.
            SpecError, MisfitError: as of `exchange`; nothing was sent.
        """
        if self._background.is_busy or self._joined.unanswered:
            raise OutOfTurnError(
                "exchange_async was called while the step before has no actions yet; poll for "
                "those first"
            )
        self.send(timesteps)
        self._background.begin(self.receive)

    def poll(self, *, timeout_s: float = 0.0) -> Mapping[str, ActionBatch] | None:
        """The actions for what `exchange_async` has sent, once; None if they have not come yet.

        Args:
            timeout_s: how long to wait for them; by default not at all.

        Raises:
            OutOfTurnError: nothing was sent.
            What `exchange` raises, but for SpecError and MisfitError.
        """
        if not self._background.is_busy:
            raise OutOfTurnError("poll was called, and no step was sent with exchange_async before")
        return self._background.poll(timeout_s)

    def _end_background(self) -> None:
        """Let the thread end, whether it waits for actions or dials."""
        if self._background.is_busy:
            self._joined.give_up()
        self._background.end(timeout_s=GOODBYE_TIMEOUT_S)
