"""Keeps as many runs going as may be, looks at what they come to, and begins the next trials.

Runs are started, found again, ended and started again after crashes by a `Supervisor`; here it is
decided which runs should live.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from entrain.config.load import load_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.supervise.served_run import ServedRun
from entrain.supervise.supervisor import Supervisor
from entrain.tune.folder import TuningFolder
from entrain.tune.study import LOOKS, Study, Tried
from entrain.tune.trial import Judgement, Trial
from entrain.tune.trial_files import TrialFiles, write_settings
from entrain.tune.values import RunValues

logger = logging.getLogger(__name__)

MOST_FAILED = 3
"""Trials that fail one after the other before the tuning ends: something is wrong with all."""


@dataclass(frozen=True, kw_only=True)
class TuningRules:
    """The rules of a tuning, apart from its search space."""

    trials: int
    """That are completed or pruned, in all."""

    parallel: int
    """Runs at a time."""

    seeds: int
    first_seed: int
    metric: str
    policy: str | None


class Tuner:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        study: Study,
        folder: TuningFolder,
        files: TrialFiles,
        supervisor: Supervisor,
        rules: TuningRules,
    ) -> None:
        """Nothing is begun yet.

        Args:
            study: what was tried, and what is tried next.
            folder: of the tuning.
            files: that the supervisor looks at.
            supervisor: of the runs.
            rules: what is wanted.
        """
        self._study = study
        self._folder = folder
        self._files = files
        self._supervisor = supervisor
        self._rules = rules
        self._trials: dict[int, Trial] = {}
        self._failed: list[str] = []
        """Of the trials that failed one after the other, why."""
        self._num_ended = 0
        """Trials that were completed or pruned."""

    def find_again(self) -> None:
        """Go on with the trials that were running when this was ended, however it was.

        Those of which no run was begun are marked as failed, and their values tried again.
        """
        for tried in self._study.trials():
            self._num_ended += tried.state in {"completed", "pruned"}
            if tried.state == "running":
                self._find_again(tried)
        self._supervisor.find_again()

    def _find_again(self, tried: Tried) -> None:
        try:
            configs = {
                name: load_config(self._folder.settings_of(name), [])
                for name in self._names(tried.number)
            }
        except ConfigError:
            words = "interrupted before its runs were begun; its values are tried again"
            self._study.fail(tried.number, words, again=True)
            return
        logger.info("trial %d goes on", tried.number)
        self._take_up(tried.number, configs, looks=max(tried.looks, default=0))

    @property
    def is_done(self) -> bool:
        """Whether there have been as many trials as are wanted."""
        return not self._trials and self._num_ended >= self._rules.trials

    async def step(self) -> None:
        """Bring everything up to date once; ConfigError if one trial after the other fails."""
        self._begin_trials()
        await self._supervisor.step()
        await asyncio.to_thread(self._read)
        for trial in list(self._trials.values()):
            self._follow(trial)

    async def stop(self, *, every_s: float) -> None:
        """Have all runs save and end; the trials go on when the tuning does."""
        await self._supervisor.stop(every_s=every_s)

    def _read(self) -> None:
        for trial in self._trials.values():
            trial.read()

    # Beginnings

    def _begin_trials(self) -> None:
        """Begin trials while there are places, and not as many as are wanted."""
        while (
            len(self._unfinished_runs()) < self._rules.parallel
            and self._num_ended + len(self._trials) < self._rules.trials
        ):
            self._begin_one()

    def _unfinished_runs(self) -> Sequence[str]:
        return [
            name
            for trial in self._trials.values()
            for name in trial.names
            if name not in self._supervisor.runs or not self._supervisor.runs[name].record.rest
        ]

    def _begin_one(self) -> None:
        number, settings, chosen = self._study.ask()
        labels = self._study.labels
        words = ", ".join(f"{labels[name]} {_short(value)}" for name, value in chosen.items())
        logger.info("trial %d: %s", number, words)
        configs: dict[str, RunConfig] = {}
        try:
            for seed, name in enumerate(self._names(number)):
                path = self._folder.settings_of(name)
                configs[name] = write_settings(settings, path, seed=self._rules.first_seed + seed)
        except ConfigError as error:
            # Each value may be had, but not all of them together: the sampler is to learn that.
            logger.info("trial %d cannot be: %s", number, error)
            self._study.prune(number, f"cannot be: {error}")
            self._num_ended += 1
            return
        self._take_up(number, configs, looks=0)

    def _take_up(self, number: int, configs: dict[str, RunConfig], *, looks: int) -> None:
        rules = self._rules
        values = {
            name: RunValues(self._folder.metrics_of(name), config, rules.metric, rules.policy)
            for name, config in configs.items()
        }
        self._trials[number] = Trial(number, values, looks=looks)
        self._files.want(configs)

    def _names(self, number: int) -> Sequence[str]:
        seeds = self._rules.seeds
        return [self._folder.run_name(number, seed, seeds=seeds) for seed in range(seeds)]

    # Ends

    def _follow(self, trial: Trial) -> None:
        runs = [self._supervisor.runs[name] for name in trial.names]
        if trial.verdict is None:
            trial.verdict = trial.judged(runs)
            is_worse = self._report(trial)
            if trial.verdict is None and is_worse:
                at = f"{100 * trial.looks // LOOKS} % of its steps"
                trial.verdict = Judgement("pruned", 0.0, f"worse than others at {at}")
            if trial.verdict is not None:
                self._files.drop(trial.names)
        # Once none of its runs lives, so that one that goes on is never without its trial.
        if trial.verdict is not None and not any(map(_lives, runs)):
            self._end(trial, trial.verdict)

    def _report(self, trial: Trial) -> bool:
        """Report what is new; returns whether it is to be stopped before its end."""
        is_worse = False
        for look, value in trial.new_looks():
            is_worse |= self._study.report(trial.number, look, value) and look < LOOKS
        return is_worse

    def _end(self, trial: Trial, verdict: Judgement) -> None:
        del self._trials[trial.number]
        if verdict.state == "failed":
            self._study.fail(trial.number, verdict.words)
            self._failed.append(f"trial {trial.number}: {verdict.words}")
            logger.warning("trial %d failed: %s", trial.number, verdict.words)
            self._require_some_good()
            return
        self._failed.clear()
        self._num_ended += 1
        if verdict.state == "completed":
            self._study.complete(trial.number, verdict.value)
            logger.info("trial %d came to %s%s", trial.number, _short(verdict.value), self._best())
        else:
            self._study.prune(trial.number, verdict.words)
            logger.info("trial %d is stopped: %s", trial.number, verdict.words)

    def _best(self) -> str:
        best = self._study.best()
        return "" if best is None else f"; the best is {_short(best.value)}, of trial {best.number}"

    def _require_some_good(self) -> None:
        if len(self._failed) >= MOST_FAILED:
            raise ConfigError(
                f"{MOST_FAILED} trials failed one after the other, so the tuning ends. The last: "
                f"{self._failed[-1]}"
            )


def _lives(run: ServedRun) -> bool:
    return run.living is not None


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
