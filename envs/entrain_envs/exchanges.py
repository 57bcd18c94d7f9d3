"""Timesteps go out on a session and actions come back, over as many streams as that takes."""

import logging
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from entrain_envs.asynchronous import Asynchronous
from entrain_envs.codec import decode_actions, encode_timesteps
from entrain_envs.dialling import Dialler
from entrain_envs.errors import (
    BrokenStreamError,
    OutOfTurnError,
    RefusedError,
    SilentStreamError,
    SpecError,
    TrainerClosed,
    WireError,
)
from entrain_envs.session import Sent, Session
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb

logger = logging.getLogger(__name__)


class Exchanges(Session):
    """Messages: Steps go out, Acts come back.

    Steps without an Act are kept, and sent again in their order where a stream broke.
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
        patience = self._patience(self._reconnect_s)
        while True:
            logger.warning("%s: lost the trainer (%s); dialling again", self._address, error)
            if isinstance(error, SilentStreamError):
                patience.renew()
            self._resume(patience, error)
            patience.note_stream()
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


class ArrayExchanges(Asynchronous):
    """Arrays: timesteps become Steps, and Acts become actions."""

    def __init__(
        self, behaviours: Mapping[str, BehaviourSpec], dialler: Dialler, session: Exchanges
    ) -> None:
        super().__init__(behaviours, dialler, session)
        self._session = session

    @property
    def environment_parameters(self) -> Mapping[str, float]:
        """The latest environment parameters from the trainer.

        A new mapping whenever one changes, so that `is` tells whether any did.
        """
        return self._session.parameters

    def exchange(self, timesteps: Mapping[str, TimestepBatch]) -> Mapping[str, ActionBatch]:
        """Send the timesteps of each behaviour and wait for the actions.

        If the stream breaks meanwhile, or is silent and the trainer has not got the step, the
        client dials again for up to `reconnect_s` and sends the step again. The trainer counts it
        once.

        Args:
            timesteps: {behaviour: its rows}; a behaviour may be left out, or be empty.

        Returns:
            {behaviour: actions for those of its rows that need one, in the same order}.

        Raises:
            SpecError: `timesteps` do not fit the behaviours; nothing was sent.
            SessionLostError: the trainer forgot this session. Reset, then send FIRST rows.
            TrainerClosed: the trainer is done. Ends a `with` block quietly.
            MisfitError: the step is longer than the trainer takes; nothing was sent.
            RefusedError, ConnectionLostError, WireError: see `errors`.
        """
        if self._session.unanswered:
            raise OutOfTurnError(
                f"exchange was called while {len(self._session.unanswered)} steps have no actions "
                "yet; receive those first"
            )
        self._send(timesteps)
        act, rows = self._session.receive()
        if self._has_beside_rows:
            self._clear_beside_rows()
        return self._decoded(act, rows)

    def send(self, timesteps: Mapping[str, TimestepBatch]) -> None:
        """Send the timesteps of each behaviour; `receive` returns the actions for them.

        As many may be sent before the first is received as `max_unanswered_steps` says. No agent
        may be in two of them: what it does next depends on its action.

        Args:
            timesteps: as of `exchange`.

        Raises:
            OutOfTurnError: so many are unanswered already; nothing was sent.
            SpecError, MisfitError: as of `exchange`; nothing was sent.
        """
        self._send(timesteps)
        if self._has_beside_rows:
            self._clear_beside_rows()

    def receive(self) -> Mapping[str, ActionBatch]:
        """Wait for the actions for what was sent first and has none yet.

        Returns and raises what `exchange` does. After an exception nothing is unanswered any more:
        after SessionLostError reset all agents.

        Raises:
            OutOfTurnError: nothing was sent.
        """
        return self._decoded(*self._session.receive())

    def _send(self, timesteps: Mapping[str, TimestepBatch]) -> None:
        session = self._session
        if session.connection is None:
            session.join()
        request = pb.ConnectRequest()
        rows: dict[str, int] = {}
        longest = self._add_beside_rows(request.step) if self._has_beside_rows else 0
        knows_groups = session.welcome.revision > 0
        for name, batch in timesteps.items():
            spec = self._specs.get(name)
            if spec is None:
                raise SpecError(
                    f"there is no behaviour '{name}'; the handshake named {', '.join(self._specs)}"
                )
            rows[name] = int(np.count_nonzero(batch.needs_action))
            if len(batch):
                sent = batch if knows_groups else batch.without_groups()
                request.step.behaviours.append(encode_timesteps(spec, sent))
                longest += len(batch.agent_id) * spec.row_bytes
        session.send((request, longest, rows))

    def _decoded(self, act: pb.Act, rows: Mapping[str, int]) -> Mapping[str, ActionBatch]:
        parts = {part.behaviour: part for part in act.behaviours}
        nothing = pb.BehaviourAct()
        return {
            name: decode_actions(self._specs[name], parts.get(name, nothing), count)
            for name, count in rows.items()
        }
