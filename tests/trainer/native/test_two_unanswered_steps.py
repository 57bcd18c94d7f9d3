"""Two Steps of one simulator without an Act at a time: order, refusals, resume, checkpoints."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.errors import BadStepError, LimitError, UnexpectedMessageError
from entrain.native.connection import Connections, Transport
from entrain.native.inquiry import Inquiries
from entrain.native.stream import EndCode
from entrain_envs import codec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb
from support.world import BIRD, WALKER, World, timesteps_of

FIRST, MID, TERMINATED = StepType.FIRST, StepType.MID, StepType.TERMINATED
Make = Callable[..., Any]


def join(world: Any, name: str = "walker-sim") -> Any:
    """A simulator that asked for two, and may have them."""
    simulator = world.dial(name)
    assert simulator.hello(max_unanswered_steps=2).max_unanswered_steps == 2
    return simulator


def come_back(world: Any, simulator: Any) -> Any:
    again = world.dial(simulator.name, instance_id=simulator.instance_id)
    assert again.hello(resume=simulator.stream.session_id, max_unanswered_steps=2).resumed
    return again


@pytest.mark.parametrize(
    ("asked", "allowed", "told"), [(0, 2, 1), (1, 2, 1), (2, 2, 2), (9, 2, 2), (2, 1, 1)]
)
def test_welcome_says_how_many_are_allowed(
    make_world: Make, asked: int, allowed: int, told: int
) -> None:
    simulator = make_world(max_unanswered_steps=allowed).dial()
    assert simulator.hello(max_unanswered_steps=asked).max_unanswered_steps == told


def test_the_second_step_is_served_as_soon_as_the_first_is_answered(world: Any) -> None:
    simulator = join(world)
    simulator.step(1, (7, FIRST))
    simulator.step(2, (8, FIRST))
    assert world.serve().timesteps.agent_id.tolist() == [7]
    assert world.serve().timesteps.agent_id.tolist() == [8]
    assert simulator.acted_agents() == [(1, [7]), (2, [8])]


def test_a_third_step_before_the_first_act_is_refused(world: Any) -> None:
    simulator = join(world)
    simulator.step(1, (7, FIRST))
    simulator.step(2, (8, FIRST))
    with pytest.raises(UnexpectedMessageError, match="Step 3 while the Steps 1 and 2 have no Act"):
        simulator.step(3, (9, FIRST))


def test_an_agent_in_both_steps_is_refused_by_name(world: Any) -> None:
    simulator = join(world)
    simulator.step(1, (7, FIRST), (9, FIRST))
    with pytest.raises(
        BadStepError,
        match=r"'walker', agent 9 is in Step 2 while its action of Step 1 is not chosen",
    ):
        simulator.step(2, (8, FIRST), (9, MID))


def test_an_agent_in_both_steps_is_refused_also_once_its_behaviour_is_answered(
    make_world: Make,
) -> None:
    world = make_world(lockstep=True)
    simulator = world.dial("walker-sim", specs=(WALKER, BIRD))
    simulator.hello(max_unanswered_steps=2)
    simulator.step(1, walker=[(7, FIRST)], bird=[(4, FIRST)])
    world.serve()
    with pytest.raises(BadStepError, match="'walker', agent 7 is in Step 2 while"):
        simulator.step(2, walker=[(7, MID)])


def test_an_agent_in_both_steps_is_refused_also_after_a_restart(world: Any) -> None:
    simulator = join(world)
    simulator.step(1, (7, FIRST))
    batch = world.behaviour().batcher.take()
    state = {"participants": world.participants.state(), "front": world.sessions.state()}
    del batch
    restarted = World()
    restarted.load_state(state)
    again = come_back(restarted, simulator)
    again.step(1, (7, FIRST))
    with pytest.raises(BadStepError, match="'walker', agent 7 is in Step 2 while"):
        again.step(2, (7, MID))


def test_an_agent_that_left_in_the_first_step_may_come_anew_in_the_second(world: Any) -> None:
    simulator = join(world)
    simulator.step(1, (7, FIRST))
    world.serve()
    simulator.step(2, (7, TERMINATED), (8, FIRST))
    simulator.step(3, (7, FIRST))
    assert world.serve().timesteps.agent_id.tolist() == [7, 8]
    assert world.serve().timesteps.agent_id.tolist() == [7]


@pytest.mark.parametrize("sequence", [1, 3])
def test_an_early_step_has_the_next_number(world: Any, sequence: int) -> None:
    simulator = join(world)
    simulator.step(1, (7, FIRST))
    with pytest.raises(
        UnexpectedMessageError, match=rf"sent Step {sequence}, expected Step 2; number Steps"
    ):
        simulator.step(sequence, (8, FIRST))


def test_an_early_step_that_is_wrong_ends_its_own_session_when_its_turn_has_come(
    world: Any,
) -> None:
    simulator, other = join(world), world.join("other")
    simulator.step(1, (7, FIRST))
    simulator.step(2, (8, MID))
    other.step(1, (1, FIRST))
    world.serve()
    assert simulator.acted_agents() == [(1, [7])]
    (end,) = simulator.stream._link.ended
    assert end.code is EndCode.INVALID
    assert "agent 8 sent MID" in end.words
    assert [each.identity.simulator for each in world.participants] == ["other"]
    assert other.acted_agents() == [(1, [1])]
    assert world.participants.counters["steps_refused"] == 1


def test_a_limit_that_an_early_step_reaches_ends_its_own_session(make_world: Make) -> None:
    # A row of 'walker' takes 30 bytes and more on the wire, its action 4.
    world = make_world(max_waiting_mib=150 / 2**20)
    simulator = join(world)
    simulator.step(1, (7, FIRST))
    with pytest.raises(LimitError, match="bytes of Steps and their answers"):
        simulator.step(2, *((agent, FIRST) for agent in range(100, 108)))


def test_bytes_are_given_back_with_the_session(world: Any) -> None:
    limit = world.participants._waiting_bytes
    simulator = join(world)
    for sequence in range(1, 6):
        simulator.step(sequence, (7, FIRST if sequence == 1 else MID)) if sequence % 2 else None
        if sequence % 2 == 0:
            simulator.step(sequence, (8, FIRST if sequence == 2 else MID))
        if sequence > 1:
            world.serve()
    assert limit.used > 0
    simulator.goodbye()
    assert limit.used == 0


def test_an_early_step_is_forgotten_with_its_stream_and_taken_when_it_comes_again(
    world: Any,
) -> None:
    simulator, other = join(world), world.join("other")
    simulator.step(1, (7, FIRST))
    simulator.step(2, (8, FIRST))
    simulator.stream.end()
    other.step(1, (1, FIRST))
    assert world.serve().timesteps.agent_id.tolist() == [7, 1]
    again = come_back(world, simulator)
    again.step(1, (7, FIRST))
    again.step(2, (8, FIRST))
    other.step(2, (1, MID))
    assert world.serve().timesteps.agent_id.tolist() == [8, 1]
    assert again.acted_agents() == [(1, [7]), (2, [8])]


def test_both_acts_that_were_lost_are_sent_again_and_counted_once(world: Any) -> None:
    simulator = join(world)
    simulator.step(1, (7, FIRST))
    simulator.step(2, (8, FIRST))
    world.serve()
    world.serve()
    simulator.stream.end()
    again = come_back(world, simulator)
    again.step(1, (7, FIRST))
    again.step(2, (8, FIRST))
    assert again.acted_agents() == [(1, [7]), (2, [8])]
    assert not world.is_due()
    again.step(3, (7, MID, 1.0))
    assert world.serve().timesteps.reward.tolist() == [1.0]


def test_in_lockstep_batches_hold_one_step_of_each_in_the_order_of_their_numbers(
    make_world: Make,
) -> None:
    world = make_world(lockstep=True, expect=2)
    right, left = join(world, "right"), join(world, "left")
    right.step(1, (1, FIRST))
    right.step(2, (2, FIRST))
    assert not world.is_due()
    left.step(1, (3, FIRST))
    assert world.serve().timesteps.agent_id.tolist() == [3, 1]
    assert not world.is_due()
    left.step(2, (4, FIRST))
    assert world.serve().timesteps.agent_id.tolist() == [4, 2]


def standing(world: Any, simulator: Any, sequence: int) -> int:
    request = pb.InquireRequest(
        session_id=simulator.stream.session_id,
        instance_id=simulator.instance_id,
        sequence=sequence,
    )
    content = Inquiries(world.sessions).answer(request.SerializeToString(), peer="10.0.0.7")
    return pb.InquireResponse.FromString(content).standing


def test_both_steps_can_be_asked_about(world: Any) -> None:
    simulator = join(world)
    simulator.step(1, (7, FIRST))
    simulator.step(2, (8, FIRST))
    assert [standing(world, simulator, n) for n in (1, 2)] == [pb.STEP_STANDING_HELD] * 2
    world.serve()
    assert standing(world, simulator, 1) == pb.STEP_STANDING_ANSWERED
    assert standing(world, simulator, 2) == pb.STEP_STANDING_HELD
    world.serve()
    assert standing(world, simulator, 1) == pb.STEP_STANDING_ANSWERED
    assert standing(world, simulator, 2) == pb.STEP_STANDING_ANSWERED
    simulator.stream.end()
    assert standing(world, simulator, 1) == pb.STEP_STANDING_NOT_HELD


def test_an_early_step_may_bring_a_new_behaviour(make_world: Make, bird: Any) -> None:
    world = make_world(lockstep=True)
    simulator = join(world)
    simulator.step(1, (7, FIRST))
    content = pb.ConnectRequest(
        step=pb.Step(
            sequence=2,
            behaviours=[codec.encode_timesteps(bird, timesteps_of(bird, [(4, FIRST)]))],
            new_behaviours=[encode_spec(bird)],
        )
    ).SerializeToString()
    assert simulator.stream.receive(content)
    asyncio.run(simulator.stream.take_held(content))
    assert world.serve().timesteps.agent_id.tolist() == [7]
    assert [act.sequence for act in simulator.acts()] == [1]
    assert world.serve("bird").timesteps.agent_id.tolist() == [4]
    assert [act.sequence for act in simulator.acts()] == [2]


async def test_a_wrong_early_step_ends_its_stream_also_where_nothing_more_is_read(
    make_world: Make,
) -> None:
    world = make_world()
    sent: list[bytes] = []
    waiting: asyncio.Queue[bytes] = asyncio.Queue()
    hello = pb.Hello(
        min_version=1,
        max_version=1,
        simulator="walker-sim",
        instance_id="process-1",
        behaviours=[encode_spec(WALKER)],
        max_unanswered_steps=2,
    )
    waiting.put_nowait(pb.ConnectRequest(hello=hello).SerializeToString())
    for sequence, row in ((1, (7, FIRST)), (2, (8, MID))):
        part = codec.encode_timesteps(WALKER, timesteps_of(WALKER, [row]))
        step = pb.Step(sequence=sequence, behaviours=[part])
        waiting.put_nowait(pb.ConnectRequest(step=step).SerializeToString())

    async def send(message: bytes) -> None:
        sent.append(message)

    transport = Transport("10.0.0.7", waiting.get, send, ConnectionError)
    carried = asyncio.create_task(Connections(world.sessions).carry(transport))
    async with asyncio.timeout(10.0):
        while not waiting.empty():
            await asyncio.sleep(0)
        world.serve()
        end = await carried
    assert end.code is EndCode.INVALID
    assert [pb.ConnectResponse.FromString(each).WhichOneof("message") for each in sent] == [
        "welcome",
        "act",
    ]


class Walkers:
    """A simulator of two agents, 7 and 8, that act in turns; its streams and trainers fail.

    The reward of a row says how many rows of its agent came before it.
    """

    def __init__(self, *, lockstep: bool) -> None:
        self._lockstep = lockstep
        self._world = World(lockstep=lockstep)
        self._link = join(self._world)
        self._unanswered: deque[tuple[int, int, float]] = deque()
        self._sent = 0
        self._rows: Counter[int] = Counter()
        self.answered: list[int] = []
        self.served: dict[int, list[float]] = {7: [], 8: []}

    def send(self) -> None:
        """The next Step, if two are not unanswered."""
        self._read()
        if len(self._unanswered) == 2:
            return
        self._sent += 1
        agent = 7 + self._sent % 2
        self._unanswered.append((self._sent, agent, float(self._rows[agent])))
        self._rows[agent] += 1
        self._say(*self._unanswered[-1])

    def _say(self, sequence: int, agent: int, reward: float) -> None:
        self._link.step(sequence, (agent, MID if reward else FIRST, reward))

    def _read(self) -> None:
        for sequence, agents in self._link.acted_agents():
            expected, agent, _ = self._unanswered.popleft()
            assert (sequence, agents) == (expected, [agent])
            self.answered.append(sequence)

    def serve(self) -> None:
        """The trainer answers a batch."""
        if any(True for _ in self._world.behaviours) and self._world.is_due():
            for agent, reward in zip(*self._rows_of(self._world.serve()), strict=True):
                self.served[agent].append(reward)

    @staticmethod
    def _rows_of(batch: Any) -> tuple[list[int], list[float]]:
        return batch.timesteps.agent_id.tolist(), batch.timesteps.reward.tolist()

    def cut(self) -> None:
        """The stream breaks, and Acts that were not read are lost."""
        self._link.stream.end()
        self._come_back()

    def cut_and_serve(self) -> None:
        """The trainer answers while nobody listens."""
        self._link.stream.end()
        self.serve()
        self._come_back()

    def restart(self) -> None:
        """The trainer stops, and goes on from its checkpoint."""
        state = {"participants": self._world.participants.state()}
        state["front"] = self._world.sessions.state()
        self._world = World(lockstep=self._lockstep)
        self._world.load_state(state)
        self._come_back()

    def _come_back(self) -> None:
        self._link = come_back(self._world, self._link)
        for step in self._unanswered:
            self._say(*step)

    def finish(self) -> None:
        """Everything that was sent is answered."""
        for _ in range(3):
            self.serve()
        self._read()
        assert not self._unanswered


EVENTS = ("send", "send", "send", "serve", "serve", "cut", "cut_and_serve", "restart")


@given(st.lists(st.sampled_from(EVENTS), max_size=60), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_step_is_counted_once_and_answered_in_order_whatever_breaks(
    events: list[str], lockstep: bool
) -> None:
    walkers = Walkers(lockstep=lockstep)
    for event in events:
        getattr(walkers, event)()
    walkers.finish()
    assert walkers.answered == list(range(1, len(walkers.answered) + 1))
    for rewards in walkers.served.values():
        assert rewards == list(np.arange(len(rewards), dtype=float))
    assert sum(map(len, walkers.served.values())) == len(walkers.answered)
