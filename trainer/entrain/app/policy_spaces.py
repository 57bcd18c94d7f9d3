"""Observations and actions of a Gymnasium environment, as a policy that learned in it has them.

The translation is that of `entrain-env gymnasium`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from entrain.errors import ConfigError, PolicyInputError
from entrain.quoting import listed
from entrain.serving.spec_differences import spec_differences
from entrain_envs.action_masks import mask_flattener, mask_source, without_mask
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.gymnasium_spaces import action_layout, observation_layout
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, Array


class EnvironmentSpaces:
    """The spaces of one environment."""

    def __init__(self, spec: BehaviourSpec, environment: Any) -> None:
        """Lay out the spaces of `environment`, which must be those of `spec`.

        Raises:
            ConfigError: they are others.
        """
        where = f"the environment in which the policy of '{spec.name}' is to act"
        kinds = {each.name: each.kind for each in spec.observations}
        try:
            action = action_layout(environment.action_space, where=where)
            observed = environment.observation_space
            observed = without_mask(observed) if action.spec.branches else observed
            observation = observation_layout(observed, where=where, kinds=kinds)
            self._mask = mask_source(environment, action.spec.branches, where=where)
        except EntrainEnvsError as error:
            raise ConfigError(str(error)) from error
        found = BehaviourSpec(spec.name, observation.specs, action.spec)
        if differences := spec_differences(found, spec):
            raise ConfigError(
                f"{where} has other spaces than the ones it learned in: {listed(differences)}; "
                "wrap it as the simulators of the run were"
            )
        self._spec = spec
        self._write, self._read = observation.write, action.read
        self._flatten = mask_flattener(environment.action_space)

    def arrays(self, observation: Any) -> Mapping[str, Array]:
        """{name: [*shape]} of an observation; PolicyInputError if it is none of the space."""
        rows: dict[str, Array] = {
            each.name: np.zeros((1, *each.shape), each.numpy_dtype)
            for each in self._spec.observations
        }
        try:
            self._write(rows, 0, observation)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise PolicyInputError(
                f"the observation is none of the environment's space: {type(error).__name__}: "
                f"{error}"
            ) from error
        return {name: array[0] for name, array in rows.items()}

    def mask(self, observation: Any, given: Any) -> Any:
        """[C] the mask that was given in the form of the space, or that the environment has."""
        if given is None:
            given = None if self._mask is None else self._mask.get(observation)
        return None if given is None else self._flatten(given)

    def action(self, chosen: ActionBatch) -> Any:
        """One agent's action in the form that the environment's `step` takes."""
        (action,) = self._read(chosen)
        return action
