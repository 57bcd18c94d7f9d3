"""Simulators that keep all rules in another way: none fails, and nothing is shown that was not."""

from collections import deque

from entrain_envs.conformance.pace import Pace
from entrain_envs.conformance.port import End, Question
from entrain_envs.conformance.results import Finding, Verdict
from entrain_envs.conformance.script import Script
from entrain_envs.wire import trainer_pb2 as pb
from support.faulty_simulators import Good
from support.sample_simulator import SampleSimulator


def checked(simulator: SampleSimulator) -> dict[str, Finding]:
    """{rule: finding}, of a simulator that breaks none."""
    script = Script(
        simulator,
        pace=Pace(),
        timeout_s=3600.0,
        token="secret",
        launcher=simulator,
        clock=lambda: simulator.now_s,
    )
    findings = {each.rule.name: each for each in script.run().findings()}
    assert [each for each in findings.values() if each.verdict is Verdict.FAILED] == []
    return findings


def not_shown(findings: dict[str, Finding]) -> set[str]:
    return {name for name, each in findings.items() if each.verdict is not Verdict.PASSED}


class LeavesWhenStopped(Good):
    def closed(self, close: pb.Close) -> None:
        self.leave("the trainer stopped")


def test_it_may_leave_when_the_trainer_stops() -> None:
    simulator = LeavesWhenStopped()
    findings = checked(simulator)
    assert not_shown(findings) == set()
    assert findings["stopped"].times == 1


class LeavesWhenLost(Good):
    def lost(self) -> None:
        super().lost()
        self.leave("my session is lost")

    def send_step(self) -> None:
        assert self.stream is not None
        if not self.stream.is_over:
            super().send_step()
        else:
            self.unanswered.append(b"")


def test_it_may_leave_when_its_session_is_lost_and_then_shows_no_beginning() -> None:
    findings = checked(LeavesWhenLost())
    assert not_shown(findings) == {"begins-anew", "obeys-one"}
    assert findings["begins-anew"].arrived == "it left with Goodbye when its session was lost"


class LosesAnAct(Good):
    """An Act never arrives that is followed by the end of the stream."""

    def __init__(self) -> None:
        self.acts: list[tuple[int, bytes]] = []
        self.held: deque[bytes] = deque()
        self.lost_acts: list[tuple[int, bytes]] = []
        super().__init__()

    def acted(self, act: pb.Act, raw: bytes) -> None:
        self.acts.append((act.sequence, raw))
        self.answered = self.unanswered[0]
        if not self.held:
            super().acted(act, raw)
            return
        assert self.stream is not None
        self.unanswered.popleft()
        self.unanswered.append(self.held.popleft())
        self.stream.outgoing.append(self.unanswered[-1])

    def stream_ended(self, how: End) -> None:
        assert self.stream is not None
        if how is End.BROKEN and self.stream.outgoing:
            self.unanswered.appendleft(self.answered)
            self.held.append(self.unanswered.pop())
            self.lost_acts.append(self.acts.pop())
        super().stream_ended(how)


def test_an_act_that_was_lost_comes_again_for_the_step_that_does() -> None:
    simulator = LosesAnAct()
    findings = checked(simulator)
    assert not_shown(findings) == set()
    (lost,) = simulator.lost_acts
    assert simulator.acts.count(lost) == 1


class LeavesWhenResumed(Good):
    def send_again(self) -> None:
        self.leave("enough")


def test_it_may_leave_when_it_is_back_and_then_sends_nothing_again() -> None:
    assert not_shown(checked(LeavesWhenResumed())) == {"sends-again"}


class SendsOneAtATime(Good):
    """May have two unanswered Steps, and sends the second only when the trainer stops."""

    def welcomed(self, welcome: pb.Welcome) -> None:
        welcome.max_unanswered_steps = 1
        super().welcomed(welcome)

    def closed(self, close: pb.Close) -> None:
        if close.reason == pb.CLOSE_REASON_STOPPED:
            self.send_step()
        super().closed(close)


def test_a_step_may_be_on_its_way_when_the_trainer_stops() -> None:
    findings = checked(SendsOneAtATime())
    # Its groups of agents act in turns: what the late Act led to is not in the next Step.
    assert not_shown(findings) == {"two-steps", "says-late"}
    assert findings["stopped"].times == 1


class AsksOnce(Good):
    has_asked = False

    def question(self, sequence: int) -> Question | None:
        if self.has_asked:
            return None
        self.has_asked = True
        return super().question(sequence)


def test_who_does_not_ask_again_shows_no_giving_up() -> None:
    assert not_shown(checked(AsksOnce())) == {"gives-up"}


class BeginsWithoutRows(Good):
    def welcomed(self, welcome: pb.Welcome) -> None:
        if welcome.max_message_bytes < 100:
            self.put(pb.ConnectRequest(step=pb.Step(sequence=1)))
        else:
            super().welcomed(welcome)


def test_a_step_without_rows_is_short_enough_for_any_limit() -> None:
    findings = checked(BeginsWithoutRows())
    assert not_shown(findings) == {"message-length"}
    assert findings["message-length"].arrived == "its first Step has no rows"
