"""The return at which a run is complete, although its policies have steps left: `stop_at`.

It must be reached in the last lesson of every curriculum: what is easier is no goal.
"""

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence

from entrain.app.trainers import Trainers
from entrain.config.environment_parameters import as_plain
from entrain.config.evaluation import StopAtConfig
from entrain.metrics import EPISODE_RETURN_LAST
from entrain.quoting import listed
from entrain.rollout.return_statistics import WINDOW
from entrain.serving.parameters import EnvironmentParameters
from entrain.state import State

logger = logging.getLogger(__name__)


class Goal:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        options: StopAtConfig | None,
        trainers: Trainers,
        *,
        parameters: EnvironmentParameters,
        unfinished: Callable[[], Mapping[str, str]],
        judged: Callable[[], Collection[str]] | None,
        reach: Callable[[str], None],
    ) -> None:
        """It is not reached.

        Args:
            options: of the run; None: there is no goal.
            trainers: of the run.
            parameters: of the environment; episodes are compared that have these.
            unfinished: {environment parameter: its lesson in words} of those with lessons left.
            judged: the policies that simulators of evaluations have brought, if evaluations decide;
                None: the episodes of training do.
            reach: told once that it is reached, in words.
        """
        self._options = options
        self._trainers = trainers
        self._parameters = parameters
        parameters.on_change = self._note_environment
        self._unfinished = unfinished
        self._judged = judged
        self._reach = reach
        self._reached = -math.inf
        """The least return of a policy when it was reached."""
        self.words = ""
        """Which return reached what; empty before."""
        self._counted_from: Mapping[str, int] = {}
        """{policy: episodes of training that do not count: they began in another environment}."""
        self._newest = ""
        """What the newest comparison came to, in words; empty before the first."""

    @property
    def is_reached(self) -> bool:
        """True once the goal was reached; a resumed run may have another goal."""
        return self._options is not None and self._reached >= self._options.return_

    def note_evaluation(self, returns: Mapping[str, float]) -> None:
        """An evaluation is over, in the environment that training is in: {policy: mean return} of
        those of which all episodes have ended.
        """
        if self._judged is not None:
            self._look(returns, "in an evaluation")

    def _note_environment(self) -> None:
        """Environment parameters have changed: episodes that have begun do not count."""
        self._counted_from = {
            name: each.episodes.statistics.count + each.episodes.num_running
            for name, each in self._trainers.by_name.items()
        }

    def look(self) -> None:
        """An update is done: look at the episodes of training, unless evaluations decide."""
        if self._options is None or self._judged is not None:
            return
        statistics = {
            name: each.episodes.statistics for name, each in self._trainers.by_name.items()
        }
        returns = {
            name: it.last_mean
            for name, it in statistics.items()
            if it.count - self._counted_from.get(name, 0) >= WINDOW
        }
        self._look(returns, f"over the last {WINDOW} episodes")

    def _look(self, returns: Mapping[str, float], over: str) -> None:
        is_whole = returns.keys() == self._trainers.by_name.keys() and not self._trainers.awaited
        if self._options is None or self.words or not returns or not is_whole:
            return
        if self._unfinished():
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
        logger.warning(
            "stop_at.return %g was not reached: %s",
            self._options.return_,
            f"{self._newest} was the newest"
            if self._newest
            else f"{self._why_none()}, so none was compared",
        )

    def _why_none(self) -> str:
        """Why no return was ever compared with the goal."""
        for parameter, lesson in self._unfinished().items():
            return f"environment parameter '{parameter}' was still in lesson {lesson}"
        if self._trainers.awaited:
            return f"no simulator brought {_policies(self._trainers.awaited)}"
        if self._judged is None:
            changed = ", with the newest environment parameters" if self._counted_from else ""
            return f"fewer than {WINDOW} episodes of a policy ended{changed}"
        unjudged = [name for name in self._trainers.by_name if name not in self._judged()]
        if unjudged:
            return f"no simulator of evaluations brought {_policies(unjudged)}"
        return "no evaluation had all episodes of every policy ended"

    def state(self) -> State:
        """The return that reached the goal, if one did, and which episodes do not count."""
        reached = {"reached": self._reached, "words": self.words} if self.words else {}
        return {
            **reached,
            "counted_from": dict(self._counted_from),
            "parameters": as_plain(self._parameters.specification),
        }

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken, perhaps with other environment parameters."""
        self._reached = state.get("reached", -math.inf)
        # With another goal it may be reached again.
        self.words = state.get("words", "") if self.is_reached else ""
        now = as_plain(self._parameters.specification)
        if state.get("parameters", now) == now:
            self._counted_from = state.get("counted_from", {})
        else:
            self._note_environment()


def _policies(names: Sequence[str]) -> str:
    """`policy 'left'`, or `policies 'left', 'right'`."""
    quoted = listed([f"'{name}'" for name in names])
    return f"{'policies' if len(names) > 1 else 'policy'} {quoted}"
