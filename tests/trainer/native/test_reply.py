"""When a reply waits, over streams: nobody is held up by what another simulator does not do."""

import asyncio
from typing import Any

import pytest

from entrain.native.connection import Connections
from entrain.serving.batch import RequestBatch
from entrain_envs import codec
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb
from support.web_socket import Browser
from support.world import SPECS, Row, actions_for, timesteps_of

FIRST, MID = StepType.FIRST, StepType.MID


class Simulator(Browser):
    """A simulator whose transport takes messages only while it may."""

    def __init__(self, connections: Connections, name: str) -> None:
        super().__init__(connections)
        self.name = name
        self.session_id = ""
        self.may_take = asyncio.Event()
        self.may_take.set()
        send = self.socket.send

        async def take(message: bytes) -> None:
            await self.may_take.wait()
            await send(message)

        self.socket.send = take  # type: ignore[method-assign]

    async def join(self, *specs: BehaviourSpec, resume: str = "") -> None:
        self.send(
            pb.ConnectRequest(
                hello=pb.Hello(
                    min_version=1,
                    max_version=1,
                    simulator=self.name,
                    instance_id="process",
                    behaviours=[encode_spec(spec) for spec in specs],
                    resume_session_id=resume,
                )
            )
        )
        self.session_id = (await self.receive()).welcome.session_id

    def step(self, sequence: int, **rows: list[Row]) -> None:
        parts = [
            codec.encode_timesteps(SPECS[name], timesteps_of(SPECS[name], part))
            for name, part in rows.items()
        ]
        self.send(pb.ConnectRequest(step=pb.Step(sequence=sequence, behaviours=parts)))


async def next_batch(world: Any, name: str = "walker") -> RequestBatch:
    async with asyncio.timeout(5.0):
        batch: RequestBatch = await anext(world.behaviour(name).batcher)
    return batch


async def begin_reply(batch: RequestBatch, spec: BehaviourSpec) -> asyncio.Task[None]:
    """Reply, and give everyone else time to do what they can do."""
    task = asyncio.ensure_future(batch.reply(actions_for(spec, batch.timesteps)))
    for _ in range(20):
        await asyncio.sleep(0)
    return task


async def test_of_two_behaviours_in_one_step_the_first_answered_waits_for_nothing(
    world: Any, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    simulator = Simulator(Connections(world.sessions), "both")
    await simulator.join(walker, bird)
    simulator.step(1, walker=[(7, FIRST)], bird=[(4, FIRST)])
    learning, quick = await next_batch(world, "walker"), await next_batch(world, "bird")
    # The walker's policy learns; no Act can go out before it answers.
    assert (await begin_reply(quick, bird)).done()
    assert simulator.socket.to_simulator.empty()
    reply = await begin_reply(learning, walker)
    assert reply.done()
    act = (await simulator.receive()).act
    assert [part.behaviour for part in act.behaviours] == ["walker", "bird"]


async def test_the_last_answered_behaviour_waits_until_the_act_is_taken(
    world: Any, walker: BehaviourSpec, bird: BehaviourSpec
) -> None:
    simulator = Simulator(Connections(world.sessions), "both")
    await simulator.join(walker, bird)
    simulator.step(1, walker=[(7, FIRST)], bird=[(4, FIRST)])
    first, last = await next_batch(world, "walker"), await next_batch(world, "bird")
    simulator.may_take.clear()
    assert (await begin_reply(first, walker)).done()
    reply = await begin_reply(last, bird)
    assert not reply.done()
    simulator.may_take.set()
    await reply


async def test_a_mute_reader_does_not_hold_up_one_that_reads(
    make_world: Any, walker: BehaviourSpec
) -> None:
    world = make_world(expect=2)
    connections = Connections(world.sessions)
    mute, good = Simulator(connections, "mute"), Simulator(connections, "good")
    for simulator in (mute, good):
        await simulator.join(walker)
        simulator.step(1, walker=[(7, FIRST)])
    mute.may_take.clear()
    batch = await next_batch(world)
    assert batch.num_actions == 2
    assert (await begin_reply(batch, walker)).done()
    assert (await good.receive()).act.sequence == 1
    good.step(2, walker=[(7, MID)])
    for _ in range(20):
        await asyncio.sleep(0)
    world.timers.pass_time(1.0)
    batch = await next_batch(world)
    assert (await begin_reply(batch, walker)).done()
    assert (await good.receive()).act.sequence == 2


@pytest.mark.parametrize("event", ["next batch", "end"])
async def test_a_mute_reader_alone_is_waited_for_until_the_next_batch_or_the_end(
    world: Any, walker: BehaviourSpec, event: str
) -> None:
    connections = Connections(world.sessions)
    mute = Simulator(connections, "mute")
    await mute.join(walker)
    mute.step(1, walker=[(7, FIRST)])
    mute.may_take.clear()
    reply = await begin_reply(await next_batch(world), walker)
    assert not reply.done()
    if event == "end":
        world.participants.pause()
    else:
        late = Simulator(connections, "late")
        await late.join(walker)
        late.step(1, walker=[(1, FIRST)])
        for _ in range(20):
            await asyncio.sleep(0)
        world.timers.pass_time(1.0)
    await asyncio.wait_for(reply, 5.0)


@pytest.mark.parametrize("is_back", [False, True])
async def test_who_has_not_sent_its_step_again_is_not_waited_for(
    world: Any, walker: BehaviourSpec, is_back: bool
) -> None:
    connections = Connections(world.sessions)
    before = Simulator(connections, "sim")
    await before.join(walker)
    before.step(1, walker=[(7, FIRST)])
    batch = await next_batch(world)
    before.socket.break_off()
    await before.serving
    again = Simulator(connections, "sim")
    if is_back:
        await again.join(walker, resume=before.session_id)
    assert (await begin_reply(batch, walker)).done()
    if not is_back:
        await again.join(walker, resume=before.session_id)
    assert again.socket.to_simulator.empty()
    again.step(1, walker=[(7, FIRST)])
    assert (await again.receive()).act.sequence == 1


async def test_who_left_is_not_waited_for(world: Any, walker: BehaviourSpec) -> None:
    simulator = Simulator(Connections(world.sessions), "sim")
    await simulator.join(walker)
    simulator.step(1, walker=[(7, FIRST)])
    batch = await next_batch(world)
    simulator.send(pb.ConnectRequest(goodbye=pb.Goodbye()))
    await simulator.serving
    assert (await begin_reply(batch, walker)).done()
