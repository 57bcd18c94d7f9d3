"""Every option of one policy, with its default, its unit and its trade-off.

As in `config`, the docstring under a field is its documentation everywhere.
"""

import re
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from entrain.config.algorithm import Algorithm, PPOConfig
from entrain.config.fields import (
    Count,
    CountOrZero,
    Fraction,
    NonNegative,
    Number,
    Options,
    Positive,
    Schedule,
    ZeroOrOne,
)


class MemoryConfig(Options):
    """What a policy remembers within an episode, and how it learns to."""

    kind: Literal["none", "lstm", "gru"] = "none"
    """none sees only the present. lstm and gru carry a recurrent state, which the trainer keeps."""

    size: Count = 128
    """Width of each recurrent layer. Larger remembers more, at the cost of speed."""

    layers: Count = 1
    """Recurrent layers on top of each other."""

    sequence_length: Count = 16
    """Steps that are learned from in one piece: gradients reach no further back, though what is
    remembered does. Longer links causes to later effects, and is slower."""

    burn_in: CountOrZero = 0
    """Steps before each sequence that are run again, without learning from them, so that it starts
    from a state of the present weights. At most sequence_length."""

    refresh_states: bool = False
    """Compute the state that each sequence starts from anew before every epoch, with the weights
    as they are then. Costs about a third of an epoch more."""

    @model_validator(mode="after")
    def _check(self) -> "MemoryConfig":
        if self.burn_in > self.sequence_length:
            raise ValueError(
                f"burn_in is {self.burn_in}; it must be at most sequence_length "
                f"{self.sequence_length}"
            )
        return self


class NetworkConfig(Options):
    """The networks of policy and critic."""

    hidden_sizes: tuple[Count, ...] = (64, 64)
    """Width of each hidden layer. Wider learns harder tasks, at the cost of speed."""

    activation: Literal["tanh", "relu", "elu", "silu"] = "tanh"
    """tanh suits small control networks; relu, elu and silu wider ones."""

    layer_norm: bool = False
    """Normalise each hidden layer before its activation: steadier with wide or deep networks."""

    shared: bool = False
    """Whether policy and critic share all layers but the last. Separate is safer for vectors,
    shared faster for images and memory, by half in what was measured."""

    memory: MemoryConfig = MemoryConfig()

    previous_action: bool = False
    """Show the policy what it did a step ago; memory tasks often need it."""

    previous_reward: bool = False
    """Show the policy the reward it has just received."""

    image_encoder: Literal["simple", "nature_cnn", "resnet"] = "simple"
    """For images. simple: two convolutions, from 20 x 20. nature_cnn: three, from 36 x 36. resnet:
    IMPALA's 15, of any size; learns most, and is several times as slow."""

    image_features: Count = 128
    """Numbers that each image is reduced to."""

    entity_features: Count = 64
    """Numbers that each set of entities is reduced to."""

    entity_heads: Count = 4
    """Attention heads over entities; must divide entity_features."""

    goal_conditioning: Literal["hypernetwork", "concatenate"] = "hypernetwork"
    """What goal observations do. hypernetwork: they choose the weights of the last hidden layer,
    so that goals can ask for opposite behaviour. concatenate: they are seen beside the others."""

    custom: str | None = None
    """PACKAGE.MODULE:CLASS of a network of your own, in place of the encoders and hidden layers;
    docs/networks.md says what it must have."""

    @model_validator(mode="after")
    def _check(self) -> "NetworkConfig":
        if self.entity_features % self.entity_heads:
            raise ValueError(
                f"entity_heads is {self.entity_heads}; it must divide entity_features "
                f"{self.entity_features}"
            )
        if self.custom is not None and not re.fullmatch(r"[\w.]+:[\w.]+", self.custom):
            raise ValueError(
                f"custom is '{self.custom}'; it must be PACKAGE.MODULE:CLASS, such as "
                "my_game.networks:Tower"
            )
        return self


