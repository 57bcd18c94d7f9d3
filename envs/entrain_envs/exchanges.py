"""Steps that go out on a session and the Acts that come back, over as many streams as that takes.

Nothing here knows arrays, or who waits.
"""

import logging
from collections.abc import Mapping
from types import MappingProxyType

from entrain_envs.errors import (
    BrokenStreamError,
    OutOfTurnError,
    RefusedError,
    SilentStreamError,
    TrainerClosed,
    WireError,
)
from entrain_envs.patience import Patience
from entrain_envs.session import Sent, Session
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)


class Exchanges(Session):
    """Sends Steps and waits for their Acts. Those without an Act are kept, and sent again in their
    order where a stream broke.
    """

    def send(self, step: Sent) -> None:
        """Send a Step; `receive` returns its Act."""
        unanswered, welcome = self.unanswered, self.welcome
        if len(unanswered) >= welcome.max_unanswered_steps:
            raise OutOfTurnError(
                f"a step was sent while {len(unanswered)} had no actions, and {self._address} "
                f"allows {welcome.max_unanswered_steps} at a time; receive those of the first one "
                "before, or ask for more with max_unanswered_steps"
            )
        request, longest, _ = step
        request.step.sequence = self._sequence + len(unanswered) + 1
        if 0 < welcome.max_message_bytes < longest:
            welcome.check_length(request, who=self._dialler.simulator)
        assert self.connection is not None
        self.connection.send(request)
        unanswered.append(step)
        self._num_sent += 1

    def receive(self) -> tuple[pb.Act, Mapping[str, int]]:
        """The Act of the first Step that has none, and the Step's rows.

        It may take several streams.
        """
        if not self.unanswered:
            raise OutOfTurnError("actions were to be received, and no step was sent before")
        try:
            try:
                response = self._hear()
            except BrokenStreamError as error:
                response = self._hear_elsewhere(error)
            if not response.HasField("act"):
                raise WireError(f"{self._address} sent a second Welcome; expected one per stream")
            act = response.act
            if act.sequence != self._sequence + 1:
                raise WireError(
                    f"{self._address} answered step {act.sequence} when step "
                    f"{self._sequence + 1} was asked; an Act carries the sequence of its Step"
                )
        except BaseException:
            self._forget_unanswered()
            raise
        _, _, rows = self.unanswered.popleft()
        self._num_sent -= 1
        self._sequence += 1
        if act.changed_environment_parameters:
            self.parameters = MappingProxyType(
                {**self.parameters, **act.changed_environment_parameters}
            )
        if self._num_sent < len(self.unanswered):
            self._send_unsent()
        return act, rows

    def _send_unsent(self) -> None:
        """Of the Steps without an Act, send as many as may be unanswered on this stream."""
        assert self.connection is not None
        while self._num_sent < min(len(self.unanswered), self.welcome.max_unanswered_steps):
            request, longest, _ = self.unanswered[self._num_sent]
            if 0 < self.welcome.max_message_bytes < longest:
                self.welcome.check_length(request, who=self._dialler.simulator)
            self.connection.send(request)
            self._num_sent += 1

    def _hear_elsewhere(self, error: BrokenStreamError) -> pb.ConnectResponse:
        """Dials again after `error`, and returns the next message that comes on the new stream."""
        patience: Patience | None = None
        while True:
            logger.warning("%s: lost the trainer (%s); dialling again", self._address, error)
            if patience is None or isinstance(error, SilentStreamError):
                patience = self._patience(self._reconnect_s)
            self._resume(patience, error)
            self._num_sent = 0
            self._send_unsent()
            try:
                return self._hear()
            except BrokenStreamError as another:
                error = another

    def _hear(self) -> pb.ConnectResponse:
        """Returns the next message on the current stream. A Close is raised as an error."""
        assert self.connection is not None
        self._is_waiting = True
        try:
            response = self.connection.receive()
        except (RefusedError, BrokenStreamError) as error:
            self._is_waiting = False
            if self._is_leaving:
                raise KeyboardInterrupt from None
            if isinstance(error, BrokenStreamError):
                raise
            self._drop()
            # The next Step may be taken: this one held a NaN, say.
            raise type(error)(self._dialler.refusal(error)) from None
        self._is_waiting = False
        if self._is_leaving:
            raise KeyboardInterrupt
        if response.HasField("close"):
            closed = self._dialler.closed(response.close)
            if isinstance(closed, TrainerClosed):
                self.end(reason="the trainer closed the session")
            raise closed
        return response
