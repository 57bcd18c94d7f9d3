"""Makes the parts with which one policy learns, each from its options."""

from entrain.algorithms.ppo import PPO
from entrain.algorithms.surrogates import make_surrogate
from entrain.app.build import make_regularizer
from entrain.policy.actor_critic import ActorCritic
from entrain.rank_part import share_of
from entrain.ranks import ALONE, Ranks
from entrain.rollout.collector import RolloutCollector


def make_collector(policy: ActorCritic, *, num_ranks: int = 1) -> RolloutCollector:
    """Makes the collector of what `policy` learns from: of this rank's share of the steps."""
    options = policy.config
    return RolloutCollector(
        policy,
        rollout_steps=share_of(options.rollout_steps, num_ranks),
        total_steps=share_of(options.total_steps, num_ranks),
        discount=options.discount,
        normalize_rewards=options.normalize_rewards,
        reward_clip=options.reward_clip,
        reward_scale=options.reward_scale,
        rollout_type=make_surrogate(options.algorithm).rollout_type,
    )


def make_algorithm(policy: ActorCritic, *, seed: int, ranks: Ranks = ALONE) -> PPO:
    """Makes the algorithm of `policy`, on its device. ConfigError: see `make_regularizer`."""
    return PPO(
        policy,
        policy.config.algorithm,
        discount=policy.config.discount,
        seed=seed,
        device=policy.initial_state(0).device,
        regularizer=make_regularizer(policy),
        ranks=ranks,
    )
