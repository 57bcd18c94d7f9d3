"""Tells a run's observers how it goes: those that its settings name, and those of a program.

Each has a thread and a bounded queue of its own, so that none can hold up or fail the run, or the
others. See `entrain.observers` for what they are.
"""

import difflib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from entrain.app.background_queue import BackgroundQueue
from entrain.app.observing import BehaviourObserver, RunObserver
from entrain.app.poster import shown
from entrain.config.observers import ObserverConfig
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, EntrainError, describe
from entrain.metrics import STATISTICS
from entrain.observers import (
    METHODS,
    CheckpointSaved,
    PolicyEvaluated,
    PolicyUpdated,
    RunBegan,
    RunEnded,
)
from entrain.quoting import shortened
from entrain.rollout.episodes import Float64Array
from entrain.run.folder import RunFolder
from entrain.run.summary import Outcome
from entrain.serving.aggregates import Summary
from entrain.state import State
from entrain.user_modules import import_module_of
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Int64Array

logger = logging.getLogger(__name__)

MOST_WAITING = 1000
"""Events that wait for one observer; then the oldest is left out."""

WAIT_S = 15.0
"""How long the end of a run may wait for an observer that a program gave."""

Event = tuple[str, object]
"""The method of an observer, and what it is told."""


class Delivery:
    """Tells one observer, in a thread of its own."""

    def __init__(self, observer: object, name: str, *, wait_s: float) -> None:
        """Tell nothing yet.

        Args:
            observer: has at least one of the methods.
            name: for the log.
            wait_s: longest that the end of the run waits for it.

        Raises:
            ConfigError: it has none of the methods.
        """
        if not any(callable(getattr(observer, method, None)) for method in METHODS):
            raise ConfigError(
                f"observer {name} has none of the methods {', '.join(METHODS)}; see "
                "entrain.observers.Observer"
            )
        self._observer = observer
        self.name = name
        self.wait_s = wait_s
        self._has_failed = self._has_left_out = False
        self._queue: BackgroundQueue[Event] = BackgroundQueue(
            self._deal, name=f"observer {name}", most_waiting=MOST_WAITING
        )

    def tell(self, method: str, fact: object) -> None:
        """Tell it some time. Returns at once, and never raises."""
        if not callable(getattr(self._observer, method, None)):
            return
        if not self._queue.put((method, fact)) and not self._has_left_out:
            self._has_left_out = True
            logger.warning(
                "observer %s takes less than it is told: the oldest of %s events are left out",
                self.name,
                f"{MOST_WAITING:,}",
            )

    def _deal(self, event: Event) -> None:
        method, fact = event
        try:
            getattr(self._observer, method)(fact)
        except BaseException as error:
            # SystemExit as well: some packages end a program that they are not happy with.
            level = logging.DEBUG if self._has_failed else logging.WARNING
            self._has_failed = True
            words = shortened(f"{type(error).__name__}: {error}")
            logger.log(
                level,
                "observer %s failed in %s: %s; the run goes on, and further failures of it are "
                "logged with --verbose",
                *(self.name, method, words),
            )
            logger.debug("observer %s", self.name, exc_info=error)

    def close(self, *, within_s: float) -> None:
        """Wait for it, and give up what it has not been told by then."""
        if left := self._queue.close(within_s=within_s):
            logger.warning("observer %s was not told of the last %d events", self.name, left)


class OutsideObservers:
    """All of them, as one `RunObserver`. Owned by the event loop."""

    def __init__(
        self, config: RunConfig, folder: RunFolder, deliveries: Sequence[Delivery]
    ) -> None:
        """Tell nothing yet.

        Args:
            config: of the run.
            folder: of the run.
            deliveries: one for each observer.
        """
        self._config, self._folder = config, folder
        self._deliveries = deliveries
        self._env_steps: dict[str, int] = {}
        self._has_begun = self._has_ended = False
        self.is_resumed = False
        """Whether the run goes on from a checkpoint."""

    @property
    def watching(self) -> RunObserver | None:
        """Itself, if there is anybody to tell."""
        return self if self._deliveries else None

    def _tell(self, method: str, fact: object) -> None:
        for each in self._deliveries:
            each.tell(method, fact)

    def begin(self) -> None:
        """The run begins, or goes on."""
        self._has_begun = True
        began = RunBegan(
            run=self._folder.name,
            folder=self._folder.path,
            keep=self._folder.observers,
            config=MappingProxyType(_told_config(self._config)),
            is_resumed=self.is_resumed,
            env_steps=MappingProxyType(dict(self._env_steps)),
        )
        self._tell("began", began)

    def follow(
        self,
        spec: BehaviourSpec,
        take: Callable[[], State | None],  # noqa: ARG002 - see RunObserver
        env_steps: Callable[[], int],  # noqa: ARG002
        lessons: Callable[[], Mapping[str, int]],  # noqa: ARG002
    ) -> BehaviourObserver:
        """See `RunObserver`."""
        return _PolicyWatch(spec.name, self._note)

    def _note(self, method: str, fact: "PolicyUpdated | PolicyEvaluated") -> None:
        self._env_steps[fact.behaviour] = fact.env_steps
        self._tell(method, fact)

    def resume_at(self, env_steps: Mapping[str, int]) -> None:
        """See `RunObserver`."""
        self._env_steps = dict(env_steps)

    def note_checkpoint(self, path: Path, env_steps: int) -> None:
        """A checkpoint is on the disk."""
        self._tell("saved", CheckpointSaved(path=path, env_steps=env_steps))

    def end(self, outcome: Outcome, *, error: str = "", env_steps: int | None = None) -> None:
        """The run ends. Nothing is told of one that has not begun, or twice."""
        if not self._has_begun or self._has_ended:
            return
        self._has_ended = True
        files = {name: self._folder.policy(name) for name in self._env_steps}
        ended = RunEnded(
            outcome=outcome,
            error=error,
            env_steps=sum(self._env_steps.values()) if env_steps is None else env_steps,
            policies=MappingProxyType({name: it for name, it in files.items() if it.is_file()}),
        )
        self._tell("ended", ended)

    def close(self) -> None:
        """See `RunObserver`: what is around the run tells of its end."""


