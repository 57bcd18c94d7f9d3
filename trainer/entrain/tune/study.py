"""Optuna's study in a file: the trials, their values, and the proposals for the next.

The only module that knows Optuna, which is imported when a study is opened. A trial is known by
its number, from 0, which is its place in the file.
"""

import importlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from entrain.config.search import HalvingPrunerConfig, MedianPrunerConfig, SearchConfig
from entrain.config.source import Source
from entrain.errors import MissingExtraError
from entrain.tune.space import Choices, Searched, Space

LOOKS: Final = 20
"""Points of a trial, evenly spread over its total steps, at which it is compared with others."""

_WORDS: Final = "words"

Direction = Literal["maximize", "minimize"]
TrialState = Literal["running", "waiting", "completed", "pruned", "failed"]


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One trial, as it stands."""

    number: int
    state: TrialState
    value: float
    """By which it is compared; of a pruned trial the newest; NaN if there is none."""

    chosen: Mapping[str, Any]
    """{path of an option: its value}."""

    words: str
    """Why it was pruned or failed; "" if there is nothing to say."""

    looks: Mapping[int, float]
    """{look, from 1 to LOOKS: value by then}."""

    seconds: float
    """From its beginning to its end; NaN while it runs. Pauses of the tuning count."""


class Study:
    """See the module. Owned by the one process that has the tuning's lock; others only read."""

    def __init__(
        self, path: Path, search: SearchConfig, space: Space, *, direction: Direction
    ) -> None:
        """Open the study in the file at `path`, or begin it.

        Raises:
            MissingExtraError: Optuna is not installed.
        """
        self._optuna = _optuna()
        self._search = search
        self._space = space
        self.direction = direction
        self._running: dict[int, Any] = {}
        """{number of a trial: it, as Optuna has those that run}."""
        url = importlib.import_module("sqlalchemy").URL.create(
            "sqlite", database=str(path.absolute())
        )
        self._study = self._optuna.create_study(
            storage=url.render_as_string(),
            study_name="tuning",
            direction=direction,
            load_if_exists=True,
            pruner=_pruner(self._optuna, search),
            sampler=self._sampler(),
        )

    def __repr__(self) -> str:
        return f"<Study: {len(self.trials())} trials>"

    @property
    def searched(self) -> Sequence[Searched]:
        """The options that are varied."""
        return self._space.searched

    @property
    def labels(self) -> Mapping[str, str]:
        """{name of an option that is varied: a short one for people}."""
        return self._space.labels

    def _sampler(self) -> Any:
        """A sampler whose draws depend on the seed and the trials so far, not on this process."""
        number = len(self._study.get_trials(deepcopy=False)) if hasattr(self, "_study") else 0
        seed = int(np.random.SeedSequence([self._search.sampler_seed, number]).generate_state(1)[0])
        samplers = self._optuna.samplers
        if self._search.sampler == "random":
            return samplers.RandomSampler(seed=seed)
        return samplers.TPESampler(seed=seed, n_startup_trials=self._search.startup_trials)

    # What comes next

    def ask(self) -> tuple[int, Source, Mapping[str, Any]]:
        """Begin a trial; returns its number, its settings, and {path of an option: its value}."""
        self._study.sampler = self._sampler()
        trial = self._study.ask()
        self._running[trial.number] = trial
        settings, chosen = self._space.settings_with(lambda option: _suggested(trial, option))
        return trial.number, settings, chosen

    def report(self, number: int, look: int, value: float) -> bool:
        """Note what a trial came to by that look; returns whether it is to be stopped."""
        trial = self._trial(number)
        trial.report(value, look)
        return bool(trial.should_prune())

    # How trials end

    def complete(self, number: int, value: float) -> None:
        """Note the value that a trial came to."""
        self._study.tell(self._running.pop(number, number), value)

    def prune(self, number: int, words: str) -> None:
        """Note that a trial is worse than others, or cannot be: its values teach the sampler."""
        self._end(number, self._optuna.trial.TrialState.PRUNED, words)

    def fail(self, number: int, words: str, *, again: bool = False) -> None:
        """Note that nothing can be learned of a trial.

        Args:
            number: of the trial.
            words: why.
            again: whether its values are to be tried again in another trial.
        """
        self._end(number, self._optuna.trial.TrialState.FAIL, words)
        frozen = self._study.get_trials(deepcopy=False)[number]
        if again and frozen.params:
            self._study.enqueue_trial(frozen.params)

    def _end(self, number: int, state: Any, words: str) -> None:
        self._trial(number).set_user_attr(_WORDS, words[:2000])
        self._study.tell(self._running.pop(number), state=state)

    # What there is

    def trials(self) -> Sequence[Tried]:
        """Returns every trial, in the order of their numbers."""
        return [self._tried(frozen) for frozen in self._study.get_trials(deepcopy=False)]

    def best(self) -> Tried | None:
        """Returns the completed trial with the best value; the first of those alike."""
        completed = [it for it in self.trials() if it.state == "completed"]
        sign = -1.0 if self.direction == "maximize" else 1.0
        return min(completed, key=lambda it: sign * it.value, default=None)

    def importances(self) -> Mapping[str, float]:
        """Returns {path of an option: its share in how good a trial is}, largest first.

        Empty before there are a few completed trials of different value. PED-ANOVA: how far the
        values of the best tenth of trials are from those of all (Watanabe et al. 2023,
        arXiv:2304.10255).
        """
        values = {it.value for it in self.trials() if it.state == "completed"}
        if len(values) < 2:
            return {}
        evaluator = self._optuna.importance.PedAnovaImportanceEvaluator()
        found = self._optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {str(name): float(share) for name, share in found.items()}

    def settings_of(self, trial: Tried) -> Source:
        """Returns the settings that a trial tried."""
        return self._space.settings_with(lambda option: trial.chosen[option.name])[0]

    def _trial(self, number: int) -> Any:
        """The trial of that number, which runs: of this process, or of one before."""
        if number not in self._running:
            frozen = self._study.get_trials(deepcopy=False)[number]
            self._running[number] = self._optuna.trial.Trial(self._study, frozen._trial_id)
        return self._running[number]

    def _tried(self, frozen: Any) -> Tried:
        states = self._optuna.trial.TrialState
        by_state: Mapping[Any, TrialState] = {
            states.RUNNING: "running",
            states.WAITING: "waiting",
            states.COMPLETE: "completed",
            states.PRUNED: "pruned",
            states.FAIL: "failed",
        }
        values = frozen.values or [math.nan]
        looks = {int(look): float(value) for look, value in frozen.intermediate_values.items()}
        return Tried(
            number=frozen.number,
            state=by_state[frozen.state],
            value=float(values[0]),
            chosen={it.name: _value(it, frozen.params) for it in self._chosen_in(frozen)},
            words=str(frozen.user_attrs.get(_WORDS, "")),
            looks=looks,
            seconds=_seconds(frozen.datetime_start, frozen.datetime_complete),
        )

    def _chosen_in(self, frozen: Any) -> Sequence[Searched]:
        return [option for option in self._space.searched if option.name in frozen.params]


