"""How many steps a second each simulator sends, from two looks at their counts."""

from collections.abc import Callable, Mapping

from entrain.page.answers import simulator_key
from entrain.page.facts import RunFacts

LOOK_S = 2.0
"""Between two looks, at least."""


class SimulatorRates:
    """Remembers the look before. Owned by the event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start without an earlier look; `clock` gives seconds."""
        self._clock = clock
        self._steps: Mapping[str, int] = {}
        self._at_s = 0.0
        self._rates: Mapping[str, float] = {}

    def of(self, facts: RunFacts) -> Mapping[str, float]:
        """Returns {simulator: steps a second} since an earlier look, where they are known."""
        now_s = self._clock()
        passed_s = now_s - self._at_s
        if passed_s >= LOOK_S:
            steps = {simulator_key(each): each.steps for each in facts.simulators}
            self._rates = {
                name: (count - self._steps[name]) / passed_s
                for name, count in steps.items()
                if name in self._steps
            }
            self._steps, self._at_s = steps, now_s
        return self._rates
