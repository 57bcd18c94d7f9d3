"""The page of several runs: it listens, and says how they stand when asked."""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

from entrain.app.page_opening import OpenPage, opened
from entrain.config.run import RunConfig
from entrain.supervise.facts import Source
from entrain.supervise.places import Places
from entrain.supervise.site import RunsSite


class RunsPage:
    """See the module. Owned by the event loop."""

    def __init__(self, page: OpenPage, source: Source) -> None:
        """Do not answer yet.

        Args:
            page: listens.
            source: of what it shows.
        """
        self._page = page
        self._site = RunsSite(page.log, source, page.access, page.hosts, is_secure=page.is_secure)

    @property
    def url(self) -> str:
        """Where the page is."""
        return self._page.url

    @property
    def url_with_code(self) -> str:
        """The URL that lets one browser in, once."""
        return self._page.url_with_code

    def serving(self) -> AbstractAsyncContextManager[None]:
        """Within the block, answer requests."""
        return self._page.serving(self._site)


@contextmanager
def open_page(config: RunConfig, places: Places, source: Source) -> Iterator[RunsPage]:
    """Listens where `http.address` says; within the block, the log goes to the page as well.

    Raises:
        ConfigError: the address is wrong, or too exposed.
        ServeError: it cannot be listened on, or a file of certificate or token is wrong.
    """
    with opened(config, places.page) as page:
        yield RunsPage(page, source)
