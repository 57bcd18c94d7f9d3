"""Processor time of a round trip in the C++ client and in the Python one, in turns.

    python -m benchmarks.cpp_client [--agents 1 64 1024] [--pairs 5]

Both are processes of their own that talk to one stand-in for a trainer over WebSocket, and the
Python one over gRPC too. Only the simulator's own time is counted, by the operating system.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

import entrain_envs as envs
from entrain_envs.wire import trainer_pb2 as pb
from entrain_envs.wire import trainer_pb2_grpc

SOURCE = Path(__file__).with_suffix(".cc")
HEADERS = Path(__file__).parents[1] / "envs" / "cpp" / "include"

SPEC = envs.BehaviourSpec(
    "walker",
    observations=(envs.ObservationSpec("body", (8,)),),
    action=envs.ActionSpec(low=(-1, -1), high=(1, 1)),
)


def answer(request: pb.ConnectRequest) -> pb.ConnectResponse | None:
    """A Welcome, or two zeros for each agent; None for a Goodbye."""
    if request.HasField("hello"):
        return pb.ConnectResponse(welcome=pb.Welcome(version=1, session_id="s", revision=1))
    if request.HasField("goodbye"):
        return None
    act = pb.Act(sequence=request.step.sequence)
    for part in request.step.behaviours:
        act.behaviours.add(behaviour=part.behaviour, continuous=bytes(8 * len(part.step_type)))
    return pb.ConnectResponse(act=act)


def talk(socket: ServerConnection) -> None:
    """One simulator over WebSocket."""
    try:
        while True:
            content = socket.recv()
            assert isinstance(content, bytes)
            response = answer(pb.ConnectRequest.FromString(content))
            if response is None:
                return
            socket.send(response.SerializeToString())
    except ConnectionClosed:
        return


class StandIn(trainer_pb2_grpc.TrainerServicer):
    """The same over gRPC."""

    def Connect(  # noqa: N802
        self,
        request_iterator: Iterator[pb.ConnectRequest],
        context: grpc.ServicerContext,  # noqa: ARG002
    ) -> Iterator[pb.ConnectResponse]:
        for request in request_iterator:
            response = answer(request)
            if response is None:
                return
            yield response


@contextmanager
def serving() -> Iterator[tuple[str, str]]:
    """Addresses of the stand-in: WebSocket's and gRPC's."""
    sockets = serve(
        talk, "localhost", 0, subprotocols=[Subprotocol("entrain.v1")], compression=None
    )
    thread = threading.Thread(target=sockets.serve_forever)
    thread.start()
    server = grpc.server(ThreadPoolExecutor(4))
    trainer_pb2_grpc.add_TrainerServicer_to_server(StandIn(), server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"ws://localhost:{sockets.socket.getsockname()[1]}", f"localhost:{port}"
    finally:
        sockets.shutdown()
        thread.join()
        server.stop(None)


def simulate(address: str, agents: int, exchanges: int) -> None:
    """The Python simulator: prints microseconds of processor time a round trip."""
    ids, body = np.arange(agents), np.tile(np.arange(8, dtype=np.float32), (agents, 1))
    first, mid, _, _ = envs.StepType
    with envs.TrainerClient(address, [SPEC], simulator="python") as client:
        client.connect()
        began_s = 0.0
        for step in range(exchanges + 1):
            if step == 1:
                began_s = processor_s()
            rows = envs.TimestepBatch.of(
                SPEC,
                agent_id=ids,
                step_type=mid if step else first,
                reward=1.0 if step else 0.0,
                observation={"body": body},
            )
            actions = client.exchange({"walker": rows})["walker"].continuous
            body[0, 0] = actions[0, 0]
        print(1e6 * (processor_s() - began_s) / exchanges, 0)


def processor_s() -> float:
    """Of this process so far, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measured(*command: str) -> tuple[float, float]:
    """Microseconds a round trip, and bytes allocated in all of them."""
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    microseconds, allocated = map(float, done.stdout.split())
    return microseconds, allocated


def compare(program: Path, agents: int, exchanges: int, pairs: int) -> str:
    """A row of the table."""
    size = [str(agents), str(exchanges)]
    with serving() as (url, address):
        python = [sys.executable, "-m", "benchmarks.cpp_client", "--simulate"]
        contenders: list[Callable[[], tuple[float, float]]] = [
            lambda: measured(str(program), url, *size),
            lambda: measured(*python, url, *size),
            lambda: measured(*python, address, *size),
        ]
        found = [[contender() for contender in contenders] for _ in range(pairs)]
    cpp, websocket, over_grpc = (
        statistics.median(turn[which][0] for turn in found) for which in range(3)
    )
    allocated = max(turn[0][1] for turn in found)
    ratio = statistics.median(turn[0][0] / turn[1][0] for turn in found)
    return (
        f"| {agents} | {cpp:.1f} | {websocket:.1f} | {over_grpc:.1f} | {ratio:.3f} "
        f"| {cpp / over_grpc:.3f} | {allocated:.0f} |"
    )


def main() -> None:
    """Measure, or be the simulator that is measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--agents", type=int, nargs="+", default=[1, 64, 1024])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--exchanges", type=int, default=2000)
    parser.add_argument("--simulate", nargs=3, metavar=("ADDRESS", "AGENTS", "EXCHANGES"))
    options = parser.parse_args()
    if options.simulate:
        address, agents, exchanges = options.simulate
        simulate(address, int(agents), int(exchanges))
        return
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "cpp_client"
        flags = ["-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti"]
        command = ["g++", *flags, f"-I{HEADERS}", str(SOURCE), "-pthread", "-o", str(program)]
        subprocess.run(command, check=True)
        print("| agents | C++ us | Python us | Python, gRPC us | C++/Python | C++/gRPC | bytes |")
        print("|---|---|---|---|---|---|---|")
        for agents in options.agents:
            print(compare(program, agents, options.exchanges, options.pairs), flush=True)


if __name__ == "__main__":
    main()
