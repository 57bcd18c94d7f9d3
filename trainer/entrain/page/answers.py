"""The bodies of the API's answers: plain values that JSON can say. A number that is not is null."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from entrain.metrics import (
    ENTROPY,
    EPISODE_RETURN_LAST,
    STEPS_PER_SECOND,
    find_metric,
)
from entrain.page.board import Board
from entrain.page.curves import Curves, coarser
from entrain.page.facts import PolicyFacts, RunFacts, SimulatorFacts

Json: TypeAlias = Any

MOST_POINTS = 400
DIGITS = 10
"""Significant digits of a curve's values: enough for any picture, and short."""


def finite(value: float) -> float | None:
    """Returns `value`; None if JSON cannot say it."""
    return value if math.isfinite(value) else None


def status(facts: RunFacts, board: Board, rates: Mapping[str, float]) -> Mapping[str, Json]:
    """How the run stands: `/api/status`.

    Args:
        facts: of the run.
        board: what is remembered of it.
        rates: {simulator and peer: steps a second}.
    """
    policies = [_policy(each, board) for each in facts.policies]
    left = [each["seconds_left"] for each in policies]
    return {
        "run": facts.name,
        "phase": facts.phase,
        "is_ready": facts.is_ready,
        "address": facts.address,
        "started_at": facts.started_at,
        "seconds": facts.seconds,
        "seconds_left": None if not left or None in left else max(left),
        "env_steps": facts.env_steps,
        "version": board.version,
        "shares": {name: finite(it) for name, it in facts.shares.items()},
        "limit": facts.limit,
        "pace": facts.pace,
        "expected_simulators": facts.expected_simulators,
        "sessions": dict(facts.sessions),
        "refusals": dict(facts.refusals),
        "num_simulators": len(facts.simulators),
        "num_agents": sum(each.agents for each in facts.simulators),
        "policies": policies,
        "alarms": [asdict(each) for each in board.log.alarms],
        "log_number": board.log.number,
        "control": asdict(facts.control),
        "simulators": simulators(facts, rates)[:MOST_LISTED],
    }


MOST_LISTED = 64
"""Simulators in the status; `/api/simulators` has all."""


def _policy(facts: PolicyFacts, board: Board) -> Mapping[str, Json]:
    curves = board.curves(facts.name)
    newest = {} if curves is None else curves.newest
    reported = board.reported(facts.name)
    rate = math.nan if curves is None else curves.env_steps_per_second()
    left = facts.total_steps - facts.env_steps
    seconds_left = 0.0 if left <= 0 else left / rate
    return {
        "name": facts.name,
        "env_steps": facts.env_steps,
        "total_steps": facts.total_steps,
        "updates": facts.updates,
        "episodes": facts.episodes,
        "is_learning": facts.is_learning,
        "ledger": dict(facts.ledger),
        "seconds_left": finite(seconds_left),
        "return_last_100": finite(newest.get(EPISODE_RETURN_LAST.name, math.nan)),
        "entropy": finite(newest.get(ENTROPY.name, math.nan)),
        "env_steps_per_second": finite(newest.get(STEPS_PER_SECOND.name, math.nan)),
        "num_measured": 0 if curves is None else curves.updates,
        "statistics": {name: finite(it) for name, it in reported.newest.items()},
        "statistics_left_out": reported.left_out,
    }


def simulator_key(simulator: SimulatorFacts) -> str:
    """Names one simulator while it takes part."""
    return f"{simulator.name}@{simulator.peer} {simulator.since}"


def simulators(facts: RunFacts, rates: Mapping[str, float]) -> Sequence[Mapping[str, Json]]:
    """Who takes part: `/api/simulators`."""
    return [
        {
            **asdict(each),
            "steps_per_second": finite(rates.get(simulator_key(each), math.nan)),
            "latency_p50_s": finite(each.latency_p50_s),
            "latency_p99_s": finite(each.latency_p99_s),
        }
        for each in facts.simulators
    ]


def metrics(
    policy: str, curves: Curves, names: Sequence[str], *, after: int, points: int
) -> Mapping[str, Json]:
    """Curves of one policy: `/api/metrics`.

    Args:
        policy: its name.
        curves: of it.
        names: the metrics that are asked for; empty for all.
        after: rows that begin with this update or later.
        points: how many at most; the newest are always among them.
    """
    rows = curves.rows_after(after, most=curves.updates + 1)
    first = curves.first_updates(rows)
    chosen = list(coarser(first, points))
    answer: dict[str, Json] = {}
    for name in names or curves.names:
        curve = curves.curve(name, rows)
        if curve is None:
            continue
        metric = find_metric(name)
        answer[name] = {
            "unit": "" if metric is None else metric.unit,
            "meaning": "" if metric is None else metric.meaning,
            "low": [_short(it) for it in curve.low[chosen]],
            "mean": [_short(it) for it in curve.mean[chosen]],
            "high": [_short(it) for it in curve.high[chosen]],
            "newest": finite(curves.newest.get(name, math.nan)),
        }
    return {
        "policy": policy,
        "names": list(curves.names),
        "updates": curves.updates,
        "first_update": first[chosen].tolist(),
        "env_steps": curves.env_steps(rows)[chosen].tolist(),
        "wall_time": curves.wall_time(rows)[chosen].tolist(),
        "seconds": [finite(it) for it in curves.seconds(rows)[chosen].tolist()],
        "metrics": answer,
    }


def _short(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
