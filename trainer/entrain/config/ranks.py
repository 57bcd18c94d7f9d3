"""The options of a run of several ranks, that is, processes which learn together."""

from entrain.config.fields import Options, Positive


class RanksConfig(Options):
    """Processes that learn together, started by torchrun (docs/ranks.md)."""

    max_wait_s: Positive = 30.0
    """How long a rank that has its part of a rollout waits for the others, before all of them learn
    from the steps they have. With `server.lockstep` it waits without end."""
