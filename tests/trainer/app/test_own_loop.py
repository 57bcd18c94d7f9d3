"""A call that runs an event loop of its own works wherever it is made, and can be given up."""

import asyncio
import signal
import threading

import pytest

from entrain.app.own_loop import called_without_loop
from entrain.app.signals import StopRequest, stop_on_signals


async def who() -> str:
    return threading.current_thread().name


def test_without_a_loop_the_caller_s_thread_does_it() -> None:
    assert called_without_loop(lambda: asyncio.run(who())) == threading.current_thread().name


async def test_where_a_loop_runs_another_thread_does_it() -> None:
    assert called_without_loop(lambda: asyncio.run(who())).startswith("entrain")


async def test_an_error_of_the_other_thread_is_the_caller_s() -> None:
    def fail() -> None:
        raise KeyError("walker")

    with pytest.raises(KeyError, match="walker"):
        called_without_loop(fail)


def twice_asked(cleaned: list[str]) -> None:
    """A run that a first signal asks to stop, and that only a second one ends."""
    with stop_on_signals(force=StopRequest.abandon) as request:

        async def run() -> None:
            stop = request.event()
            signal.raise_signal(signal.SIGINT)
            await stop.wait()
            try:
                asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
                await asyncio.sleep(60.0)
            finally:
                cleaned.append("all is put away")

        called_without_loop(lambda: asyncio.run(run()))


def test_a_second_signal_gives_the_run_up_as_a_keyboard_interrupt() -> None:
    cleaned: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        twice_asked(cleaned)
    assert cleaned == ["all is put away"]


def test_a_second_signal_while_nothing_runs_is_a_keyboard_interrupt_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), stop_on_signals(force=StopRequest.abandon):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_another_thread_than_the_main_one_handles_no_signals() -> None:
    found: list[object] = []

    def look() -> None:
        with stop_on_signals() as request:
            found.extend([signal.getsignal(signal.SIGTERM), request.is_made])

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before, False]
