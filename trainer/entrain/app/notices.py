"""Posts news of a run to the URLs of `notify`: its end, its failure, alarms.

    {"event": "alarm", "run": "walk", "time": "2026-11-29T15:00:00Z", "text": "...", ...}

Whatever the servers do, the run goes on; at its end they have `notify.timeout_s`.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from entrain.app import poster
from entrain.app.poster import Poster, Target, shown
from entrain.config.notify import MOST_URLS, NotifyConfig, require_host
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, EntrainError
from entrain.quoting import shortened
from entrain.run.folder import RunFolder
from entrain.run.log_lines import escape_control_chars
from entrain.run.summary import Outcome, RunSummary
from entrain_envs.log_lines import level_word, utc

logger = logging.getLogger(__name__)

QUIET_S = 3600.0
"""How long an alarm is not repeated."""

MOST_ALARMS = 20
"""In that time, of all kinds."""

MOST_TEXT = 1000


class Alarms(logging.Handler):
    """Passes warnings and errors on, each kind once an hour. Any thread may log."""

    def __init__(
        self, tell: Callable[[str, str], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Call `tell` with level and message."""
        super().__init__(logging.WARNING)
        self._tell = tell
        self._clock = clock
        self._told_s: dict[tuple[str, str], float] = {}
        # Its own trouble must not make further messages.
        self.addFilter(lambda record: record.name not in {poster.__name__, __name__})

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one on; never raises."""
        try:
            now_s, kind = self._clock(), (record.name, str(record.msg))
            self._told_s = {it: at for it, at in self._told_s.items() if now_s - at < QUIET_S}
            if kind not in self._told_s and len(self._told_s) < MOST_ALARMS:
                self._told_s[kind] = now_s
                self._tell(level_word(record), escape_control_chars(record.getMessage()))
        except Exception:
            self.handleError(record)


class Notices:
    """News of one run. Any thread may tell them."""

    def __init__(self, config: NotifyConfig, run: str, posters: Sequence[Poster]) -> None:
        """Nothing is told yet.

        Args:
            config: which events are told.
            run: its name.
            posters: one for each URL.
        """
        self._config = config
        self._run = run
        self._posters = posters

    def alarm(self, level: str, text: str) -> None:
        """Something that the log warns of."""
        self._tell("alarm", text, level=level)

    def end(self, outcome: Outcome, summary: RunSummary, *, exit_code: int) -> None:
        """The run is completed or was stopped, and everything is saved."""
        text = f"{outcome} after {summary.env_steps:,} env steps"
        policies = {
            name: {"env_steps": each.progress.env_steps, "total_steps": each.total_steps}
            for name, each in summary.policies.items()
        }
        self._tell(
            "end",
            text,
            outcome=outcome,
            exit_code=exit_code,
            env_steps=summary.env_steps,
            seconds=summary.seconds,
            policies=policies,
        )

    def failure(self, error: BaseException) -> None:
        """The run ends with an error."""
        is_ours = isinstance(error, EntrainError)
        text = str(error) if is_ours else f"a bug in entrain: {type(error).__name__}: {error}"
        code = error.exit_code if isinstance(error, EntrainError) else EntrainError.exit_code
        self._tell("failure", text, outcome="failed", exit_code=code)

    def _tell(self, event: str, text: str, **facts: object) -> None:
        if event not in self._config.events:
            return
        text = shortened(text, MOST_TEXT)
        message: Mapping[str, object] = {
            "event": event,
            "run": self._run,
            "host": socket.gethostname(),
            "time": f"{utc(time.time())[:19]}Z",
            "text": f"{self._run}: {text}",
            **facts,
        }
        for each in self._posters:
            each.post(message)


@contextmanager
def notices_of(config: RunConfig, folder: RunFolder) -> Iterator[Notices]:
    """Within the block, alarms are told, and an error that leaves it is.

    Raises:
        ConfigError: `notify.url_file` cannot be read, or has no URL.
    """
    options = config.notify
    urls = [*options.urls, *_in_file(options)]
    posters = [
        Poster(
            lambda url=url: Target(url=url),  # type: ignore[misc]
            what="notify",
            timeout_s=options.timeout_s,
            retries=options.retries,
        )
        for url in urls
    ]
    notices = Notices(options, folder.name, posters)
    if posters:
        logger.info("news of this run go to %s", ", ".join(dict.fromkeys(map(shown, urls))))
    alarms, root = Alarms(notices.alarm), logging.getLogger()
    if posters:
        root.addHandler(alarms)
    try:
        yield notices
    except Exception as error:
        notices.failure(error)
        raise
    finally:
        root.removeHandler(alarms)
        ends_s = time.monotonic() + options.timeout_s
        for each in posters:
            each.close(within_s=max(0.0, ends_s - time.monotonic()))


def _in_file(options: NotifyConfig) -> Sequence[str]:
    path = options.url_file
    if path is None:
        return ()
    try:
        urls = path.read_text(encoding="utf-8").split()
        for url in urls:
            require_host(url)
    except OSError as error:
        raise ConfigError(
            f"notify.url_file is {path}, which cannot be read: {error.strerror or error}"
        ) from None
    except ValueError:
        raise ConfigError(
            f"notify.url_file is {path}, which has a line that is no http or https URL"
        ) from None
    if not urls or len(urls) > MOST_URLS:
        raise ConfigError(
            f"notify.url_file is {path}, which has {len(urls)} URLs; expected 1 to {MOST_URLS}, "
            "one a line"
        )
    return urls
