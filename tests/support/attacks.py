"""What attackers do, each as a function that `attackers.attack` runs in a process of its own.

Nothing here imports torch: a process of an attacker must start at once.
"""

import queue
import random
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import numpy as np

from entrain_envs.codec import encode_timesteps
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb
from support.attackers import hello_of, raw_stream


def send_noise(address: str, streams: int, seed: int) -> dict[str, int]:
    """Open so many streams, one after the other; returns how often each status ended one."""
    draw = random.Random(seed)
    statuses: dict[str, int] = {}
    beginning = pb.ConnectRequest(hello=hello_of(*BalanceBall(count=1).behaviours))
    for _ in range(streams):
        noise = [draw.randbytes(draw.randrange(1, 200)) for _ in range(3)]
        stream = raw_stream(address)
        stream.open([beginning, *noise] if draw.random() < 0.5 else noise)
        name = stream.end()["code"]
        statuses[name] = statuses.get(name, 0) + 1
    return statuses


def greet(address: str, hello: pb.Hello) -> dict[str, str]:
    """Send one Hello, and no end before it is answered; returns how the stream ends."""
    stream = raw_stream(address)
    is_answered = threading.Event()

    def messages() -> Iterator[pb.ConnectRequest]:
        yield pb.ConnectRequest(hello=hello)
        # A WebSocket that is closed earlier hears no refusal, however long networks take to make.
        is_answered.wait(60.0)

    stream.open(messages())
    with suppress(StopIteration, grpc.RpcError):
        stream.hear()
    is_answered.set()
    return stream.end()


def greet_with_behaviours(address: str, count: int, observations: int = 1) -> dict[str, str]:
    """Declare very many behaviours."""
    eyes = [ObservationSpec(f"eye-{index}", (1,)) for index in range(observations)]
    specs = (
        BehaviourSpec(f"b{index}", tuple(eyes), ActionSpec(branches=(2,))) for index in range(count)
    )
    return greet(address, hello_of(*specs))


def greet_with_sizes(
    address: str,
    shape: list[int],
    branches: list[int],
    kind: str = "",
    dtype: str = "float32",
    name: str = "giant",
) -> dict[str, str]:
    """Declare one behaviour of these sizes."""
    eye = ObservationSpec("eye", tuple(shape), dtype, kind)
    spec = BehaviourSpec("giant", (eye,), ActionSpec(branches=tuple(branches)))
    hello = hello_of(spec)
    hello.behaviours[0].name = name
    return greet(address, hello)


def greet_with_length(address: str, mib: float) -> dict[str, str]:
    """Send a Hello whose simulator's name is as long as that."""
    return greet(address, hello_of(simulator="x" * int(mib * 2**20)))


def never_read(address: str, agents: int, dimensions: int, steps: int) -> dict[str, Any]:
    """Send so many Steps and read no Act; returns how the stream ends.

    One unanswered Step is allowed, so it goes slowly enough for the Act before to be ready; how
    slowly that is, on a busy machine, is found out.
    """
    told: dict[str, Any] = {}
    for slower in (1, 3, 9):
        told = _never_read(address, agents, dimensions, steps, slower=slower)
        if "has no Act yet" not in str(told.get("details", "")):
            break
    return told


def _never_read(
    address: str, agents: int, dimensions: int, steps: int, *, slower: int
) -> dict[str, Any]:
    spec = BehaviourSpec(
        "octopus",
        (ObservationSpec("eye", (1,)),),
        ActionSpec((-1.0,) * dimensions, (1.0,) * dimensions),
    )
    stream = raw_stream(address)
    are_sent = threading.Event()

    def messages() -> Iterator[pb.ConnectRequest]:
        try:
            yield from steps_of()
        finally:
            # Also where the trainer takes no more.
            are_sent.set()

    def steps_of() -> Iterator[pb.ConnectRequest]:
        yield pb.ConnectRequest(hello=hello_of(spec))
        for sequence in range(1, steps + 1):
            time.sleep(slower * (0.05 + 5e-8 * agents * dimensions))
            rows = TimestepBatch.of(
                spec,
                agent_id=range(agents),
                step_type=1 if sequence == 1 else 2,
                reward=0.0,
                observation={"eye": np.zeros((agents, 1))},
            )
            step = pb.Step(sequence=sequence, behaviours=[encode_timesteps(spec, rows)])
            yield pb.ConnectRequest(step=step)

    stream.open(messages())
    # Nothing is heard of an end before what came earlier is read.
    are_sent.wait(60.0)
    return stream.end()


