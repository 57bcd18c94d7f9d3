"""Streams that break, are taken over, and end from either side: nothing lost, nothing doubled."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc.aio import EOF  # type: ignore[attr-defined]

from entrain.native.stream import CLOSE_REASONS
from entrain.run.state_files import decode_state, encode_state
from entrain.serving.front import Ending
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb

FIRST, MID = StepType.FIRST, StepType.MID
TERMINATED = StepType.TERMINATED
Serve = Callable[..., Any]


async def resume(running: Any, simulator: Any) -> Any:
    """The same process on a new stream."""
    again = running.dial(simulator.name, instance_id=simulator.instance_id)
    assert (await again.hello(resume=simulator.session_id)).resumed
    return again


def seen_rows(running: Any) -> list[tuple[int, int, float]]:
    """(slot, step type, reward) of all rows that the policy was shown."""
    return [
        row
        for batch in running.seen
        for row in zip(
            batch.slot.tolist(),
            batch.timesteps.step_type.tolist(),
            batch.timesteps.reward.tolist(),
            strict=True,
        )
    ]


async def test_a_conversation_from_hello_to_goodbye(serve: Serve) -> None:
    async with serve() as running:
        simulator = running.dial()
        welcome = await simulator.hello()
        assert dict(welcome.environment_parameters) == {"gravity": 9.5}
        assert welcome.run_id == "run"
        assert await simulator.exchange(1, (7, FIRST), (8, FIRST)) == [7, 8]
        assert running.server.participants.num_agents == 2
        assert await simulator.exchange(2, (7, TERMINATED, 1.0), (7, FIRST), (8, MID)) == [7, 8]
        await simulator.send(goodbye=pb.Goodbye(reason="the game is over"))
        assert await simulator.status() == (grpc.StatusCode.OK, "")
        await running.until(lambda: running.server.participants.num_sessions == 0)
        assert running.server.participants.counters["sessions_left"] == 1
        assert running.server.participants.num_agents == 0
        assert running.server.participants.timings.decode > 0.0
        assert running.server.participants.timings.encode > 0.0


async def test_that_answers_are_on_their_way_is_known_without_waiting_for_the_next_step(
    serve: Serve,
) -> None:
    async with serve() as running:
        simulator = await running.join()
        for sequence, kind in ((1, FIRST), (2, MID)):
            assert await simulator.exchange(sequence, (7, kind)) == [7]
            await running.until(lambda number=sequence: running.known_as_sent == number)


async def test_a_stream_that_breaks_before_the_act_loses_and_doubles_nothing(
    serve: Serve,
) -> None:
    async with serve() as running:
        running.may_answer.clear()
        simulator = await running.join()
        await simulator.step(1, (7, FIRST))
        await running.until(lambda: len(running.seen) == 1)
        simulator.call.cancel()
        await running.until(lambda: running.server.participants.num_running == 0)
        assert running.server.participants.num_sessions == 1
        again = await resume(running, simulator)
        running.may_answer.set()
        assert await again.exchange(1, (7, FIRST)) == [7]
        assert await again.exchange(2, (7, MID, 1.0)) == [7]
        assert seen_rows(running) == [(0, FIRST, 0.0), (0, MID, 1.0)]
        assert running.server.participants.counters["sessions_resumed"] == 1


async def test_streams_that_break_at_any_moment_lose_and_double_nothing(serve: Serve) -> None:
    chance = random.Random(3)
    async with serve(max_wait_s=0.0) as running:
        simulator = await running.join()
        for sequence in range(1, 120):
            row = (7, FIRST if sequence == 1 else MID, float(sequence))
            if chance.random() < 0.4:
                await simulator.step(sequence, row)
                for _ in range(chance.randrange(12)):
                    await asyncio.sleep(0)
                simulator.call.cancel()
                simulator = await resume(running, simulator)
            assert await simulator.exchange(sequence, row) == [7]
        assert [reward for _, _, reward in seen_rows(running)] == list(range(1, 120))
        assert {slot for slot, _, _ in seen_rows(running)} == {0}
        assert running.server.participants.counters["sessions_lost"] == 0


@pytest.mark.parametrize("kind", [FIRST, MID])
async def test_a_simulator_that_vanishes_at_any_moment_is_no_error_of_the_trainer(
    serve: Serve, caplog: pytest.LogCaptureFixture, kind: StepType
) -> None:
    # MID as a first row is refused: then it vanishes while it is told so.
    async with serve(max_wait_s=0.0, grace_s=0.0) as running:
        for patience in range(60):
            simulator = await running.join()
            await simulator.step(1, *((agent, kind) for agent in range(1000)))
            for _ in range(patience):
                await asyncio.sleep(0)
            simulator.call.cancel()
        await running.until(lambda: running.server.participants.num_sessions == 0)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert errors == []


async def test_a_newer_stream_takes_over_from_a_half_open_one(serve: Serve) -> None:
    async with serve() as running:
        half_open = await running.join()
        assert await half_open.exchange(1, (7, FIRST)) == [7]
        newer = await resume(running, half_open)
        assert await newer.exchange(2, (7, MID)) == [7]
        code, details = await half_open.status()
        assert code is grpc.StatusCode.ABORTED
        assert "goes on in a newer stream" in details
        assert await newer.exchange(3, (7, MID)) == [7]
        assert (
            running.server.participants.num_sessions,
            running.server.participants.num_running,
        ) == (1, 1)


async def test_one_that_does_not_come_back_is_released_after_the_grace_time(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serve(grace_s=0.05, max_wait_s=0.0) as running:
        lost, other = await running.join("lost"), await running.join("other")
        await lost.exchange(1, (7, FIRST))
        lost.call.cancel()
        await running.until(lambda: running.server.participants.num_sessions == 1)
        assert running.server.participants.counters["sessions_lost"] == 1
        assert "s to come back (if gRPC told it that a message is larger than max" in caplog.text
        await other.exchange(1, (7, FIRST))
        assert running.seen[-1].released.tolist() == [0]


async def test_in_lockstep_nobody_hangs_when_one_is_lost(serve: Serve) -> None:
    async with serve(grace_s=0.05, lockstep=True, expect=2) as running:
        left, right = await running.join("left"), await running.join("right")
        right.call.cancel()
        assert await left.exchange(1, (7, FIRST)) == [7]
        assert running.server.participants.counters["sessions_lost"] == 1


async def test_goodbye_is_noticed_while_a_step_waits(serve: Serve) -> None:
    async with serve(expect=2) as running:
        simulator = await running.join()
        await simulator.step(1, (7, FIRST))
        await simulator.send(goodbye=pb.Goodbye())
        await running.until(lambda: running.server.participants.num_sessions == 0)
        assert await simulator.status() == (grpc.StatusCode.OK, "")


async def test_a_stream_closed_without_goodbye_may_come_back(serve: Serve) -> None:
    async with serve() as running:
        simulator = await running.join()
        await simulator.call.done_writing()
        assert (await simulator.status())[0] is grpc.StatusCode.OK
        await running.until(lambda: running.server.participants.num_running == 0)
        again = await resume(running, simulator)
        assert await again.exchange(1, (7, FIRST)) == [7]


async def test_changed_environment_parameters_ride_on_the_next_act(serve: Serve) -> None:
    async with serve() as running:
        simulator = await running.join()
        await simulator.exchange(1, (7, FIRST))
        running.server.participants.parameters.update({"wind": 2.0})
        await simulator.step(2, (7, MID))
        act = (await simulator.receive()).act
        assert dict(act.changed_environment_parameters) == {"wind": 2.0}


@pytest.mark.parametrize(("ending", "num_kept"), [(Ending.STOPPED, 1), (Ending.COMPLETED, 0)])
async def test_stop_tells_every_simulator_and_keeps_those_that_will_come_back(
    serve: Serve, ending: Ending, num_kept: int
) -> None:
    async with serve(max_wait_s=0.0) as running:
        stays, leaves = await running.join("stays"), await running.join("leaves")
        for simulator in (stays, leaves):
            await simulator.exchange(1, (7, FIRST))
        stopping = asyncio.ensure_future(running.server.stop(ending, "why not"))
        for simulator in (stays, leaves):
            close = (await simulator.receive()).close
            assert (close.reason, close.message) == (CLOSE_REASONS[ending], "why not")
        await leaves.send(goodbye=pb.Goodbye())
        await stays.call.done_writing()
        await stopping
        assert running.server.participants.num_sessions == num_kept
        assert len(running.server.state()["participants"]["participants"]) == num_kept


async def test_stop_does_not_wait_longer_than_it_was_told_to(serve: Serve) -> None:
    async with serve() as running:
        simulator = await running.join()
        async with asyncio.timeout(5.0):
            await running.server.stop(Ending.STOPPED, "", goodbye_s=0.05)
        assert (await simulator.status())[0] is grpc.StatusCode.OK
        assert running.server.participants.num_sessions == 1


async def test_an_act_that_was_given_before_the_stop_arrives_before_close(serve: Serve) -> None:
    async with serve() as running:
        running.may_answer.clear()
        simulator = await running.join()
        await simulator.step(1, (7, FIRST))
        await running.until(lambda: len(running.seen) == 1)
        running.server.pause()
        running.may_answer.set()
        await running.until(lambda: not running.server.participants.behaviours.has_batch_out)
        await asyncio.gather(
            running.server.stop(Ending.STOPPED, "", goodbye_s=0.1),
            self_check(simulator),
        )


async def self_check(simulator: Any) -> None:
    assert (await simulator.receive()).act.sequence == 1
    assert (await simulator.receive()).HasField("close")


async def test_a_simulator_that_waits_for_an_act_gets_close_instead(serve: Serve) -> None:
    async with serve(expect=2) as running:
        simulator = await running.join()
        await simulator.step(1, (7, FIRST))
        stopping = asyncio.ensure_future(running.server.stop(Ending.STOPPED, "", goodbye_s=0.1))
        assert (await simulator.receive()).HasField("close")
        await stopping


async def test_after_pause_batches_end_and_nobody_joins(serve: Serve) -> None:
    async with serve() as running:
        simulator = await running.join()
        running.server.pause()
        await simulator.step(1, (7, FIRST))
        newcomer = running.dial("late")
        await newcomer.hello()
        assert running.seen == []


async def test_a_stopped_and_restored_trainer_goes_on_with_the_same_simulators(
    serve: Serve, new_running: Callable[..., Any]
) -> None:
    async with serve(max_wait_s=0.0) as before:
        answered, unanswered = await before.join("answered"), await before.join("unanswered")
        await answered.exchange(1, (7, FIRST))
        await unanswered.exchange(1, (5, FIRST))
        before.server.pause()
        await unanswered.step(2, (5, MID, 1.0))
        await before.server.stop(Ending.STOPPED, "back soon", goodbye_s=0.05)
        state = decode_state(*encode_state(before.server.state()))

    after = new_running(max_wait_s=0.0)
    server = after.server
    server.load_state(state)
    await after.start()
    try:
        assert (server.participants.num_sessions, server.participants.num_running) == (2, 0)
        again = await resume(after, unanswered)
        assert await again.exchange(2, (5, MID, 1.0)) == [5]
        again = await resume(after, answered)
        assert await again.exchange(2, (7, MID, 2.0)) == [7]
        assert seen_rows(after) == [(1, MID, 1.0), (0, MID, 2.0)]
        assert server.participants.counters["sessions_joined"] == 2
    finally:
        await after.close()


async def test_restored_simulators_have_the_grace_time_from_when_the_port_is_open(
    serve: Serve, new_running: Callable[..., Any]
) -> None:
    async with serve() as before:
        simulator = await before.join()
        await simulator.exchange(1, (7, FIRST))
        await before.server.stop(Ending.STOPPED, "", goodbye_s=0.02)
        state = before.server.state()

    now_s = 0.0
    after = new_running(grace_s=0.02, clock=lambda: now_s)
    server = after.server
    server.load_state(state)
    now_s = 100.0
    await after.start()
    try:
        for _ in range(10):
            await asyncio.sleep(0)
        assert server.participants.num_sessions == 1
        now_s = 101.0
        await after.until(lambda: server.participants.num_sessions == 0)
        assert server.participants.counters["sessions_lost"] == 1
    finally:
        await after.close()


async def test_lockstep_shows_the_same_batches_whoever_is_faster(serve: Serve) -> None:
    async def batches(names: list[str]) -> list[tuple[list[int], list[int]]]:
        async with serve(lockstep=True, expect=3) as running:
            simulators = [await running.join(name) for name in names]
            for sequence, kind in ((1, FIRST), (2, MID), (3, MID)):
                for simulator in simulators:
                    agent = ord(simulator.name)
                    await simulator.step(sequence, (agent, kind), (agent + 1, kind))
                    await asyncio.sleep(0)
                for simulator in simulators:
                    assert (await simulator.receive()).act.sequence == sequence
                simulators.reverse()
            return [
                (batch.slot.tolist(), batch.timesteps.agent_id.tolist()) for batch in running.seen
            ]

    assert await batches(["a", "b", "c"]) == await batches(["c", "a", "b"])


async def test_many_simulators_share_one_channel_and_all_are_answered(serve: Serve) -> None:
    async with serve() as running:
        channel = running.open_channel()
        simulators = [await running.join(f"sim-{i}", channel=channel) for i in range(20)]

        async def live(simulator: Any, agent: int) -> None:
            for sequence in range(1, 11):
                kind = FIRST if sequence == 1 else MID
                assert await simulator.exchange(sequence, (agent, kind)) == [agent]

        await asyncio.gather(*(live(simulator, i) for i, simulator in enumerate(simulators)))
        assert len(seen_rows(running)) == 200


async def test_the_end_of_a_call_is_seen_as_the_end(serve: Serve) -> None:
    async with serve() as running:
        simulator = await running.join()
        await simulator.send(goodbye=pb.Goodbye())
        assert await simulator.call.read() is EOF
