"""A display that shows nothing: of a rank whose run another one shows."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from entrain.run.display import DisplayRow, SimulatorsRow


class SilentDisplay:
    """See `Display`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing was shown."""

    def start(self) -> None:
        """Nothing to prepare."""

    def update(self, behaviour: str, row: DisplayRow) -> None:
        """Rank 0 shows it."""

    def serving(self, simulators: SimulatorsRow, env_steps: Mapping[str, int]) -> None:
        """Rank 0 shows its own."""

    def message(self, text: str) -> None:
        """Rank 0 says it."""

    def stop(self) -> None:
        """Nothing is shown."""
