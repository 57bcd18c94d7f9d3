"""So much of something at once, and no more: agents of a behaviour, bytes of unanswered steps."""

from entrain.errors import LimitError


class Allowance:
    """Counts what is taken of a limited amount. Owned by the event loop."""

    def __init__(self, limit: int, *, of: str, option: str) -> None:
        """Start with nothing taken.

        Args:
            limit: most that may be taken at once.
            of: what is counted, in the plural, for messages.
            option: the option that sets the limit, for messages.
        """
        self.limit = limit
        self.used = 0
        self._of = of
        self._option = option

    def __repr__(self) -> str:
        return f"<Allowance {self.used:,} of {self.limit:,} {self._of}>"

    def take(self, amount: int, *, who: str) -> None:
        """Take `amount` for `who` (negative gives back); LimitError if there is not so much."""
        total = self.used + amount
        if amount > 0 and total > self.limit:
            raise LimitError(
                f"{who} asks for {amount:,} {self._of} when {self.used:,} of {self.limit:,} are "
                f"taken; raise {self._option} of the trainer, or run fewer simulators or agents"
            )
        self.used = total
