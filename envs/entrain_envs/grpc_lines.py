"""Keeps gRPC's own log lines off the terminal, for the commands of both packages."""

import os


def silence() -> None:
    """Let gRPC print only errors, unless the user has set GRPC_VERBOSITY.

    By default gRPC prints a line for each failed handshake and each connection that the other side
    ends, although our code reports both. Call this before grpc is imported.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
