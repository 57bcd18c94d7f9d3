"""Servers that benchmarks of serving compare, each in a process of its own: ours, and bare streams.

`entrain` serves an untrained policy and learns nothing. `echo` is a bare gRPC stream that sends
back as many bytes as actions would take: the limit that gRPC in Python sets. `arithmetic` is a bare
stream that speaks as much of the protocol as one simulator needs, and computes what ours computes
for the same rows, in as few calls of numpy as that takes: the limit that gRPC, protobuf and the
arithmetic set together.
"""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import grpc
import grpc.aio
import numpy as np
from grpc.aio import EOF  # type: ignore[attr-defined]

from entrain_envs.codec import PROTOCOL_VERSION
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import Float32Array
from entrain_envs.wire import trainer_pb2 as pb

SPEC = BehaviourSpec(
    name="serving",
    observations=(ObservationSpec(name="vector", shape=(8,)),),
    action=ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0)),
)
ECHO = "/benchmark.Echo/Stream"
CHUNK = 256
"""Rows whose hidden layers stay in a processor's own cache."""

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler: TypeAlias = Callable[[object, Context], Awaitable[None]]


@dataclass(frozen=True)
class Server:
    """A server that runs in a process of its own."""

    address: str
    pid: int

    def processor_seconds(self) -> float:
        """Processor time of all its threads that live, by the operating system's accounts."""
        return processor_seconds(self.pid)


def processor_seconds(pid: int) -> float:
    """Processor time of all living threads of a process, exact to the nanosecond."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(each.read_text().split()[0]) for each in threads) / 1e9


@contextmanager
def serving(kind: str) -> Iterator[Server]:
    """A server of this kind."""
    command = [sys.executable, "-m", "benchmarks.servers", kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Server(process.stdout.readline().strip(), process.pid)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def main() -> None:
    """Serve until killed; the address is printed first."""
    kinds: Mapping[str, Callable[[], Awaitable[None]]] = {
        "entrain": serve_entrain,
        "echo": lambda: serve_bare("benchmark.Echo", {"Stream": echo}),
        "arithmetic": lambda: serve_bare("entrain.v1.Trainer", {"Connect": Arithmetic().stream}),
    }

    async def serve() -> None:
        await kinds[sys.argv[1]]()

    asyncio.run(serve())


async def serve_bare(service: str, handlers: Mapping[str, Handler]) -> None:
    """Serve streams of bytes."""
    one_thread()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 2**28)])
    methods = {
        name: grpc.stream_stream_rpc_method_handler(handler) for name, handler in handlers.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def one_thread() -> None:
    """Hold numpy to one thread, as a run holds it."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")


async def echo(_: object, context: Context) -> None:
    """Send back as many bytes of each message as actions would take."""
    while (message := await context.read()) is not EOF:
        await context.write(message[: max(1, len(message) // 5)])


class Arithmetic:
    """Answers Steps of `SPEC` with what a policy and a critic of default sizes make of them."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        widths = ((8, 64), (64, 64))
        # [policy and critic, inputs, outputs], as the trainer's own layers are stored.
        self._hidden = [
            (0.1 * random.standard_normal((2, *width), np.float32), np.ones((2, 1, 64), np.float32))
            for width in widths
        ]
        self._mean = 0.1 * random.standard_normal((64, 2), np.float32)
        self._value = 0.1 * random.standard_normal((64, 1), np.float32)
        self._shift, self._scale = np.ones(8, np.float32), np.ones(8, np.float32)
        self._sigma, self._bias = np.ones(2, np.float32), np.ones(2, np.float32)
        self._random = random

    async def stream(self, _: object, context: Context) -> None:
        """One simulator, from its Hello to its Goodbye."""
        while (message := await context.read()) is not EOF:
            request = pb.ConnectRequest.FromString(message)
            if request.HasField("goodbye"):
                return
            if request.HasField("hello"):
                welcome = pb.Welcome(version=PROTOCOL_VERSION, session_id="s", run_id="r")
                response = pb.ConnectResponse(welcome=welcome)
            else:
                response = pb.ConnectResponse(act=self._act(request.step))
            await context.write(response.SerializeToString())

    def _act(self, step: pb.Step) -> pb.Act:
        """Decode, forward, sample, encode."""
        observation = np.frombuffer(step.behaviours[0].observations[0], np.float32).reshape(-1, 8)
        rows = len(observation)
        mean, value = np.empty((rows, 2), np.float32), np.empty((rows, 1), np.float32)
        for begin in range(0, rows, CHUNK):
            part = slice(begin, begin + CHUNK)
            mean[part], value[part] = self._forward(observation[part])
        noise = self._random.standard_normal((rows, 2), np.float32)
        action = np.clip(mean + self._sigma * noise, -1.0, 1.0)
        behaviour = pb.BehaviourAct(behaviour=SPEC.name, continuous=action.tobytes())
        return pb.Act(sequence=step.sequence, behaviours=[behaviour])

    def _forward(self, observation: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Means of the actions and the critic's values of K rows: normalised, two tanh layers."""
        hidden = np.clip((observation - self._shift) * self._scale, -10.0, 10.0)[np.newaxis]
        for weight, bias in self._hidden:
            hidden = np.matmul(hidden, weight)
            hidden += bias
            np.tanh(hidden, out=hidden)
        return hidden[0] @ self._mean + self._bias, hidden[1] @ self._value + self._bias[:1]


async def serve_entrain() -> None:
    """Serve an untrained policy; nothing is collected or learned."""
    import torch

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
    one_thread()
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
