"""Simulators that were refused and would be refused again, with the reason."""

from collections.abc import Mapping


class Refusals:
    """The newest refusals, one a simulator's name. Owned by the event loop."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._reasons: dict[str, str] = {}

    @property
    def reasons(self) -> Mapping[str, str]:
        """{simulator: why it was refused}, newest last."""
        return dict(self._reasons)

    def note(self, simulator: str, reason: str) -> None:
        """It was refused; the oldest refusal is dropped if there are too many."""
        self._reasons.pop(simulator, None)
        self._reasons[simulator] = reason
        if len(self._reasons) > self._most:
            del self._reasons[next(iter(self._reasons))]

    def forget(self, simulator: str) -> None:
        """It has joined since."""
        self._reasons.pop(simulator, None)
