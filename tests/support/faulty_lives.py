"""Simulators that break one rule each, of who says what when."""

from entrain_envs.conformance.port import End, Question
from entrain_envs.wire import trainer_pb2 as pb
from support.faulty_simulators import Good, OtherHello, breaks
from support.sample_simulator import MID, Group, Row

# -- greeting


@breaks("messages", "no ConnectRequest")
class WritesNoProtobuf(Good):
    def acted(self, act: pb.Act, raw: bytes) -> None:
        assert self.stream is not None
        self.stream.outgoing.append(b"\xff\xff")


@breaks("messages", "none of hello, step, goodbye", "empty")
class SaysNothing(Good):
    def acted(self, act: pb.Act, raw: bytes) -> None:
        self.put(pb.ConnectRequest())


@breaks("hello-first", "step in place of Hello")
class BeginsWithStep(Good):
    def put(self, request: pb.ConnectRequest) -> None:
        if request.HasField("hello"):
            request = pb.ConnectRequest(step=pb.Step(sequence=1))
        super().put(request)


@breaks("hello-first", "second Hello", "again")
class SaysHelloAgain(Good):
    def acted(self, act: pb.Act, raw: bytes) -> None:
        self.put(pb.ConnectRequest(hello=self.hello()))


@breaks("version", "min_version 0, max_version 0")
class SaysNoVersion(OtherHello):
    def change_hello(self, hello: pb.Hello) -> None:
        hello.ClearField("min_version")
        hello.ClearField("max_version")


@breaks("identity", "instance_id is ''")
class HasNoInstance(OtherHello):
    def change_hello(self, hello: pb.Hello) -> None:
        hello.instance_id = ""


@breaks("behaviours", "declared twice")
class DeclaresTwice(OtherHello):
    def change_hello(self, hello: pb.Hello) -> None:
        hello.behaviours.append(hello.behaviours[0])


@breaks("behaviours", "lower and", "bounds")
class ContradictsItself(OtherHello):
    def change_hello(self, hello: pb.Hello) -> None:
        hello.behaviours[0].observations[0].low.extend([0.0, 1.0])


@breaks("behaviours", "the name 'a\\nb' in behaviour 'walker'", "name")
class BreaksALine(OtherHello):
    def change_hello(self, hello: pb.Hello) -> None:
        hello.behaviours[0].observations[0].name = "a\nb"


@breaks("new-session", "'left-over'")
class BeginsWithOldSession(OtherHello):
    def change_hello(self, hello: pb.Hello) -> None:
        hello.resume_session_id = hello.resume_session_id or "left-over"


@breaks("token", "no token")
class ShowsNoToken(Good):
    token = ""


@breaks("token", "another token", "wrong")
class ShowsAnotherToken(Good):
    token = "guessed"


@breaks("subprotocol", "does not offer it")
class OffersNothing(Good):
    offers = False


@breaks("binary", "a text message")
class WritesText(Good):
    writes_text = True


@breaks("pongs", "no pong")
class IgnoresPings(Good):
    pongs = False


# -- steps


@breaks("plays-on", "no Step within")
class StopsPlaying(OtherHello):
    def change_hello(self, hello: pb.Hello) -> None:
        hello.max_unanswered_steps = 0

    def acted(self, act: pb.Act, raw: bytes) -> None:
        if self.sequence < 2:
            super().acted(act, raw)


@breaks("plays-on", "without Goodbye", "breaks")
class DiesSilently(Good):
    def acted(self, act: pb.Act, raw: bytes) -> None:
        super().acted(act, raw)
        if self.sequence == 15:
            assert self.stream is not None
            self.stream.outgoing.clear()
            self.stream.is_over = True


@breaks("sequence", "Step 0 arrived; expected Step 1")
class CountsFromZero(Good):
    def finished(self, step: pb.Step) -> pb.Step:
        step.sequence -= 1
        return step


