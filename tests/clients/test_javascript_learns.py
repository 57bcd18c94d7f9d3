"""The examples in JavaScript learn: physics of Rapier in Node, a game in a page of a browser."""

import asyncio
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from entrain.app.training import TrainingRun
from entrain.config.run import ServerConfig
from entrain.rollout.return_statistics import ReturnStatistics
from entrain.run.folder import RunFolder
from entrain.serving.front import Ending
from live_run import config_from, train
from support.chromium import CHROMIUM, Tab, a_tab
from support.native_server import NativeServer
from support.node import NPM_MODULES, PACKAGE, needs_node, needs_npm_modules, running
from support.ports import free_port

pytestmark = pytest.mark.clients

EXAMPLES = PACKAGE / "examples"
BIRDS = "/examples/birds/index.html"

CONFIG = """
seed: 1
server:
  address: localhost:0
  websocket: localhost:{port}
  origins: [{origins}]
  lockstep: true
policies:
  {name}: {{total_steps: {total_steps}, rollout_steps: {rollout_steps}}}
"""


def statistics_of(run: TrainingRun) -> ReturnStatistics:
    (trainer,) = run.trainers.values()
    return trainer.episodes.statistics


@needs_node
@needs_npm_modules
async def test_balls_of_rapier_learn_to_reach_their_goals(tmp_path: Path) -> None:
    game = tmp_path / "rapier"
    shutil.copytree(EXAMPLES / "rapier", game)
    (game / "node_modules").mkdir()
    (game / "node_modules" / "@dimforge").symlink_to(NPM_MODULES / "@dimforge")
    (game / "node_modules" / "entrain-envs").symlink_to(PACKAGE)
    port = free_port()
    text = CONFIG.format(name="ball", port=port, origins="", total_steps=30720, rollout_steps=2048)
    with running(game / "learn.js", f"ws://localhost:{port}"):
        outcome, run = await train(
            config_from(text, tmp_path), RunFolder.create(tmp_path / "runs", "run")
        )
    assert outcome == "completed"
    statistics = statistics_of(run)
    # At first nearly all fall, which is -1; who reaches the goal has 1 and how far it came.
    assert statistics.first_mean < 0.0
    assert statistics.last_mean > 0.8


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and writes nothing."""

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@contextmanager
def static_server() -> Iterator[str]:
    """Serves the package's folder, as any server of files does; yields the origin."""
    handler = functools.partial(Quiet, directory=str(PACKAGE))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def watch(tab: Tab, url: str) -> str:
    """Opens the page, watches until training is complete, and returns its score."""
    tab.show(url, width=800, height=700)
    tab.until("document.getElementById('news')?.textContent.includes('joined')", seconds=60)
    # The picture changes while the trainer learns.
    tab.until("document.getElementById('score')?.textContent.includes('lives')", seconds=60)
    tab.until("document.getElementById('news')?.textContent.includes('is done')", seconds=400)
    return str(tab.value("document.getElementById('score').textContent"))


@pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is missing (Debian: apt-get install chromium)"
)
@pytest.mark.timeout(500)
async def test_birds_learn_in_a_page_while_it_is_watched(tmp_path: Path) -> None:
    port = free_port()
    with static_server() as origin, a_tab(tmp_path / "profile") as tab:
        text = CONFIG.format(
            name="bird", port=port, origins=f'"{origin}"', total_steps=65536, rollout_steps=4096
        )
        page = f"{origin}{BIRDS}?trainer=ws://localhost:{port}"
        watching = asyncio.create_task(asyncio.to_thread(watch, tab, page))
        outcome, run = await train(
            config_from(text, tmp_path), RunFolder.create(tmp_path / "runs", "run")
        )
        score = await watching
        assert not [each for each in tab.trouble if "exceptionThrown" in each or "Error:" in each]
    assert outcome == "completed"
    statistics = statistics_of(run)
    assert statistics.last_mean > statistics.first_mean + 2.0
    assert "gaps a life" in score


@pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is missing (Debian: apt-get install chromium)"
)
async def test_a_page_that_is_not_listed_cannot_join_and_is_told_what_to_look_at(
    tmp_path: Path,
) -> None:
    port = free_port()
    text = CONFIG.format(
        name="bird", port=port, origins='"http://other.example"', total_steps=57344,
        rollout_steps=4096,
    )  # fmt: skip

    def look(tab: Tab, url: str) -> None:
        tab.show(url, width=800, height=700)
        tab.until("document.getElementById('news')?.textContent.includes('server.origins')")

    with static_server() as origin, a_tab(tmp_path / "profile") as tab:
        page = f"{origin}{BIRDS}?trainer=ws://localhost:{port}"
        looking = asyncio.create_task(asyncio.to_thread(look, tab, page))
        outcome, run = await train(
            config_from(text, tmp_path),
            RunFolder.create(tmp_path / "runs", "run"),
            stop_at=lambda _: looking.done(),
        )
        await looking
    assert outcome == "stopped"
    assert run.participants.counters["sessions_joined"] == 0


@pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is missing (Debian: apt-get install chromium)"
)
async def test_a_page_joins_with_its_token_and_without_it_waits(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret/+\n")

    def join(tab: Tab, origin: str, url: str) -> tuple[str, str]:
        tab.show(f"{origin}/package.json", width=800, height=700)
        tab.until(f"location.href == '{origin}/package.json' && document.readyState == 'complete'")
        for token in ("s3cret/+", "guess"):
            tab.value(
                f"""import('{origin}/src/browser.js').then(async (entrain) => {{
                    const action = {{ branches: [2] }};
                    const spec = {{ name: 'x', observations: {{ y: {{}} }}, action }};
                    const options = {{ simulator: 's', token: '{token}', connectS: 1 }};
                    const client = new entrain.TrainerClient('{url}', [spec], options);
                    const joined = client.connect().then((it) => it.runId, (it) => it.name);
                    window['{token}'] = await joined;
                    await client.close();
                }}); 0"""
            )
            tab.until(f"window['{token}']")
        return tab.value("window['s3cret/+']"), tab.value("window.guess")

    with static_server() as origin, a_tab(tmp_path / "profile") as tab:
        server = NativeServer(
            ServerConfig(
                address="localhost:0",
                websocket="localhost:0",
                origins=(origin,),
                token_file=tmp_path / "token",
            )
        )
        await server.start()
        url = server.front.websocket_url
        with_it, without = await asyncio.to_thread(join, tab, origin, url)
        await server.stop(Ending.STOPPED, "the test is over", goodbye_s=0.1)
    assert (with_it, without) == ("run", "ConnectionLostError")
    assert server.participants.counters["sessions_joined"] == 1
