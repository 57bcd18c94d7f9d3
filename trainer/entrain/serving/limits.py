"""Limits on how much simulators may use at once: agents, waiting bytes, the size of one row."""

from entrain.config.run import ServerConfig
from entrain.errors import BadHelloError, LimitError
from entrain_envs.spec import BehaviourSpec


class Limit:
    """A limit on how much of a resource may be in use at once. Owned by the event loop."""

    def __init__(self, limit: int, *, of: str, option: str) -> None:
        """Start with nothing in use.

        Args:
            limit: most that may be in use at once.
            of: what is counted, in the plural, for messages.
            option: the option that sets the limit, for messages.
        """
        self.limit = limit
        self.used = 0
        self._of = of
        self._option = option

    def __repr__(self) -> str:
        return f"<Limit {self.used:,} of {self.limit:,} {self._of}>"

    def take(self, amount: int, *, who: str) -> None:
        """Use `amount` for `who` (negative gives back); LimitError if too little is left."""
        total = self.used + amount
        if amount > 0 and total > self.limit:
            raise LimitError(
                f"{who} asks for {amount:,} {self._of} when {self.used:,} of {self.limit:,} are "
                f"taken; raise {self._option} of the trainer, or run fewer simulators or agents"
            )
        self.used = total


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
