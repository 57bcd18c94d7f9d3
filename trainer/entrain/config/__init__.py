"""Every option: how files and command lines set it, and what a user is told when one is wrong."""

from entrain.config.algorithm import Algorithm, PPOConfig
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
    LaunchConfig,
    RunConfig,
    ServerConfig,
    SimulatorsConfig,
)

__all__ = [
    "ActionConfig",
    "Algorithm",
    "CheckpointsConfig",
    "EntropyConfig",
    "EntropyTargetConfig",
    "LaunchConfig",
    "MemoryConfig",
    "NetworkConfig",
    "PPOConfig",
    "PolicyConfig",
    "RunConfig",
    "ServerConfig",
    "SimulatorsConfig",
]