class ActionConfig(Options):
    """How continuous actions are drawn. Discrete branches need no options."""

    distribution: Literal["gaussian", "squashed_gaussian"] = "gaussian"
    """gaussian: clipped at the bounds. squashed_gaussian: tanh keeps actions inside them."""

    initial_log_sigma_sq: Number = 0.0
    """Logarithm of the variance at the start, per dimension, where 1 is half the bounded range."""

    min_log_sigma_sq: Number = -20.0
    """Smooth floor of the log-variance: exploration never falls below it."""

    max_log_sigma_sq: Number = 4.0
    """Smooth ceiling of the log-variance: an entropy regularizer cannot push beyond it."""

    @model_validator(mode="after")
    def _check(self) -> "ActionConfig":
        if not self.min_log_sigma_sq < self.initial_log_sigma_sq < self.max_log_sigma_sq:
            raise ValueError(
                f"initial_log_sigma_sq is {self.initial_log_sigma_sq}; it must lie between "
                f"min_log_sigma_sq {self.min_log_sigma_sq} and "
                f"max_log_sigma_sq {self.max_log_sigma_sq}"
            )
        return self


class EntropyTargetConfig(Options):
    """The entropy that the coefficient is adapted to keep, as a line over the run."""

    per_dimension: Number = -1.0
    """Nats per continuous action dimension at the start, where 1 is half the bounded range: a
    Gaussian of sigma 0.09 has -1, of sigma 0.24 has 0, of sigma 1 has 1.42."""

    final_per_dimension: Number | None = None
    """At the end of the run; the same, if not given."""

    fraction: Fraction = 0.5
    """Of a discrete branch's greatest possible entropy, ln(choices), at the start."""

    final_fraction: Fraction | None = None
    """At the end of the run; the same, if not given."""

    rate: Positive = 0.05
    """How fast the coefficient follows: its logarithm changes by this, per update and per nat
    that the entropy is away from the target. Too high and both swing."""


class EntropyConfig(Options):
    """What the policy is rewarded for beside the reward: staying undecided."""

    objective: Literal["bonus", "soft_return", "entropy_critic"] = "bonus"
    """bonus: be undecided here and now (the field's custom). soft_return: entropy counts as
    reward, so that the policy also seeks places where it can stay undecided. entropy_critic: the
    same with a discount of its own and a critic of its own for it."""

    coefficient: NonNegative = 0.0
    """What a nat is worth, in units of the reward that the critic sees: more keeps exploring for
    longer. With a target, where the coefficient starts; it must then be above 0."""

    coefficient_schedule: Schedule = "constant"
    """linear falls to zero over the run. With a target it has no effect."""

    target: EntropyTargetConfig | None = None
    """If given, the coefficient is adapted so that the entropy follows this target."""

    discount: Fraction = 0.99
    """Per step, of future entropy; of the entropy critic only."""

    gae_lambda: Fraction = 0.95
    """As algorithm.gae_lambda, for future entropy; of the entropy critic only."""

    prior: Path | None = None
    """Run folder of a trained policy to stay close to: minus the KL divergence from it takes the
    place of the entropy. Relative to the directory that the trainer is started or resumed in. Its
    newest checkpoint is taken, each time: name a run that has ended."""

    @model_validator(mode="after")
    def _check(self) -> "EntropyConfig":
        if self.target is not None and self.coefficient == 0.0:
            raise ValueError("coefficient is 0; with a target it must start above 0, such as 0.01")
        if self.prior is not None and self.coefficient == 0.0:
            raise ValueError("coefficient is 0; with a prior it must be above 0, such as 0.1")
        return self


class PolicyConfig(Options):
    """One policy: how long it trains, its networks and its algorithm."""

    total_steps: Count = 1_000_000
    """Env steps (outcomes received, over all agents) after which this policy is done."""

    rollout_steps: Count = 2048
    """Closed env steps, over all agents together, that one update learns from."""

    discount: Fraction = 0.99
    """Per step; the policy looks about 1 / (1 - discount) steps ahead."""

    policy_lag: ZeroOrOne = 0
    """Updates that the acting policy may be behind. 0: exactly on-policy, simulators wait for each
    update. 1: the next rollout is collected while the update runs."""

    network: NetworkConfig = NetworkConfig()
    action: ActionConfig = ActionConfig()

    normalize_observations: bool = True
    """Bring vectors and goals to mean 0, variance 1 by running statistics. Never uint8 ones."""

    observation_clip: Positive = 10.0
    """Normalised observations are cut at plus and minus this."""

    normalize_rewards: bool = False
    """Divide rewards by the running standard deviation of their discounted sum."""

    reward_clip: Positive = 10.0
    """Normalised rewards are cut at plus and minus this."""

    entropy: EntropyConfig = EntropyConfig()
    algorithm: Algorithm = PPOConfig()
    """How the policy learns. Its options depend on `kind`."""