def _told_config(config: RunConfig) -> dict[str, Any]:
    """Every option, but for what may hold secrets: of URLs the host, of observers their classes."""
    return {
        **config.model_dump(mode="json"),
        "notify": {
            **config.notify.model_dump(mode="json"),
            "url": [shown(url) for url in config.notify.urls],
        },
        "observers": [each.class_ for each in config.observers],
    }


class _PolicyWatch:
    """Passes on what one policy's updates and evaluations measured. See `BehaviourObserver`."""

    due = 2**63 - 1

    def __init__(
        self, behaviour: str, note: Callable[[str, PolicyUpdated | PolicyEvaluated], None]
    ) -> None:
        self._behaviour = behaviour
        self._note = note

    def reach(self, env_steps: int) -> None:
        """Is never called."""

    def note_episodes(self, returns: Float64Array, lengths: Int64Array) -> None:
        """Updates say what they came to."""

    def note_update(
        self, metrics: Mapping[str, float], statistics: Mapping[str, Summary], *, env_steps: int
    ) -> None:
        """Note it."""
        reported = {f"{STATISTICS}{name}": each.value for name, each in statistics.items()}
        values = MappingProxyType({**metrics, **reported})
        update = PolicyUpdated(behaviour=self._behaviour, env_steps=env_steps, metrics=values)
        self._note("updated", update)

    def note_evaluation(self, metrics: Mapping[str, float], *, env_steps: int) -> None:
        """Note it."""
        values = MappingProxyType(dict(metrics))
        fact = PolicyEvaluated(behaviour=self._behaviour, env_steps=env_steps, metrics=values)
        self._note("evaluated", fact)


@contextmanager
def outside_observers(
    config: RunConfig, folder: RunFolder, given: Sequence[object] = ()
) -> Iterator[OutsideObservers]:
    """Within the block, observers can be told; they are told of an error that leaves it.

    Args:
        config: of the run, which may name some.
        folder: of the run.
        given: by a program.

    Raises:
        ConfigError, MissingExtraError: one cannot be made.
    """
    deliveries = [Delivery(made(it), it.class_, wait_s=it.wait_s) for it in config.observers]
    deliveries += [Delivery(it, type(it).__name__, wait_s=WAIT_S) for it in given]
    if deliveries:
        logger.info("observers of this run: %s", ", ".join(each.name for each in deliveries))
    observers = OutsideObservers(config, folder, deliveries)
    try:
        yield observers
    except BaseException as error:
        observers.end("failed", error=_why(error))
        raise
    finally:
        began_s = time.monotonic()
        for each in deliveries:
            each.close(within_s=max(0.0, began_s + each.wait_s - time.monotonic()))


def _why(error: BaseException) -> str:
    return describe(error) if isinstance(error, Exception) else "it was given up"


def made(config: ObserverConfig) -> Any:
    """Makes the observer that the settings describe; ConfigError if that fails."""
    where = f"observers: {config.class_}"
    module, class_name = import_module_of(config.class_, where=where)
    make = getattr(module, class_name, None)
    if not callable(make):
        near = difflib.get_close_matches(class_name, vars(module), n=1)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"{where}: {module.__name__} has no class '{class_name}'{meant}")
    try:
        return make(**config.options)
    except EntrainError as error:
        raise type(error)(f"{where}: {error}") from error
    except Exception as error:
        raise ConfigError(
            f"{where}: it cannot be made with the options {config.options}: "
            f"{type(error).__name__}: {error}"
        ) from error
