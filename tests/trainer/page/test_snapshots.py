"""What is made once for all readers."""

from collections.abc import Callable

from entrain.page.snapshots import Snapshot


def counting(now: Callable[[], float], work: Callable[[], float]) -> Snapshot[int]:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    return Snapshot(make, clock=now, work_clock=work)


def test_a_value_is_kept_for_a_second() -> None:
    now_s = 0.0
    snapshot = counting(lambda: now_s, lambda: 0.0)
    assert [snapshot.get(), snapshot.get()] == [0, 0]
    now_s = 0.9
    assert snapshot.get() == 0
    now_s = 1.0
    assert snapshot.get() == 1


def test_one_that_is_costly_is_made_for_a_200th_of_the_time() -> None:
    now_s, work = 0.0, iter([0.0, 0.1, 5.0, 5.1])
    snapshot = counting(lambda: now_s, lambda: next(work))
    snapshot.get()
    # It took 0.1 s, so it is kept for 20 s.
    now_s = 19.9
    assert snapshot.get() == 0
    now_s = 20.0
    assert snapshot.get() == 1


def test_one_that_is_forgotten_is_made_anew() -> None:
    snapshot = counting(lambda: 0.0, lambda: 0.0)
    assert snapshot.get() == 0
    snapshot.forget()
    assert [snapshot.get(), snapshot.get()] == [1, 1]
