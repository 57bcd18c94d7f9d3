"""Reports one policy's evaluation while training: metrics, episodes and a line of the log."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from entrain.app.evaluation_rounds import PolicyRound
from entrain.evaluation_metrics import (
    EVALUATION_ENV_STEPS,
    EVALUATION_EPISODES,
    EVALUATION_LENGTH_MEAN,
    EVALUATION_RETURN_MAX,
    EVALUATION_RETURN_MEAN,
    EVALUATION_RETURN_MIN,
    EVALUATION_RETURN_STD,
    EVALUATION_SECONDS,
    EVALUATION_VERSION,
)
from entrain.metrics import SECONDS
from entrain.run.display import statistics_text
from entrain.run.episode_table import EpisodeRows
from entrain.run.json_lines import fields
from entrain.run.quantities import duration
from entrain_envs.timestep import StepType

_ENDINGS = np.full(max(StepType) + 1, "terminated", np.object_)
_ENDINGS[StepType.TRUNCATED] = "truncated"


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """One policy's part of an evaluation in which at least one of its episodes has ended."""

    behaviour: str

    env_steps: int
    """Of the policy when its weights were taken."""

    metrics: Mapping[str, float]
    """By standard name."""

    rows: EpisodeRows
    """For episodes.csv."""

    line: str
    """For the log."""

    facts: Mapping[str, object]
    """The same for programs: the argument `extra` of a log record."""

    @classmethod
    def of(
        cls,
        behaviour: str,
        it: PolicyRound,
        *,
        number: int,
        env_steps: int,
        seconds: float,
        run_seconds: float,
    ) -> Self:
        """Makes the report of a policy.

        Args:
            behaviour: its name.
            it: its part of the round.
            number: of the evaluation, from 1.
            env_steps: of the policy when its weights were taken.
            seconds: that the evaluation took.
            run_seconds: wall-clock time of the run.
        """
        scores = it.scores
        metrics = {
            EVALUATION_RETURN_MEAN.name: float(scores.returns.mean()),
            EVALUATION_RETURN_STD.name: float(scores.returns.std()),
            EVALUATION_RETURN_MIN.name: float(scores.returns.min()),
            EVALUATION_RETURN_MAX.name: float(scores.returns.max()),
            EVALUATION_LENGTH_MEAN.name: float(scores.lengths.mean()),
            EVALUATION_EPISODES.name: float(len(scores)),
            EVALUATION_ENV_STEPS.name: float(env_steps),
            EVALUATION_VERSION.name: float(it.version),
            EVALUATION_SECONDS.name: seconds,
            SECONDS.name: run_seconds,
        }
        rows = EpisodeRows(
            policy=behaviour,
            first_number=1,
            returns=scores.returns,
            lengths=scores.lengths,
            endings=_ENDINGS[scores.endings],
            simulators=scores.simulators,
            env_steps=env_steps,
            wall_time=time.time(),
            statistics=np.full(len(scores), "", np.object_),
            evaluation=number,
        )
        told = f"; {statistics_text(it.statistics)}" if it.statistics else ""
        line = (
            f"evaluation {number} of policy '{behaviour}', update {it.version}, "
            f"{env_steps:,} env steps: {scores}, in {duration(seconds)}{told}"
        )
        facts = fields(policy=behaviour, evaluation=number, **metrics)
        return cls(
            behaviour=behaviour,
            env_steps=env_steps,
            metrics=metrics,
            rows=rows,
            line=line,
            facts=facts,
        )
