"""Things that another thread deals with: in order, bounded, and never waited for."""

import threading

from entrain.app.background_queue import BackgroundQueue


def test_things_are_dealt_with_in_their_order_by_the_end() -> None:
    dealt: list[int] = []
    queue = BackgroundQueue(dealt.append, name="test", most_waiting=10)
    assert all(queue.put(number) for number in range(5))
    assert queue.close(within_s=10.0) == 0
    assert dealt == [0, 1, 2, 3, 4]
    queue.put(5)
    assert len(queue) == 0


def test_of_too_many_the_oldest_are_left_out_and_who_adds_them_does_not_wait() -> None:
    began, goes_on = threading.Event(), threading.Event()
    dealt: list[int] = []

    def deal(number: int) -> None:
        began.set()
        goes_on.wait(10.0)
        dealt.append(number)

    queue = BackgroundQueue(deal, name="test", most_waiting=2)
    queue.put(0)
    assert began.wait(10.0)
    assert [queue.put(number) for number in (1, 2, 3)] == [True, True, False]
    goes_on.set()
    assert queue.close(within_s=10.0) == 0
    assert dealt == [0, 2, 3]


def test_the_end_waits_no_longer_than_it_may_and_says_how_many_are_given_up() -> None:
    goes_on = threading.Event()

    def deal(_number: int) -> None:
        goes_on.wait(10.0)

    queue = BackgroundQueue(deal, name="test", most_waiting=9)
    for number in range(3):
        queue.put(number)
    assert queue.close(within_s=0.02) == 3
    goes_on.set()


def test_nothing_was_put_in_so_nothing_is_waited_for() -> None:
    assert BackgroundQueue(print, name="test", most_waiting=1).close(within_s=10.0) == 0


def test_a_pause_ends_at_once_where_the_end_leaves_no_time_for_it() -> None:
    found: list[bool] = []
    queue: BackgroundQueue[float]

    def deal(pause_s: float) -> None:
        found.append(queue.pause(pause_s))

    queue = BackgroundQueue(deal, name="test", most_waiting=9)
    queue.put(0.0)
    queue.put(100.0)
    assert queue.close(within_s=10.0) == 0
    assert found == [True, False]
