"""The peer's side of a comparison in turns: it rests until it is told to play so many rounds.

A round is a rollout with its update. One line of JSON on standard output says what a round consists
of; afterwards each number on standard input asks for so many rounds, and a line of JSON with the
seconds of each answers it. Nothing here needs more than the standard library.
"""

import json
import sys
import time
from typing import Any, TextIO

ENVIRONMENTS = 8
STEPS = 256
EPOCHS = 10
FOREVER = 10**9
WARM_UP = 2
"""Rounds that are played before the first answer: what is compiled is compiled in them."""


class Turns:
    """Called between rounds, by the peer's own loop; keeps it waiting until its turn."""

    def __init__(self) -> None:
        # What a peer prints must not be taken for an answer.
        self._answers: TextIO = sys.stdout
        sys.stdout = sys.stderr
        self._descents = 0
        self._rounds = 0
        self._asked = 0
        self._seconds: list[float] = []
        self._begun_s = 0.0

    def count_descents(self, optimizer: Any) -> None:
        """Count the gradient steps of a torch optimizer."""
        step = optimizer.step

        def counted(*arguments: Any, **options: Any) -> Any:
            self._descents += 1
            return step(*arguments, **options)

        optimizer.step = counted

    def between_rounds(self, *, parameters: int, descents: int | None = None) -> None:
        """Note that a round begins, or ended; wait. Ends the program if nobody asks any more.

        Args:
            parameters: how many numbers are learned.
            descents: gradient steps so far, of a peer whose optimizer cannot be asked.
        """
        now = time.perf_counter()
        if descents is not None:
            self._descents = descents
        self._rounds += 1
        if self._rounds <= WARM_UP:
            return
        if self._rounds == WARM_UP + 1:
            self._answer({"gradient_steps": self._descents / WARM_UP, "parameters": parameters})
        else:
            self._seconds.append(now - self._begun_s)
        if len(self._seconds) == self._asked:
            if self._seconds:
                self._answer(self._seconds)
                self._seconds = []
            told = sys.stdin.readline()
            if not told.strip():
                sys.exit()
            self._asked = int(told)
        self._begun_s = time.perf_counter()

    def _answer(self, content: object) -> None:
        print(json.dumps(content), file=self._answers, flush=True)
