"""One simulator's session with the kit, over as many streams as it takes.

Hears and judges Steps, answers them, welcomes, and follows a broken stream to the next one. The
order of events is `script`'s.
"""

from collections import deque

from google.protobuf.message import DecodeError

from entrain_envs.conformance.acting import RandomActions, written_act, written_welcome
from entrain_envs.conformance.greetings import judge_return
from entrain_envs.conformance.pace import Pace
from entrain_envs.conformance.port import (
    End,
    SilentError,
    Stream,
    StreamOverError,
    WrongFormError,
)
from entrain_envs.conformance.results import Results
from entrain_envs.conformance.steps import ReadStep, StepJudge, UnreadableStepError
from entrain_envs.wire import trainer_pb2 as pb

MAX_MESSAGE_BYTES = 64 * 2**20


class LeftError(Exception):
    """The simulator is gone, or its session cannot go on."""


class Session:
    """See the module. Begins with a Hello that was judged already."""

    def __init__(
        self, stream: Stream, hello: pb.Hello, results: Results, *, pace: Pace, seed: int
    ) -> None:
        self.hello = pb.Hello()
        """The first one, with all behaviours that were declared since."""
        self.hello.CopyFrom(hello)
        self.stream = stream
        self.session_id = ""
        self.unanswered: deque[ReadStep] = deque()
        self.results = results
        self.pace = pace
        self._seed = seed
        self._actions = RandomActions(seed)
        self._judge = StepJudge(hello, results)
        self.early: deque[bytes] = deque()
        self._num_sessions = 0
        self._allowed = 1
        self._sends_two = False
        self.answered: tuple[ReadStep, bytes] | None = None
        """The newest Step that was answered, and its Act."""
        self._owing: set[tuple[str, int]] = set()
        """(behaviour, id) of agents whose late outcome was not in the Step that said so."""

    @property
    def deadline_s(self) -> float:
        """The shortest of the first unanswered Step's behaviours; 0 if they have none."""
        specs = self._judge.specs
        deadlines = [specs[rows.behaviour].deadline_ms for rows in self.unanswered[0].rows]
        return min(filter(None, deadlines), default=0) / 1000.0

    def late_outcomes(self) -> tuple[dict[tuple[str, int], bool], dict[tuple[str, int], bool]]:
        """{(behaviour, id): late} in the newest Step, of behaviours with a deadline.

        Of agents that the last Act gave an action, and of those that act by an Act before, if that
        came in time. Rows that begin an episode are no outcome.
        """
        specs = self._judge.specs
        step, _ = self.answered or (None, b"")
        acted = step.acting if step is not None else set()
        outcomes = {
            (rows.behaviour, agent_id): bool(is_late)
            for rows in self.unanswered[-1].rows
            if specs[rows.behaviour].deadline_ms
            for agent_id, kind, is_late in zip(
                rows.agent_id.tolist(), rows.step_type.tolist(), rows.late, strict=True
            )
            if kind != pb.STEP_TYPE_FIRST
        }
        others = outcomes.keys() - acted - self._owing
        return (
            {each: is_late for each, is_late in outcomes.items() if each in acted},
            {each: is_late for each, is_late in outcomes.items() if each in others},
        )

    @property
    def ended(self) -> int:
        """Episodes so far."""
        return self._judge.ended

    @property
    def wanted(self) -> int:
        """How many unanswered Steps it would like to have."""
        return max(1, self.hello.max_unanswered_steps)

    def begin(self, *, allowed: int = 1, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        """Welcome it to a new session, which forgets the one before."""
        self._num_sessions += 1
        self.session_id = f"check-{self.hello.instance_id[:8]}-{self._num_sessions}"
        self.unanswered.clear()
        self.early.clear()
        self.answered = None
        self._owing.clear()
        self._judge.begin_anew()
        self._allowed = min(allowed, self.wanted)
        self._welcome(resumed=False, max_message_bytes=max_message_bytes)

    def _welcome(self, *, resumed: bool, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.early.clear()
        welcome = pb.Welcome(
            session_id=self.session_id,
            seed=self._seed + self._num_sessions,
            max_unanswered_steps=self._allowed,
            resumed=resumed,
            max_message_bytes=max_message_bytes,
        )
        self.stream.send(written_welcome(welcome))

    def message(self, timeout_s: float) -> tuple[pb.ConnectRequest, bytes]:
        """The next message.

        Raises:
            SilentError, StreamOverError: there is none.
            LeftError: it cannot be read.
        """
        try:
            raw = self.early.popleft() if self.early else self.stream.receive(timeout_s=timeout_s)
        except WrongFormError as wrong:
            remedy = "send each message as a binary one"
            raise self.broken("binary", str(wrong), remedy) from None
        if self.stream.offers_subprotocol is not None:
            self.results.passed("binary")
        request = pb.ConnectRequest()
        try:
            request.ParseFromString(raw)
        except DecodeError:
            arrived = f"{len(raw)} bytes that are no ConnectRequest: {raw[:24].hex()}..."
            raise self.broken("messages", arrived, "compare with proto/vectors/") from None
        kind = request.WhichOneof("message")
        if kind is None:
            arrived = f"a message with none of hello, step, goodbye ({len(raw)} bytes)"
            raise self.broken("messages", arrived, "set one of them")
        self.results.passed("messages")
        if kind == "hello":
            arrived = "a second Hello on one stream"
            raise self.broken("hello-first", arrived, "say Hello once a stream, first of all")
        return request, raw

    def put_back(self, raw: bytes) -> None:
        """Let a message be the next one."""
        self.early.appendleft(raw)

    def next_step(self, rule: str = "plays-on") -> None:
        """Wait for the next Step, which joins the unanswered ones; a second one, too, if allowed.

        Args:
            rule: that is broken if none comes.
        """
        while not self.unanswered:
            self._hear_step(rule, self.pace.step_s)
        if self._allowed > len(self.unanswered):
            self._hear_second(rule)
        else:
            self._look_for_early(0.0)

    def _hear_step(self, rule: str, timeout_s: float) -> None:
        try:
            request, raw = self.message(timeout_s)
        except SilentError:
            arrived = f"no Step within {timeout_s:g} s"
            raise self.broken(rule, arrived, "send the next Step after each Act") from None
        except StreamOverError as over:
            arrived = f"the stream ended without Goodbye ({over})"
            remedy = "look for what stopped the simulator; who leaves says Goodbye"
            raise self.broken(rule, arrived, remedy) from None
        if request.HasField("goodbye") and rule != "plays-on":
            arrived = f"it left with Goodbye ({request.goodbye.reason[:200]})"
            self.results.failed(rule, arrived, "go on with the next Step")
        self.take(request, raw)
        self.results.passed(rule)

    def take(self, request: pb.ConnectRequest, raw: bytes) -> None:
        """Let a Step be one of the unanswered ones; LeftError if it is none or cannot be read."""
        if not request.HasField("step"):
            self.stream.end(End.NORMAL)
            raise LeftError(f"it said Goodbye ({request.goodbye.reason[:200]})")
        self._read(request.step, raw)

    def _read(self, step: pb.Step, raw: bytes) -> None:
        try:
            read = self._judge.read(step, raw)
        except UnreadableStepError:
            self.stream.end(End.INVALID_ARGUMENT, "the check says in its report what is wrong")
            raise LeftError("a Step could not be read") from None
        self.unanswered.append(read)
        if self.answered is not None and any(rows.late.any() for rows in read.rows):
            self._owing |= self.answered[0].acting - read.agents
        known = {each.name for each in self.hello.behaviours}
        self.hello.behaviours.extend(each for each in step.new_behaviours if each.name not in known)

    def _hear_second(self, rule: str = "plays-on") -> None:
        """Two may be unanswered: wait a little for the second one.

        A simulator that has sent a second one so far must go on with it after an odd Act.
        """
        if self._sends_two and rule != "plays-on":
            self._hear_step(rule, self.pace.step_s)
        else:
            try:
                request, raw = self.message(self.pace.second_step_s)
            except (SilentError, StreamOverError):
                self._sends_two = False
                return
            self.take(request, raw)
            self.results.passed(rule)
        self._sends_two = True
        first, second = self.unanswered[-2], self.unanswered[-1]
        shared = sorted(first.agents & second.agents)
        self.results.check(
            "two-steps",
            not shared,
            f"{shared[:1]} is in Steps {first.sequence} and {second.sequence}, both unanswered",
            "divide the agents into two groups that send in turns",
        )

    def _look_for_early(self, timeout_s: float) -> None:
        """Nothing may come now. What comes all the same is kept for later."""
        try:
            raw = self.stream.receive(timeout_s=timeout_s)
        except StreamOverError:
            return
        except SilentError:
            if timeout_s > 0.0:
                self.results.passed("waits", *(["obeys-one"] if self._is_told_less else []))
            return
        self.early.append(raw)
        self.results.failed(
            "obeys-one" if self._is_told_less else "waits",
            f"a message of {len(raw)} bytes while {len(self.unanswered)} Steps have no Act; "
            f"Welcome allows {self._allowed}",
            "wait for the Act before the next Step; max_unanswered_steps of Welcome says how many "
            "may wait",
        )

    @property
    def _is_told_less(self) -> bool:
        return self._allowed < self.wanted

    def hold(self, timeout_s: float) -> None:
        """Let it wait for its Act; it must not send more than is allowed, nor hang up."""
        if self._allowed > len(self.unanswered):
            self._hear_second()
        if self._allowed <= len(self.unanswered):
            self._look_for_early(timeout_s)

    def answer(self, *, extra: bytes = b"", parameters: dict[str, float] | None = None) -> None:
        """Answer the first unanswered Step.

        Args:
            extra: bytes of unknown fields, at the end of the Act.
            parameters: environment parameters that changed.
        """
        step = self.unanswered.popleft()
        specs = self._judge.specs
        act = pb.Act(
            sequence=step.sequence,
            behaviours=[
                self._actions.choose(specs[rows.behaviour], rows)
                for rows in step.rows
                if len(rows.agent_id)
            ],
            changed_environment_parameters=parameters or {},
        )
        message = written_act(act, extra)
        self.answered = (step, message)
        self.stream.send(message)

    @property
    def may_send(self) -> int:
        """How many Steps may be under way."""
        return max(0, self._allowed - len(self.unanswered))

    def close(self, reason: pb.CloseReason) -> None:
        """Send Close in place of the Act."""
        self.early.clear()
        words = pb.Close(reason=reason, message="the conformance kit closes")
        self.stream.send(pb.ConnectResponse(close=words).SerializeToString())

    def go_on(self, stream: Stream, hello: pb.Hello) -> bool:
        """Welcome it back on another stream; whether it resumed its session."""
        self.stream = stream
        if not judge_return(hello, self.hello, self.session_id, self.results):
            self.hello.instance_id = hello.instance_id
            self.begin()
            return False
        self._welcome(resumed=True)
        return True

    def broken(self, rule: str, arrived: str, remedy: str) -> LeftError:
        """Note that the session cannot go on because a rule is broken."""
        self.results.failed(rule, arrived, remedy)
        self.stream.end(End.INVALID_ARGUMENT, f"rule '{rule}': {arrived}; {remedy}")
        return LeftError(f"rule '{rule}' was broken")
