"""Warns of behaviours with a deadline where the run's options do not suit one."""

import logging
from collections.abc import Iterator

from entrain.config.policy import PolicyConfig
from entrain.config.run import ServerConfig
from entrain_envs.spec import BehaviourSpec

logger = logging.getLogger(__name__)


def warn_of_deadline(spec: BehaviourSpec, options: PolicyConfig, server: ServerConfig) -> None:
    """Log what is wrong with these options for a behaviour whose actions have a deadline."""
    if not spec.deadline_ms:
        return
    logger.info(
        "policy '%s': its simulator waits %d ms for actions; then acts its fallback (%s)",
        spec.name,
        spec.deadline_ms,
        spec.fallback,
    )
    for trouble in _troubles(spec, options, server):
        logger.warning("policy '%s': %s", spec.name, trouble)


def _troubles(spec: BehaviourSpec, options: PolicyConfig, server: ServerConfig) -> Iterator[str]:
    if options.policy_lag == 0:
        yield (
            f"its simulator waits {spec.deadline_ms} ms for actions, and with policy_lag 0 none "
            "comes while an update runs: the fallback acts as long. Set "
            f"policies.{spec.name}.policy_lag to 1, and actions are chosen during updates, too"
        )
    if server.lockstep:
        yield (
            "its actions have a deadline, and server.lockstep lets each batch wait for the slowest "
            "simulator; which answers are late depends on time, so that the run does not repeat. "
            "Set server.lockstep to false"
        )
