"""Runs an attacker in a process of its own, under limits on its time and memory.

    result = attack(hello_with, address, count=10_000)

calls `hello_with(address, count=10_000)` there, and returns what that returned.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import grpc

from entrain_envs import codec
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.wire import trainer_pb2 as pb
from support.raw_websocket import WebSocketStream

TESTS = Path(__file__).parent.parent

MIB = 2**20


def attack(
    attacker: Callable[..., Any],
    address: str,
    *,
    seconds: float = 30.0,
    memory_mib: int = 4000,
    **options: Any,
) -> Any:
    """Run `attacker(address, **options)`; all of them, and its result, must be JSON.

    Args:
        attacker: a function at the top of a module below tests/.
        address: of the trainer.
        seconds: after which it is killed, and TimeoutExpired raised.
        memory_mib: that it may map.
        options: for the attacker.
    """
    module = attacker.__module__.removeprefix("tests.")
    where = f"{module}:{attacker.__name__}"
    order = json.dumps({"where": where, "address": address, "options": options})
    ended = subprocess.run(
        [sys.executable, "-c", f"import support.attackers as a; a.obey({memory_mib})"],
        input=order,
        capture_output=True,
        text=True,
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        timeout=seconds,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def obey(memory_mib: int) -> None:
    """In the attacker's process: do what stdin says, and print the result."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib * MIB, memory_mib * MIB))
    order = json.load(sys.stdin)
    module, _, name = order["where"].partition(":")
    function = getattr(importlib.import_module(module), name)
    sys.stdout.write(f"\n{json.dumps(function(order['address'], **order['options']))}\n")


Contents = Iterable[pb.ConnectRequest | bytes]


class RawStream(Protocol):
    """One stream to a trainer, message by message, without any rule."""

    def open(self, requests: Contents) -> None:
        """Begin to send these, and then that no more follow."""
        ...

    def hear(self) -> pb.ConnectResponse:
        """Wait for the next message; StopIteration if there is none."""
        ...

    def cut(self) -> None:
        """Be gone without a word."""
        ...

    def end(self) -> dict[str, str]:
        """Read until the trainer ends the stream: {"code": ..., "details": ...}."""
        ...


def raw_stream(address: str, *, token: str = "") -> RawStream:
    """Dials over the transport that the address says."""
    dialled = WebSocketStream if address.startswith("ws://") else GrpcStream
    return dialled(address, token=token)


class GrpcStream:
    """One over gRPC. See `RawStream`."""

    def __init__(self, address: str, *, token: str = "") -> None:
        self._channel = grpc.insecure_channel(
            address,
            [
                ("grpc.max_send_message_length", -1),
                ("grpc.max_receive_message_length", -1),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        self._call: Any = None

    def open(self, requests: Contents) -> None:
        connect: Any = self._channel.stream_stream(
            "/entrain.v1.Trainer/Connect",
            request_serializer=_serialised,
            response_deserializer=pb.ConnectResponse.FromString,
        )
        self._call = connect(iter(requests), metadata=self._metadata)

    def hear(self) -> pb.ConnectResponse:
        response: pb.ConnectResponse = next(self._call)
        return response

    def cut(self) -> None:
        self._call.cancel()
        self._channel.close()

    def end(self) -> dict[str, str]:
        with suppress(grpc.RpcError):
            for _ in self._call:
                pass
        told = {"code": self._call.code().name, "details": self._call.details() or ""}
        self._channel.close()
        return told


def _serialised(content: pb.ConnectRequest | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.SerializeToString()


def hello_of(*specs: BehaviourSpec, simulator: str = "attacker", **fields: Any) -> pb.Hello:
    """A Hello that keeps the rules, but for what `fields` replace."""
    usual: dict[str, Any] = {
        "min_version": codec.PROTOCOL_VERSION,
        "max_version": codec.PROTOCOL_VERSION,
        "simulator": simulator,
        "instance_id": "attacker",
        "behaviours": [encode_spec(spec) for spec in specs],
    }
    return pb.Hello(**{**usual, **fields})
