"""Notices a simulator that sends Steps without any agent: it is answered, and nobody acts in it."""

from typing import Final

from entrain.serving.repeated_lines import RepeatedLines

MOST_STEPS: Final = 1000
"""In a row that are usual, as between two rounds of a game; a warning comes with this one."""

MOST_LINES: Final = 10
"""Such warnings that are logged in a minute, one by one."""


class EmptySteps:
    """Counts the Steps in a row in which a participant has no rows. Owned by it."""

    def __init__(self, who: str, lines: RepeatedLines) -> None:
        """None yet.

        Args:
            who: the participant, in words.
            lines: of all participants, so that a crowd of them fills no log.
        """
        self._who = who
        self._lines = lines
        self._count = 0
        self._has_warned = False

    def note(self, *, is_empty: bool) -> None:
        """A Step was taken; warn once if there were too many without a row."""
        self._count = self._count + 1 if is_empty else 0
        if self._count == MOST_STEPS and not self._has_warned:
            self._has_warned = True
            self._lines.warn(
                f"{self._who} has sent {MOST_STEPS:,} Steps in a row without any agent: nobody "
                "acts in it, and nothing is learned from it; let it send a FIRST row of each agent "
                "whose episode begins, or end its session if no agent is left"
            )
