"""Checks, before a run listens, that all files its settings name are there and fit."""

from collections.abc import Set

from entrain.app.build import require_networks
from entrain.app.games import require_build
from entrain.app.initial_weights import begun_behaviours, require_initial_weights
from entrain.app.priors import require_priors
from entrain.config.run import RunConfig
from entrain.run.checkpoint import Loaded


def begun_if_whole(config: RunConfig, restored: Loaded | None) -> Set[str]:
    """Returns the behaviours that a checkpoint holds.

    Raises:
        ConfigError: something that the configuration names is not there, or cannot be used.
    """
    begun = begun_behaviours(restored)
    require_networks(config)
    require_priors(config)
    require_initial_weights(config, begun=begun)
    require_build(config)
    return begun
