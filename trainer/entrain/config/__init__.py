"""All options of a run: their models, how files and `--set` fill them, and error messages.

Nothing here imports torch, gRPC or protobuf.
"""

from entrain.config.algorithm import Algorithm, PPOConfig
from entrain.config.evaluation import EvaluationConfig, StopAtConfig
from entrain.config.launch import LaunchConfig
from entrain.config.policy import (
    ActionConfig,
    EntropyConfig,
    EntropyTargetConfig,
    MemoryConfig,
    NetworkConfig,
    PolicyConfig,
)
from entrain.config.run import (
    CheckpointsConfig,
    RunConfig,
    ServerConfig,
    SimulatorsConfig,
)
from entrain.config.unity import EngineConfig, UnityConfig, UnityLaunchConfig

__all__ = [
    "ActionConfig",
    "Algorithm",
    "CheckpointsConfig",
    "EngineConfig",
    "EntropyConfig",
    "EntropyTargetConfig",
    "EvaluationConfig",
    "LaunchConfig",
    "MemoryConfig",
    "NetworkConfig",
    "PPOConfig",
    "PolicyConfig",
    "RunConfig",
    "ServerConfig",
    "SimulatorsConfig",
    "StopAtConfig",
    "UnityConfig",
    "UnityLaunchConfig",
]
