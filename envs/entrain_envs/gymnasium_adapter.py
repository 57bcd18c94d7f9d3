"""Any Gymnasium environment as a simulator; several copies share one message.

The final observation of an episode is a row of its own (TERMINATED or TRUNCATED), followed by the
FIRST row of the copy's next episode. Agent i is copy i of all copies.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium

from entrain_envs.action_masks import (
    MASK,
    hint_at_lookalikes,
    mask_flattener,
    mask_source,
    without_mask,
)
from entrain_envs.copies import Copies
from entrain_envs.errors import EntrainEnvsError, MissingExtraError, OptionError, SpecError
from entrain_envs.faults import (
    blaming_the_start,
    close_all,
    described,
    fault_of,
    reset_fault,
    step_fault,
)
from entrain_envs.first_calls import check_first, pass_what_is_taken
from entrain_envs.gymnasium_spaces import (
    NO_KINDS,
    action_layout,
    check_kinds,
    observation_layout,
    without_bounds,
)
from entrain_envs.info_statistics import InfoKey, InfoStatistics
from entrain_envs.precision import Precision, Subtraction
from entrain_envs.rows import TimestepRows
from entrain_envs.spec import BehaviourSpec
from entrain_envs.statistics import Statistic
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

logger = logging.getLogger(__name__)

# Plain numbers, because an Enum lookup costs a microsecond each time.
_FIRST, _MID = int(StepType.FIRST), int(StepType.MID)
_TERMINATED, _TRUNCATED = int(StepType.TERMINATED), int(StepType.TRUNCATED)

_ASKED = object()
"""Stands for the outcome of a call that has not returned."""

GymnasiumEnv = gymnasium.Env[Any, Any]

NO_VECTORS = (
    "a vector of environments: give one environment, of which --count N makes N copies; "
    "--processes N divides them among several cores"
)
"""Ends messages that refuse a vector of environments."""


def _spaces(env: GymnasiumEnv, *, where: str) -> tuple[Any, Any]:
    """The spaces of its observations and actions; None for one that it lacks."""
    with blaming_the_start(f"{where}: its spaces"):
        return getattr(env, "observation_space", None), getattr(env, "action_space", None)


def _require_one(env: Any, *, where: str) -> None:
    """SpecError if it is a vector of environments: Gymnasium's, or such as Stable-Baselines3's."""
    is_vector = isinstance(env, gymnasium.vector.VectorEnv)
    if not (is_vector or isinstance(env, gymnasium.Env)):
        with blaming_the_start(f"{where}: its num_envs"):
            is_vector = hasattr(env, "num_envs")
    if is_vector:
        raise SpecError(f"{where} is a {type(env).__name__}, {NO_VECTORS}")


def _made(make: Callable[[], GymnasiumEnv], count: int, *, where: str) -> list[GymnasiumEnv]:
    """So many copies. SpecError if each is a vector of environments."""
    with blaming_the_start(f"{where} cannot be made: it"):
        copies = [make() for _ in range(count)]
    _require_one(copies[0], where=where)
    return copies


class GymnasiumEnvironment:
    """Copies of one Gymnasium environment, as an `environment.Environment`.

    It loops over the copies itself, because gymnasium.vector spends an extra step on each reset.
    Environment parameters become the `options` of each reset. How a copy may give an action mask:
    see `action_masks`.
    """

    def __init__(
        self,
        make: Callable[[], GymnasiumEnv],
        *,
        behaviour: str,
        count: int = 1,
        part: Copies | None = None,
        subtract: Sequence[Subtraction] = (),
        kinds: Mapping[str, str] = NO_KINDS,
        info: Sequence[InfoKey] = (),
    ) -> None:
        """Make the copies.

        Args:
            make: makes one copy.
            behaviour: name of the behaviour.
            count: how many copies.
            part: which of all copies these are, instead of all `count`.
            subtract: from observations, before they are rounded to float32.
            kinds: {observation: kind}, where they are not what they look like.
            info: keys whose values are reported as statistics.

        Raises:
            CertainFaultError, FaultyEnvironmentError: the environment raised an exception.
            SpecError: its spaces cannot be translated.
        """
        self._part = Copies.all(count) if part is None else part
        self._first = self._part.first
        self._where = where = f"environment '{behaviour}'"
        self._copies = _made(make, self._part.count, where=where)
        first = self._copies[0]
        observed, acted = _spaces(first, where=where)
        action = action_layout(acted, where=where)
        for copy in self._copies:
            pass_what_is_taken(copy, where=where, says=copy is first and self._part.are_first)
        self._masks = self._find_masks(action.spec.branches)
        """How to get each copy's mask; empty if it comes in the infos, if at all."""
        observed = without_mask(observed) if action.spec.branches else observed
        observation = observation_layout(observed, where=where, kinds=kinds)
        check_kinds(kinds, observation.specs)
        specs = without_bounds(observation.specs, [name for name, *_ in subtract])
        self._spec = BehaviourSpec(behaviour, specs, action.spec)
        self._write = observation.write
        self._read = action.read
        self._flatten = mask_flattener(acted)
        self._precision = Precision(observation.specs, subtract, where=where)
        self._info = InfoStatistics(info, where=where) if info else None
        self._options: dict[str, Any] | None = None
        self._is_new = self._part.are_first
        check_first(first, "reset", reset_fault, where=where)
        check_first(first, "step", step_fault, where=where)

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """The one behaviour of all copies."""
        return (self._spec,)

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Pass these as options to each copy's next resets."""
        self._options = dict(parameters) or None

    def take_statistics(self) -> Sequence[Statistic]:
        """Values of `info` since the last call; see `environment.ReportsStatistics`."""
        return () if self._info is None else self._info.take()

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Begin an episode in every copy, each with its own seed."""
        self.set_parameters(parameters)
        rows = self._rows()
        for index, copy_seed in enumerate(self._part.seeds(seed)):
            self._begin(rows, index, seed=copy_seed)
        return {self._spec.name: rows.batch()}

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Step every copy. Those whose episode ended begin the next one at once."""
        batch = actions[self._spec.name]
        if len(batch) != len(self._copies):
            raise SpecError(
                f"behaviour '{self._spec.name}' was given {len(batch)} actions; "
                f"expected one for each of {len(self._copies)} copies"
            )
        rows, masks, first, outcome = self._rows(), self._masks, self._first, _ASKED
        chosen = self._read(batch)
        try:
            # Rows are sent in the order of the copies, so actions arrive in that order.
            for index, (copy, action) in enumerate(zip(self._copies, chosen, strict=True)):
                outcome = _ASKED
                outcome = copy.step(action)
                observation, reward, terminated, truncated, info = outcome
                if self._info is not None:
                    self._info.note(info, is_end=terminated or truncated)
                kind = _TERMINATED if terminated else _TRUNCATED if truncated else _MID
                # What a truncated episode's end is worth depends on what is allowed there, too.
                mask = None
                if not terminated:
                    mask = masks[index](observation) if masks else info.get(MASK)
                rows.add(first + index, kind, reward, observation, mask)
                if kind != _MID:
                    self._begin(rows, index, seed=None)
        except EntrainEnvsError:
            raise
        except Exception as error:
            words = step_fault(outcome) if outcome is not _ASKED else ""
            raise fault_of(self._where, "step", error, words) from error
        return {self._spec.name: rows.batch()}

    def _begin(self, rows: TimestepRows, index: int, *, seed: int | None) -> None:
        """Reset a copy, and add the first row of its next episode."""
        copy, outcome = self._copies[index], _ASKED
        try:
            outcome = copy.reset(seed=seed, options=self._options)
            observation, info = outcome
            if self._info is not None:
                self._info.note(info, is_end=False)
            mask = self._masks[index](observation) if self._masks else info.get(MASK)
        except EntrainEnvsError:
            raise
        except Exception as error:
            words = reset_fault(outcome) if outcome is not _ASKED else ""
            raise fault_of(self._where, "reset", error, words) from error
        rows.add(self._first + index, _FIRST, 0.0, observation, mask)
        if self._is_new:
            self._is_new = False
            self._look_for_masks(info)

    def _find_masks(self, branches: Sequence[int]) -> Sequence[Callable[[Any], Any]]:
        sources = [mask_source(copy, branches, where=self._where) for copy in self._copies]
        if sources[0] is not None and self._part.are_first:
            logger.info("%s: actions are masked by %s", self._where, sources[0].words)
        return [source.get for source in sources if source is not None]

    def _look_for_masks(self, info: Mapping[str, Any]) -> None:
        """Say whether the infos hold a mask, once."""
        if self._masks or not self._spec.action.branches:
            return
        if MASK in info:
            logger.info("%s: actions are masked by info['%s']", self._where, MASK)
        else:
            hint_at_lookalikes(info, self._spec.action.branches, where=self._where)

    def close(self) -> None:
        """Close every copy."""
        close_all(self._copies, where=self._where)

    def _rows(self) -> TimestepRows:
        return TimestepRows(
            self._spec,
            self._write,
            capacity=2 * len(self._copies),
            precision=self._precision,
            flatten=self._flatten,
        )


