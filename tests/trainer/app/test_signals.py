"""The first signal asks, the second forces; there is no moment at which either is lost."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from entrain.app.signals import FORCED, HANGUP, SIGNALS, StopRequest, stop_on_signals


def raise_signal(number: int) -> None:
    """Send it to this process, and let Python call its handler."""
    signal.raise_signal(number)


HANGS_UP = pytest.mark.skipif(HANGUP is None, reason="Windows has no SIGHUP")
ASKS = SIGNALS if HANGUP is None else (*SIGNALS, HANGUP)


@pytest.fixture(autouse=True)
def no_nohup() -> Iterator[None]:
    """SIGHUP is not ignored, as it is where the tests were started by `nohup`."""
    if HANGUP is None:
        yield
        return
    before = signal.signal(HANGUP, signal.SIG_DFL)
    yield
    signal.signal(HANGUP, before)


@pytest.mark.parametrize("number", ASKS)
async def test_a_signal_sets_the_event_of_the_running_loop(number: int) -> None:
    with stop_on_signals() as request:
        stop = request.event()
        assert not stop.is_set()
        raise_signal(number)
        async with asyncio.timeout(5.0):
            await stop.wait()
    assert request.is_made


async def test_a_signal_from_before_the_loop_ran_is_not_lost() -> None:
    with stop_on_signals() as request:
        raise_signal(signal.SIGTERM)
        assert request.event().is_set()


def test_a_signal_after_the_loop_has_ended_is_taken_in_silence() -> None:
    async def bind(request: StopRequest) -> None:
        request.event()

    with stop_on_signals() as request:
        asyncio.run(bind(request))
        raise_signal(signal.SIGTERM)
    assert request.is_made


def test_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in ASKS]
    with stop_on_signals():
        assert [signal.getsignal(number) for number in ASKS] != before
    assert [signal.getsignal(number) for number in ASKS] == before


def test_handlers_are_as_before_after_an_error() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(KeyError), stop_on_signals():
        raise KeyError
    assert [signal.getsignal(number) for number in SIGNALS] == before


async def test_the_log_says_what_was_asked_and_how_to_force_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "entrain.app.signals")
    with stop_on_signals() as request:
        stop = request.event()
        raise_signal(signal.SIGINT)
        await stop.wait()
    assert caplog.messages == ["SIGINT: finishing, saving and stopping (again: stop at once)"]


def ended(code: str) -> subprocess.CompletedProcess[str]:
    """A process that runs `code` with both signals listened for, and how it ended."""
    program = (
        "import asyncio, os, signal, sys, time\n"
        "from entrain.app.signals import stop_on_signals\n"
        f"with stop_on_signals() as request:\n    {code}\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_second_signal_ends_the_process_with_130_whatever_it_does() -> None:
    began_s = time.monotonic()
    both = "signal.raise_signal(signal.SIGTERM); signal.raise_signal(signal.SIGINT)"
    assert ended(f"{both}; time.sleep(60)").returncode == FORCED == 130
    assert time.monotonic() - began_s < 50.0


@HANGS_UP
def test_a_terminal_that_closes_again_and_again_forces_nothing() -> None:
    hangups = "signal.raise_signal(signal.SIGHUP); signal.raise_signal(signal.SIGHUP)"
    result = ended(f"{hangups}; signal.raise_signal(signal.SIGTERM); {hangups}; print('alive')")
    assert (result.returncode, result.stdout) == (0, "alive\n")
    both = "signal.raise_signal(signal.SIGTERM); signal.raise_signal(signal.SIGTERM)"
    assert ended(f"{hangups}; {both}").returncode == FORCED


@HANGS_UP
def test_under_nohup_a_closed_terminal_stops_nothing() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as request:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.raise_signal(signal.SIGHUP)
            assert not request.is_made
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_before_the_process_is_ended_by_force_others_are_taken_along() -> None:
    result = ended(
        "request.before_force = lambda: os.write(1, b'taken along'); "
        "signal.raise_signal(signal.SIGTERM); signal.raise_signal(signal.SIGTERM)"
    )
    assert (result.returncode, result.stdout) == (FORCED, "taken along")


def test_trouble_in_taking_others_along_does_not_keep_the_process_alive() -> None:
    result = ended(
        "request.before_force = lambda: 1 / 0; "
        "signal.raise_signal(signal.SIGTERM); signal.raise_signal(signal.SIGTERM)"
    )
    assert result.returncode == FORCED


@pytest.mark.skipif(os.name != "posix", reason="pseudo terminals are POSIX")
def test_a_terminal_gets_its_cursor_back_after_force() -> None:
    import pty

    leader, follower = pty.openpty()
    program = (
        "import signal\nfrom entrain.app.signals import stop_on_signals\nwith stop_on_signals():\n"
        "    signal.raise_signal(signal.SIGTERM); signal.raise_signal(signal.SIGTERM)\n"
    )
    code = subprocess.call([sys.executable, "-c", program], stdout=follower, timeout=60)
    os.close(follower)
    shown = os.read(leader, 100)
    os.close(leader)
    assert code == FORCED
    assert b"\x1b[?25h" in shown


def test_a_request_says_whether_it_was_made() -> None:
    request = StopRequest("stopping")
    assert repr(request) == "<StopRequest: not made>"
    request.make("SIGTERM")
    assert repr(request) == "<StopRequest: made>"
