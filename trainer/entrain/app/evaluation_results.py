"""The results of an evaluation: lines for people, JSON for programs, and a table of episodes."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from entrain.app.episode_quota import Scores
from entrain.run.display import statistics_text
from entrain.run.quantities import counted, duration
from entrain_envs.timestep import StepType

Reason: TypeAlias = Literal["complete", "stopped", "max_steps", "max_seconds", "stalled", "failed"]
"""Why an evaluation ended."""

_REASONS: Mapping[Reason, str] = {
    "complete": "complete",
    "stopped": "stopped on request",
    "max_steps": "the limit on steps was reached (--max-steps)",
    "max_seconds": "the limit on time was reached (--max-seconds)",
    "stalled": "no episode ended for an hour (--max-seconds allows more)",
    "failed": "ended by an error",
}

MOST_STATISTICS = 20
"""Most statistics shown to people; JSON has all."""

COLUMNS = ("policy", "episode", "return", "length", "ending", "simulator")
"""Columns of the table of episodes."""

_ENDINGS = {
    int(StepType.TERMINATED): "terminated",
    int(StepType.TRUNCATED): "truncated",
    int(StepType.MID): "unfinished",
}


@dataclass(frozen=True, kw_only=True)
class PolicyResult:
    """The result of one policy."""

    ended: Scores

    unfinished: Scores
    """Scores so far of the counted episodes that had not ended."""

    env_steps: int
    """Of all its agents, those that were not counted included."""

    statistics: Mapping[str, float]
    """{name: aggregated value} that its simulators reported during the evaluation."""

    @property
    def mean_return(self) -> float:
        """Over the episodes that ended; NaN without any."""
        return float(self.ended.returns.mean()) if len(self.ended) else math.nan

    def lines(self, behaviour: str) -> Iterator[str]:
        """Yields its lines for people."""
        yield f"{behaviour}: {self.ended if len(self.ended) else 'no episode ended'}"
        if len(self.unfinished):
            yield f"{behaviour}: {unfinished_text(self.unfinished)}"
        if self.statistics:
            yield f"{behaviour}: {statistics_text(self.statistics, most=MOST_STATISTICS)}"

    def for_programs(self, seconds: float) -> dict[str, object]:
        """Returns its JSON object."""
        return {
            **_statistics(self.ended),
            "env_steps": self.env_steps,
            "env_steps_per_second": _finite(self.env_steps / seconds if seconds else math.nan),
            "unfinished": _statistics(self.unfinished),
            "statistics": dict(self.statistics),
        }


@dataclass(frozen=True, kw_only=True)
class EvaluationResult:
    """The results of all policies, and why the evaluation ended."""

    reason: Reason
    seconds: float
    policies: Mapping[str, PolicyResult]

    def lines(self) -> Iterator[str]:
        """Yields lines for people: one or two for each policy."""
        for behaviour, result in self.policies.items():
            yield from result.lines(behaviour)
        if self.reason != "complete":
            yield f"not complete: {_REASONS[self.reason]}, after {duration(self.seconds)}"

    def for_programs(self) -> dict[str, object]:
        """Returns its JSON object, with null where there is no number."""
        return {
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "policies": {
                behaviour: result.for_programs(self.seconds)
                for behaviour, result in self.policies.items()
            },
        }

    def table(self) -> str:
        """Returns a row for each episode as CSV, those that have not ended last."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for behaviour, result in self.policies.items():
            rows = [*_rows(result.ended), *_rows(result.unfinished)]
            writer.writerows((behaviour, number, *row) for number, row in enumerate(rows, start=1))
        return text.getvalue()


def unfinished_text(scores: Scores) -> str:
    """`2 unfinished episodes: return 54.00 +- 0.00 so far, length 108.0, reward 0.5 per step`."""
    return (
        f"{counted(len(scores), 'unfinished episode')}: {scores.return_text} so far, "
        f"length {scores.lengths.mean():.1f}, "
        f"reward {scores.reward_per_step:.4g} per step"
    )


def _rows(scores: Scores) -> Iterator[tuple[str, int, str, str]]:
    """Yields return, length, how it ended and simulator, of each episode."""
    columns = (scores.returns, scores.lengths, scores.endings, scores.simulators)
    for return_, length, ending, simulator in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        yield repr(return_), length, _ENDINGS[ending], simulator


def _statistics(scores: Scores) -> dict[str, object]:
    returns, is_any = scores.returns, len(scores) > 0
    return {
        "episodes": len(scores),
        "return_mean": _finite(returns.mean()) if is_any else None,
        "return_std": _finite(returns.std()) if is_any else None,
        "return_min": _finite(returns.min()) if is_any else None,
        "return_max": _finite(returns.max()) if is_any else None,
        "length_mean": _finite(scores.lengths.mean()) if is_any else None,
        "reward_per_step": _finite(scores.reward_per_step),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
