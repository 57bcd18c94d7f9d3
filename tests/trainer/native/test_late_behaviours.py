"""Behaviours that a simulator declares after its Hello, in a Step."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from entrain.errors import (
    BadHelloError,
    BadStepError,
    ConfigError,
    LimitError,
    RefusedHelloError,
    UnexpectedMessageError,
)
from entrain.native.stream import StreamState
from entrain_envs import codec
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb
from support.world import BIRD, SPECS, WALKER, Row, timesteps_of

FIRST, MID = StepType.FIRST, StepType.MID
Make = Callable[..., Any]


def late_step(
    sequence: int,
    *new: BehaviourSpec,
    walker: Sequence[Row] = (),
    bird: Sequence[Row] = (),
) -> bytes:
    """A Step that declares these, with rows."""
    rows = {"walker": walker, "bird": bird}
    step = pb.Step(
        sequence=sequence,
        new_behaviours=[encode_spec(spec) for spec in new],
        behaviours=[
            codec.encode_timesteps(SPECS[name], timesteps_of(SPECS[name], part))
            for name, part in rows.items()
            if part
        ],
    )
    return pb.ConnectRequest(step=step).SerializeToString()


def send(simulator: Any, content: bytes) -> None:
    """Send it as a connection does."""
    assert simulator.stream.receive(content)
    asyncio.run(simulator.stream.take_held(content))


def come_back(world: Any, simulator: Any, *specs: BehaviourSpec) -> Any:
    again = world.dial(simulator.name, instance_id=simulator.instance_id, specs=specs)
    assert again.hello(resume=simulator.stream.session_id).resumed
    return again


def test_rows_of_a_behaviour_that_the_same_step_declares_are_answered(
    world: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    simulator = world.join()
    assert simulator.stream.session_id
    simulator.step(1, (7, FIRST))
    world.serve()
    send(simulator, late_step(2, BIRD, walker=[(7, MID)], bird=[(3, FIRST)]))
    world.serve()
    world.serve("bird")
    assert [act.sequence for act in simulator.acts()] == [1, 2]
    simulator.step(3, bird=[(3, MID)])
    world.serve("bird")
    (act,) = simulator.acts()
    assert [part.behaviour for part in act.behaviours] == ["bird"]
    assert "walker-sim@10.0.0.7 brings more agents: of 'bird'" in caplog.text


def test_the_welcome_says_that_they_are_understood(world: Any) -> None:
    assert world.dial().hello().revision == codec.REVISION == 3


def test_a_behaviour_that_others_brought_before_is_joined(world: Any) -> None:
    other = world.join("other", instance_id="process-2", specs=(BIRD,))
    simulator = world.join()
    send(simulator, late_step(1, BIRD, bird=[(3, FIRST)]))
    other.step(1, bird=[(3, FIRST)])
    assert len(world.serve("bird").slot) == 2


@pytest.mark.parametrize("answered", [True, False])
def test_a_resumed_simulator_may_name_them_in_its_hello_and_send_the_step_again(
    world: Any, answered: bool
) -> None:
    simulator = world.join()
    content = late_step(1, BIRD, bird=[(3, FIRST)])
    send(simulator, content)
    if answered:
        world.serve("bird")
    simulator.stream.end()
    again = come_back(world, simulator, WALKER, BIRD)
    send(again, content)
    if not answered:
        world.serve("bird")
    (act,) = again.acts()
    assert act.sequence == 1
    again.step(2, bird=[(3, MID)])
    world.serve("bird")


def test_a_resumed_simulator_that_leaves_one_out_is_refused(world: Any) -> None:
    simulator = world.join()
    send(simulator, late_step(1, BIRD, bird=[(3, FIRST)]))
    simulator.stream.end()
    with pytest.raises(RefusedHelloError, match=r"without behaviours .* expected bird, walker"):
        come_back(world, simulator, WALKER)


def test_a_checkpoint_keeps_them(make_world: Make) -> None:
    world = make_world()
    simulator = world.join()
    send(simulator, late_step(1, BIRD, walker=[(7, FIRST)], bird=[(3, FIRST)]))
    world.serve()
    world.serve("bird")
    restored = make_world()
    restored.load_state(world.state())
    again = come_back(restored, simulator, WALKER, BIRD)
    again.step(2, walker=[(7, MID)], bird=[(3, MID)])
    restored.serve()
    restored.serve("bird")
    assert [act.sequence for act in again.acts()] == [2]


def test_a_trainer_that_came_back_from_before_them_learns_of_them_in_the_hello(
    make_world: Make,
) -> None:
    world = make_world()
    simulator = world.join()
    simulator.step(1, (7, FIRST))
    world.serve()
    before = world.state()
    send(simulator, late_step(2, BIRD, walker=[(7, MID)], bird=[(3, FIRST)]))
    world.serve()
    world.serve("bird")
    restored = make_world()
    restored.load_state(before)
    again = come_back(restored, simulator, WALKER, BIRD)
    again.step(3, walker=[(7, MID)], bird=[(3, MID)])
    assert restored.serve("bird").timesteps.step_type.tolist() == [FIRST]


@pytest.mark.parametrize(
    ("new", "error", "words"),
    [
        (
            [BehaviourSpec("walker", BIRD.observations, BIRD.action)],
            RefusedHelloError,
            "declares behaviour 'walker' otherwise than this run knows it",
        ),
        (
            [BehaviourSpec("cat", BIRD.observations, BIRD.action)],
            BadHelloError,
            "this run has no policy for it",
        ),
        ([BIRD, BIRD], BadHelloError, "each name once"),
        ([BIRD] * 101, LimitError, "declares 101 behaviours, and this trainer allows 100"),
        (
            [BehaviourSpec("b" * 300, BIRD.observations, BIRD.action)],
            BadHelloError,
            "at most 200 printable characters",
        ),
        (
            [
                BehaviourSpec(
                    "bird",
                    (ObservationSpec("eye", (2**19,), low=(0.0,) * 2**19, high=(1.0,) * 2**19),),
                    ActionSpec(branches=(2,)),
                )
            ],
            LimitError,
            "expected at most 4,194,304",
        ),
    ],
)
def test_their_limits_are_those_of_a_hello(
    world: Any, new: list[BehaviourSpec], error: type[Exception], words: str
) -> None:
    simulator = world.join()
    with pytest.raises(error, match=words):
        send(simulator, late_step(1, *new, walker=[(7, FIRST)]))
    assert [behaviour.name for behaviour in world.behaviours] == ["walker"]


def test_a_step_out_of_turn_declares_nothing(world: Any) -> None:
    simulator = world.join()
    with pytest.raises(UnexpectedMessageError, match="sent Step 5, expected Step 1"):
        send(simulator, late_step(5, BIRD, bird=[(3, FIRST)]))
    assert [behaviour.name for behaviour in world.behaviours] == ["walker"]


def test_one_that_no_policy_can_be_made_for_costs_its_simulator_alone(make_world: Make) -> None:
    def refuse(behaviours: Sequence[Any]) -> None:
        if behaviours[0].name == "bird":
            raise ConfigError("birds cannot be taught")

    world = make_world(on_new=refuse)
    simulator = world.join()
    with pytest.raises(BadHelloError, match="birds cannot be taught"):
        send(simulator, late_step(1, BIRD, bird=[(3, FIRST)]))


def test_rows_of_one_that_was_never_declared_name_the_remedy(world: Any) -> None:
    with pytest.raises(BadStepError, match="in Hello, or in new_behaviours of a Step"):
        world.join().step(1, bird=[(7, FIRST)])


class SlowNetworks:
    """Makes networks when the test says so."""

    def __init__(self, world: Any) -> None:
        self.may_end = asyncio.Event()
        self.began = asyncio.Event()
        world.behaviours._prepare = self.prepare

    @asynccontextmanager
    async def prepare(self, _specs: Sequence[BehaviourSpec]) -> AsyncIterator[None]:
        self.began.set()
        await self.may_end.wait()
        yield


async def test_nobody_else_waits_for_its_networks_and_the_step_stands_as_held(world: Any) -> None:
    networks = SlowNetworks(world)
    simulator = world.join()
    other = world.join("other", instance_id="process-2")
    networks.began.clear()
    content = late_step(1, BIRD, walker=[(7, FIRST)], bird=[(3, FIRST)])
    assert simulator.stream.receive(content)
    taking = asyncio.create_task(simulator.stream.take_held(content))
    await networks.began.wait()
    standing = simulator.stream._session.exchange.standing
    assert standing(1) == pb.STEP_STANDING_HELD
    other.step(1, (1, FIRST))
    world.timers.pass_time(1.0)
    assert world.serve().timesteps.agent_id.tolist() == [1]
    networks.may_end.set()
    await taking
    assert standing(1) == pb.STEP_STANDING_HELD
    assert len(world.serve("bird").slot) == 1


@pytest.mark.parametrize("what", ["replaced", "broken", "closed"])
async def test_a_step_of_a_stream_that_is_over_by_then_is_not_taken(world: Any, what: str) -> None:
    networks = SlowNetworks(world)
    simulator = world.join()
    content = late_step(1, BIRD, bird=[(3, FIRST)])
    assert simulator.stream.receive(content)
    taking = asyncio.create_task(simulator.stream.take_held(content))
    await networks.began.wait()
    used = world.participants._waiting_bytes.used
    assert used == len(content)
    if what == "replaced":
        come_back(world, simulator, WALKER)
    elif what == "broken":
        simulator.stream.end()
    else:
        simulator.stream.state_now = StreamState.CLOSING
    networks.may_end.set()
    await taking
    assert [behaviour.name for behaviour in world.behaviours] == ["walker"]
    assert world.participants._waiting_bytes.used == 0
