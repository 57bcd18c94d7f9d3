"""How long a simulator's message may be, and whether one row of a behaviour fits into one at all.

What never fits is refused in the handshake: else the trainer would first build arrays and networks
of that size. Nothing here knows of gRPC.
"""

from entrain.config import ServerConfig
from entrain.errors import BadHelloError
from entrain_envs.spec import BehaviourSpec

MAX_INT32 = 2**31 - 1


def max_message_bytes(config: ServerConfig) -> int:
    """Longest message that a simulator may send."""
    return min(int(config.max_message_mib * 2**20), MAX_INT32)


def check_row(spec: BehaviourSpec, *, limit: int, who: str) -> None:
    """Raise BadHelloError if one agent's row, or its action, is longer than `limit` bytes."""
    parts = {
        f"observation '{observation.name}', {observation.dtype}{list(observation.shape)}": (
            observation.num_bytes
        )
        for observation in spec.observations
    }
    parts["the action mask, a byte for each choice"] = spec.action.num_choices
    largest = max(parts, key=parts.__getitem__)
    for size, what in (
        (spec.row_bytes, f"one row has {spec.row_bytes:,} bytes ({parts[largest]:,}: {largest})"),
        (spec.action.num_bytes, f"one row of actions has {spec.action.num_bytes:,} bytes"),
    ):
        if size > limit:
            raise BadHelloError(
                f"{who} declares behaviour '{spec.name}', of which {what}, and this trainer takes "
                f"messages of up to {limit:,} bytes; make observations and actions smaller, or "
                "raise server.max_message_mib of the trainer"
            )