@breaks("waits", "Welcome allows 1")
class SendsAhead(OtherHello):
    """Never asked for two, and sends two."""

    def change_hello(self, hello: pb.Hello) -> None:
        hello.max_unanswered_steps = 0

    def welcomed(self, welcome: pb.Welcome) -> None:
        welcome.max_unanswered_steps = 2
        super().welcomed(welcome)


@breaks("obeys-one", "Welcome allows 1")
class DoesNotObey(Good):
    def welcomed(self, welcome: pb.Welcome) -> None:
        welcome.max_unanswered_steps = 2
        super().welcomed(welcome)


@breaks("two-steps", "('walker', 4)")
class SharesAnAgent(Good):
    def play(self, group: Group) -> list[Row]:
        rows = super().play(group)
        if self.sequence == 8 and not any(row.agent == 4 for row in rows):
            rows.append(Row(4, MID, 1.0, [1.0, 1.0, 1.0]))
        return rows


@breaks("known-behaviours", "rows of behaviour 'bird'; declared: walker")
class DoesNotDeclare(Good):
    def declared(self) -> list[pb.BehaviourSpec]:
        return []


@breaks("known-behaviours", "two entries", "twice")
class WritesTwoEntries(Good):
    def finished(self, step: pb.Step) -> pb.Step:
        step.behaviours.append(step.behaviours[0])
        return step


@breaks("new-behaviours", "declared again as")
class DeclaresOtherwise(Good):
    def declared(self) -> list[pb.BehaviourSpec]:
        other = pb.BehaviourSpec(name="walker", action=pb.ActionSpec(branches=[2]))
        other.observations.add(name="body", shape=[4], dtype=pb.DTYPE_FLOAT32)
        return [*super().declared(), other]


# -- acts


@breaks("late-act", "without Goodbye")
class IsImpatient(Good):
    """Hangs up when an Act takes more than a second."""

    def acted(self, act: pb.Act, raw: bytes) -> None:
        if self.now_s - self.sent_s > 1.0:
            assert self.stream is not None
            self.stream.is_over = True
        else:
            super().acted(act, raw)


@breaks("says-late", "with a deadline of 500 ms")
class KeepsItsLateness(Good):
    def rows(self, rows: list[Row]) -> pb.BehaviourStep:
        part = super().rows(rows)
        part.late = bytes(len(rows))
        return part


@breaks("unknown-fields", "no Step within")
class StumblesOverTheFuture(Good):
    def acted(self, act: pb.Act, raw: bytes) -> None:
        if len(raw) > 1000 or b"future" not in raw:
            super().acted(act, raw)


@breaks("parameters", "without Goodbye")
class DiesOfParameters(Good):
    def acted(self, act: pb.Act, raw: bytes) -> None:
        if act.changed_environment_parameters:
            assert self.stream is not None
            self.stream.is_over = True
        else:
            super().acted(act, raw)


@breaks("long-act", "no Step within")
class HasASmallBuffer(Good):
    def acted(self, act: pb.Act, raw: bytes) -> None:
        if len(raw) < 2**16:
            super().acted(act, raw)


@breaks("inquires", "no Inquire, though Step")
class NeverAsks(Good):
    def question(self, sequence: int) -> Question | None:
        return None


@breaks("inquires", "expected ('check-", "wrong")
class AsksOfTheWrongStep(Good):
    def question(self, sequence: int) -> Question | None:
        return Question(self.session_id, self.instance_id, sequence - 1)


@breaks("gives-up", "nobody dialled again within")
class WaitsThoughNotHeld(Good):
    def give_up(self) -> None:
        return


@breaks("message-length", "Welcome's max_message_bytes is 16")
class SendsWhatIsTooLong(Good):
    def welcomed(self, welcome: pb.Welcome) -> None:
        welcome.max_message_bytes = 10**6
        super().welcomed(welcome)


# -- life


