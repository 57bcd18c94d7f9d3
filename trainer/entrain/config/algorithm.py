"""The options of each learning algorithm, and the choice between them by `kind`.

What every algorithm needs (total steps, collection size, discount) is in `policy`.
"""

from typing import Annotated, Literal, TypeAlias

from entrain.config.fields import (
    Count,
    Fraction,
    NonNegative,
    OneOfKinds,
    Options,
    Positive,
    Schedule,
)


class PPOConfig(Options):
    """PPO: how one update uses one rollout (Schulman et al. 2017, arXiv:1707.06347)."""

    kind: Literal["ppo"] = "ppo"
    """Proximal policy optimization."""

    minibatch_size: Count = 64
    """Steps in one gradient step. Larger is steadier and faster per step, with fewer updates."""

    num_epochs: Count = 10
    """Passes over one rollout. More learn faster from it, until the policy drifts."""

    learning_rate: Positive = 3e-4
    """Step size of Adam, for policy and critic."""

    learning_rate_schedule: Schedule = "linear"
    """linear falls to zero over the run."""

    adam_epsilon: Positive = 1e-5
    """Added to Adam's denominator; 1e-5 is usual for PPO."""

    gae_lambda: Fraction = 0.95
    """0 trusts the critic, 1 trusts the sampled rewards."""

    clip_range: Positive = 0.2
    """How far the action probability ratio may leave 1 before its gradient is cut."""

    clip_range_schedule: Schedule = "constant"
    """linear falls to zero over the run."""

    value_clip_range: NonNegative = 0.0
    """How far a value may move from its old estimate in one update, with normalize_values in units
    of the returns' standard deviation; 0 does not clip values."""

    value_coefficient: NonNegative = 0.5
    """Weight of the critic's squared error in the loss."""

    max_grad_norm: NonNegative = 0.5
    """Gradients longer than this are shortened to it; 0 does not clip gradients."""

    clip_gradients: Literal["together", "apart"] = "together"
    """together: the gradients of policy and critic are shortened as one. apart: each by itself, so
    that neither takes the other's share; no effect where they share layers."""

    advantage_normalization: Literal["minibatch", "rollout", "none"] = "minibatch"
    """Over which steps advantages are normalised to mean 0 and standard deviation 1."""

    target_kl: NonNegative = 0.0
    """Stop an update early once the policy has moved this far (KL, in nats); 0 never does."""


Algorithm: TypeAlias = Annotated[PPOConfig, OneOfKinds(default="ppo")]
"""The options of a policy's algorithm. Another one joins as `PPOConfig | OtherConfig`."""
