"""What bad input gets, row by row: over a real port, with another simulator that goes on."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb

FIRST, MID = StepType.FIRST, StepType.MID
Serve = Callable[..., Any]
Encode = Callable[..., pb.BehaviourStep]

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
UNAUTHENTICATED = grpc.StatusCode.UNAUTHENTICATED


def short_observation(part: pb.BehaviourStep) -> None:
    part.observations[0] = part.observations[0][:-4]


def nan_observation(part: pb.BehaviourStep) -> None:
    part.observations[0] = np.array([np.nan, 0.0], np.float32).tobytes()


def infinite_reward(part: pb.BehaviourStep) -> None:
    part.reward = np.array([np.inf], np.float32).tobytes()


def unknown_step_type(part: pb.BehaviourStep) -> None:
    part.step_type = b"\x09"


def unknown_behaviour(part: pb.BehaviourStep) -> None:
    part.behaviour = "fish"


def missing_observation(part: pb.BehaviourStep) -> None:
    del part.observations[:]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (short_observation, ["observation 'eyes' has 4 bytes", "expected 8: float32[1, 2]"]),
        (nan_observation, ["observation 'eyes', row 0 (agent 1) holds nan", "must be finite"]),
        (infinite_reward, ["reward, row 0 (agent 1) holds inf", "must be finite"]),
        (unknown_step_type, ["step_type holds [9]", "1 FIRST, 2 MID"]),
        (unknown_behaviour, ["behaviour 'fish'", "which has: walker", "declare every"]),
        (missing_observation, ["with 0 observations", "expected 1", "eyes: float32[2]"]),
    ],
)
async def test_a_bad_step_ends_that_session_with_words_and_no_other(
    serve: Serve,
    encode: Encode,
    spoil: Callable[[pb.BehaviourStep], None],
    words: list[str],
) -> None:
    async with serve(max_wait_s=0.0) as running:
        bad, good = await running.join("bad"), await running.join("good")
        assert await good.exchange(1, (7, FIRST)) == [7]
        part = encode((1, FIRST))
        spoil(part)
        await bad.send(step=pb.Step(sequence=1, behaviours=[part]))
        code, details = await bad.status()
        assert code is INVALID
        assert details.startswith("bad@")
        for word in words:
            assert word in details
        assert await good.exchange(2, (7, MID)) == [7]
        assert running.server.participants.counters["steps_refused"] == 1
        assert running.server.participants.num_sessions == 1


@pytest.mark.parametrize(
    ("sequence", "rows", "words"),
    [
        (2, [(7, MID)], "sent Step 2, expected Step 1"),
        (1, [(7, MID)], "row 0: agent 7 sent MID, but it was given no action"),
        (1, [(7, FIRST), (7, FIRST)], "row 1: agent 7 has a row FIRST after a row FIRST in one"),
    ],
)
async def test_rows_and_steps_out_of_order_are_refused(
    serve: Serve, sequence: int, rows: list[tuple[int, StepType]], words: str
) -> None:
    async with serve() as running:
        simulator = await running.join()
        await simulator.step(sequence, *rows)
        code, details = await simulator.status()
        assert code is INVALID
        assert words in details


async def test_bytes_that_are_no_message_are_refused(serve: Serve) -> None:
    async with serve() as running:
        simulator = running.dial()
        await simulator.call.write(b"\xff\xff\xff")
        code, details = await simulator.status()
        assert code is INVALID
        assert "generate the simulator's protobuf code from" in details


async def test_a_step_before_hello_is_refused(serve: Serve) -> None:
    async with serve() as running:
        simulator = running.dial()
        await simulator.step(1, (7, FIRST))
        code, details = await simulator.status()
        assert code is INVALID
        assert "sent Step while waiting for Hello" in details
        assert running.server.participants.counters["sessions_refused"] == 1


async def refusal(simulator: Any, **hello: Any) -> tuple[grpc.StatusCode, str]:
    """The status that a Hello with these fields gets."""
    with pytest.raises(grpc.aio.AioRpcError):
        await simulator.hello(**hello)
    status: tuple[grpc.StatusCode, str] = await simulator.status()
    return status


async def test_a_second_simulator_with_another_spec_sees_what_differs(
    serve: Serve, walker: BehaviourSpec
) -> None:
    other = replace(walker, observations=(ObservationSpec("eyes", (3,), "uint8"),))
    async with serve() as running:
        first = await running.join("first")
        code, details = await refusal(running.dial("second"), behaviours=[encode_spec(other)])
        assert code is PRECONDITION
        assert "observation 'eyes' is uint8[3] and was float32[2]; use the same build" in details
        assert await first.exchange(1, (7, FIRST)) == [7]


async def test_a_behaviour_without_a_policy_is_refused(serve: Serve) -> None:
    fish = BehaviourSpec("fish", (ObservationSpec("water", ()),), ActionSpec(branches=(2,)))
    async with serve() as running:
        code, details = await refusal(running.dial(), behaviours=[encode_spec(fish)])
        assert code is INVALID
        assert "no policy for it (it has: 'walker')" in details


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([4_000_000_000, 4_000_000_000], "make observations and actions smaller, or raise server."),
        ([1] * 65, "observation 'eyes' has 65 dimensions"),
    ],
)
async def test_a_shape_that_cannot_be_is_refused_and_nobody_else_notices(
    serve: Serve, shape: list[int], words: str
) -> None:
    spec = pb.BehaviourSpec(
        name="walker",
        observations=[pb.ObservationSpec(name="eyes", shape=shape, dtype=pb.DTYPE_FLOAT32)],
        action=pb.ActionSpec(branches=[2]),
    )
    async with serve(max_wait_s=0.0) as running:
        code, details = await refusal(running.dial("large"), behaviours=[spec])
        assert code is INVALID
        assert details.startswith("large@")
        assert words in details
        good = await running.join("good")
        assert await good.exchange(1, (7, FIRST)) == [7]


@pytest.mark.parametrize(
    ("versions", "remedy"),
    [((0, 0), "install entrain-envs 1.x"), ((2, 9), "upgrade entrain, the trainer's package")],
)
async def test_versions_that_do_not_meet_name_the_package_to_upgrade(
    serve: Serve, versions: tuple[int, int], remedy: str
) -> None:
    async with serve() as running:
        code, details = await refusal(
            running.dial(), min_version=versions[0], max_version=versions[1]
        )
        assert code is PRECONDITION
        assert remedy in details


async def test_one_simulator_too_many_is_refused(serve: Serve) -> None:
    async with serve(max_sessions=1) as running:
        await running.join("first")
        code, details = await refusal(running.dial("second"))
        assert code is EXHAUSTED
        assert "raise server.max_sessions" in details


async def test_one_agent_too_many_is_refused(serve: Serve) -> None:
    async with serve(max_agents=2) as running:
        simulator = await running.join()
        await simulator.step(1, (1, FIRST), (2, FIRST), (3, FIRST))
        code, details = await simulator.status()
        assert code is EXHAUSTED
        assert "raise server.max_agents" in details


async def test_a_name_that_is_taken_is_refused_in_lockstep(serve: Serve) -> None:
    async with serve(lockstep=True) as running:
        await running.join("walker-sim")
        code, details = await refusal(running.dial("walker-sim", instance_id="process-2"))
        assert code is PRECONDITION
        assert "give every simulator a name of its own" in details


@pytest.mark.parametrize(
    ("agents", "words"),
    [
        (1000, "raise server.max_message_mib of the trainer, or send fewer agents"),
        (10_000, "larger than max"),  # gRPC's own words, beyond twice the limit
    ],
)
async def test_a_message_over_the_limit_ends_that_stream_and_no_other(
    serve: Serve, agents: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(max_message_mib=0.015, max_wait_s=0.0) as running:
        large, small = await running.join("large"), await running.join("small")
        await large.step(1, *((agent, FIRST) for agent in range(agents)))
        code, details = await large.status()
        assert code is EXHAUSTED
        assert words in details
        assert await small.exchange(1, (7, FIRST)) == [7]
        await running.until(lambda: running.server.participants.num_running == 1)
        told = [line for line in caplog.messages if "large@" in line and "joined" not in line]
        assert len(told) == 1
        assert "raise server.max_message_mib" in told[0]


async def test_welcome_tells_how_long_a_message_may_be(serve: Serve) -> None:
    async with serve(max_message_mib=0.5) as running:
        assert (await running.dial().hello()).max_message_bytes == 512 * 1024


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("s3cret\n")
    return path


@pytest.mark.parametrize("metadata", [{}, {"authorization": "Bearer wrong"}])
async def test_a_bad_token_is_refused_before_anything_is_read(
    serve: Serve, token_file: Path, metadata: dict[str, str]
) -> None:
    async with serve(token_file=token_file) as running:
        code, details = await running.dial(metadata=metadata).status()
        assert code is UNAUTHENTICATED
        assert "authorization: Bearer TOKEN" in details
        assert running.server.participants.counters["sessions_refused"] == 1


async def test_the_right_token_lets_in_and_an_exchanged_one_too(
    serve: Serve, token_file: Path
) -> None:
    async with serve(token_file=token_file) as running:
        await running.join(metadata={"authorization": "Bearer s3cret"})
        token_file.write_text("newer\n")
        await running.join(metadata={"authorization": "Bearer newer"})
        assert running.server.participants.num_sessions == 2