def _optuna() -> Any:
    try:
        optuna = importlib.import_module("optuna")
        importlib.import_module("sqlalchemy")
    except ImportError:
        raise MissingExtraError(
            "entrain tune needs the package optuna; install it with: pip install 'optuna>=5,<6' "
            "(the extra entrain-rl[tune])"
        ) from None
    optuna.logging.disable_default_handler()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return optuna


def _pruner(optuna: Any, search: SearchConfig) -> Any:
    pruner = search.pruner
    if isinstance(pruner, MedianPrunerConfig):
        return optuna.pruners.MedianPruner(
            n_startup_trials=pruner.startup_trials,
            n_warmup_steps=math.ceil(pruner.warmup * LOOKS),
        )
    if isinstance(pruner, HalvingPrunerConfig):
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=max(1, math.ceil(pruner.first * LOOKS)), reduction_factor=pruner.factor
        )
    return optuna.pruners.NopPruner()


def _suggested(trial: Any, option: Searched) -> Any:
    if isinstance(option, Choices):
        # Optuna's choices are plain values; ours may be lists and groups.
        texts = [json.dumps(value) for value in option.values]
        return json.loads(trial.suggest_categorical(option.name, texts))
    if option.is_whole:
        return trial.suggest_int(
            option.name,
            int(option.low),
            int(option.high),
            step=1 if option.step is None else int(option.step),
            log=option.is_log,
        )
    return trial.suggest_float(
        option.name, option.low, option.high, step=option.step, log=option.is_log
    )


def _value(option: Searched, params: Mapping[str, Any]) -> Any:
    value = params[option.name]
    return json.loads(value) if isinstance(option, Choices) else value


def _seconds(begun: datetime | None, ended: datetime | None) -> float:
    return math.nan if begun is None or ended is None else (ended - begun).total_seconds()
