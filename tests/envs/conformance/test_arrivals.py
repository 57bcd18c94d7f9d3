"""The kit's queue of what a stream brought: in order, bounded, and with an end that arrives."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrain_envs.conformance.arrivals import Arrivals
from entrain_envs.conformance.port import SilentError, StreamOverError

WAIT_S = 20.0
"""Longest that a test waits for what comes in milliseconds."""


def in_thread(work: object) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


@given(count=st.integers(0, 12), most=st.integers(1, 4))
def test_all_messages_come_in_order_and_then_the_end(count: int, most: int) -> None:
    arrivals: Arrivals[int] = Arrivals(most)

    def bring() -> None:
        for number in range(count):
            arrivals.put(number)
        arrivals.end("it sent no more")

    thread = in_thread(bring)
    assert [arrivals.get(timeout_s=WAIT_S) for _ in range(count)] == list(range(count))
    for _ in range(2):
        with pytest.raises(StreamOverError, match="it sent no more"):
            arrivals.get(timeout_s=WAIT_S)
    thread.join(WAIT_S)


def test_the_end_arrives_though_there_is_no_room_for_a_message() -> None:
    arrivals: Arrivals[int] = Arrivals(2)
    arrivals.put(1)
    arrivals.put(2)
    arrivals.end("it broke")
    assert [arrivals.get(timeout_s=0.0) for _ in range(2)] == [1, 2]
    with pytest.raises(StreamOverError, match="it broke"):
        arrivals.get(timeout_s=0.0)


def test_who_brings_more_than_there_is_room_for_waits_until_the_stream_is_given_up() -> None:
    arrivals: Arrivals[int] = Arrivals(1)
    arrivals.put(1)

    def bring() -> None:
        arrivals.put(2)
        arrivals.end("it was cancelled")

    thread = in_thread(bring)
    thread.join(0.02)
    assert thread.is_alive(), "there is no room"
    arrivals.give_up()
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert arrivals.get(timeout_s=0.0) == 1
    with pytest.raises(StreamOverError):
        arrivals.get(timeout_s=0.0)


def test_what_is_brought_after_giving_up_is_taken_where_there_is_room() -> None:
    arrivals: Arrivals[str] = Arrivals(1)
    arrivals.give_up()
    arrivals.put("goodbye")
    arrivals.put("lost")
    assert arrivals.get(timeout_s=0.0) == "goodbye"
    with pytest.raises(SilentError):
        arrivals.get(timeout_s=0.0)


def test_silence_is_told() -> None:
    arrivals: Arrivals[int] = Arrivals()
    for timeout_s in (-1.0, 0.0, 0.01):
        with pytest.raises(SilentError):
            arrivals.get(timeout_s=timeout_s)
