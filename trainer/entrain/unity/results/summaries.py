"""Summarises a behaviour's metrics under ML-Agents' TensorBoard tags.

A tag without values since the last summary is left out, as mlagents-learn does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from entrain import metrics
from entrain.replay_metrics import LOSS_Q, Q_MEAN, REPLAY_STEPS
from entrain.serving.aggregates import Aggregate, Histogram, Summary

CUMULATIVE_REWARD: Final = "Environment/Cumulative Reward"
EPISODE_LENGTH: Final = "Environment/Episode Length"
EXTRINSIC_REWARD: Final = "Policy/Extrinsic Reward"
LESSON_NUMBER: Final = "Environment/Lesson Number/"
IS_TRAINING: Final = "Is Training"
STEP: Final = "Step"
HIDDEN: Final = frozenset({IS_TRAINING, STEP})
"""Tags that are not in TensorBoard."""


def _negative(value: float) -> float:
    return -value


def _same(value: float) -> float:
    return value


Tags: TypeAlias = Mapping[str, tuple[str, Callable[[float], float]]]
"""{tag: (metric, function that gives the shown value)}."""

TAGS_OF_PPO: Final[Tags] = {
    "Losses/Policy Loss": (metrics.LOSS_POLICY.name, abs),
    "Losses/Value Loss": (metrics.LOSS_VALUE.name, _same),
    "Policy/Entropy": (metrics.LOSS_ENTROPY.name, _negative),
    "Policy/Extrinsic Value Estimate": (metrics.VALUE_MEAN.name, _same),
    "Policy/Learning Rate": (metrics.LEARNING_RATE.name, _same),
    "Policy/Epsilon": (metrics.CLIP_RANGE.name, _same),
    "Policy/Beta": (metrics.ENTROPY_COEFFICIENT.name, _same),
}
"""`loss/entropy` is minus the entropy in the objective: for settings of ML-Agents the mean over
continuous dimensions, as its tag has."""

TAGS_OF_SAC: Final[Tags] = {
    "Losses/Policy Loss": (metrics.LOSS_POLICY.name, abs),
    "Losses/Q1 Loss": (LOSS_Q.name, _same),
    "Policy/Entropy": (metrics.ENTROPY.name, _same),
    "Policy/Extrinsic Value": (Q_MEAN.name, _same),
    "Policy/Learning Rate": (metrics.LEARNING_RATE.name, _same),
    "Policy/Continuous Entropy Coeff": (metrics.ENTROPY_COEFFICIENT.name, _same),
    "Policy/Discrete Entropy Coeff": (metrics.ENTROPY_COEFFICIENT.name, _same),
}
"""Of both critics there is one loss, and of both kinds of action one temperature."""


def _tags_for(values: Mapping[str, float]) -> Tags:
    """Those of the algorithm whose metrics these are."""
    return TAGS_OF_SAC if REPLAY_STEPS.name in values else TAGS_OF_PPO


@dataclass(frozen=True, kw_only=True)
class Tagged:
    """The values of one tag since the summary before."""

    value: float
    """As TensorBoard shows it."""

    total: float
    """Sum of the values."""

    std: float = 0.0
    """Standard deviation, where it is known."""

    histogram: Histogram | None = None


class Gathering:
    """Gathers the values of one behaviour until they are taken, in constant memory."""

    def __init__(self, *, strength: float) -> None:
        """Gather nothing yet; `strength` is the factor of the extrinsic reward signal."""
        self._strength = strength
        self._begin()

    def _begin(self) -> None:
        self._returns = Aggregate()
        self._episodes = 0
        self._mean = self._squares = self._lengths = 0.0
        self._updates: dict[str, tuple[float, int]] = {}
        self._statistics: dict[str, Summary] = {}

    @property
    def has_update(self) -> bool:
        """Whether an update was done since values were last taken."""
        return bool(self._updates)

    def add_episodes(self, returns: NDArray[np.float64], lengths: NDArray[np.int64]) -> None:
        """[N] episodes ended, with these sums of rewards and these steps; N is at least 1."""
        self._returns.add("histogram", returns)
        self._lengths += float(lengths.sum())
        # Mean and squared deviations of what was there and what is added (Chan et al. 1979).
        before, mean = self._episodes, float(returns.mean())
        self._episodes = before + len(returns)
        apart = mean - self._mean
        self._mean += apart * len(returns) / self._episodes
        self._squares += float(((returns - mean) ** 2).sum())
        self._squares += apart**2 * before * len(returns) / self._episodes

    def add_update(self, values: Mapping[str, float], statistics: Mapping[str, Summary]) -> None:
        """The metrics of an update, and what games reported since the one before."""
        for tag, (name, shown) in _tags_for(values).items():
            if name in values:
                total, count = self._updates.get(tag, (0.0, 0))
                self._updates[tag] = (total + shown(values[name]), count + 1)
        for name, summary in statistics.items():
            earlier = self._statistics.get(name)
            self._statistics[name] = summary if earlier is None else earlier.followed_by(summary)

    def take(
        self, lessons: Mapping[str, int], *, env_steps: int, is_training: bool
    ) -> Mapping[str, Tagged]:
        """Returns {tag: its values} since this was last called.

        Args:
            lessons: {environment parameter: lessons completed} by now.
            env_steps: of the policy.
            is_training: whether it learns.
        """
        shown = {name: _of_statistic(each) for name, each in self._statistics.items()}
        for tag, (total, count) in self._updates.items():
            shown[tag] = Tagged(value=total / count, total=total)
        if self._episodes:
            shown |= self._of_episodes()
        for name, completed in lessons.items():
            shown[f"{LESSON_NUMBER}{name}"] = _one(completed)
        shown |= {IS_TRAINING: _one(is_training), STEP: _one(env_steps)}
        self._begin()
        return shown

    def _of_episodes(self) -> Mapping[str, Tagged]:
        number, total = self._episodes, self._mean * self._episodes
        reward = Tagged(
            value=self._mean,
            total=total,
            std=(self._squares / number) ** 0.5,
            histogram=self._returns.summary.histogram,
        )
        factor = self._strength
        return {
            CUMULATIVE_REWARD: reward,
            EPISODE_LENGTH: Tagged(value=self._lengths / number, total=self._lengths),
            EXTRINSIC_REWARD: Tagged(value=factor * self._mean, total=factor * total),
        }


def _one(value: float) -> Tagged:
    return Tagged(value=float(value), total=float(value))


def _of_statistic(summary: Summary) -> Tagged:
    is_mean = summary.aggregation in {"mean", "histogram"}
    total = summary.value * summary.count if is_mean else summary.value
    return Tagged(value=summary.value, total=total, histogram=summary.histogram)


def scalars(values: Mapping[str, Tagged]) -> Mapping[str, float]:
    """Returns {tag: number} that TensorBoard shows."""
    return {tag: each.value for tag, each in values.items() if tag not in HIDDEN}


def histograms(values: Mapping[str, Tagged]) -> Mapping[str, Histogram]:
    """Returns {tag: distribution} that TensorBoard shows."""
    return {
        f"{tag}_hist": each.histogram for tag, each in values.items() if each.histogram is not None
    }


def console_line(behaviour: str, values: Mapping[str, Tagged], *, step: int, seconds: float) -> str:
    """Returns the line that mlagents-learn prints with each summary.

    Args:
        behaviour: its name.
        values: of the summary.
        step: that it is of.
        seconds: since the command began.
    """
    reward = values.get(CUMULATIVE_REWARD)
    facts = [behaviour, f"Step: {step}", f"Time Elapsed: {seconds:0.3f} s"]
    if reward is None:
        facts.append("No episode was completed since last summary")
    else:
        facts += [f"Mean Reward: {reward.value:0.3f}", f"Std of Reward: {reward.std:0.3f}"]
    facts.append("Training" if values[IS_TRAINING].value else "Not Training")
    return ". ".join(facts) + "."
