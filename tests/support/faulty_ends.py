"""Simulators that break one rule each, at the end of a stream or right after it came back."""

from entrain_envs.conformance.port import Question
from entrain_envs.wire import trainer_pb2 as pb
from support.faulty_simulators import Good, OtherHello, breaks
from support.sample_simulator import BIRD


@breaks("stopped", "a Step after Close", "goes on")
class StepsAfterStopped(Good):
    def closed(self, close: pb.Close) -> None:
        if close.reason == pb.CLOSE_REASON_STOPPED:
            self.send_step()
        super().closed(close)


@breaks("completed", "a Step after Close", "goes on")
class StepsAfterCompleted(Good):
    def closed(self, close: pb.Close) -> None:
        if close.reason == pb.CLOSE_REASON_COMPLETED and self.session_id:
            self.send_step()
        super().closed(close)


@breaks("begins-anew", "nothing after Welcome with resumed false", "silent")
class SaysNothingWhenLost(Good):
    def welcomed(self, welcome: pb.Welcome) -> None:
        if welcome.resumed or not self.session_id:
            super().welcomed(welcome)


@breaks("begins-anew", "the end of the stream after Welcome", "hangs up")
class HangsUpWhenLost(Good):
    def lost(self) -> None:
        super().lost()
        assert self.stream is not None
        self.stream.is_over = True

    def send_step(self) -> None:
        assert self.stream is not None
        if not self.stream.is_over:
            super().send_step()
        else:
            self.unanswered.append(b"")


@breaks("sends-again", "nothing after a resumed session; expected Step", "silent")
class SendsNothingAgain(Good):
    def send_again(self) -> None:
        return


@breaks("inquires", "given up although the trainer said HELD", "impatient")
class GivesUpThoughHeld(Good):
    def question(self, sequence: int) -> Question | None:
        self.give_up()
        return super().question(sequence)


@breaks("parameters", "it left with Goodbye (unheard of)", "leaves")
class LeavesOverParameters(Good):
    def acted(self, act: pb.Act, raw: bytes) -> None:
        if act.changed_environment_parameters:
            assert self.stream is not None
            self.stream.outgoing.clear()
            self.leave("unheard of")
        else:
            super().acted(act, raw)


@breaks("plays-on", "the stream ended without Goodbye", "hangs up")
class HangsUpWhileItWaits(OtherHello):
    """Its Step still arrives."""

    def change_hello(self, hello: pb.Hello) -> None:
        hello.max_unanswered_steps = 0

    def acted(self, act: pb.Act, raw: bytes) -> None:
        super().acted(act, raw)
        if self.sequence == 15:
            assert self.stream is not None
            self.stream.is_over = True


@breaks("new-behaviours", "more than 1,000 behaviours", "many")
class DeclaresTooMany(Good):
    def declared(self) -> list[pb.BehaviourSpec]:
        return [BIRD] * 1000


@breaks("new-behaviours", "behaviour 'bird'", "unreadable")
class DeclaresWhatCannotBeRead(Good):
    def declared(self) -> list[pb.BehaviourSpec]:
        spec = pb.BehaviourSpec()
        spec.CopyFrom(BIRD)
        spec.observations[0].dtype = pb.DTYPE_UNSPECIFIED
        return [spec]
