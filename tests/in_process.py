"""Learning without wire or server: one environment, the real actor and the real algorithm."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from entrain.algorithms.entropy import Entropy, Regularizer
from entrain.algorithms.ppo import PPO
from entrain.app.build import make_actor
from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.requests import SlotTimesteps
from entrain_envs.environment import Environment
from entrain_envs.timestep import TimestepBatch


@dataclass
class Learned:
    """What came of it."""

    policy: ActorCritic
    metrics: list[Mapping[str, float]] = field(default_factory=list)
    returns: list[npt.NDArray[np.float64]] = field(default_factory=list)
    """Of the episodes that finished before each update."""


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
    ppo = PPO(
        policy,
        config.algorithm,
        discount=config.discount,
        seed=seed,
        device=torch.device("cpu"),
        regularizer=regularize(policy),
    )
    actor = make_actor(policy, seed=seed)
    learned = Learned(policy)
    timesteps = environment.reset(seed=seed, parameters={})[spec.name]
    while actor.ledger.closed < config.total_steps:
        rollout = actor.observe(_by_slot(timesteps))
        if rollout is not None:
            done = (actor.ledger.closed - rollout.num_steps) / config.total_steps
            learned.returns.append(actor.episodes.take()[0])
            learned.metrics.append(ppo.update(rollout, progress=done))
            actor.policy_version = ppo.version
        timesteps = environment.step({spec.name: actor.act()})[spec.name]
    return learned


def _by_slot(timesteps: TimestepBatch) -> SlotTimesteps:
    return SlotTimesteps(
        slot=timesteps.agent_id,
        timesteps=timesteps,
        released=np.zeros(0, np.int64),
        num_slots=int(timesteps.agent_id.max()) + 1,
    )
