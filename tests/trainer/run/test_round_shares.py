"""Where the time of rounds goes, from metrics that are made."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain.round_metrics import ROUND_METRICS
from entrain.run.round_shares import RecentRounds, Round, RoundShares, RunRounds, rounds_in
from entrain.run.table import Series

SHARE = st.floats(0.0, 1.0) | st.just(math.nan)


def shares(**parts: float) -> RoundShares:
    """Those named, and of the rest all is other."""
    named = {"waiting": 0.0, "acting": 0.0, "recording": 0.0, "messages": 0.0, "updates": 0.0}
    return RoundShares(**{**named, **parts}, other=1.0 - sum(parts.values()))


def round_(seconds: float, part: RoundShares) -> Round:
    return Round(seconds=seconds, update_s=seconds / 4, env_steps_per_second=100.0, shares=part)


def test_messages_are_read_and_written_while_the_policy_waits() -> None:
    metrics = {
        "time/wait": 0.5,
        "time/decode": 0.06,
        "time/encode": 0.04,
        "time/observe": 0.1,
        "time/act": 0.05,
        "time/record": 0.05,
        "time/learn": 0.2,
        "time/report": 0.03,
        "time/checkpoint": 0.02,
    }
    # 0.05 are measured as no part: before the first batch.
    assert asdict(RoundShares.from_metrics(metrics)) == pytest.approx(
        {
            "waiting": 0.4,
            "acting": 0.15,
            "recording": 0.05,
            "messages": 0.1,
            "updates": 0.2,
            "other": 0.1,
        }
    )


@given(st.dictionaries(st.sampled_from([metric.name for metric in ROUND_METRICS]), SHARE))
def test_whatever_was_measured_shares_add_up_to_1_and_percents_to_100(
    metrics: dict[str, float],
) -> None:
    found = RoundShares.from_metrics(metrics)
    assert sum(asdict(found).values()) == pytest.approx(1.0)
    assert min(asdict(found).values()) >= 0.0
    assert sum(found.percents.values()) == 100


def test_percents_are_within_one_of_their_share() -> None:
    third = shares(waiting=1 / 3, acting=1 / 3, updates=1 / 3)
    assert sorted(third.percents.values(), reverse=True)[:3] == [34, 33, 33]


def test_longer_rounds_weigh_more() -> None:
    rounds = RecentRounds()
    rounds.add(round_(1.0, shares(waiting=1.0)), is_first=False)
    rounds.add(round_(3.0, shares(updates=1.0)), is_first=False)
    assert rounds.shares.waiting == pytest.approx(0.25)
    assert rounds.shares.updates == pytest.approx(0.75)
    assert rounds.update_share == pytest.approx(0.25)
    assert rounds.seconds == 4.0


def test_the_first_round_is_forgotten_as_soon_as_there_is_another() -> None:
    rounds = RecentRounds()
    rounds.add(round_(9.0, shares()), is_first=True)
    assert rounds.shares.other == 1.0
    for _ in range(2):
        rounds.add(round_(1.0, shares(waiting=1.0)), is_first=False)
    assert len(rounds) == 2
    assert rounds.shares.other == 0.0


def test_rounds_without_time_do_not_divide_by_it() -> None:
    rounds = RecentRounds()
    rounds.add(round_(0.0, shares(waiting=1.0)), is_first=True)
    assert rounds.shares.waiting == 1.0
    assert math.isnan(rounds.update_share)


def test_the_newest_rows_of_a_file_are_read_with_how_long_each_was() -> None:
    series = Series(
        env_steps=np.array([10, 20, 30]),
        wall_time=np.array([1000.0, 1001.0, 1004.0]),
        columns={
            "time/seconds": np.array([5.0, 6.0, 9.0]),
            "time/wait": np.array([0.0, 1.0, 0.0]),
            "time/learn": np.array([0.0, 0.0, 1.0]),
            "time/update_seconds": np.array([1.0, 0.5, 2.0]),
            "time/env_steps_per_second": np.array([2.0, 10.0, 30.0]),
        },
    )
    rounds = rounds_in(series)
    assert (len(rounds), rounds.seconds) == (2, 4.0)
    # 1 s of waiting, then 3 s of learning.
    assert rounds.shares.waiting == pytest.approx(0.25)
    assert rounds.shares.updates == pytest.approx(0.75)
    assert rounds.update_share == pytest.approx(2.5 / 4.0)
    assert rounds.env_steps_per_second == pytest.approx((10.0 + 3 * 30.0) / 4)
    assert len(rounds_in(series, most=1)) == 1


def test_a_run_that_goes_on_remembers_the_rounds_of_each_policy() -> None:
    run = RunRounds()
    run.add("walker", {"time/wait": 1.0}, now_s=100.0)
    run.add("jumper", {"time/learn": 1.0}, now_s=101.0)
    run.add("walker", {"time/wait": 1.0}, now_s=102.0)
    found = run.add("walker", {"time/learn": 1.0}, now_s=108.0)
    # Of walker 2 s of waiting, then 6 s of learning; its first round is forgotten.
    assert found["walker"].waiting == pytest.approx(0.25)
    assert found["walker"].updates == pytest.approx(0.75)
    assert found["jumper"].updates == 1.0


def test_who_waits_for_whom_is_measured_where_there_is_a_replay() -> None:
    run = RunRounds()
    run.add("walker", {"time/wait": 1.0}, now_s=100.0)
    assert run.pace == ""
    # Before it learns, no gradient step is due.
    run.add("walker", {"time/wait": 1.0, "update/steps_ratio": 0.0}, now_s=101.0)
    assert run.pace == ""
    # Of 10 s an update took 8 s, beside which 4 s were collected: it was waited for 4 s.
    run = RunRounds()
    times = {"time/wait": 0.6, "time/learn": 0.4, "time/update_seconds": 8.0}
    # After a change of options the ratio comes close to the new one; what is read as 1 is one.
    for now_s in (100.0, 110.0, 120.0):
        run.add("walker", {**times, "update/steps_ratio": 0.9997}, now_s=now_s)
    assert run.pace == (
        "1 gradient step for each env step; collecting waits for learning 40% of the time, "
        "learning for collecting 20%"
    )
    # Nothing is known yet of how long its first round was.
    run.add("jumper", {"time/learn": 1.0, "update/steps_ratio": 0.25}, now_s=121.0)
    assert run.pace.endswith(
        "; 'jumper': 0.25 gradient steps for each env step; collecting waits for learning 100% of "
        "the time"
    )
    assert run.pace.startswith("'walker': 1 gradient step for each env step; ")


def test_an_update_that_seems_longer_than_its_round_leaves_no_time() -> None:
    run = RunRounds()
    metrics = {"time/learn": 1.0, "time/update_seconds": 1.01, "update/steps_ratio": 2.0}
    for now_s in (1.0, 2.0):
        run.add("walker", metrics, now_s=now_s)
    assert run.pace.endswith("100% of the time, learning for collecting 0%")


def test_of_a_run_of_several_policies_each_one_s_work_counts() -> None:
    run = RoundShares.of_all(
        [
            shares(waiting=0.6, acting=0.1, messages=0.1, updates=0.2),
            shares(waiting=0.5, acting=0.1, messages=0.1, updates=0.3),
        ]
    )
    # What both wait for beside each other's work: 1 - 0.2 - 0.5 - 0.1.
    assert run.waiting == pytest.approx(0.2)
    assert run.updates == pytest.approx(0.5)
    assert run.acting == pytest.approx(0.2)
    assert run.messages == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("part", "limit"),
    [
        (shares(waiting=0.5, updates=0.4), "simulators"),
        (shares(waiting=0.4, updates=0.5), "updates"),
        (shares(acting=0.2, recording=0.2, messages=0.2), "acting"),
        (shares(waiting=0.3), "other"),
        (shares(waiting=0.45, updates=0.45), "none"),
    ],
)
def test_the_limit_is_what_takes_half_of_the_time(part: RoundShares, limit: str) -> None:
    assert part.limit == limit
