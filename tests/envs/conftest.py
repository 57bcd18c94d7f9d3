"""Fixtures of the simulator's side: specs, rows, and a scripted trainer on loopback."""

import subprocess
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2_grpc
from scripted_trainer import RowsOf, ScriptedTrainer, Serve, Talk
from scripted_websocket import ScriptedWebSocket


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start trainers; they stop with the test."""
    servers = []

    def start(
        *talks: Talk,
        address: str = "localhost:0",
        credentials: grpc.ServerCredentials | None = None,
        max_receive: int = -1,
    ) -> str:
        server = grpc.server(
            futures.ThreadPoolExecutor(8),
            options=[("grpc.max_receive_message_length", max_receive), ("grpc.so_reuseport", 0)],
        )
        trainer_pb2_grpc.add_TrainerServicer_to_server(  # type: ignore[no-untyped-call]
            ScriptedTrainer(talks), server
        )
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
        server.start()
        servers.append(server)
        return address if address.startswith("unix:") else f"localhost:{port}"

    yield start
    for server in servers:
        server.stop(0).wait()


@pytest.fixture
def serve_websocket() -> Iterator[Serve]:
    """Start trainers that speak WebSocket; they stop with the test."""
    servers = []

    def start(*talks: Talk, **options: Any) -> str:
        servers.append(ScriptedWebSocket(talks, **options))
        return servers[-1].url

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(params=["serve", "serve_websocket"], ids=["gRPC", "WebSocket"])
def serve_both(request: pytest.FixtureRequest) -> Serve:
    """Start trainers of either transport."""
    start: Serve = request.getfixturevalue(request.param)
    return start


@pytest.fixture
def walker() -> BehaviourSpec:
    """Two continuous dimensions and branches of 2 and 3 choices; a vector and an image."""
    return BehaviourSpec(
        "walker",
        (ObservationSpec("joints", (3,)), ObservationSpec("camera", (2, 2, 1), "uint8")),
        ActionSpec(low=(-1.0, -2.0), high=(1.0, float("inf")), branches=(2, 3)),
    )


@pytest.fixture
def rows_of() -> RowsOf:
    """Make one row of `spec` for each of `step_types`, agents 0, 1, 2, ..."""

    def make(spec: BehaviourSpec, *step_types: StepType) -> TimestepBatch:
        rows = len(step_types)
        return TimestepBatch.of(
            spec,
            agent_id=np.arange(rows),
            step_type=np.array(step_types, np.uint8),
            reward=np.arange(rows) * 0.5,
            observation={
                observation.name: np.arange(rows * observation.size).reshape(
                    rows, *observation.shape
                )
                for observation in spec.observations
            },
        )

    return make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-signed cert.pem for localhost and its key.pem."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return folder
