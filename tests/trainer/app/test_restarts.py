"""Whether a simulator that ended is started again, worked out without any process."""

from entrain.app.restarts import Again, CrashRestarts, Exit, Finished, GivenUp, QuotaRestarts


def crash(at_s: float = 0.0, *, lived_s: float = 30.0, code: int = -11) -> Exit:
    return Exit(code, lived_s, at_s, "ended with signal SIGSEGV")


def test_pauses_grow_with_each_crash_in_a_row_and_begin_anew_after_a_long_life() -> None:
    restarts = CrashRestarts(pause_s=1.0)
    assert [restarts.after(crash()) for _ in range(3)] == [Again(1.0), Again(2.0), Again(4.0)]
    assert restarts.after(crash(lived_s=60.0)) == Again(1.0)


def test_a_simulator_that_ends_well_has_finished_but_a_game_is_needed_again() -> None:
    closed = crash(code=0)
    assert CrashRestarts().after(closed) == Finished()
    quota = QuotaRestarts(most=1, most_in_period=1, period_s=60.0, pause_s=2.0)
    assert quota.after(closed) == Again(2.0)


def test_a_game_restarts_once_in_a_period_and_so_often_in_all() -> None:
    quota = QuotaRestarts(most=3, most_in_period=1, period_s=60.0)
    # The second crash comes 60 s after the restart that the first one led to: one per period.
    assert all(isinstance(quota.after(crash(at_s)), Again) for at_s in (0.0, 60.0, 120.0))
    last = quota.after(crash(180.0))
    assert isinstance(last, GivenUp)
    assert "restarted 3 times already" in last.why
    assert (
        "(--max-lifetime-restarts, unity.launch.max_lifetime_restarts: 3; -1: no limit)" in last.why
    )


def test_a_second_crash_within_the_period_ends_it() -> None:
    quota = QuotaRestarts(most=10, most_in_period=1, period_s=60.0)
    assert isinstance(quota.after(crash(0.0)), Again)
    second = quota.after(crash(59.9))
    assert isinstance(second, GivenUp)
    assert "restarted 1 time in the last 60 s" in second.why


def test_without_limits_a_game_is_always_started_again() -> None:
    quota = QuotaRestarts(most=-1, most_in_period=-1, period_s=60.0)
    assert all(isinstance(quota.after(crash()), Again) for _ in range(100))


def test_a_quota_of_none_allows_no_restart() -> None:
    for quota in (
        QuotaRestarts(most=0, most_in_period=-1, period_s=60.0),
        QuotaRestarts(most=-1, most_in_period=0, period_s=60.0),
    ):
        assert isinstance(quota.after(crash()), GivenUp)
