"""Learning without wire or server: one environment, and a trainer with all its real parts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from benchmarks.in_process import EnvironmentBatches, NotedEpisodes, make_trainer, run

from entrain.algorithms.entropy import Entropy, Regularizer
from entrain.algorithms.ppo import PPO
from entrain.app.learning_parts import make_collector
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import PolicyConfig, algorithm_options
from entrain.policy.actor_critic import ActorCritic
from entrain.trainer import Update
from entrain_envs.environment import Environment


@dataclass
class Learned:
    """What came of it. Also the recorder of the run."""

    policy: ActorCritic
    metrics: list[Mapping[str, float]] = field(default_factory=list)
    returns: list[npt.NDArray[np.float64]] = field(default_factory=list)
    """Of the episodes that finished before each update."""

    def record(self, update: Update) -> None:
        metrics = update.metrics.items()
        self.metrics.append(
            {name: value for name, value in metrics if not name.startswith("time/")}
        )

    def note_completion(self) -> None:
        pass


def learn(
    environment: Environment,
    config: PolicyConfig,
    *,
    seed: int,
    prepare: Callable[[ActorCritic], None] = lambda policy: None,
    regularize: Callable[[ActorCritic], Regularizer] = lambda policy: Entropy(),
) -> Learned:
    """Train until `config.total_steps`; agents of the environment have the ids 0, 1, ..."""
    (spec,) = environment.behaviours
    policy = ActorCritic(spec, config, seed=seed)
    prepare(policy)
    learned = Learned(policy)
    collector = make_collector(policy)
    collector.episodes = NotedEpisodes(learned.returns)
    ppo = PPO(
        policy,
        algorithm_options(config, PPOConfig),
        discount=config.discount,
        seed=seed,
        device=torch.device("cpu"),
        regularizer=regularize(policy),
    )
    trainer = make_trainer(policy, seed=seed, recorder=learned, algorithm=ppo, collector=collector)
    run(trainer, EnvironmentBatches(environment, seed=seed, is_over=lambda: trainer.is_complete))
    return learned
