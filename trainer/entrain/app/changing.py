"""Changes of options while a run goes on: each takes effect right before an update begins.

    asked --checked, and given the number of an update--> waits --that update begins--> in force

The number is decided when a change is asked for, and a change that waits is part of the checkpoint.
So a run in lockstep that is stopped before or after it, and resumed, ends with the same weights as
one that was not stopped.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from entrain.app.build import environment_parameters
from entrain.app.folder_keeper import ConfigKeeper
from entrain.app.trainers import Trainers
from entrain.config.changes import ENVIRONMENT, Part, as_it_takes_effect, checked_parts
from entrain.config.environment_parameters import CurriculumConfig
from entrain.config.load import changed_config
from entrain.config.run import RunConfig
from entrain.errors import ConfigError, DiskError
from entrain.run.history import History
from entrain.serving.parameters import EnvironmentParameters
from entrain.state import State

logger = logging.getLogger(__name__)

MOST_WAITING = 100
"""Changes that wait for an update."""


@dataclass(frozen=True)
class Change:
    """One that is asked for and not in force everywhere yet."""

    part: Part
    due: Mapping[str, int]
    """{behaviour: number of the update before which it takes effect}. Environment parameters
    change before the first of these, options of a policy before each."""

    def __str__(self) -> str:
        when = " or ".join(f"update {number} of '{name}'" for name, number in self.due.items())
        return f"{', '.join(self.part.settings)} before {when}"


class Changes:
    """See the module. Owned by the event loop."""

    def __init__(
        self,
        config: RunConfig,
        trainers: Trainers,
        parameters: EnvironmentParameters,
        *,
        keeper: ConfigKeeper,
        history: History,
    ) -> None:
        """Nothing changes yet.

        Args:
            config: that the run begins with.
            trainers: of the run.
            parameters: of the environment.
            keeper: writes the configuration down.
            history: is told of what has changed.
        """
        self.config = config
        """Of now; what waits is not in it."""
        self._trainers = trainers
        self._parameters = parameters
        self._keeper = keeper
        self._history = history
        self._waiting: list[Change] = []

    def __repr__(self) -> str:
        return f"<Changes: {len(self._waiting)} wait>"

    @property
    def waiting(self) -> Sequence[Change]:
        """Those that are not in force everywhere yet."""
        return tuple(self._waiting)

    def ask(self, settings: Sequence[str], *, from_update: int | None = None) -> None:
        """Change options before the update that begins next, or before that of a number.

        Args:
            settings: each PATH=VALUE, as `--set` takes it.
            from_update: counted from 1; None: the next one to begin.

        Raises:
            ConfigError: one is wrong or may not change, or the update has begun; none changes.
        """
        # What waits must still be possible with it.
        changed_config(self.config, [*_settings_of(self._waiting), *settings])
        sooner = [each for each in self._waiting if self._is_in_force(each, from_update)]
        parts = checked_parts(changed_config(self.config, _settings_of(sooner)), settings)
        new = [Change(part, self._due(part, from_update)) for part in parts]
        if len(self._waiting) + len(new) > MOST_WAITING:
            raise ConfigError(f"{MOST_WAITING} changes wait for updates already; try again later")
        for change in new:
            self._waiting.append(change)
            if change.due:
                logger.info("to be changed: %s", change)
            else:
                self._apply(change, "", 1)

    def _is_in_force(self, change: Change, from_update: int | None) -> bool:
        """Whether it will be, everywhere, when that update begins; None: the next one."""
        for name, number in change.due.items():
            trainer = self._trainers.by_name.get(name)
            begins = (trainer.next_update if trainer else 1) if from_update is None else from_update
            if number > begins:
                return False
        return True

    def _due(self, part: Part, from_update: int | None) -> Mapping[str, int]:
        named = self.config.named_behaviours
        there = {
            name: trainer
            for name, trainer in self._trainers.by_name.items()
            if part.policy in {ENVIRONMENT, name} or (part.policy == "*" and name not in named)
        }
        going = {name: it.next_update for name, it in there.items() if not it.is_complete}
        if there and not going:
            raise ConfigError(f"no update is to come of {', '.join(there)}, so nothing can change")
        if from_update is None:
            return going
        if not there:
            going = dict.fromkeys(named if part.policy == ENVIRONMENT else (part.policy,), 1)
        for name, number in going.items():
            if from_update < number:
                raise ConfigError(
                    f"from_update is {from_update}, and the next update of '{name}' to begin is "
                    f"{number}"
                )
        return dict.fromkeys(going, from_update)

    def before_update(self, behaviour: str, number: int) -> None:
        """Apply the changes that wait for an update, which is about to begin."""
        for change in [it for it in self._waiting if it.due.get(behaviour, number + 1) <= number]:
            try:
                self._apply(change, behaviour, number)
            except ConfigError as error:
                # The run was resumed with other options since it was asked for.
                logger.error("what was asked for cannot be changed any more: %s", error)
                self._waiting.remove(change)

    def _apply(self, change: Change, behaviour: str, number: int) -> None:
        """Apply a change to one behaviour; "" if there is none yet."""
        before, part = self.config, as_it_takes_effect(change.part, self.config)
        after = self.config = changed_config(before, part.settings)
        self._trainers.configure(after)
        if part.policy == ENVIRONMENT:
            known, wanted = environment_parameters(before), environment_parameters(after)
            self._parameters.update(
                {
                    name: value
                    for name, value in wanted.items()
                    if known.get(name) != value and not isinstance(value, CurriculumConfig)
                }
            )
        elif behaviour:
            self._trainers.change(behaviour)
        left = {name: it for name, it in change.due.items() if name != behaviour}
        is_over = part.policy == ENVIRONMENT or not left
        at = self._waiting.index(change)
        self._waiting[at : at + 1] = [] if is_over else [Change(part, left)]
        self._say(part, behaviour, number)
        if after != before:
            self._write(part)

    def _say(self, part: Part, behaviour: str, number: int) -> None:
        when = f" from update {number} of '{behaviour}' on" if behaviour else ""
        logger.info("changed%s: %s; was %s", when, ", ".join(part.settings), ", ".join(part.was))
        updates = {behaviour: number} if behaviour else {}
        steps = self._trainers.env_steps
        self._history.note(
            "changed", settings=part.settings, was=part.was, from_update=updates, env_steps=steps
        )

    def _write(self, part: Part) -> None:
        try:
            self._keeper.configure(self.config, part.settings)
        except (ConfigError, DiskError) as error:
            logger.error(
                "%s; the change is in force, but a resumed run would not have it: give it again "
                "with --set",
                error,
            )

    def state(self) -> State:
        """The waiting changes; those in force are in the configuration."""
        return {
            str(index): {
                "policy": change.part.policy,
                "settings": list(change.part.settings),
                "was": list(change.part.was),
                "behaviours": list(change.due),
                "updates": list(change.due.values()),
            }
            for index, change in enumerate(self._waiting)
        }

    def load_state(self, state: State) -> None:
        """Restore the waiting changes."""
        self._waiting = [
            Change(
                Part(it["policy"], tuple(it["settings"]), tuple(it["was"])),
                dict(zip(it["behaviours"], map(int, it["updates"]), strict=True)),
            )
            for _, it in sorted(state.items(), key=lambda item: int(item[0]))
        ]


def _settings_of(changes: Sequence[Change]) -> Sequence[str]:
    return [setting for each in changes for setting in each.part.settings]