def send_too_large(address: str, reward: float = 0.0, eye: float = 0.0) -> dict[str, Any]:
    """Act like others for some Steps, then send this; returns how the stream ends."""
    spec = BehaviourSpec("fly", (ObservationSpec("eye", (1,)),), ActionSpec(branches=(2,)))
    stream = raw_stream(address)
    outgoing: queue.Queue[pb.ConnectRequest | None] = queue.Queue()
    outgoing.put(pb.ConnectRequest(hello=hello_of(spec)))
    stream.open(iter(outgoing.get, None))
    for number in range(1, 6):
        stream.hear()
        is_last = number == 5
        rows = TimestepBatch.of(
            spec,
            agent_id=range(3),
            step_type=1 if number == 1 else 2,
            reward=[0.0, 0.0, reward if is_last else 0.0],
            observation={"eye": [[0.0], [0.0], [eye if is_last else 0.0]]},
        )
        step = pb.Step(sequence=number, behaviours=[encode_timesteps(spec, rows)])
        outgoing.put(pb.ConnectRequest(step=step))
    # A trainer that takes it ends the stream only once nothing more will come.
    nothing_more = threading.Timer(3.0, outgoing.put, (None,))
    nothing_more.start()
    told = stream.end()
    nothing_more.cancel()
    outgoing.put(None)
    return told


def guess_tokens(address: str, count: int) -> dict[str, int]:
    """Dial with so many tokens; returns how often each status ended one."""
    statuses: dict[str, int] = {}
    for number in range(count):
        stream = raw_stream(address, token=str(number))
        stream.open([])
        name = stream.end()["code"]
        statuses[name] = statuses.get(name, 0) + 1
    return statuses


def come_and_go(address: str, count: int, first: int = 0) -> None:
    """Join under so many new names, one after the other, each leaving without a word."""
    spec = BehaviourSpec("fly", (ObservationSpec("eye", (1,)),), ActionSpec(branches=(2,)))
    for number in range(first, first + count):
        hello = hello_of(spec, simulator=f"{'fly' * 50}-{number}")
        stream = raw_stream(address)
        stream.open([pb.ConnectRequest(hello=hello)])
        stream.hear()
        stream.cut()


def report_statistics(
    address: str, steps: int, names: int, values: int, first: int = 0
) -> dict[str, int]:
    """Report so many new names in each Step, each with so many values; counts answered Steps."""
    spec = BehaviourSpec("fly", (ObservationSpec("eye", (1,)),), ActionSpec(branches=(2,)))
    stream = raw_stream(address)
    outgoing: queue.Queue[pb.ConnectRequest | None] = queue.Queue()
    outgoing.put(pb.ConnectRequest(hello=hello_of(spec)))
    stream.open(iter(outgoing.get, None))
    stream.hear()
    answered = 0
    for number in range(1, steps + 1):
        rows = TimestepBatch.of(
            spec,
            agent_id=[0],
            step_type=1 if number == 1 else 2,
            reward=0.0,
            observation={"eye": [[0.0]]},
        )
        step = pb.Step(sequence=number, behaviours=[encode_timesteps(spec, rows)])
        for each in range(names):
            name = f"name-{first + number * names + each}"
            step.statistics.add(name=name, values=[1.0] * values)
        outgoing.put(pb.ConnectRequest(step=step))
        answered += stream.hear().HasField("act")
    outgoing.put(None)
    stream.end()
    return {"answered": answered}
