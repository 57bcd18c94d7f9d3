"""The return at which a run is complete, although its policies have steps left: `stop_at`."""

import logging
import math
from collections.abc import Callable, Mapping

from entrain.app.trainers import Trainers
from entrain.config.evaluation import StopAtConfig
from entrain.metrics import EPISODE_RETURN_LAST
from entrain.rollout.return_statistics import WINDOW
from entrain.state import State

logger = logging.getLogger(__name__)


class Goal:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        options: StopAtConfig | None,
        trainers: Trainers,
        *,
        is_evaluated: bool,
        reach: Callable[[str], None],
    ) -> None:
        """It is not reached.

        Args:
            options: of the run; None: there is no goal.
            trainers: of the run.
            is_evaluated: whether evaluations decide, or else the episodes of training.
            reach: told once that it is reached, in words.
        """
        self._options = options
        self._trainers = trainers
        self._is_evaluated = is_evaluated
        self._reach = reach
        self._reached = -math.inf
        """The least return of a policy when it was reached."""
        self.words = ""
        """Which return reached what; empty before."""
        self._newest = ""
        """What the newest comparison came to, in words; empty before the first."""

    @property
    def is_reached(self) -> bool:
        """True once the goal was reached; a resumed run may have another goal."""
        return self._options is not None and self._reached >= self._options.return_

    def note_evaluation(self, returns: Mapping[str, float]) -> None:
        """An evaluation is over: {policy: mean return} of those of which an episode has ended."""
        if self._is_evaluated:
            self._look(returns, "in an evaluation")

    def look(self) -> None:
        """An update is done: look at the episodes of training, unless evaluations decide."""
        if self._options is None or self._is_evaluated:
            return
        statistics = {
            name: each.episodes.statistics for name, each in self._trainers.by_name.items()
        }
        returns = {name: it.last_mean for name, it in statistics.items() if it.count >= WINDOW}
        self._look(returns, f"over the last {WINDOW} episodes")

    def _look(self, returns: Mapping[str, float], over: str) -> None:
        is_whole = returns.keys() == self._trainers.by_name.keys() and not self._trainers.awaited
        if self._options is None or self.words or not returns or not is_whole:
            return
        least = min(returns.values())
        self._newest = f"return {EPISODE_RETURN_LAST.text(least)} {over}"
        if least >= self._options.return_:
            self._reached = least
            self.words = (
                f"{'every' if len(returns) > 1 else 'the'} policy reached return "
                f"{EPISODE_RETURN_LAST.text(least)} {over}; stop_at.return is "
                f"{self._options.return_:g}"
            )
            self._reach(self.words)

    def warn_if_missed(self) -> None:
        """The policies are done: log a warning if they are not as good as they were to be."""
        if self._options is None or self.is_reached:
            return
        needed = (
            "no evaluation had an episode of every policy that ended"
            if self._is_evaluated
            else f"fewer than {WINDOW} episodes of a policy ended"
        )
        logger.warning(
            "stop_at.return %g was not reached: %s",
            self._options.return_,
            f"{self._newest} was the newest" if self._newest else f"{needed}, so none was compared",
        )

    def state(self) -> State:
        """The return that reached the goal, if one did."""
        return {"reached": self._reached, "words": self.words} if self.words else {}

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        self._reached = state.get("reached", -math.inf)
        # With another goal it may be reached again.
        self.words = state.get("words", "") if self.is_reached else ""
