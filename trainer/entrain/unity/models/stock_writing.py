"""Writes a policy as the `checkpoint.pt` that mlagents-learn resumes or initializes from."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from entrain.policy.actor_critic import ActorCritic
from entrain.policy.trunk import Trunk
from entrain.state import State
from entrain.unity.models.correspondence import their_moments, their_tensors
from entrain.unity.models.stock_names import ADAM, CONSTANTS, CRITIC, POLICY, STEPS
from entrain.unity.models.warm_start import network_misfit

STEP_COUNTER: Final = "_GlobalSteps__global_step"
MODEL_VERSION: Final = 3.0
"""Of the ONNX file that their exporter would write."""


def writing_misfit(policy: ActorCritic) -> str:
    """Why mlagents-learn has no network that computes what `policy` does; "" if it has one."""
    misfit = network_misfit(policy)
    if misfit:
        return misfit
    config, trunk = policy.config, policy.backbone.trunk
    assert isinstance(trunk, Trunk)
    if trunk.hidden_layers.activation != "silu" or len(set(config.network.hidden_sizes)) != 1:
        return "its networks have layers of one size, and silu between them"
    if len(policy.value_head.streams) != 1 or policy.value_head.normalizer.normalizes:
        return "it has one value, in units of the reward; set normalize_values: false"
    if policy.spec.action.continuous_size and config.action.clip != 3.0:
        return "its continuous actions are clipped at 3; set action.clip: 3"
    if config.normalize_observations and config.observation_clip != 5.0:
        return "its observations are clipped at 5; set observation_clip: 5"
    return ""


def save_stock_checkpoint(policy: ActorCritic, optimizer: State, path: Path, *, steps: int) -> None:
    """Write the file, or leave the one that is there.

    Args:
        policy: on the CPU, and accepted by `writing_misfit`.
        optimizer: state of the `Adam` that moves its weights.
        path: of the file; its folder exists.
        steps: env steps that it was trained.
    """
    tensors = their_tensors(policy)
    constants = _constants(policy)
    is_shared = policy.config.network.shared
    content = {
        POLICY: {**constants, **tensors[POLICY]},
        STEPS: {STEP_COUNTER: torch.tensor([steps])},
        ADAM: _adam(policy, optimizer),
        CRITIC: {**(constants if is_shared else {}), **tensors[CRITIC]},
    }
    with tempfile.NamedTemporaryFile(prefix=".export-", dir=path.parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
            # Others read checkpoints as well; a temporary file only its owner can.
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _constants(policy: ActorCritic) -> Mapping[str, Tensor]:
    """The constants with which an actor of mlagents-learn describes itself."""
    action, memory = policy.spec.action, policy.config.network.memory
    branches = [float(size) for size in action.branches]
    values: list[list[Any]] = [
        [MODEL_VERSION],
        [float(action.continuous_size > 0 and not branches)],
        [float(action.continuous_size)],
        [branches],
        [float(action.continuous_size) + sum(branches)],
        [0.0 if memory.kind == "none" else 2.0 * memory.size],
    ]
    return {name: torch.tensor(value) for name, value in zip(CONSTANTS, values, strict=True)}


def _adam(policy: ActorCritic, state: State) -> Mapping[str, Any]:
    """The state of torch.optim.Adam over the same weights."""
    means, squares = (
        list(their_moments(policy, _tensors(state[kind]), power))
        for power, kind in enumerate(("mean", "mean_square"), start=1)
    )
    first, num_steps = len(CONSTANTS), int(state["num_steps"])
    moments = {
        first + index: {
            "step": torch.tensor(float(num_steps)),
            "exp_avg": mean,
            "exp_avg_sq": square,
        }
        for index, (mean, square) in enumerate(zip(means, squares, strict=True))
    }
    group = {
        "lr": policy.config.algorithm.learning_rate,
        "betas": (0.9, 0.999),
        "eps": policy.config.algorithm.adam_epsilon,
        "weight_decay": 0,
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "fused": None,
        "params": list(range(first + len(means))),
    }
    return {"state": moments if num_steps else {}, "param_groups": [group]}


def _tensors(arrays: State) -> Mapping[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
