"""Keeps what gRPC's own library prints off the terminal of both programs' commands."""

import os


def silence() -> None:
    """Let gRPC print errors only, unless the user's GRPC_VERBOSITY says otherwise.

    Each failed handshake and each connection that the other side ends would be a line of C++. What
    matters of them comes as a status, in words. To be called before grpc is imported.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
