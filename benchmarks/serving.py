"""Exchanges/s of one simulator with 1 to 10,000 agents, beside two bare gRPC streams.

The simulator sends made-up timesteps (8 float32 observations an agent) and waits for 2 float32
actions; the trainer serves an untrained policy and learns nothing. The same simulator also asks a
bare stream whose handler does the same arithmetic: decode, forward, sample, encode. And a bare echo
is sent the same bytes, and does nothing with them. All three in turns.

The rates and their ratios need a quiet machine. The servers' processor time of an exchange, all
threads, is the robust figure.

    python -m benchmarks.serving --seconds 3 --rounds 3
    python -m benchmarks.serving --quick
"""

import argparse
import queue
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import grpc
import numpy as np

from benchmarks.servers import ECHO, SPEC, Server, serving
from entrain_envs.client import TrainerClient
from entrain_envs.codec import encode_timesteps
from entrain_envs.timestep import StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb

AGENTS = (1, 64, 1024, 10000)
KINDS = ("entrain", "arithmetic", "echo")
WARM_UP = 100
"""Exchanges that are not counted."""


@dataclass(frozen=True)
class Measured:
    """What some exchanges with one server took."""

    times_s: Sequence[float]
    """Seconds of each."""

    processor_us: float
    """The server's processor time of one."""


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="per point and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--agents", type=int, nargs="*", default=AGENTS)
    parser.add_argument("--quick", action="store_true", help="half a second per point and round")
    arguments = parser.parse_args()
    seconds = 0.5 if arguments.quick else arguments.seconds
    print("        entrain                same arithmetic                echo")
    print("agents      /s p50 us cpu us      /s cpu us rate  cpu         /s cpu us rate   cpu")
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(serving(kind)) for kind in KINDS}
        for agents in arguments.agents:
            rounds: dict[str, list[Measured]] = {kind: [] for kind in KINDS}
            for _ in range(arguments.rounds):
                for kind, server in servers.items():
                    exchange = echo_exchanged if kind == "echo" else exchanged
                    rounds[kind].append(exchange(server, agents, seconds))
            print(line(agents, *rounds.values()), flush=True)


def line(
    agents: int, ours: Sequence[Measured], bare: Sequence[Measured], echo: Sequence[Measured]
) -> str:
    """Medians over rounds; the ratios are medians of those of each round."""

    def rate(measured: Measured) -> float:
        return len(measured.times_s) / sum(measured.times_s)

    def columns(peer: Sequence[Measured]) -> str:
        rates = statistics.median(rate(a) / rate(b) for a, b in zip(ours, peer, strict=True))
        costs = statistics.median(
            a.processor_us / b.processor_us for a, b in zip(ours, peer, strict=True)
        )
        return (
            f"{statistics.median(map(rate, peer)):10,.0f} "
            f"{statistics.median(each.processor_us for each in peer):6,.0f} "
            f"{rates:4.2f} {costs:5.2f}"
        )

    p50_us = 1e6 * statistics.median(statistics.median(each.times_s) for each in ours)
    return (
        f"{agents:6d} {statistics.median(map(rate, ours)):7,.0f} {p50_us:6,.0f} "
        f"{statistics.median(each.processor_us for each in ours):6,.0f}"
        f"{columns(bare)} {columns(echo)}"
    )


def timesteps(agents: int, step_type: StepType) -> TimestepBatch:
    """One message's rows, the same each time."""
    return TimestepBatch(
        agent_id=np.arange(agents, dtype=np.int64),
        step_type=np.full(agents, step_type, np.uint8),
        reward=np.zeros(agents, np.float32),
        observation={"vector": np.random.default_rng(1).random((agents, 8), np.float32)},
        action_mask=np.zeros((agents, 0), np.bool_),
    )


def exchanged(server: Server, agents: int, seconds: float) -> Measured:
    """Exchanges of a simulator."""
    rows = timesteps(agents, StepType.MID)
    name = f"serving-{agents}"
    with TrainerClient(server.address, [SPEC], simulator=name, reconnect_s=0) as client:
        client.exchange({SPEC.name: timesteps(agents, StepType.FIRST)})
        return timed(lambda: client.exchange({SPEC.name: rows}), server, seconds)
    raise RuntimeError(f"the server at {server.address} closed the session")


def echo_exchanged(server: Server, agents: int, seconds: float) -> Measured:
    """Round trips of the same bytes with the echo."""
    part = encode_timesteps(SPEC, timesteps(agents, StepType.MID))
    message = pb.ConnectRequest(step=pb.Step(sequence=1, behaviours=[part])).SerializeToString()
    with echoed(server.address) as round_trip:
        return timed(lambda: round_trip(message), server, seconds)


@contextmanager
def echoed(address: str) -> Iterator[Callable[[bytes], None]]:
    """What carries a message to the echo stream and back."""
    requests: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    with grpc.insecure_channel(address) as channel:
        call = channel.stream_stream(ECHO, None, None)(iter(requests.get, None))

        def round_trip(message: bytes) -> None:
            requests.put(message)
            next(call)  # type: ignore[call-overload]

        yield round_trip
        requests.put(None)
        call.cancel()  # type: ignore[no-untyped-call]


def timed(round_trip: Callable[[], object], server: Server, seconds: float) -> Measured:
    """Repeat for `seconds`, after a warm-up."""
    for _ in range(WARM_UP):
        round_trip()
    times: list[float] = []
    used_s = server.processor_seconds()
    before = time.perf_counter()
    end = before + seconds
    while before < end:
        round_trip()
        after = time.perf_counter()
        times.append(after - before)
        before = after
    used_s = server.processor_seconds() - used_s
    return Measured(times, 1e6 * used_s / len(times))


if __name__ == "__main__":
    main()
