"""One training run in a maze, in process by the real actor and algorithm, and what it came to.

Nothing here knows of variants, seeds to compare, tables or pictures.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.entropy_tasks import DECEPTION, MOVED_WALL, TWO_GOALS, Maze, MazeTask
from benchmarks.in_process import (
    EnvironmentBatches,
    NotedEpisodes,
    NothingToLearn,
    make_trainer,
    run,
)
from entrain import metrics
from entrain.app.build import make_actor
from entrain.app.learning_parts import make_collector
from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import make_policy
from entrain.policy_loop import PolicyLoop
from entrain.rollout.collector import EpisodeCollector
from entrain.rollout.episodes import EpisodeLog
from entrain.trainer import Update

Float64Array = npt.NDArray[np.float64]

NUM_AGENTS = 64
TOTAL_STEPS = 150_000
POINT_STEPS = 1024
"""Env steps from one point of a curve to the next; PPO's rollouts are as long."""

OPTIONS: Mapping[str, Any] = {
    "total_steps": TOTAL_STEPS,
    "normalize_observations": False,
    "discount": 0.97,
    "network": {"hidden_sizes": (64, 64), "activation": "tanh"},
    "algorithm": {"learning_rate": 1e-3, "learning_rate_schedule": "constant"},
}
"""The same for every task and variant."""

_FROM_REPLAY: Mapping[str, Any] = {
    "rollout_steps": 256,
    "algorithm": {
        "batch_size": 256,
        "updates_per_step": 1 / 64,
        "replay_size": 20_000,
        "target_rate": 0.1,
    },
}
"""Of algorithms with a replay: as many gradient steps as PPO's, with as many rows. The target
follows fast, for there are few of them; the replay is short, for a longer one would be half of the
maze before the change."""

OPTIONS_BY_KIND: Mapping[str, Mapping[str, Any]] = {
    "ppo": {"rollout_steps": POINT_STEPS, "algorithm": {"minibatch_size": 256, "num_epochs": 4}},
    "soft_q": _FROM_REPLAY,
    "sac": _FROM_REPLAY,
}
"""{algorithm.kind: options beside `OPTIONS`}."""

PLAYED_EPISODES = 640

LEARNED = 0.19
"""Mean return from which on a map of the moved wall counts as learned: half way from never reaching
the goal, 50 * -0.01, to the shortest way each time, 1 - 12 * 0.01. The same for every variant: a
share of a variant's own best would be nothing to reach where that is below zero."""


@dataclass(frozen=True)
class Curve:
    """Measurements at P points, `POINT_STEPS` env steps apart: of an update each, or of several."""

    env_steps: Float64Array
    """[P] closed before each point."""

    value: Float64Array
    """[P] over the episodes that ended since the point before; NaN if none did."""

    episodes: Float64Array
    """[P] how many those were."""

    entropy: Float64Array
    """[P] nats, mean over the updates: of the policy in the situations that it learned from. NaN
    before it learned."""

    def ahead(self, *, points: int) -> Float64Array:
        """[P - points + 1] mean over the episodes of so many points from each one on; NaN if none.

        One point's episodes are not a fair sample: those that end early end in it, those that
        take long in the next. Over several both are in.
        """
        ones = np.ones(points)
        total = np.nan_to_num(self.value) * self.episodes
        episodes = np.convolve(self.episodes, ones, "valid")
        mean = np.convolve(total, ones, "valid") / np.maximum(episodes, 1.0)
        return np.where(episodes > 0.0, mean, np.nan)

    def final(self, *, share: float = 0.1) -> float:
        """Mean over the episodes of the last `share` of the env steps."""
        last = self.env_steps > (1.0 - share) * self.env_steps[-1]
        total = np.nan_to_num(self.value[last]) * self.episodes[last]
        return float(total.sum() / max(1.0, self.episodes[last].sum()))


@dataclass(frozen=True)
class Measured:
    """The outcome of one run."""

    curve: Curve

    scores: Mapping[str, float]
    """{name: figure} for the table; the first is the one that decides. A bool where it is a matter
    of yes and no; NaN where there is nothing to measure."""


@dataclass(frozen=True)
class Benchmark:
    """A maze, what is drawn while learning in it, and what is measured at the end."""

    maze: MazeTask

    curve: str
    """What the curve shows."""

    point: Callable[[Float64Array, Mapping[str, int]], float]
    """A point of the curve, of the returns [N] and the {letter: endings} of N > 0 episodes."""

    scores: Callable[["Learner", Curve], Mapping[str, float]]
    """Of a learner that is done, and its curve."""

    change: float = 0.0
    """The parameter `map` from half of the env steps on."""

    entropy_falls: bool = False
    """Whether coefficients, and targets, fall over the run, because its end has to be decided."""


def policy_config(options: Mapping[str, Any]) -> PolicyConfig:
    """A run's options beside those of all runs; ValidationError where they do not go together."""
    of_kind = OPTIONS_BY_KIND[options["algorithm"]["kind"]]
    return PolicyConfig.model_validate(merged(merged(OPTIONS, of_kind), options))


