"""The page of several runs: it listens, and says how they stand when asked."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from entrain.app.page_place import PagePlace, listening
from entrain.app.page_tokens import tokens_of
from entrain.config.run import RunConfig
from entrain.page.access import Access
from entrain.page.board import LogLines
from entrain.page.hosts import Hosts
from entrain.page.server import PageServer
from entrain.run.log_lines import escape_control_chars
from entrain.supervise.facts import Source
from entrain.supervise.places import Places
from entrain.supervise.site import RunsSite
from entrain_envs.log_lines import level_word

logger = logging.getLogger(__name__)


class RunsPage:
    """See the module. Owned by the event loop."""

    def __init__(self, config: RunConfig, places: Places, place: PagePlace, source: Source) -> None:
        """Do not answer yet.

        Args:
            config: its `http` and the certificate of its `server` count.
            places: of the directory.
            place: where the page listens.
            source: of what it shows.
        """
        self.url = place.url
        """Where the page is."""
        tokens = tokens_of(config.http, places.page, url=self.url)
        is_open = place.address.is_local and config.http.read_token_file is None
        self._access = Access(tokens, port=place.port, is_open=is_open)
        self.log = LogLines(_level_and_message)
        """What the page remembers of the log."""
        self._site = RunsSite(
            self.log,
            source,
            self._access,
            Hosts(place.address.host, config.http.hosts),
            is_secure=place.certificate is not None,
        )
        self._server = PageServer(self._site.application, place.sockets, place.certificate)

    @property
    def url_with_code(self) -> str:
        """The URL that lets one browser in, once."""
        return f"{self.url}?code={self._access.code}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Within the block, answer requests."""
        async with self._server.serving():
            try:
                yield
            finally:
                self._site.close()


@contextmanager
def open_page(config: RunConfig, places: Places, source: Source) -> Iterator[RunsPage]:
    """Listens where `http.address` says; within the block, the log goes to the page as well.

    Raises:
        ConfigError: the address is wrong, or too exposed.
        ServeError: it cannot be listened on, or a file of certificate or token is wrong.
    """
    with listening(config) as place:
        page = RunsPage(config, places, place, source)
        root = logging.getLogger()
        root.addHandler(page.log)
        try:
            yield page
        finally:
            root.removeHandler(page.log)


def _level_and_message(record: logging.LogRecord) -> tuple[str, str]:
    return level_word(record), escape_control_chars(record.getMessage())
