"""mlagents-learn's names of the parts of a checkpoint, and of their tensors."""

from typing import Final

POLICY, CRITIC, STEPS = "Policy", "Optimizer:critic", "global_step"
"""The actor, the critic, and how many steps both were trained."""

ADAM = "Optimizer:value_optimizer"
"""Moments of actor and critic; no checkpoint has those of curiosity and others."""

CONSTANTS: Final = (
    "version_number",
    "is_continuous_int_deprecated",
    "continuous_act_size_vector",
    "discrete_act_size_vector",
    "act_size_vector_deprecated",
    "memory_size_vector",
)
"""Parameters of an actor that no gradient reaches; they come before all others."""

ENCODER = "network_body.observation_encoder"
PROCESSORS = f"{ENCODER}.processors"
"""One for each sensor, by its number."""

ALIASES = "network_body.processors"
"""The same tensors once more."""

STATISTICS: Final = ("normalization_steps", "running_mean", "running_variance")
"""Statistics of a sensor, which are not parameters."""

BODY = "network_body._body_endoder.seq_layers"
CONDITIONED_BODY = "network_body._body_endoder.layers"
LSTM = "network_body.lstm.lstm"
GAUSSIAN = "action_model._continuous_distribution"
BRANCHES = "action_model._discrete_distribution.branches"
VALUES = "value_heads.value_heads"
EXTRINSIC = f"{VALUES}.extrinsic"
