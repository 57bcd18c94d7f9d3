"""The sessions of all simulators that speak the native wire, and what each is told in Welcome."""

import hmac

from entrain.errors import RefusedHelloError
from entrain.native.hello import ParsedHello
from entrain.native.session import Session
from entrain.serving.limits import max_message_bytes
from entrain.serving.participants import Participants
from entrain.state import State
from entrain_envs.codec import PROTOCOL_VERSION, REVISION
from entrain_envs.wire import trainer_pb2 as pb


class Sessions:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        participants: Participants,
        *,
        run_id: str,
        evaluation: Participants | None = None,
    ) -> None:
        """None yet.

        Args:
            participants: of the run; each session is one of them.
            run_id: told to simulators.
            evaluation: who takes part in the run's evaluations; None: there are none.
        """
        self.participants = participants
        self._evaluation = evaluation
        self.grace_s = participants.config.grace_s
        self.max_message_bytes = max_message_bytes(participants.config)
        self._run_id = run_id
        self._by_id: dict[str, Session] = {}

    def __repr__(self) -> str:
        return f"<Sessions: {len(self._by_id)}>"

    def welcome(self, hello: ParsedHello) -> tuple[Session, bool]:
        """A simulator's session, and whether it is resumed.

        Raises:
            BadHelloError, RefusedHelloError, LimitError: it is not welcome; nothing was changed.
        """
        session = self.of_process(hello.resume_session_id, hello.join.instance_id)
        if session is not None:
            among = session.participants
            among.admission.check_resume(hello.join, session.participant)
            # What it declared in a Step that this trainer never had, or has forgotten.
            among.add_behaviours(session.participant, hello.join.specs)
            among.resume(session.participant, hello.join.peer)
            return session, True
        self._forget_the_gone()
        among = self.for_role(hello)
        participant = among.join(hello.join)
        session = self._by_id[participant.id] = Session(participant, among)
        return session, False

    def for_role(self, hello: ParsedHello) -> Participants:
        """Those among whom a simulator takes part; RefusedHelloError if there are none."""
        if not hello.is_for_evaluation:
            return self.participants
        if self._evaluation is None:
            raise RefusedHelloError(
                f"{hello.join.who} joins for evaluations, and this run makes none; add "
                "evaluation: {every_steps: 50000} to its settings, or join without the role"
            )
        return self._evaluation

    def check(self, hello: ParsedHello) -> None:
        """Raise what `welcome` would, but for what only making its policies can tell."""
        session = self.of_process(hello.resume_session_id, hello.join.instance_id)
        if session is None:
            among = self.for_role(hello)
            among.admission.check(hello.join, list(among))
        else:
            session.participants.admission.check_resume(hello.join, session.participant)

    def of_process(self, session_id: str, instance_id: str) -> Session | None:
        """The session of that id, if it is live and belongs to that process."""
        session = self._by_id.get(session_id)
        if session is None or not session.participant.is_live:
            return None
        # Both ids are 128 random bits that only the simulator and the trainer know.
        expected = session.participant.identity.instance_id
        is_same_process = hmac.compare_digest(expected.encode(), instance_id.encode())
        return session if is_same_process else None

    def max_unanswered_steps(self, hello: ParsedHello) -> int:
        """How many Steps that simulator may have without an Act at a time: 1 or 2."""
        return min(hello.wanted_unanswered_steps, self.participants.config.max_unanswered_steps)

    def _forget_the_gone(self) -> None:
        self._by_id = {id_: each for id_, each in self._by_id.items() if each.participant.is_live}

    def welcome_message(self, session: Session, is_resumed: bool) -> pb.Welcome:
        """The Welcome for a session that begins or goes on."""
        return pb.Welcome(
            version=PROTOCOL_VERSION,
            session_id=session.id,
            run_id=self._run_id,
            seed=session.participant.identity.seed,
            environment_parameters=session.participant.parameters.values,
            max_unanswered_steps=session.exchange.max_unanswered_steps,
            resumed=is_resumed,
            grace_s=self.grace_s,
            max_message_bytes=self.max_message_bytes,
            revision=REVISION,
        )

    def state(self) -> State:
        """Which participants of training are sessions of this wire."""
        return {
            "sessions": [
                id_
                for id_, each in self._by_id.items()
                if each.participant.is_live and each.participants is self.participants
            ]
        }

    def load_state(self, state: State) -> None:
        """Have sessions for these participants, which were restored before."""
        for id_ in state["sessions"]:
            participant = self.participants.get(id_)
            if participant is None:
                raise LookupError(f"the checkpoint has a session {id_} and no such participant")
            self._by_id[id_] = Session(participant, self.participants, is_restored=True)
