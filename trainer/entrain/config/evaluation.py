"""The options of evaluating while training, and of ending a run that is good enough.

The docstring under a field is its documentation everywhere; see `run`.
"""

from collections.abc import Sequence
from typing import Final

from pydantic import ConfigDict, Field

from entrain.config.fields import Count, Number, Options, Positive
from entrain.config.launch import LaunchConfig

PREFIX: Final = "evaluation-"
"""Begins the names of simulators that are launched for evaluations, unless they are configured."""


class EvaluationConfig(Options):
    """Lets the newest weights act in simulators of their own, from which nothing is learned."""

    every_steps: Count = 50_000
    """Env steps of training, of all policies together, between the beginnings of two evaluations.
    One more is made when training is complete."""

    episodes: Count = 10
    """Episodes that count in one evaluation, for each behaviour. Each agent plays as many as the
    others, so that with many agents there are more. More say more, and take longer."""

    deterministic: bool = True
    """true: agents take the most likely action. false: actions are sampled, as in training."""

    max_seconds: Positive = 600.0
    """An evaluation ends after this time with the episodes that have ended. The end of the run
    waits for the last evaluation, no longer than this."""

    launch: tuple[LaunchConfig, ...] | None = None
    """Simulators that the trainer starts for evaluations. null: one copy of each entry of
    simulators.launch, and of each function that a Python program gives, with another name and seed.
    []: none; it waits for simulators that join for evaluations (entrain-env --role evaluation)."""

    def simulators(self, trained_in: Sequence[LaunchConfig]) -> tuple[LaunchConfig, ...]:
        """Those that are launched for evaluations of a run that launches `trained_in`."""
        if self.launch is not None:
            return self.launch
        return tuple(
            entry.model_copy(update={"count": 1, "name": f"{PREFIX}{entry.name}"})
            for entry in trained_in
        )


class StopAtConfig(Options):
    """When a run is complete although its policies have steps left."""

    model_config = ConfigDict(serialize_by_alias=True)

    return_: Number = Field(alias="return")
    """Mean return that every policy must have reached: in the newest evaluation, or, without
    `evaluation`, over the last 100 episodes of training, once there were as many. With curricula,
    in the last lesson of each."""
