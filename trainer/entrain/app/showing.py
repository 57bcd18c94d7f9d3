"""A run's page, where a command asks for one. Nothing of it is imported where none does."""

import logging
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.console import Console

from entrain.app.observing import RunObserver, RunObservers
from entrain.app.signals import StopRequest
from entrain.app.training import TrainingRun
from entrain.config.run import RunConfig
from entrain.run.folder import RunFolder
from entrain.run.json_lines import fields, is_json_logged

if TYPE_CHECKING:
    from entrain.app.run_page import RunPage

logger = logging.getLogger(__name__)


@contextmanager
def page_of(config: RunConfig, folder: RunFolder) -> Iterator["RunPage | None"]:
    """Within the block, the run's page listens, if there is to be one."""
    if config.http.address is None:
        yield None
        return
    # Only for who wants a page: it takes a while to import.
    from entrain.app.run_page import open_page  # noqa: PLC0415

    with open_page(config, folder) as page:
        yield page


def all_of(*observers: RunObserver | None) -> RunObserver | None:
    """Returns all that are there as one observer; a page is one, too."""
    there = [each for each in observers if each is not None]
    return RunObservers(*there) if len(there) > 1 else next(iter(there), None)


def show_on(
    page: "RunPage | None", run: TrainingRun, request: StopRequest, console: Console
) -> None:
    """Say where the page is. What lets a browser in is shown to people, and never logged."""
    if page is None:
        return
    page.attach(run, stop=lambda: request.make("asked by HTTP"))
    logger.info("the page of this run: %s", page.url, extra=fields(page=page.url))
    if page.socket_url:
        logger.info("simulators that speak WebSocket dial %s", page.socket_url)
    if not is_json_logged():
        words = "See this run in a browser until it ends; the address lets one in, once:"
        words = f"\n{words}\n\n    {page.url_with_code}\n"
        console.print(words, highlight=False, soft_wrap=True, markup=False)


def serving(page: "RunPage | None") -> AbstractAsyncContextManager[None]:
    """Within the block, the page answers."""
    return nullcontext() if page is None else page.serving()
