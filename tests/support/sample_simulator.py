"""A simulator in the tests' own process that keeps every rule of the contract and shows them all.

It is a port of the conformance kit: what it would send waits in its streams, and its clock moves
only when somebody waits. Tests override one method to break one rule.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from entrain_envs.conformance.port import (
    End,
    Question,
    SilentError,
    Stream,
    StreamOverError,
    WrongFormError,
)
from entrain_envs.wire import trainer_pb2 as pb

FIRST, MID, TERMINATED, TRUNCATED = 1, 2, 3, 4

WALKER = pb.BehaviourSpec(
    name="walker",
    observations=[pb.ObservationSpec(name="body", shape=[3], dtype=pb.DTYPE_FLOAT32)],
    action=pb.ActionSpec(low=[-1.0, -float("inf")], high=[1.0, 2.0], branches=[3, 2]),
    deadline_ms=500,
    fallback=pb.FALLBACK_NEUTRAL,
)
BIRD = pb.BehaviourSpec(
    name="bird",
    observations=[pb.ObservationSpec(name="eye", shape=[2, 2], dtype=pb.DTYPE_UINT8)],
    action=pb.ActionSpec(branches=[2]),
)
"""Declared by a Step, later."""

SILENCE_S = 30.0


@dataclass
class Walker:
    """One agent and its episode."""

    number: int
    episode: int = 0
    time: int = -1
    """Steps since the episode's first row; -1 before it."""
    was_asked: bool = False
    """Whether its group's Step before had a row of it that needs an action."""

    @property
    def body(self) -> list[float]:
        """Its observation: jumps at an episode's beginning, then changes a little."""
        base = np.random.default_rng([self.number, self.episode]).uniform(-5, 5, 3)
        return list(base + 0.01 * max(0, self.time) * np.asarray([1.0, 2.0, 3.0]))

    @property
    def is_over(self) -> bool:
        """Whether this is the last row of its episode."""
        return self.time >= 3 + (self.number + self.episode) % 4


@dataclass
class Row:
    """One row of a Step."""

    agent: int
    step_type: int
    reward: float
    body: list[float]
    was_asked: bool = False
    """Whether it is the outcome of the newest Act."""


@dataclass
class Group:
    """Half of the walkers, which step together."""

    walkers: list[Walker]
    steps: int = 0
    is_late: bool = False
    """Whether its newest Act came too late."""


@dataclass
class SampleStream:
    """One stream, on the simulator's side."""

    simulator: "SampleSimulator"
    opened_s: float
    token: str
    peer: str = "sample"
    offers_subprotocol: bool | None = True
    outgoing: deque[bytes] = field(default_factory=deque)
    is_over: bool = False

    def receive(self, *, timeout_s: float) -> bytes:
        if self.outgoing:
            message = self.outgoing.popleft()
            if self.simulator.writes_text and self.simulator.sequence > 3:
                raise WrongFormError("a text message")
            return message
        if self.is_over:
            raise StreamOverError("it ended")
        self.simulator.now_s += timeout_s
        raise SilentError

    def answers_ping(self, *, timeout_s: float) -> bool | None:
        return self.simulator.pongs

    def send(self, message: bytes) -> None:
        if not self.is_over:
            self.simulator.hear(pb.ConnectResponse.FromString(message), message)

    def end(self, how: End, words: str = "") -> None:
        if not self.is_over:
            self.is_over = True
            self.simulator.stream_ended(how)


