"""The options of each learning algorithm, and the choice between them by `kind`.

What every algorithm needs (total steps, collection size, discount) is in `policy`.
"""

from typing import Annotated, Literal, TypeAlias

from entrain.config.fields import (
    Count,
    CountOrZero,
    Fraction,
    NonNegative,
    OneOfKinds,
    Options,
    Positive,
    Schedule,
)
from entrain.config.off_policy import SoftQConfig
from entrain.config.sac import SACConfig


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
    """linear goes to final_learning_rate over the run."""

    final_learning_rate: NonNegative = 0.0
    """What a linear learning_rate_schedule ends at. Has no effect with constant."""

    adam_epsilon: Positive = 1e-5
    """Added to Adam's denominator; 1e-5 is usual for PPO."""

    gae_lambda: Fraction = 0.95
    """0 trusts the critic, 1 trusts the sampled rewards."""

    horizon: CountOrZero = 0
    """Steps of an agent after which the critic's value stands for the rewards that follow, as it
    does where a rollout ends; 0 counts all rewards in the rollout. Shorter trusts the critic more,
    and makes advantages less noisy."""

    surrogate: Literal["joint", "per_dimension"] = "joint"
    """Whose probability ratio is clipped. joint: that of the whole action (usual for PPO).
    per_dimension: that of each continuous dimension and of each branch by itself, and the loss is
    the mean over them: with many dimensions less is clipped, and each is held by itself."""

    clip_range: Positive = 0.2
    """How far the action probability ratio may leave 1 before its gradient is cut."""

    clip_range_schedule: Schedule = "constant"
    """linear goes to final_clip_range over the run."""

    final_clip_range: NonNegative = 0.0
    """What a linear clip_range_schedule ends at; it may be above clip_range. Has no effect with
    constant."""

    value_clip_range: NonNegative = 0.0
    """How far a value may move from its old estimate in one update, with normalize_values in units
    of the returns' standard deviation; 0 does not clip values."""

    value_clip_range_schedule: Schedule = "constant"
    """linear goes to final_value_clip_range over the run. Has no effect if value_clip_range is 0:
    values are not clipped then."""

    final_value_clip_range: NonNegative = 0.0
    """What a linear value_clip_range_schedule ends at. Has no effect with constant."""

    value_coefficient: NonNegative = 0.5
    """Weight of the critic's squared error in the loss."""

    max_grad_norm: NonNegative = 0.5
    """Gradients longer than this are shortened to it; 0 does not clip gradients."""

    clip_gradients: Literal["together", "apart"] = "together"
    """together: the gradients of policy and critic are shortened as one. apart: each by itself, so
    that neither takes the other's share; no effect where they share layers."""

    advantage_normalization: Literal["minibatch", "rollout", "none"] = "minibatch"
    """Over which steps advantages are normalised to mean 0 and standard deviation 1."""

    update: Literal["auto", "torch"] = "auto"
    """auto computes gradients by hand where that is quicker: for vectors through hidden layers on a
    CPU; those of an LSTM or GRU are torch's. torch never does. Both take the same steps, up to
    rounding."""

    target_kl: NonNegative = 0.0
    """Stop an update early once the policy has moved this far (KL, in nats); 0 never does."""


Algorithm: TypeAlias = Annotated[PPOConfig | SoftQConfig | SACConfig, OneOfKinds(default="ppo")]
"""The options of a policy's algorithm. Another one joins as `PPOConfig | ... | OtherConfig`."""
