"""Makes the parts with which one policy learns, each from its options."""

from typing import Any, TypeAlias

from entrain.algorithms.algorithm import AlgorithmOfRun
from entrain.algorithms.off_policy import OffPolicy
from entrain.algorithms.ppo import PPO
from entrain.algorithms.sac import SAC
from entrain.algorithms.soft_q import SoftQ
from entrain.algorithms.surrogates import make_surrogate
from entrain.app.priors import make_regularizer
from entrain.config.algorithm import PPOConfig
from entrain.config.off_policy import SoftQConfig
from entrain.config.sac import SACConfig
from entrain.policy.actor_critic import ActorCritic, ActorNetwork
from entrain.rank_part import share_of
from entrain.ranks import ALONE, Ranks
from entrain.rollout.collector import StepCollector
from entrain.rollout.rollout_collector import RolloutCollector
from entrain.rollout.transition_collector import TransitionCollector

AnyAlgorithm: TypeAlias = AlgorithmOfRun[Any]
"""With the collector of the same policy it agrees on what experience is."""


def make_collector(policy: ActorNetwork, *, num_ranks: int = 1) -> StepCollector[Any]:
    """Makes the collector of what `policy` learns from: of this rank's share of the steps."""
    options = policy.config
    steps_per_update = share_of(options.rollout_steps, num_ranks)
    total_steps = share_of(options.total_steps, num_ranks)
    if not isinstance(options.algorithm, PPOConfig):
        return TransitionCollector(
            policy,
            steps_per_update=steps_per_update,
            total_steps=total_steps,
            reward_scale=options.reward_scale,
        )
    return RolloutCollector(
        policy,
        rollout_steps=steps_per_update,
        total_steps=total_steps,
        discount=options.discount,
        normalize_rewards=options.normalize_rewards,
        reward_clip=options.reward_clip,
        reward_scale=options.reward_scale,
        rollout_type=make_surrogate(options.algorithm).rollout_type,
    )


def make_algorithm(policy: ActorNetwork, *, seed: int, ranks: Ranks = ALONE) -> AnyAlgorithm:
    """Makes the algorithm of `policy`, on its device.

    Raises:
        ConfigError: the algorithm does not fit the policy's actions; or see `make_regularizer`.
    """
    options, device = policy.config, policy.initial_state(0).device
    if isinstance(options.algorithm, SoftQConfig):
        return OffPolicy(SoftQ(policy, device=device, ranks=ranks), options, seed=seed, ranks=ranks)
    if isinstance(options.algorithm, SACConfig):
        sac = SAC(policy, seed=seed, device=device, ranks=ranks)
        return OffPolicy(sac, options, seed=seed, ranks=ranks)
    assert isinstance(policy, ActorCritic), f"{options.algorithm.kind} needs a critic"
    return PPO(
        policy,
        options.algorithm,
        discount=options.discount,
        seed=seed,
        device=device,
        regularizer=make_regularizer(policy),
        ranks=ranks,
    )
