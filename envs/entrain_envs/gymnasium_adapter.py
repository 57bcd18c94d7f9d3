"""Any Gymnasium environment as a simulator; several copies share one message.

The final observation of an episode is a row of its own (TERMINATED or TRUNCATED), followed by the
FIRST row of the copy's next episode. Agent i is copy i.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from entrain_envs.errors import MissingExtraError, OptionError, SpecError
from entrain_envs.gymnasium_spaces import action_layout, observation_layout
from entrain_envs.rows import TimestepRows
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

# Plain numbers, because an Enum lookup costs a microsecond each time.
_FIRST, _MID = int(StepType.FIRST), int(StepType.MID)
_TERMINATED, _TRUNCATED = int(StepType.TERMINATED), int(StepType.TRUNCATED)

GymnasiumEnv = gymnasium.Env[Any, Any]


class GymnasiumEnvironment:
    """Copies of one Gymnasium environment, as an `environment.Environment`.

    It loops over the copies itself, because gymnasium.vector spends an extra step on each reset.
    Environment parameters become the `options` of each reset. A copy may give an action mask in
    `info["action_mask"]`.
    """

    def __init__(self, make: Callable[[], GymnasiumEnv], *, behaviour: str, count: int = 1) -> None:
        """Make the copies.

        Args:
            make: makes one copy.
            behaviour: name of the behaviour.
            count: how many copies.
        """
        if count < 1:
            raise OptionError(f"count is {count}; it must be at least 1")
        self._copies = [make() for _ in range(count)]
        first = self._copies[0]
        where = f"environment '{behaviour}'"
        observation = observation_layout(first.observation_space, where=where)
        action = action_layout(first.action_space, where=where)
        self._spec = BehaviourSpec(behaviour, observation.specs, action.spec)
        self._write = observation.write
        self._read = action.read
        self._options: dict[str, Any] | None = None

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """The one behaviour of all copies."""
        return (self._spec,)

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Pass these as options to each copy's next resets."""
        self._options = dict(parameters) or None

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Begin an episode in every copy, each with its own seed."""
        self.set_parameters(parameters)
        rows = self._rows()
        seeds = np.random.SeedSequence(seed).generate_state(len(self._copies))
        for agent, (copy, copy_seed) in enumerate(zip(self._copies, seeds.tolist(), strict=True)):
            observation, info = copy.reset(seed=copy_seed, options=self._options)
            rows.add(agent, _FIRST, 0.0, observation, info.get("action_mask"))
        return {self._spec.name: rows.batch()}

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Step every copy. Those whose episode ended begin the next one at once."""
        batch = actions[self._spec.name]
        if len(batch) != len(self._copies):
            raise SpecError(
                f"behaviour '{self._spec.name}' was given {len(batch)} actions; "
                f"expected one for each of {len(self._copies)} copies"
            )
        rows = self._rows()
        # Rows are sent in the order of the copies, so actions arrive in that order.
        for agent, (copy, action) in enumerate(zip(self._copies, self._read(batch), strict=True)):
            observation, reward, terminated, truncated, info = copy.step(action)
            mask = info.get("action_mask")
            if not (terminated or truncated):
                rows.add(agent, _MID, reward, observation, mask)
                continue
            rows.add(agent, _TERMINATED if terminated else _TRUNCATED, reward, observation, mask)
            observation, info = copy.reset(options=self._options)
            rows.add(agent, _FIRST, 0.0, observation, info.get("action_mask"))
        return {self._spec.name: rows.batch()}

    def close(self) -> None:
        """Close every copy."""
        for copy in self._copies:
            copy.close()

    def _rows(self) -> TimestepRows:
        return TimestepRows(self._spec, self._write, capacity=2 * len(self._copies))


def make(env_id: str, arguments: Mapping[str, Any]) -> GymnasiumEnv:
    """`gymnasium.make`, with its failures as errors of this package.

    Raises:
        MissingExtraError: the environment needs a package that is not installed.
        OptionError: there is no such environment, or it does not take these arguments.
    """
    try:
        # Gymnasium's checker looks only at the first step; `codec` checks every row.
        return gymnasium.make(env_id, disable_env_checker=True, **arguments)
    except gymnasium.error.DependencyNotInstalled as error:
        raise MissingExtraError(
            f"environment '{env_id}' needs a package that is not installed ({error}); "
            "for MuJoCo: pip install 'gymnasium[mujoco]' (the extra entrain-envs[mujoco])"
        ) from error
    except (gymnasium.error.Error, ModuleNotFoundError, TypeError) as error:
        raise OptionError(
            f"cannot make environment '{env_id}': {error}; "
            "an environment of your own is named MODULE:ENV_ID, which imports MODULE first"
        ) from error
