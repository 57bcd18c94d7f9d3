"""A page that listens: its address, its tokens, its log, and the server that answers for it."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

from entrain.app.page_place import PagePlace, listening
from entrain.app.page_tokens import tokens_of
from entrain.config.http import HttpConfig
from entrain.config.run import RunConfig
from entrain.page.access import Access
from entrain.page.board import LogLines
from entrain.page.guard import Guard
from entrain.page.hosts import Hosts
from entrain.page.server import PageServer
from entrain.page.sockets import WebSockets
from entrain.run.log_lines import escape_control_chars
from entrain_envs.log_lines import level_word


class Answering(Protocol):
    """The site of a page."""

    @property
    def application(self) -> Guard:
        """Answers every request."""
        ...

    def close(self) -> None:
        """End all event streams."""
        ...


class OpenPage:
    """See the module. Owned by the event loop."""

    def __init__(self, http: HttpConfig, place: PagePlace, tokens: Path) -> None:
        """Do not answer yet.

        Args:
            http: its options.
            place: where it listens.
            tokens: the file that keeps them, page.json.
        """
        self.url = place.url
        """Where the page is."""
        self.log = LogLines(_level_and_message)
        """What the page remembers of the log."""
        is_open = place.address.is_local and http.read_token_file is None
        self.access = Access(
            tokens_of(http, tokens, url=self.url), port=place.port, is_open=is_open
        )
        self.hosts = Hosts(place.address.host, http.hosts)
        self.is_secure = place.certificate is not None
        """Whether it is served over TLS."""
        self._place = place

    @property
    def url_with_code(self) -> str:
        """The URL that lets one browser in, once, to read and to control."""
        return f"{self.url}?code={self.access.code}"

    @asynccontextmanager
    async def serving(
        self, site: Answering, sockets: WebSockets | None = None
    ) -> AsyncIterator[None]:
        """Within the block, answer requests, and WebSockets if there are to be any."""
        place = self._place
        server = PageServer(site.application, place.sockets, place.certificate, sockets)
        async with server.serving():
            try:
                yield
            finally:
                site.close()


@contextmanager
def opened(config: RunConfig, tokens: Path) -> Iterator[OpenPage]:
    """Listens where `http.address` says; within the block, the log goes to the page as well.

    Args:
        config: its `http` and the certificate of its `server` count.
        tokens: see `OpenPage`.

    Raises:
        ConfigError: the address is wrong, or too exposed.
        ServeError: it cannot be listened on, or a file of certificate or token is wrong.
    """
    with listening(config) as place:
        page = OpenPage(config.http, place, tokens)
        root = logging.getLogger()
        root.addHandler(page.log)
        try:
            yield page
        finally:
            root.removeHandler(page.log)


def _level_and_message(record: logging.LogRecord) -> tuple[str, str]:
    return level_word(record), escape_control_chars(record.getMessage())
