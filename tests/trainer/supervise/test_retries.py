"""What follows the end of a run's process."""

import pytest

from entrain.cli_exit_codes import EXIT_CODES
from entrain.supervise.retries import Again, End, Rest, after, words_of


def end(code: int | None, outcome: str = "", *, lived_s: float = 1.0) -> End:
    return End(code=code, outcome=outcome, lived_s=lived_s)


def test_every_documented_exit_code_has_its_answer() -> None:
    over = {code for code in EXIT_CODES if isinstance(after(end(code), failures=0), Rest)}
    # As the last column of the table in docs/running.md says; 0 needs an outcome.
    assert over == {1, 2, 3, 6}
    assert isinstance(after(end(-9), failures=0), Again)
    assert isinstance(after(end(None), failures=0), Again)


@pytest.mark.parametrize("code", [0, None])
@pytest.mark.parametrize("outcome", ["completed", "stopped"])
def test_a_run_that_is_done_or_was_stopped_rests(code: int | None, outcome: str) -> None:
    assert after(end(code, outcome), failures=3) == Rest(outcome)


def test_a_run_that_was_stopped_may_say_so_by_a_code_of_its_own() -> None:
    stopped = End(code=143, outcome="stopped", lived_s=1.0, stopped_code=143)
    assert after(stopped, failures=0) == Rest("stopped")
    failed = End(code=143, outcome="stopped", lived_s=1.0, stopped_code=0)
    assert isinstance(after(failed, failures=0), Again)


def test_an_outcome_of_before_a_crash_does_not_count() -> None:
    assert isinstance(after(end(-9, "completed"), failures=0), Again)
    assert isinstance(after(end(5, "failed"), failures=0), Again)


def test_pauses_are_doubled_up_to_five_minutes_and_begin_anew_after_a_good_minute() -> None:
    pauses, failures = [], 0
    for _ in range(11):
        again = after(end(4), failures=failures)
        assert isinstance(again, Again)
        failures = again.failures
        pauses.append(again.pause_s)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert after(end(4), failures=10**6) == Again(300.0, 10**6 + 1)
    assert after(end(4, lived_s=60.0), failures=9) == Again(1.0, 1)


def test_without_restarts_every_failure_is_the_last() -> None:
    assert after(end(-9), failures=0, restarts=False) == Rest("given up")


def test_an_end_is_told_in_words() -> None:
    assert words_of(7).startswith("exit code 7: the disk refuses")
    assert words_of(-9) == "signal SIGKILL"
    assert words_of(99) == "exit code 99"
    assert "not known" in words_of(None)