class SampleSimulator:
    """See the module."""

    token = ""
    pongs = True
    offers = True
    writes_text = False
    pauses_s = (0.1, 0.2, 0.4)

    def __init__(self) -> None:
        self.now_s = 0.0
        self.standing: pb.StepStanding = pb.STEP_STANDING_HELD
        self.process = 0
        self.stream: SampleStream | None = None
        self._begin_process()

    def _begin_process(self) -> None:
        self.dials_at_s: float | None = self.now_s
        self.session_id = ""
        self.allowed = 1
        self.has_declared = False
        self.failed_dials = 0
        self.unanswered: deque[bytes] = deque()
        self.limit = 0
        self._reset()

    def _reset(self) -> None:
        self.sequence = 0
        self.is_late = False
        self.sent_s = self.now_s
        self.groups = [
            Group([Walker(number) for number in numbers]) for numbers in ([1, 2, 3, 4], [5, 6, 7])
        ]
        self.turn = 0

    # -- the port of the kit

    def start(self) -> None:
        """As the kit's launcher does it."""
        self._begin_process()

    @property
    def is_running(self) -> bool:
        return True

    def stop(self) -> None:
        """The process is over."""
        self.process += 1
        self.dials_at_s = None

    def next_stream(self, *, timeout_s: float) -> Stream | None:
        if self.dials_at_s is None or self.dials_at_s > self.now_s + timeout_s:
            self.now_s += timeout_s
            return None
        self.now_s = max(self.now_s, self.dials_at_s)
        self.dials_at_s = None
        self.stream = SampleStream(self, self.now_s, self.token, offers_subprotocol=self.offers)
        self.put(pb.ConnectRequest(hello=self.hello()))
        return self.stream

    def next_question(self, *, timeout_s: float) -> Question | None:
        self.now_s += timeout_s
        if self.unanswered and self.now_s - self.sent_s >= SILENCE_S:
            first = pb.ConnectRequest.FromString(self.unanswered[0])
            question = self.question(first.step.sequence)
            if question is not None and self.standing == pb.STEP_STANDING_NOT_HELD:
                self.give_up()
            return question
        return None

    def answer_with(self, standing: pb.StepStanding) -> None:
        self.standing = standing

    def give_up(self) -> None:
        """Cancel the stream, and dial again."""
        assert self.stream is not None
        self.stream.is_over = True
        self.dials_at_s = self.now_s + self.pauses_s[0]

    # -- what it says

    @property
    def instance_id(self) -> str:
        return f"a1b2c3d4-{self.process}"

    def question(self, sequence: int) -> Question | None:
        return Question(self.session_id, self.hello().instance_id, sequence)

    def put(self, request: pb.ConnectRequest) -> None:
        """Send a message."""
        assert self.stream is not None
        self.stream.outgoing.append(request.SerializeToString())

    def hello(self) -> pb.Hello:
        return pb.Hello(
            min_version=1,
            max_version=1,
            simulator="sample",
            instance_id=self.instance_id,
            behaviours=[WALKER, BIRD] if self.has_declared else [WALKER],
            max_agents=20,
            resume_session_id=self.session_id,
            max_unanswered_steps=2,
        )

    def next_sequence(self) -> int:
        self.sequence += 1
        return self.sequence

    def send_step(self) -> None:
        """Send the Step of the group whose turn it is."""
        group = self.groups[self.turn]
        self.turn = 1 - self.turn
        self.is_late = group.is_late
        step = pb.Step(sequence=self.next_sequence(), behaviours=[self.rows(self.play(group))])
        if step.sequence == 6 and not self.has_declared:
            self.has_declared = True
            step.new_behaviours.extend(self.declared())
            step.behaviours.append(self.bird())
        if step.sequence % 5 == 0:
            step.statistics.append(pb.Statistic(name="coins", values=[1.0]))
        request = pb.ConnectRequest(step=self.finished(step))
        self.unanswered.append(request.SerializeToString())
        self.sent_s = self.now_s
        self.put(request)

    def finished(self, step: pb.Step) -> pb.Step:
        """The Step as it is sent."""
        return step

    def declared(self) -> list[pb.BehaviourSpec]:
        return [BIRD]

    def bird(self) -> pb.BehaviourStep:
        return pb.BehaviourStep(
            behaviour="bird",
            agent_id=np.asarray([-3], "<i8").tobytes(),
            step_type=bytes([FIRST]),
            reward=bytes(4),
            observations=[bytes(4)],
        )

    def play(self, group: Group) -> list[Row]:
        """One step of a group: its rows."""
        rows = []
        group.steps += 1
        for walker in group.walkers:
            was_asked, walker.was_asked = walker.was_asked, False
            if walker.number == 2 and group.steps % 3 == 0:
                continue
            walker.was_asked = True
            if walker.time < 0:
                walker.time = 0
                rows.append(Row(walker.number, FIRST, 0.0, walker.body))
                continue
            walker.time += 1
            reward = 0.5 + walker.time
            if not walker.is_over:
                rows.append(Row(walker.number, MID, reward, walker.body, was_asked))
                continue
            end = TRUNCATED if walker.episode % 2 else TERMINATED
            rows.append(Row(walker.number, end, reward, walker.body, was_asked))
            walker.episode, walker.time = walker.episode + 1, -1
            walker.was_asked = walker.number != 1
            if walker.number != 1:
                walker.time = 0
                rows.append(Row(walker.number, FIRST, 0.0, walker.body))
        return rows

    def rows(self, rows: list[Row]) -> pb.BehaviourStep:
        """As they are written."""
        mask = [[1, 0, 1, 1, 1] if row.agent % 2 else [0, 1, 1, 0, 1] for row in rows]
        return pb.BehaviourStep(
            behaviour="walker",
            agent_id=np.asarray([row.agent for row in rows], "<i8").tobytes(),
            step_type=bytes(row.step_type for row in rows),
            reward=np.asarray([row.reward for row in rows], "<f4").tobytes(),
            observations=[np.asarray([row.body for row in rows], "<f4").tobytes()],
            action_mask=np.asarray(mask, np.uint8).tobytes(),
            group_id=np.asarray([row.agent % 3 for row in rows], "<i8").tobytes(),
            group_reward=np.asarray([row.reward / 2 for row in rows], "<f4").tobytes(),
            late=bytes(self.is_late and row.was_asked for row in rows),
        )

    # -- what it hears

    def hear(self, response: pb.ConnectResponse, raw: bytes) -> None:
        kind = response.WhichOneof("message")
        if kind == "welcome":
            self.welcomed(response.welcome)
        elif kind == "act":
            self.acted(response.act, raw)
        else:
            self.closed(response.close)

    def welcomed(self, welcome: pb.Welcome) -> None:
        self.failed_dials = 0
        self.limit = welcome.max_message_bytes
        if self.limit < 100:
            self.leave("messages may not be long enough")
            return
        self.allowed = welcome.max_unanswered_steps
        if welcome.resumed:
            self.send_again()
            return
        if self.session_id:
            self.lost()
        self.session_id = welcome.session_id
        while len(self.unanswered) < self.allowed:
            self.send_step()

    def send_again(self) -> None:
        assert self.stream is not None
        self.stream.outgoing.extend(self.unanswered)
        while len(self.unanswered) < self.allowed:
            self.send_step()

    def lost(self) -> None:
        self.unanswered.clear()
        self.has_declared = False
        self._reset()

    def acted(self, act: pb.Act, raw: bytes) -> None:
        group = self.groups[(self.turn - len(self.unanswered)) % 2]
        group.is_late = self.now_s - self.sent_s > WALKER.deadline_ms / 1000.0
        self.unanswered.popleft()
        self.sent_s = self.now_s
        self.send_step()

    def closed(self, close: pb.Close) -> None:
        if close.reason == pb.CLOSE_REASON_COMPLETED:
            self.leave("done")

    def leave(self, reason: str) -> None:
        assert self.stream is not None
        self.put(pb.ConnectRequest(goodbye=pb.Goodbye(reason=reason)))
        self.stream.is_over = True

    def stream_ended(self, how: End) -> None:
        """Dial again where it may help; NORMAL comes after Close STOPPED."""
        if how in {End.BROKEN, End.UNAVAILABLE, End.NORMAL}:
            self.dials_at_s = self.now_s + self.pauses_s[min(2, self.failed_dials)]
            self.failed_dials += 1
