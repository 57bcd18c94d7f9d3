"""Checks a resumed session: the Steps that have no Act come again, unchanged."""

from entrain_envs.conformance.port import End, SilentError, StreamOverError
from entrain_envs.conformance.session import LeftError, Session
from entrain_envs.conformance.steps import ReadStep
from entrain_envs.wire import trainer_pb2 as pb


def hear_again(session: Session) -> None:
    """The unanswered Steps must come again, the one that was answered last may."""
    expected = list(session.unanswered)
    first = True
    while expected or first:
        request, raw = _message_again(session)
        step = request.step
        answered = session.answered
        if first and answered is not None and step.sequence == answered[0].sequence:
            if _is_same(session, answered[0], raw):
                session.stream.send(answered[1])
        elif expected:
            _is_same(session, expected.pop(0), raw)
        else:
            # Its Act had arrived, so this is the next one.
            session.early.append(raw)
        first = False


def _message_again(session: Session) -> tuple[pb.ConnectRequest, bytes]:
    try:
        request, raw = session.message(session.pace.step_s)
    except (SilentError, StreamOverError):
        numbers = ", ".join(str(step.sequence) for step in session.unanswered)
        remedy = "after Welcome with resumed true, send again the Steps that have no Act"
        arrived = f"nothing after a resumed session; expected Step {numbers or 'after the Act'}"
        raise session.broken("sends-again", arrived, remedy) from None
    if not request.HasField("step"):
        session.stream.end(End.NORMAL)
        raise LeftError(f"it said Goodbye ({request.goodbye.reason[:200]})")
    return request, raw


def _is_same(session: Session, before: ReadStep, raw: bytes) -> bool:
    was, now = pb.ConnectRequest(), pb.ConnectRequest()
    was.ParseFromString(before.raw)
    now.ParseFromString(raw)
    if was == now:
        session.results.passed("sends-again")
        return True
    number = now.step.sequence
    raise session.broken(
        "sends-again",
        f"Step {number} after a resumed session; expected Step {before.sequence} again"
        + (", unchanged" if number == before.sequence else ""),
        "keep each Step until its Act has come, and send the same bytes again",
    )
