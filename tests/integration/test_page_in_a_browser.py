"""The page as a browser draws it: on a phone, light and dark, by keyboard, with many policies."""

import asyncio
import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from entrain.metrics import METRICS
from entrain.page.server import PageServer
from support.chromium import CHROMIUM, Tab, a_tab
from support.served_page import MadeUp, Served, policy, run_facts, simulator

# .ci/run installs it.
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is missing (Debian: apt-get install chromium)"
)

PHONE = 390
SHOWN = "document.querySelector('.curve .value').textContent"


def made_up(policies: int) -> Served:
    """A run that has learned for a while, with names as long as they may be."""
    names = [f"a-walker-with-a-long-name-{number}" for number in range(policies)]
    facts = run_facts(
        name="a-run-with-a-name-that-is-longer-than-a-phone-is-wide-and-has-no-blank",
        policies=[policy(name) for name in names],
        simulators=[simulator(f"simulator-{number}") for number in range(100)],
    )
    served = Served(MadeUp(facts, files={"policies/walker.onnx": "", "metrics.csv": ""}))
    for name in names:
        for update in range(40 if policies < 50 else 3):
            values = {
                it.of(number) if it.is_family else it.name: math.sin(update + number)
                for it in METRICS
                for number in range(2)
            }
            values["time/seconds"] = 10.0 * update
            served.board.note_update(
                name, values, {"coins": 3.0}, env_steps=1000 * update, wall_time=1.8e9
            )
    return served


@contextmanager
def listening(served: Served) -> Iterator[str]:
    """Serves a page from a thread, for a browser that is another process; yields its address."""
    sockets = [socket.create_server(("127.0.0.1", 0))]
    over = threading.Event()

    async def serve() -> None:
        async with PageServer(served.site.application, sockets, None).serving():
            while not over.is_set():
                await asyncio.sleep(0.02)
            served.site.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}/"
    finally:
        over.set()
        thread.join(20.0)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with a_tab(tmp_path_factory.mktemp("chromium")) as tab:
        yield tab


@pytest.mark.parametrize(("policies", "scheme"), [(1, "light"), (5, "dark"), (50, "light")])
def test_on_a_phone_all_is_there_and_nothing_sticks_out(
    tab: Tab, policies: int, scheme: str
) -> None:
    served = made_up(policies)
    with listening(served) as url:
        tab.show(f"{url}?code={served.access.code}", width=PHONE, scheme=scheme)
        tab.until("document.querySelectorAll('#curves path.line').length > 15")
        tab.until("document.querySelectorAll('#files li').length == 2")
        assert tab.value("document.documentElement.scrollWidth") <= PHONE
        assert tab.value("document.querySelectorAll('#policies tr').length") == policies
        assert tab.value("document.querySelectorAll('#simulators tr').length") == 64
        titles = tab.value("[...document.querySelectorAll('.curve .name')].map(i => i.textContent)")
        # Text and what is behind it differ, whatever the scheme.
        colors = "(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))"
        text, behind = (sum(map(int, it[4:-1].split(","))) for it in tab.value(colors))
        tab.leave()
    for title in (
        "Return, last 100 episodes",
        "Episode length",
        "Entropy",
        "Entropy of action 1",
        "Sigma of action 1",
        "Policy loss",
        "Value loss",
        "Entropy loss",
        "KL of an update",
        "Share waiting for simulators",
        "Share learning",
    ):
        assert title in titles
    assert (text < 150 and behind > 600) if scheme == "light" else (text > 600 and behind < 150)
    assert tab.trouble == []


HOSTILE = "<img src=x onerror=alert(2)>{{ 7*7 }}</dl><script>alert(1)</script>"


def test_what_simulators_report_is_drawn_whatever_it_is_called(tab: Tab) -> None:
    served = made_up(2)
    first, second = (each.name for each in served.source.facts.policies)
    names = [HOSTILE, "__proto__", "x" * 200]
    for update in range(3):
        served.board.note_update(
            first,
            {"time/seconds": 400.0 + update},
            dict.fromkeys(names, 1.0 + update),
            env_steps=50_000 + update,
            wall_time=1.8e9,
        )
    drawn = "[...document.querySelectorAll('#statistics .name')].map(i => i.textContent)"
    with listening(served) as url:
        tab.show(url, width=PHONE)
        tab.until("document.querySelectorAll('#statistics path.line').length == 4")
        assert tab.value(drawn) == ["coins", *names]
        value = "document.querySelectorAll('#statistics .value')[{}].textContent.trim()"
        # The first was not reported any more: what it was stays.
        assert [tab.value(value.format(index)) for index in range(2)] == ["3", "3"]
        assert tab.value("document.querySelectorAll('#statistics img, main script').length") == 0
        assert tab.value("document.documentElement.scrollWidth") <= PHONE
        choose = f"(p => {{ p.value = '{second}'; p.dispatchEvent(new Event('change')) }})"
        tab.value(f"{choose}(document.getElementById('policy'))")
        tab.until("document.querySelectorAll('#statistics path.line').length == 1")
        assert tab.value(drawn) == ["coins"]
        tab.leave()
    assert tab.trouble == []


def test_without_a_mouse_the_curves_are_reached_and_read(tab: Tab) -> None:
    with listening(made_up(1)) as url:
        tab.show(url, width=PHONE)
        tab.until("document.querySelectorAll('#curves path.line').length > 15")
        tab.press("Tab")
        assert tab.value("document.activeElement.className") == "skip"
        tab.value("document.querySelector('.curve').focus()")
        newest = tab.value(SHOWN)
        tab.press("Home")
        assert tab.value(SHOWN) == "0.8415 at 0 steps"
        tab.press("Escape")
        assert tab.value(SHOWN) == newest
        tab.leave()