@breaks("same-instance", "it was 'a1b2c3d4-0'")
class DrawsAnotherInstance(Good):
    def hello(self) -> pb.Hello:
        hello = super().hello()
        if hello.resume_session_id:
            hello.instance_id = f"new{self.now_s}"
        return hello

    def question(self, sequence: int) -> Question | None:
        return Question(self.session_id, self.instance_id, sequence)


@breaks("same-instance", "a process that was started anew", "fixed")
class HasAFixedInstance(Good):
    instance_id = "fixed"


@breaks("resume", "Hello's resume_session_id is ''")
class DoesNotResume(Good):
    def hello(self) -> pb.Hello:
        hello = super().hello()
        hello.resume_session_id = ""
        return hello

    def welcomed(self, welcome: pb.Welcome) -> None:
        if self.session_id:
            self.lost()
            self.session_id = ""
        super().welcomed(welcome)


@breaks("resume", "nobody dialled again", "gone")
class NeverDialsAgain(Good):
    def stream_ended(self, how: End) -> None:
        return


@breaks("names-all", "leaves out behaviour bird")
class NamesTheFirstOnly(Good):
    def hello(self) -> pb.Hello:
        hello = super().hello()
        del hello.behaviours[1:]
        return hello


@breaks("sends-again", "expected Step")
class SendsOthersInstead(Good):
    def send_again(self) -> None:
        self.unanswered.clear()
        while len(self.unanswered) < self.allowed:
            self.send_step()


@breaks("sends-again", "again, unchanged", "changed")
class SendsThemChanged(Good):
    def send_again(self) -> None:
        changed = [pb.ConnectRequest.FromString(each) for each in self.unanswered]
        for request in changed:
            request.step.behaviours[0].reward = bytes(len(request.step.behaviours[0].reward))
        self.unanswered.clear()
        self.unanswered.extend(each.SerializeToString() for each in changed)
        super().send_again()


@breaks("waits-to-dial", "0 ms after a dial that failed")
class DialsAtOnce(Good):
    pauses_s = (0.0, 0.0, 0.0)


@breaks("begins-anew", "expected Step 1 with FIRST rows alone")
class GoesOnThough(Good):
    """Does not look at `resumed`."""

    def welcomed(self, welcome: pb.Welcome) -> None:
        if self.session_id:
            welcome.resumed = True
        super().welcomed(welcome)
        self.session_id = welcome.session_id


@breaks("stopped", "neither Goodbye nor another dial")
class IgnoresStopped(Good):
    def stream_ended(self, how: End) -> None:
        if how is not End.NORMAL:
            super().stream_ended(how)


@breaks("completed", "neither Goodbye nor an end")
class IgnoresCompleted(Good):
    def closed(self, close: pb.Close) -> None:
        return

    def stream_ended(self, how: End) -> None:
        if how is End.NORMAL and self.completed:
            return
        super().stream_ended(how)

    completed = False

    def hear(self, response: pb.ConnectResponse, raw: bytes) -> None:
        self.completed = response.close.reason == pb.CLOSE_REASON_COMPLETED
        super().hear(response, raw)


@breaks("completed", "the stream ended without Goodbye", "rude")
class LeavesRudely(Good):
    def leave(self, reason: str) -> None:
        assert self.stream is not None
        self.stream.is_over = True


@breaks("stays-away", "dialled again")
class ComesBack(Good):
    def leave(self, reason: str) -> None:
        super().leave(reason)
        if self.session_id:
            self.dials_at_s = self.now_s + 1.0


@breaks("refused", "dialled again")
class DialsThoughRefused(Good):
    def stream_ended(self, how: End) -> None:
        super().stream_ended(how)
        if how is End.INVALID_ARGUMENT:
            self.dials_at_s = self.now_s + 1.0


@breaks("closed-at-once", "dialled again")
class WantsAWelcome(Good):
    def leave(self, reason: str) -> None:
        super().leave(reason)
        if not self.session_id and self.limit == 0:
            self.dials_at_s = self.now_s + 1.0