class Learner:
    """A policy in training, with the maze it learns in."""

    def __init__(
        self,
        benchmark: Benchmark,
        options: Mapping[str, Any],
        *,
        seed: int,
        maze: type[Maze] = Maze,
    ) -> None:
        """Begin.

        Args:
            benchmark: what to learn and to measure.
            options: the policy's: `algorithm.kind`, `entropy`, what else differs.
            seed: of weights, actions and samples.
            maze: decides what a policy sees.
        """
        self.maze = maze(benchmark.maze, num_agents=NUM_AGENTS)
        self.policy = make_policy(self.maze.spec, policy_config(options), seed=seed)
        self._benchmark = benchmark
        self._seed = seed
        self._returns: list[Float64Array] = []
        collector = make_collector(self.policy)
        collector.episodes = NotedEpisodes(self._returns)
        self._trainer = make_trainer(self.policy, seed=seed, recorder=self, collector=collector)
        self._points: list[tuple[float, float, int, float]] = []
        self._entropies: list[float] = []
        """Of the updates since the newest point."""

    def train(self) -> Measured:
        """Learn for all of `TOTAL_STEPS`, and measure."""
        run(self._trainer, EnvironmentBatches(self.maze, seed=self._seed, is_over=self._is_over))
        curve = Curve(*np.array(self._points).T)
        return Measured(curve, self._benchmark.scores(self, curve))

    def _is_over(self) -> bool:
        """Before each batch: change the maze when it is time."""
        if 2 * self._trainer.progress.env_steps >= TOTAL_STEPS:
            self.maze.set_parameters({"map": self._benchmark.change})
        return self._trainer.is_complete

    def play(self, *, map_: int) -> tuple[float, Mapping[str, int]]:
        """Mean return and {letter: endings} of `PLAYED_EPISODES` as sampled, without learning."""
        maze = type(self.maze)(self._benchmark.maze, num_agents=NUM_AGENTS)
        episodes = EpisodeLog()
        returns: list[float] = []

        def is_over() -> bool:
            returns.extend(episodes.take()[0].tolist())
            return len(returns) >= PLAYED_EPISODES

        loop = PolicyLoop(
            make_actor(self.policy, seed=self._seed + 1_000),
            EpisodeCollector(episodes),
            NothingToLearn(),
        )
        parameters = {"map": float(map_)}
        run(
            loop,
            EnvironmentBatches(maze, seed=self._seed, is_over=is_over, parameters=parameters),
        )
        return float(np.mean(returns)), maze.take_endings()

    def record(self, update: Update) -> None:
        """Take a point of the curve, if it is time."""
        self._entropies.append(update.metrics.get(metrics.ENTROPY.name, np.nan))
        env_steps = update.progress.env_steps
        since = env_steps - (self._points[-1][0] if self._points else 0)
        if since < POINT_STEPS and env_steps < TOTAL_STEPS:
            return
        returns, endings = np.concatenate(self._returns), self.maze.take_endings()
        value = self._benchmark.point(returns, endings) if len(returns) else np.nan
        self._points.append((env_steps, value, len(returns), float(np.mean(self._entropies))))
        self._returns.clear()
        self._entropies.clear()

    def note_completion(self) -> None:
        """Nothing: `_is_over` ends the batches."""


def mean_return(returns: Float64Array, endings: Mapping[str, int]) -> float:
    """Of the episodes that ended."""
    del endings
    return float(returns.mean())


def rarer_share(returns: Float64Array, endings: Mapping[str, int]) -> float:
    """Of the goal that was reached less often, among all goals reached; at most a half."""
    del returns
    return min(endings.values()) / max(1, sum(endings.values()))


def final_return(learner: Learner, curve: Curve) -> Mapping[str, float]:
    """Over the last tenth of the env steps."""
    del learner
    return {"final return": curve.final(), "far goal found": curve.final() > 0.5}


def kept_modes(learner: Learner, curve: Curve) -> Mapping[str, float]:
    """How the two goals share the episodes, and what is earned once the favourite is closed."""
    del curve
    return_, endings = learner.play(map_=0)
    favourite_closed = 1 if endings["A"] > endings["B"] else 2
    return {
        "return, favourite closed": learner.play(map_=favourite_closed)[0],
        "return": return_,
        "share of the rarer goal": rarer_share(np.zeros(0), endings),
    }


def recovery(curve: Curve) -> Mapping[str, float]:
    """Whether the first map was learned, and how long it took to learn the second.

    A map is learned where five points together reach `LEARNED`. Whoever did not learn the first one
    has nothing to come back to, and whoever did not come back took no number of steps: NaN.

    For as long as an episode takes at most, episodes of the first map end after the change, the
    quick and good ones before any that fails. So the points that count begin later.
    """
    window = 5
    half = TOTAL_STEPS / 2
    mixed = NUM_AGENTS * MOVED_WALL.episode_steps
    ahead = curve.ahead(points=window)
    begin, end = curve.env_steps[: len(ahead)], curve.env_steps[window - 1 :]
    best = float(np.nanmax(ahead[end <= half]))
    learned_first = best >= LEARNED
    is_after = begin - POINT_STEPS >= half + mixed
    back = begin[is_after & (ahead >= LEARNED)]
    recovers = learned_first and len(back) > 0
    return {
        "final return": curve.final(),
        "best return before": best,
        "first map learned": learned_first,
        "recovered": recovers if learned_first else np.nan,
        "steps to recover": float(back[0]) - half if recovers else np.nan,
    }


BENCHMARKS = {
    "deception": Benchmark(
        DECEPTION,
        curve="mean return",
        point=mean_return,
        scores=final_return,
        entropy_falls=True,
    ),
    "two_goals": Benchmark(
        TWO_GOALS,
        curve="share of the rarer goal",
        point=rarer_share,
        scores=kept_modes,
    ),
    "moved_wall": Benchmark(
        MOVED_WALL,
        curve="mean return",
        point=mean_return,
        scores=lambda _, curve: recovery(curve),
        change=1.0,
    ),
}


def merged(options: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """`options` with those of `more` in their place, group by group."""
    return {
        **options,
        **{
            name: merged(options[name], value) if isinstance(options.get(name), Mapping) else value
            for name, value in more.items()
        },
    }
