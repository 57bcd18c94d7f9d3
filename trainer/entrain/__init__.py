"""entrain: simulators dial one trainer over gRPC, and a policy learns from all of them at once.

    result = entrain.train("walk.yaml", simulators="CartPole-v1")
    action = entrain.Policy.load(result.run).act(observation)

The commands of the terminal (`entrain --help`) do the same; simulators use the package
`entrain_envs`. docs/python.md has examples of all of it.

A name is imported when it is first used, so that `import entrain` takes no time: torch comes with
the first that needs it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from entrain.version import __version__

if TYPE_CHECKING:
    from entrain.api import evaluate, export, resume, train
    from entrain.app.evaluation_results import EvaluationResult
    from entrain.app.run_policy import Policy
    from entrain.app.training_result import TrainedPolicy, TrainingResult
    from entrain.errors import EntrainError
    from entrain.observers import Observer
else:
    _MODULE_OF = {
        "EntrainError": "errors",
        "EvaluationResult": "app.evaluation_results",
        "Observer": "observers",
        "Policy": "app.run_policy",
        "TrainedPolicy": "app.training_result",
        "TrainingResult": "app.training_result",
        "evaluate": "api",
        "export": "api",
        "resume": "api",
        "train": "api",
    }

    def __getattr__(name: str) -> object:
        """Import one of the public names (PEP 562)."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'entrain' has no attribute '{name}'")
        return getattr(import_module(f"entrain.{_MODULE_OF[name]}"), name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = [
    "EntrainError",
    "EvaluationResult",
    "Observer",
    "Policy",
    "TrainedPolicy",
    "TrainingResult",
    "__version__",
    "evaluate",
    "export",
    "resume",
    "train",
]
