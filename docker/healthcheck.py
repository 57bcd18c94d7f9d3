"""Exit 0 if the trainer in this container serves; otherwise say why not and exit 1.

Asks the gRPC health service, as a load balancer would. Settings are environment variables:

    ENTRAIN_HEALTH_ADDRESS      HOST:PORT to ask (localhost:50051, or 50051 + $RANK)
    ENTRAIN_HEALTH_CA           PEM file of the authority behind the trainer's certificate, which
                                must be valid for HOST; without it, no TLS
    ENTRAIN_HEALTH_CERTIFICATE  PEM file of a client certificate, where the trainer asks for one
    ENTRAIN_HEALTH_KEY          PEM file of its key
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVICE = "entrain.v1.Trainer"
"""Asked for by name: the health of the server as a whole says less."""

PORT = 50051
"""Of the first rank; each other one listens on the next."""

TIMEOUT_S = 4.0
"""Longest wait for an answer; shorter than the image's own limit, so that the reason is seen."""


def open_channel(settings: Mapping[str, str]) -> grpc.Channel:
    """A channel to the trainer that `settings` name. Nothing is sent yet."""
    address = settings.get("ENTRAIN_HEALTH_ADDRESS") or usual_address(settings)
    authority = settings.get("ENTRAIN_HEALTH_CA", "")
    if not authority:
        return grpc.insecure_channel(address)
    certificate = settings.get("ENTRAIN_HEALTH_CERTIFICATE", "")
    key = settings.get("ENTRAIN_HEALTH_KEY", "")
    credentials = grpc.ssl_channel_credentials(
        root_certificates=Path(authority).read_bytes(),
        private_key=Path(key).read_bytes() if key else None,
        certificate_chain=Path(certificate).read_bytes() if certificate else None,
    )
    return grpc.secure_channel(address, credentials)


def usual_address(settings: Mapping[str, str]) -> str:
    """Where a trainer listens that was told no more than its rank."""
    return f"localhost:{PORT + int(settings.get('RANK') or 0)}"


def ask(channel: grpc.Channel) -> str:
    """What the trainer says of itself: SERVING, or another name of the health protocol."""
    answer = health_pb2_grpc.HealthStub(channel).Check(
        health_pb2.HealthCheckRequest(service=SERVICE), timeout=TIMEOUT_S
    )
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def main(settings: Mapping[str, str]) -> int:
    """Ask once, print the answer in one line, return the exit code."""
    try:
        with open_channel(settings) as channel:
            status = ask(channel)
    except (grpc.RpcError, OSError) as error:
        reason = error.details() if isinstance(error, grpc.Call) else error
        sys.stdout.write(f"no answer: {reason}\n")
        return 1
    sys.stdout.write(f"{status}\n")
    return 0 if status == "SERVING" else 1


if __name__ == "__main__":
    sys.exit(main(os.environ))
