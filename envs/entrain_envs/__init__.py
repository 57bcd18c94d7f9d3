"""The client SDK of entrain: connect a simulator to a trainer.

The names below are what a simulator of your own needs. Everything else is imported from its
module: `environment` runs an `Environment`, the adapters wrap Gymnasium and PettingZoo, `errors`
lists what is raised on purpose, `codec` converts to and from the wire.

A name is imported when it is first used, so that the commands of both packages start without gRPC
and numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entrain_envs.client import TrainerClient
    from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
    from entrain_envs.statistics import Statistic
    from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
else:
    _MODULE_OF = {
        "TrainerClient": "client",
        "ActionSpec": "spec",
        "BehaviourSpec": "spec",
        "ObservationSpec": "spec",
        "Statistic": "statistics",
        "ActionBatch": "timestep",
        "StepType": "timestep",
        "TimestepBatch": "timestep",
    }

    def __getattr__(name: str) -> object:
        """Import one of the public names (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'entrain_envs' has no attribute '{name}'")
        return getattr(import_module(f"entrain_envs.{_MODULE_OF[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "ActionBatch",
    "ActionSpec",
    "BehaviourSpec",
    "ObservationSpec",
    "Statistic",
    "StepType",
    "TimestepBatch",
    "TrainerClient",
]
