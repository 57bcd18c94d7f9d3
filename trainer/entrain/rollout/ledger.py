"""The count of steps: each one opened is closed once, dropped once, or still open."""

from dataclasses import asdict, dataclass

from entrain.state import State


@dataclass(frozen=True)
class Ledger:
    """Steps since training began: `opened == closed + dropped + open`, always."""

    opened: int = 0
    """Actions given while collecting."""

    closed: int = 0
    """Outcomes received for them: these are the env steps."""

    dropped: int = 0
    """Actions whose agent left before the outcome arrived."""

    @property
    def open(self) -> int:
        """Actions whose outcome is still awaited."""
        return self.opened - self.closed - self.dropped

    def state(self) -> State:
        """For a checkpoint; `Ledger(**state)` is this ledger again."""
        return asdict(self)
