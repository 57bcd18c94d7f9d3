"""Round trips/s of one simulator with 1, 64 and 1,024 agents, beside a bare gRPC byte-echo stream.

The simulator sends made-up timesteps (8 float32 observations an agent) and waits for 2 float32
actions; the trainer serves an untrained policy and learns nothing. The echo stream carries the same
bytes both ways and does nothing with them: it is the limit that gRPC in Python sets. Both in turns.

    python -m benchmarks.serving --seconds 3 --rounds 3
"""

import argparse
import asyncio
import queue
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import grpc
import grpc.aio
import numpy as np
from grpc.aio import EOF  # type: ignore[attr-defined]

from entrain_envs.client import TrainerClient
from entrain_envs.codec import encode_timesteps
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb

AGENTS = (1, 64, 1024)
SPEC = BehaviourSpec(
    name="serving",
    observations=(ObservationSpec(name="vector", shape=(8,)),),
    action=ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0)),
)
METHOD = "/benchmark.Echo/Stream"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="per point and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=["entrain", "echo"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve_entrain() if arguments.serve == "entrain" else serve_echo())
        return
    print("agents  entrain/s  p50 us   echo/s  p50 us  ratio  agent-steps/s")
    with serving("entrain") as (_, trainer), serving("echo") as (_, echo):
        for agents in AGENTS:
            ours, bare = [], []
            for _ in range(arguments.rounds):
                ours.append(exchange_times(trainer, agents, arguments.seconds))
                bare.append(echo_times(echo, agents, arguments.seconds))
            print(line(agents, ours, bare))


def line(agents: int, ours: list[list[float]], bare: list[list[float]]) -> str:
    """Medians over rounds of rates, and the median times of all round trips."""

    def rate(rounds: list[list[float]]) -> float:
        return statistics.median(len(times) / sum(times) for times in rounds)

    def p50_us(rounds: list[list[float]]) -> float:
        return 1e6 * statistics.median(statistics.median(times) for times in rounds)

    return (
        f"{agents:6d} {rate(ours):10,.0f} {p50_us(ours):7.0f} {rate(bare):8,.0f} "
        f"{p50_us(bare):7.0f} {rate(ours) / rate(bare):6.2f} {agents * rate(ours):14,.0f}"
    )


@contextmanager
def serving(kind: str) -> Iterator[tuple[int, str]]:
    """A server in a process of its own: its id and address."""
    command = [sys.executable, "-m", "benchmarks.serving", "--serve", kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.pid, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def timesteps(agents: int, step_type: StepType) -> TimestepBatch:
    """One message's rows, the same each time."""
    return TimestepBatch(
        agent_id=np.arange(agents, dtype=np.int64),
        step_type=np.full(agents, step_type, np.uint8),
        reward=np.zeros(agents, np.float32),
        observation={"vector": np.random.default_rng(1).random((agents, 8), np.float32)},
        action_mask=np.zeros((agents, 0), np.bool_),
    )


def exchange_times(address: str, agents: int, seconds: float) -> list[float]:
    """Seconds of each round trip with the trainer, after a warm-up."""
    rows = timesteps(agents, StepType.MID)
    with TrainerClient(address, [SPEC], simulator=f"serving-{agents}", reconnect_s=0) as client:
        client.exchange({SPEC.name: timesteps(agents, StepType.FIRST)})
        return timed(lambda: client.exchange({SPEC.name: rows}), seconds)
    raise RuntimeError(f"the trainer at {address} closed the session")


def echo_times(address: str, agents: int, seconds: float) -> list[float]:
    """Seconds of each round trip of the same bytes with the echo stream, after a warm-up."""
    part = encode_timesteps(SPEC, timesteps(agents, StepType.MID))
    message = pb.ConnectRequest(step=pb.Step(sequence=1, behaviours=[part])).SerializeToString()
    with echoed(address) as round_trip:
        return timed(lambda: round_trip(message), seconds)


@contextmanager
def echoed(address: str) -> Iterator[Callable[[bytes], None]]:
    """What carries a message to the echo stream and back."""
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(METHOD, None, None)(iter(requests.get, None))

        def round_trip(message: bytes) -> None:
            requests.put(message)
            next(call)  # type: ignore[call-overload]

        yield round_trip
        requests.put(None)
        call.cancel()  # type: ignore[no-untyped-call]


def timed(round_trip: Callable[[], object], seconds: float) -> list[float]:
    """Repeat for `seconds`, the first tenth not counted."""
    for _ in range(200):
        round_trip()
    times = []
    end = time.perf_counter() + seconds
    before = time.perf_counter()
    while before < end:
        round_trip()
        after = time.perf_counter()
        times.append(after - before)
        before = after
    return times


async def serve_echo() -> None:
    """Send back as many bytes of each message as actions would take."""

    async def stream(_: object, context: "grpc.aio.ServicerContext[bytes, bytes]") -> None:
        while (message := await context.read()) is not EOF:
            await context.write(message[: max(1, len(message) // 5)])

    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(stream)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("benchmark.Echo", {"Stream": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


async def serve_entrain() -> None:
    """Serve an untrained policy; nothing is collected or learned."""
    import torch
    from threadpoolctl import threadpool_limits

    from benchmarks.in_process import NothingToLearn
    from entrain.app.build import make_actor
    from entrain.config.policy import PolicyConfig
    from entrain.config.run import ServerConfig
    from entrain.native.front import NativeFront
    from entrain.policy.actor_critic import ActorCritic
    from entrain.policy_loop import PolicyLoop
    from entrain.rollout.collector import EpisodeCollector
    from entrain.rollout.episodes import EpisodeLog
    from entrain.serving.behaviours import Behaviour, Behaviours
    from entrain.serving.participants import Participants

    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    config = ServerConfig(address="localhost:0")

    async def serve(behaviour: Behaviour) -> None:
        loop = PolicyLoop(
            make_actor(ActorCritic(behaviour.spec, PolicyConfig(), seed=1), seed=1),
            EpisodeCollector(EpisodeLog()),
            NothingToLearn(),
        )
        await loop.run(behaviour.batcher)

    async with asyncio.TaskGroup() as group:

        def serve_all(new: Sequence[Behaviour]) -> None:
            for behaviour in new:
                group.create_task(serve(behaviour))

        participants = Participants(
            config,
            Behaviours(config, accepts=lambda _: True, policies=("*",), on_new=serve_all),
            seed=1,
            expect=1,
            environment_parameters={},
        )
        front = NativeFront(participants, run_id="serving")
        print(await front.start(), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
