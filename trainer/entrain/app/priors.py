"""The policies that others are kept close to, by the option `entropy.prior`."""

import logging
from collections.abc import Mapping
from pathlib import Path

from entrain.algorithms.entropy import PriorDivergence, Regularizer, entropy_of
from entrain.app.trained_policies import TrainedPolicy, trained_policies
from entrain.config.run import RunConfig
from entrain.errors import ConfigError
from entrain.policy.actor_critic import ActorCritic

logger = logging.getLogger(__name__)

_PRIOR = "entropy.prior"


def require_priors(config: RunConfig) -> None:
    """Check that every `entropy.prior` exists, before the run waits for simulators.

    Whether it fits is known only once a simulator sends its spec: see `make_regularizer`.

    Raises:
        ConfigError: it is no folder of a run with a policy, or has none of the behaviour's name.
    """
    for behaviour, options in config.policies.items():
        if options.entropy.prior is not None:
            policies = trained_policies(options.entropy.prior, behaviour, option=_PRIOR)
            if behaviour != "*":
                _named(policies, options.entropy.prior, behaviour)


def make_regularizer(policy: ActorCritic) -> Regularizer:
    """Makes what the objective adds to the reward: the entropy, or the divergence from a prior.

    Args:
        policy: on the device where it learns; its options may name the run of a prior.

    Raises:
        ConfigError: there is no such policy, or it cannot be compared with this one.
    """
    path, behaviour = policy.config.entropy.prior, policy.spec.name
    if path is None:
        return entropy_of(policy.config.entropy)
    policies = trained_policies(path, behaviour, option=_PRIOR)
    prior = _named(policies, path, behaviour).network
    if not isinstance(prior, ActorCritic):
        raise ConfigError(
            f"{_PRIOR} {path} was trained with algorithm.kind {prior.config.algorithm.kind}; name "
            "a run of kind ppo"
        )
    logger.info("policy '%s' is drawn to the one of %s", behaviour, path)
    return PriorDivergence(prior.to(policy.initial_state(0).device), policy)


def _named(policies: Mapping[str, TrainedPolicy], path: Path, behaviour: str) -> TrainedPolicy:
    if behaviour not in policies:
        raise ConfigError(
            f"{_PRIOR} {path} has no policy '{behaviour}' (it has: {', '.join(policies)}); "
            "name the folder of a run that trained this behaviour"
        )
    return policies[behaviour]
