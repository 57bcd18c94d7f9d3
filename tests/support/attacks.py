"""What attackers do, each as a function that `attackers.attack` runs in a process of its own.

Nothing here imports torch: a process of an attacker must start at once.
"""

import random
from contextlib import suppress
from typing import Any

import grpc

from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.wire import trainer_pb2 as pb
from support.attackers import hello_of


def send_noise(address: str, streams: int, seed: int) -> dict[str, int]:
    """Open so many streams, one after the other; returns how often each status ended one."""
    draw = random.Random(seed)
    statuses: dict[str, int] = {}
    with grpc.insecure_channel(address) as channel:
        raw: Any = channel
        connect = raw.stream_stream("/entrain.v1.Trainer/Connect")
        hello = hello_of(*BalanceBall(count=1).behaviours)
        beginning = pb.ConnectRequest(hello=hello).SerializeToString()
        for _ in range(streams):
            noise = [draw.randbytes(draw.randrange(1, 200)) for _ in range(3)]
            call = connect(iter([beginning, *noise] if draw.random() < 0.5 else noise))
            with suppress(grpc.RpcError):
                list(call)
            name = call.code().name
            statuses[name] = statuses.get(name, 0) + 1
    return statuses
