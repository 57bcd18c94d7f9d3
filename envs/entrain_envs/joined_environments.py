"""Several environments as one: their agents step together and share a message.

Each has agents of its own: no two of them use the same number.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from entrain_envs.environment import Environment, ReportsStatistics
from entrain_envs.joined_batches import joined
from entrain_envs.spec import BehaviourSpec
from entrain_envs.statistics import Statistic
from entrain_envs.timestep import ActionBatch, TimestepBatch


class JoinedEnvironments:
    """See the module. It is an `environment.Environment`."""

    def __init__(self, environments: Sequence[Environment]) -> None:
        """Join them, in this order.

        Args:
            environments: at least one. Where two have a behaviour of one name, its spec is the
                same.
        """
        self._environments = environments
        self._acting: Sequence[Mapping[str, int]] = ()
        """Of each environment: {behaviour: its rows of the last message that need an action}."""

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        """Those of all, each once."""
        return tuple(
            {spec.name: spec for each in self._environments for spec in each.behaviours}.values()
        )

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Begin anew in all of them, with the same seed."""
        return self._join(
            [each.reset(seed=seed, parameters=parameters) for each in self._environments]
        )

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Step one after the other."""
        divided = self._divided(actions)
        pairs = zip(self._environments, divided, strict=True)
        return self._join([environment.step(chosen) for environment, chosen in pairs])

    def _divided(self, actions: Mapping[str, ActionBatch]) -> Sequence[Mapping[str, ActionBatch]]:
        """Of each environment: the actions for its rows of the last message."""
        given = dict.fromkeys(actions, 0)
        parts = []
        for acting in self._acting:
            part = {}
            for name, count in acting.items():
                begin = given[name]
                end = given[name] = begin + count
                batch = actions[name]
                part[name] = ActionBatch(
                    batch.continuous[begin:end], batch.discrete[begin:end], batch.policy_version
                )
            parts.append(part)
        return parts

    def _join(self, parts: Sequence[Mapping[str, TimestepBatch]]) -> Mapping[str, TimestepBatch]:
        self._acting = [
            {name: int(np.count_nonzero(batch.needs_action)) for name, batch in part.items()}
            for part in parts
        ]
        names = dict.fromkeys(name for part in parts for name in part)
        return {name: joined([part[name] for part in parts if name in part]) for name in names}

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """Of all."""
        for each in self._environments:
            each.set_parameters(parameters)

    def take_statistics(self) -> Iterable[Statistic]:
        """Those of all since the last call; see `environment.ReportsStatistics`."""
        return [
            statistic
            for each in self._environments
            if isinstance(each, ReportsStatistics)
            for statistic in each.take_statistics()
        ]

    def close(self) -> None:
        """Close all."""
        for each in self._environments:
            each.close()
