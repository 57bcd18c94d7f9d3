"""Observers: who is told how a training run goes, beside its own files and pages.

    class Slack(entrain.Observer):
        def evaluated(self, evaluation):
            post(f"{evaluation.behaviour}: {evaluation.metrics}")

An observer may be named in the settings (`observers: [my_module:Slack]`) or given to
`entrain.train(..., observers=[Slack()])`. Its methods are called in a thread of its own, one after
the other, while training goes on; they may wait for a network. An exception is logged once, and the
observer is told of what follows all the same. It can change nothing.

This module needs nothing but Python, so an observer's module may import it anywhere.
"""

import importlib
import inspect
import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from entrain.errors import ConfigError, MissingExtraError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunBegan:
    """A run begins, or goes on in another process than before."""

    run: str
    """Its name: that of its folder."""

    folder: Path

    keep: Path
    """A folder in it for what the observer itself wants to find again after a resume."""

    config: Mapping[str, Any]
    """Every option, as YAML and JSON have it; secrets in URLs are left out."""

    is_resumed: bool

    env_steps: Mapping[str, int]
    """{behaviour: env steps of its policy so far}; empty where a run begins."""


@dataclass(frozen=True, kw_only=True)
class PolicyUpdated:
    """A policy has learned from a rollout."""

    behaviour: str

    env_steps: int
    """Of this policy."""

    metrics: Mapping[str, float]
    """{name: value} as in metrics.csv (`entrain metrics` explains them). What simulators reported
    is under `statistics/NAME`."""


@dataclass(frozen=True, kw_only=True)
class PolicyEvaluated:
    """A policy was evaluated while it trains."""

    behaviour: str

    env_steps: int
    """Of this policy by now."""

    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class CheckpointSaved:
    """A checkpoint is on the disk."""

    path: Path

    env_steps: int
    """Over all policies."""


@dataclass(frozen=True, kw_only=True)
class RunEnded:
    """This process trains no more; a run that was stopped, or has failed, may go on later."""

    outcome: Literal["completed", "stopped", "failed"]

    error: str
    """Why it failed, on one line; "" if it did not."""

    env_steps: int
    """Over all policies."""

    policies: Mapping[str, Path]
    """{behaviour: its exported policy}, as far as there are any."""


class Observer:
    """Inherit from it and write the methods that you need, or write a class that has some of them.

    All arguments are frozen facts, and what they hold is never changed.
    """

    def began(self, run: RunBegan) -> None:
        """Called first, and once in each process that works on the run."""

    def updated(self, update: PolicyUpdated) -> None:
        """Called after each update of each policy."""

    def evaluated(self, evaluation: PolicyEvaluated) -> None:
        """Called after each evaluation of each policy."""

    def saved(self, checkpoint: CheckpointSaved) -> None:
        """Called after each checkpoint."""

    def ended(self, end: RunEnded) -> None:
        """Called last."""


METHODS = ("began", "updated", "evaluated", "saved", "ended")
"""Of which an observer has at least one."""


class Wandb(Observer):
    """Sends metrics to Weights and Biases, or to a package with the same functions.

    Those are `init(project, name, config, id, resume)`, `log(values, step)` and `finish()`, and
    `Artifact` if policies are to be sent. `trackio` is one. A run that is resumed goes on as the
    same run there.
    """

    def __init__(
        self,
        *,
        package: str = "wandb",
        project: str = "entrain",
        name: str = "",
        policies: bool = False,
        init: Mapping[str, Any] | None = None,
    ) -> None:
        """Import the package, and send nothing yet.

        Args:
            package: that is imported; it must be installed.
            project: in which the run is shown.
            name: of the run there; "" takes the name that it has here.
            policies: whether exported policies are sent as an artifact when the run ends.
            init: further arguments of `init`, such as entity, tags or mode.

        Raises:
            MissingExtraError: the package is not installed.
            ConfigError: it has no such functions.
        """
        try:
            self._package = importlib.import_module(package)
        except ImportError as error:
            raise MissingExtraError(
                f"the package '{package}' cannot be imported: {error}; install it "
                f"(pip install {package}), or leave the observer out"
            ) from error
        missing = [it for it in ("init", "log", "finish") if not hasattr(self._package, it)]
        if missing:
            raise ConfigError(
                f"the package '{package}' has no {' and no '.join(missing)}; expected one with the "
                "functions of wandb: init, log and finish"
            )
        self._name, self._project = name, project
        self._sends_policies = policies
        self._init = dict(init or {})
        self._run: Any = None
        self._began: RunBegan | None = None
        self._plain = ""
        self._env_steps: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Wandb: {self._package.__name__}, project '{self._project}'>"

    def began(self, run: RunBegan) -> None:
        """Begin a run there, or go on with the one of an earlier process."""
        self._began, self._env_steps = run, dict(run.env_steps)
        file = run.keep / f"{self._package.__name__}.json"
        known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        self._plain = known.get("plain", "")
        arguments = {
            "project": self._project,
            "name": self._name or run.run,
            "config": dict(run.config),
            **({"id": known["id"], "resume": "allow"} if known.get("id") else {}),
            **self._init,
        }
        self._run = self._package.init(**arguments)
        self._keep(file)

    def _keep(self, file: Path) -> None:
        """Write down which run it is there, for `began` of the next process."""
        known = {"id": getattr(self._run, "id", None), "plain": self._plain}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(known) + "\n", encoding="utf-8")

    def updated(self, update: PolicyUpdated) -> None:
        """Send the metrics, at the env steps of all policies together."""
        self._log(update.behaviour, update.env_steps, update.metrics)

    def evaluated(self, evaluation: PolicyEvaluated) -> None:
        """Send the metrics."""
        self._log(evaluation.behaviour, evaluation.env_steps, evaluation.metrics)

    def _log(self, behaviour: str, env_steps: int, metrics: Mapping[str, float]) -> None:
        if self._began is None:
            return
        if not self._plain and len(self._began.config["policies"]) == 1:
            self._plain = behaviour
            self._keep(self._began.keep / f"{self._package.__name__}.json")
        # Where several policies learn, each has names of its own.
        prefix = "" if behaviour == self._plain else f"{behaviour}/"
        self._env_steps[behaviour] = max(env_steps, self._env_steps.get(behaviour, 0))
        values = {f"{prefix}{name}": it for name, it in metrics.items() if math.isfinite(it)}
        values[f"{prefix}env_steps"] = env_steps
        self._function("log")(values, step=sum(self._env_steps.values()))

    def ended(self, end: RunEnded) -> None:
        """Send the policies, if they are wanted, and finish, even if they cannot be sent."""
        try:
            if self._sends_policies and end.policies:
                self._send_policies(end.policies)
        finally:
            finish = self._function("finish")
            takes_code = "exit_code" in inspect.signature(finish).parameters
            finish(**({"exit_code": int(end.outcome == "failed")} if takes_code else {}))

    def _send_policies(self, policies: Mapping[str, Path]) -> None:
        if self._began is None or not hasattr(self._package, "Artifact"):
            logger.warning("%s has no Artifact, so policies are not sent", self._package.__name__)
            return
        artifact = self._package.Artifact(name=f"{self._began.run}-policies", type="model")
        for path in policies.values():
            artifact.add_file(str(path))
        self._function("log_artifact")(artifact)

    def _function(self, name: str) -> Any:
        """Of the run there, if it has it, or of the package."""
        return getattr(self._run, name, None) or getattr(self._package, name)
