"""A run's page as the run sees it: it listens, watches, and says how the run stands when asked.

What is costly is done when somebody looks, never for each exchange.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias

from entrain.app.control import RunControl
from entrain.app.observing import BehaviourObserver
from entrain.app.page_facts import FactsOfRun
from entrain.app.page_files import PageFiles
from entrain.app.page_opening import OpenPage, opened
from entrain.app.training import TrainingRun
from entrain.config.hiding import without_secrets
from entrain.config.load import to_yaml
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.metrics import SECONDS, STATISTICS
from entrain.native.websocket_server import socket_limits
from entrain.native.websocket_transport import SIMULATE
from entrain.page.board import Board
from entrain.page.facts import Artefact, Form, RefusedError, RunFacts
from entrain.page.site import Site
from entrain.page.sockets import WebSockets
from entrain.rollout.episodes import Float64Array
from entrain.run.folder import RunFolder
from entrain.run.table import is_of_evaluation, read_metrics
from entrain.serving.aggregates import Summary
from entrain.state import State
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Int64Array

logger = logging.getLogger(__name__)

Note: TypeAlias = Callable[[Mapping[str, float], Mapping[str, float], int], None]
"""Takes metrics, statistics and env steps of an update."""


class _PolicyWatch:
    """Notes what updates and evaluations of one policy measured. See `BehaviourObserver`."""

    due = 2**63 - 1

    def __init__(self, note: Note) -> None:
        self._note = note

    def reach(self, env_steps: int) -> None:
        """Is never called."""

    def note_episodes(self, returns: Float64Array, lengths: Int64Array) -> None:
        """Curves are of updates and evaluations."""

    def note_update(
        self, metrics: Mapping[str, float], statistics: Mapping[str, Summary], *, env_steps: int
    ) -> None:
        """Note it."""
        values = {name: each.value for name, each in statistics.items()}
        self._note(metrics, values, env_steps)

    def note_evaluation(self, metrics: Mapping[str, float], *, env_steps: int) -> None:
        """Note it, too: its curves are beside those of training."""
        self._note(metrics, {}, env_steps)


class RunPage:
    """The page of one run, which is also its observer and its source. Owned by the event loop."""

    def __init__(self, config: RunConfig, folder: RunFolder, page: OpenPage) -> None:
        """Watch a run that has not begun.

        Args:
            config: of the run.
            folder: of the run.
            page: listens.
        """
        self._page = page
        self._config, self._folder = config, folder
        self._run: TrainingRun | None = None
        self._stop: Callable[[], None] = lambda: None
        # It has the URLs whole.
        self._files = PageFiles(folder, without=[folder.config] if config.notify.urls else ())
        self._facts = FactsOfRun(config, folder.name)
        self.board = Board(page.log)
        """What the page remembers."""
        self._site = Site(self.board, self, page.access, page.hosts, is_secure=page.is_secure)

    @property
    def url(self) -> str:
        """Where the page is."""
        return self._page.url

    @property
    def url_with_code(self) -> str:
        """The URL that lets one browser in, once, to read and to control."""
        return self._page.url_with_code

    def attach(self, run: TrainingRun, stop: Callable[[], None] = lambda: None) -> None:
        """From now on, show this run; `stop` asks it to stop."""
        self._facts.attach(run)
        self._run, self._stop = run, stop

    def serving(self) -> AbstractAsyncContextManager[None]:
        """Within the block, answer requests."""
        return self._page.serving(self._site, self._web_sockets())

    def _web_sockets(self) -> WebSockets | None:
        simulators = None if self._run is None else self._run.web_sockets
        if simulators is None or not self._config.is_websocket_on_page:
            return None
        simulators.url = self.socket_url
        return WebSockets(simulators, socket_limits(self._config.server))

    @property
    def socket_url(self) -> str:
        """The URL for simulators that speak WebSocket; "" if that is not the page's server."""
        url = f"ws{self.url.removeprefix('http').rstrip('/')}{SIMULATE}"
        return url if self._config.is_websocket_on_page else ""

    # A source of facts

    def run(self) -> RunFacts:
        """See `Source`."""
        return self._facts.now()

    def config(self) -> str:
        """See `Source`."""
        config = self._config if self._run is None else self._run.control.changes.config
        return without_secrets(to_yaml(config))

    def artefacts(self) -> Sequence[Artefact]:
        """See `Source`."""
        return self._files.listed()

    def path_of(self, artefact: str) -> str | None:
        """See `Source`."""
        return self._files.path_of(artefact)

    def save(self) -> None:
        """See `Source`."""
        logger.info("a checkpoint is asked for by HTTP")
        if self._run is not None:
            self._run.checkpointing.want()

    def stop(self) -> None:
        """See `Source`."""
        self._stop()

    def pause(self) -> None:
        """See `Source`."""
        with self._control() as control:
            control.hold()

    def go_on(self) -> None:
        """See `Source`."""
        with self._control() as control:
            control.go_on()

    def change(self, settings: Sequence[str], *, from_update: int | None) -> None:
        """See `Source`."""
        with self._control() as control:
            control.change(settings, from_update=from_update)

    def export(self, form: Form) -> None:
        """See `Source`."""
        with self._control() as control:
            control.export(form)

    @contextmanager
    def _control(self) -> Iterator[RunControl]:
        if self._run is None:
            raise RefusedError("the run has not begun yet")
        try:
            yield self._run.control
        except ConfigError as error:
            raise RefusedError(str(error)) from None

    # An observer of the run

    def follow(
        self,
        spec: BehaviourSpec,
        take: Callable[[], State | None],  # noqa: ARG002 - see RunObserver
        env_steps: Callable[[], int],  # noqa: ARG002
        lessons: Callable[[], Mapping[str, int]],  # noqa: ARG002
    ) -> BehaviourObserver:
        """See `RunObserver`."""

        def note(metrics: Mapping[str, float], statistics: Mapping[str, float], at: int) -> None:
            if not is_of_evaluation(metrics):
                self._facts.note_round(spec.name, metrics, now_s=metrics[SECONDS.name])
            self.board.note_update(
                spec.name, metrics, statistics, env_steps=at, wall_time=time.time()
            )

        return _PolicyWatch(note)

    def resume_at(self, env_steps: Mapping[str, int]) -> None:  # noqa: ARG002 - see RunObserver
        """Fill the curves with what earlier sittings measured, as metrics.csv has it now."""
        self.board.clear()
        if self._folder.metrics.is_file():
            fill(self.board, self._folder.metrics)

    def close(self) -> None:
        """See `RunObserver`: the page ends with the run's event loop."""


def fill(board: Board, path: Path) -> None:
    """Note every row of the table at `path`; what cannot be read is left out."""
    try:
        known = read_metrics(path)
    except ConfigError as error:
        logger.warning("the page begins without earlier curves: %s", error)
        return
    for policy, series in known.items():
        for row, env_steps in enumerate(series.env_steps.tolist()):
            values = {name: float(column[row]) for name, column in series.columns.items()}
            metrics = {name: it for name, it in values.items() if not name.startswith(STATISTICS)}
            statistics = {
                name.removeprefix(STATISTICS): it
                for name, it in values.items()
                if name.startswith(STATISTICS) and math.isfinite(it)
            }
            board.note_update(
                policy,
                metrics,
                statistics,
                env_steps=env_steps,
                wall_time=float(series.wall_time[row]),
            )


@contextmanager
def open_page(config: RunConfig, folder: RunFolder) -> Iterator[RunPage]:
    """Listens where `http.address` says; within the block, the log goes to the page as well.

    Raises:
        ConfigError: the address is wrong, or too exposed.
        ServeError: it cannot be listened on, or a file of certificate or token is wrong.
    """
    with opened(config, folder.page) as page:
        yield RunPage(config, folder, page)
