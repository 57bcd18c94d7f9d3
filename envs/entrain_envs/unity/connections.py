"""Which connections are open to this process's gRPC servers: a game that hangs up calls no more.

gRPC tells a server of calls alone, and games make one at a time. What it counts for its diagnostics
(channelz, on by default, on every platform) has the connections.
"""

import json

from grpc._cython import cygrpc  # type: ignore[attr-defined]  # it is written in Cython

_BEFORE_PEER = "chttp2 "
"""In the name of a connection; what follows is the peer as a call's context names it."""


def open_connections() -> frozenset[str] | None:
    """Returns the peer of each, as `context.peer()` names it; None if that is not known."""
    try:
        servers = json.loads(cygrpc.channelz_get_servers(0))
        if not servers.get("end"):
            return None
        found: set[str] = set()
        for server in servers.get("server", ()):
            number = int(server["ref"]["serverId"])
            sockets = json.loads(cygrpc.channelz_get_server_sockets(number, 0, 0))
            if not sockets.get("end"):
                # More than are told at once; whoever opened them, nothing is concluded then.
                return None
            found |= {each["name"].removeprefix(_BEFORE_PEER) for each in sockets["socketRef"]}
    except (AttributeError, KeyError, TypeError, ValueError):
        # gRPC promises its Python users none of this.
        return None
    return frozenset(found)