def make(env_id: str, arguments: Mapping[str, Any]) -> GymnasiumEnv:
    """`gymnasium.make`, with its failures as errors of this package.

    Raises:
        MissingExtraError: the environment needs a package that is not installed.
        OptionError: there is no such environment, or it does not take these arguments.
    """
    errors = gymnasium.error
    try:
        # Gymnasium's checker looks only at the first step; `codec` checks every row.
        return gymnasium.make(env_id, disable_env_checker=True, **arguments)
    except errors.DependencyNotInstalled as error:
        hint = ""
        if "mujoco" in str(error).lower():
            hint = "; pip install 'gymnasium[mujoco]' (the extra entrain-envs[mujoco])"
        raise MissingExtraError(
            f"environment '{env_id}' needs a package that is not installed: "
            f"{described(error)}{hint}"
        ) from error
    except (errors.Error, ModuleNotFoundError, TypeError) as error:
        hint = ""
        if isinstance(error, errors.NameNotFound | errors.NamespaceNotFound) and ":" not in env_id:
            hint = "; an environment of your own is named MODULE:ENV_ID, which imports MODULE first"
        elif re.search(r"actual class: .*Vec(tor)?Env", str(error)):
            hint = f"; that is {NO_VECTORS}"
        raise OptionError(
            f"cannot make environment '{env_id}': {described(error)}{hint}"
        ) from error
