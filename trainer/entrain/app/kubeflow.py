"""Tells Kubeflow how far a run is, where Kubeflow's controller has said how (a TrainJob).

It sets three variables in the trainer's container: where to POST, a file with the token, which is
replaced every hour or so, and a file with the authority behind its certificate. See Kubeflow
Trainer 2.3, docs/user-guides/trainjob-progress.md. Whatever the controller does, the run goes on.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from entrain.app.observing import BehaviourObserver
from entrain.app.poster import Poster, Target
from entrain.config.run import RunConfig
from entrain.metrics import (
    ENTROPY,
    EPISODE_LENGTH_MEAN,
    EPISODE_RETURN_LAST,
    KL,
    STEPS_PER_SECOND,
)
from entrain.rollout.episodes import Float64Array
from entrain.serving.aggregates import Summary
from entrain.state import State
from entrain_envs.log_lines import utc
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import Int64Array

logger = logging.getLogger(__name__)

URL: Final = "KUBEFLOW_TRAINER_SERVER_URL"
TOKEN: Final = "KUBEFLOW_TRAINER_SERVER_TOKEN"
AUTHORITY: Final = "KUBEFLOW_TRAINER_SERVER_CA_CERT"

PERIOD_S: Final = 5.0
"""Between two messages, as Kubeflow asks."""

LAST_S: Final = 3.0
"""How long the end of a run may wait for the last message."""

MOST_POLICIES: Final = 32
MOST_NAME: Final = 64
"""Characters of a metric's name that Kubeflow takes."""

_TOLD: Final = (EPISODE_RETURN_LAST, EPISODE_LENGTH_MEAN, ENTROPY, KL, STEPS_PER_SECOND)


class KubeflowProgress:
    """Watches a run, and posts how far it is. Owned by the event loop. See `RunObserver`."""

    def __init__(
        self,
        config: RunConfig,
        post: Callable[[Mapping[str, object]], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Nothing is told yet.

        Args:
            config: of the run.
            post: sends a message some time, and never waits.
            clock: seconds.
            wall_clock: seconds since 1970.
        """
        self._config = config
        self._post = post
        self._clock = clock
        self._wall_clock = wall_clock
        self._told_s = -math.inf
        self._env_steps: dict[str, Callable[[], int]] = {}
        self._metrics: dict[str, Mapping[str, float]] = {}

    def follow(
        self,
        spec: BehaviourSpec,
        take: Callable[[], State | None],  # noqa: ARG002 - see RunObserver
        env_steps: Callable[[], int],
        lessons: Callable[[], Mapping[str, int]],  # noqa: ARG002
    ) -> BehaviourObserver:
        """See `RunObserver`."""
        self._env_steps[spec.name] = env_steps

        def note(metrics: Mapping[str, float]) -> None:
            self._metrics[spec.name] = metrics
            if self._clock() - self._told_s >= PERIOD_S:
                self._tell()

        return _PolicyWatch(note)

    def resume_at(self, env_steps: Mapping[str, int]) -> None:  # noqa: ARG002 - trainers know
        """Tell from where the run goes on."""
        self._tell()

    def close(self) -> None:
        """Tell how it stands at the end."""
        self._tell()

    def _tell(self) -> None:
        self._told_s = self._clock()
        self._post({"trainerStatus": self.status()})

    def status(self) -> Mapping[str, object]:
        """How far the run is, in Kubeflow's form: what is not known is left out."""
        wanted = {name: self._total(name) for name in self._names()}
        done = {name: min(self._done(name), total) for name, total in wanted.items()}
        left_s = max((self._left_s(name, wanted[name] - done[name]) for name in wanted), default=0)
        status: dict[str, object] = {
            "progressPercentage": 100 * sum(done.values()) // max(1, sum(wanted.values())),
            "metrics": self._told_metrics(),
            "lastUpdatedTime": f"{utc(self._wall_clock())[:19]}Z",
        }
        if math.isfinite(left_s):
            status["estimatedRemainingSeconds"] = min(math.ceil(left_s), 2**31 - 1)
        return status

    def _names(self) -> list[str]:
        """Behaviours that take part, or are waited for."""
        awaited = self._config.named_behaviours if self._config.simulators.bring_all else ()
        return list(dict.fromkeys([*awaited, *self._env_steps]))

    def _total(self, name: str) -> int:
        policy = self._config.policy_for(name)
        return 0 if policy is None else policy.total_steps

    def _done(self, name: str) -> int:
        return self._env_steps[name]() if name in self._env_steps else 0

    def _left_s(self, name: str, steps: int) -> float:
        if steps <= 0:
            return 0.0
        rate = self._metrics.get(name, {}).get(STEPS_PER_SECOND.name, math.nan)
        return steps / rate if rate > 0.0 else math.inf

    def _told_metrics(self) -> list[Mapping[str, str]]:
        told: list[Mapping[str, str]] = []
        is_one = len(self._metrics) == 1
        for policy, metrics in list(self._metrics.items())[:MOST_POLICIES]:
            for metric in _TOLD:
                value = metrics.get(metric.name, math.nan)
                if math.isfinite(value):
                    name = metric.name if is_one else f"{policy}/{metric.name}"
                    told.append({"name": name[-MOST_NAME:], "value": f"{value:.6g}"})
        return told


class _PolicyWatch:
    """Passes on what each update measured. See `BehaviourObserver`."""

    due = 2**63 - 1

    def __init__(self, note: Callable[[Mapping[str, float]], None]) -> None:
        self._note = note

    def reach(self, env_steps: int) -> None:
        """Is never called."""

    def note_episodes(self, returns: Float64Array, lengths: Int64Array) -> None:
        """Updates say what they came to."""

    def note_update(
        self,
        metrics: Mapping[str, float],
        statistics: Mapping[str, Summary],  # noqa: ARG002 - see BehaviourObserver
        *,
        env_steps: int,  # noqa: ARG002
    ) -> None:
        """Note it."""
        self._note(metrics)

    def note_evaluation(self, metrics: Mapping[str, float], *, env_steps: int) -> None:  # noqa: ARG002
        """Note it."""
        self._note(metrics)


@contextmanager
def kubeflow_progress(
    config: RunConfig, environment: Mapping[str, str]
) -> Iterator[KubeflowProgress | None]:
    """Within the block, there is one to tell, if `environment` says where to; at its end, what it
    told last is sent.
    """
    url = environment.get(URL, "")
    # Each pod of a TrainJob is given the variables; the first rank knows about all.
    if not url or environment.get("RANK", "0") != "0":
        yield None
        return
    missing = [name for name in (TOKEN, AUTHORITY) if not environment.get(name)]
    if missing or not url.startswith("https://"):
        wrong = f"{' and '.join(missing)} is missing" if missing else f"{URL} is no https URL"
        logger.warning("Kubeflow is not told of the progress of this run: %s", wrong)
        yield None
        return
    token, authority = Path(environment[TOKEN]), Path(environment[AUTHORITY])

    def target() -> Target:
        # Read each time: both are renewed while the run goes on.
        bearer = token.read_text(encoding="ascii").strip()
        return Target(url=url, headers={"Authorization": f"Bearer {bearer}"}, ca_file=authority)

    # Only the newest is of interest, so no earlier one waits, or is tried again.
    poster = Poster(
        target, what="Kubeflow's progress", timeout_s=PERIOD_S, retries=0, most_waiting=1
    )
    logger.info("Kubeflow is told of the progress of this run")
    try:
        yield KubeflowProgress(config, poster.post)
    finally:
        poster.close(within_s=LAST_S)
