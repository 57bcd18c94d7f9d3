"""Laps, with a clock that is a list."""

import pytest

from entrain.stopwatch import Lasted, Shares, Stopwatch


def test_laps_add_up_by_their_part_and_rates_are_over_all_time() -> None:
    now_s = [0.0]
    stopwatch = Stopwatch(lambda: now_s[0])
    for part, at_s in [("wait", 1.0), ("act", 3.0), ("wait", 4.0)]:
        now_s[0] = at_s
        stopwatch.lap(part)
    # 4 s in all: wait 1 + 1, act 2.
    assert stopwatch.metrics(env_steps=8) == {
        "time/env_steps_per_second": 2.0,
        "time/wait": 0.5,
        "time/act": 0.5,
    }


def test_metrics_begin_anew_each_time() -> None:
    now_s = [0.0]
    stopwatch = Stopwatch(lambda: now_s[0])
    now_s[0] = 1.0
    stopwatch.lap("act")
    stopwatch.metrics(1)
    now_s[0] = 3.0
    stopwatch.lap("wait")
    assert stopwatch.metrics(10) == {"time/env_steps_per_second": 5.0, "time/wait": 1.0}


def test_time_after_the_last_lap_belongs_to_the_metrics_that_come_next() -> None:
    now_s = [0.0]
    stopwatch = Stopwatch(lambda: now_s[0])
    now_s[0] = 1.0
    stopwatch.lap("act")
    now_s[0] = 2.0
    assert stopwatch.metrics(1) == {"time/env_steps_per_second": 1.0, "time/act": 1.0}
    now_s[0] = 5.0
    stopwatch.lap("wait")
    assert stopwatch.metrics(4) == {"time/env_steps_per_second": 1.0, "time/wait": 1.0}


def test_time_before_the_start_of_a_lap_belongs_to_no_part() -> None:
    now_s = [0.0]
    stopwatch = Stopwatch(lambda: now_s[0])
    now_s[0] = 5.0
    stopwatch.start()
    now_s[0] = 10.0
    stopwatch.lap("wait")
    assert stopwatch.metrics(10)["time/wait"] == 0.5


def test_credited_seconds_are_taken_from_the_lap_that_goes_on() -> None:
    now_s = [0.0]
    stopwatch = Stopwatch(lambda: now_s[0])
    now_s[0] = 3.0
    stopwatch.credit("checkpoint", 1.0)
    now_s[0] = 4.0
    stopwatch.lap("wait")
    # 4 s in all: the checkpoint took 1, so 3 are left to wait.
    assert stopwatch.metrics(4) == {
        "time/env_steps_per_second": 1.0,
        "time/checkpoint": 0.25,
        "time/wait": 0.75,
    }


def test_shares_of_running_counts_are_of_the_time_since_they_were_last_asked_for() -> None:
    now_s = [1.0]
    shares = Shares({"decode": 0.25, "encode": 0.5}, clock=lambda: now_s[0])
    now_s[0] = 4.0
    # 3 s later: decode grew by 0.75.
    assert shares.since_last({"decode": 1.0, "encode": 0.5}) == pytest.approx(
        {"time/decode": 0.25, "time/encode": 0.0}
    )
    now_s[0] = 6.0
    # 2 s later: decode grew by 1.0, encode by 0.5.
    assert shares.since_last({"decode": 2.0, "encode": 1.0}) == pytest.approx(
        {"time/decode": 0.5, "time/encode": 0.25}
    )


def test_time_in_which_a_loop_is_held_belongs_to_no_part_and_no_rate() -> None:
    now_s = [0.0]
    stopwatch = Stopwatch(lambda: now_s[0])
    now_s[0] = 1.0
    stopwatch.lap("act")
    now_s[0] = 2.0
    stopwatch.hold()
    now_s[0] = 12.0
    stopwatch.go_on(counts=False)
    now_s[0] = 14.0
    stopwatch.lap("wait")
    # 1 s of acting, 1 + 2 s of waiting.
    assert stopwatch.metrics(8) == {
        "time/env_steps_per_second": 2.0,
        "time/act": 0.25,
        "time/wait": 0.75,
    }


def test_a_lap_that_ends_while_a_loop_is_held_counts_until_its_end() -> None:
    now_s = [0.0]
    stopwatch = Stopwatch(lambda: now_s[0])
    now_s[0] = 1.0
    stopwatch.hold()
    now_s[0] = 4.0
    stopwatch.lap("learn")
    now_s[0] = 14.0
    stopwatch.go_on(counts=False)
    stopwatch.lap("wait")
    assert stopwatch.metrics(8)["time/env_steps_per_second"] == 2.0
    stopwatch.hold()
    now_s[0] = 18.0
    # An update that is waited for went on all the time.
    stopwatch.go_on(counts=True)
    stopwatch.lap("learn")
    assert stopwatch.metrics(8) == {"time/env_steps_per_second": 2.0, "time/learn": 1.0}


def test_what_has_lasted_does_not_grow_while_it_is_held() -> None:
    now_s = [0.0]
    lasted = Lasted(lambda: now_s[0])
    lasted.go_on()
    now_s[0] = 3.0
    lasted.hold()
    now_s[0] = 10.0
    assert lasted.seconds == 3.0
    lasted.go_on()
    now_s[0] = 11.0
    assert lasted.seconds == 4.0


def test_shares_may_leave_time_out() -> None:
    now_s = [0.0]
    shares = Shares({"decode": 0.0}, clock=lambda: now_s[0])
    now_s[0] = 10.0
    shares.leave_out(6.0)
    assert shares.since_last({"decode": 1.0}) == {"time/decode": 0.25}
