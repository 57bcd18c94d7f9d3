"""Off-policy learning without wire: whole trainers on toy tasks, and transitions made by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from benchmarks.in_process import EnvironmentBatches, make_trainer, run

from entrain.app.learning_parts import make_algorithm
from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import ActorNetwork, make_policy
from entrain.trainer import Trainer, Update
from entrain.transitions import Transitions
from entrain_envs.environment import Environment
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

CHOICES = BehaviourSpec("walker", (ObservationSpec("x", (2,)),), ActionSpec(branches=(3, 2)))


@dataclass
class Sitting:
    """A policy that learned, and the metrics of its updates. Also the recorder of the run."""

    policy: ActorNetwork
    metrics: list[Mapping[str, float]] = field(default_factory=list)
    trainer: Trainer[Any] | None = None

    def record(self, update: Update) -> None:
        self.metrics.append(update.metrics)

    def note_completion(self) -> None:
        pass


def soft_q_options(**options: Any) -> PolicyConfig:
    """Of a policy that learns by soft Q; `algorithm` holds what differs there."""
    algorithm = {"kind": "soft_q", "learning_starts": 0, **options.pop("algorithm", {})}
    return PolicyConfig.model_validate({**options, "algorithm": algorithm})


def learn_in_process(environment: Environment, config: PolicyConfig, *, seed: int = 1) -> Sitting:
    """Train until the total steps; agents of the environment have the ids 0, 1, ..."""
    (spec,) = environment.behaviours
    policy = make_policy(spec, config, seed=seed)
    sitting = Sitting(policy)
    algorithm = make_algorithm(policy, seed=seed)
    trainer = make_trainer(policy, seed=seed, recorder=sitting, algorithm=algorithm)
    sitting.trainer = trainer
    run(trainer, EnvironmentBatches(environment, seed=seed, is_over=lambda: trainer.is_complete))
    return sitting


def made_transitions(
    streams: Sequence[int],
    *,
    seed: int = 0,
    spec: BehaviourSpec = CHOICES,
    continues: Sequence[bool] | None = None,
    **changes: Any,
) -> Transitions:
    """Random transitions of these streams, in this order."""
    random = np.random.default_rng(seed)
    count = len(streams)

    def seen() -> dict[str, torch.Tensor]:
        return {
            each.name: torch.tensor(random.normal(size=(count, *each.shape)), dtype=torch.float32)
            for each in spec.observations
        }

    branches = [random.integers(choices, size=count) for choices in spec.action.branches]
    action: dict[str, torch.Tensor] = {}
    if spec.action.continuous_size:
        drawn = random.normal(size=(count, spec.action.continuous_size))
        action["continuous"] = torch.tensor(drawn, dtype=torch.float32)
    if branches:
        action["discrete"] = torch.tensor(np.stack(branches, axis=1))
    everything = torch.ones(count, spec.action.num_choices, dtype=torch.bool)
    fields: dict[str, Any] = {
        "observation": seen(),
        "action": action,
        "action_mask": everything,
        "reward": torch.tensor(random.normal(size=count), dtype=torch.float32),
        "next_observation": seen(),
        "next_action_mask": everything,
        "terminated": torch.tensor(random.random(count) < 0.2),
        "late": torch.zeros(count, dtype=torch.bool),
        "stream": torch.tensor(streams, dtype=torch.int64),
        "continues": torch.tensor(continues or [False] * count),
        "policy_version": torch.zeros(count, dtype=torch.int64),
    }
    return Transitions(**{**fields, **changes})
