"""The options of one policy, each with its default, unit and trade-off.

The docstring under a field is its documentation everywhere; see `run`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

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
from entrain.config.off_policy import Defaults, OffPolicyConfig

Kind = TypeVar("Kind", bound=Options)


class MemoryConfig(Options):
    """The policy's memory within an episode, and how it is trained."""

    kind: Literal["none", "lstm", "gru", "mingru"] = "none"
    """none: sees only the present. lstm, gru, mingru: carry a recurrent state, which the trainer
    keeps. mingru (Feng et al. 2024, arXiv:2410.01201) is the fastest to train; what it remembers
    cannot depend on what it remembers already."""

    size: Count = 128
    """Width of each recurrent layer. Larger remembers more, at the cost of speed."""

    layers: Count = 1
    """Number of recurrent layers, each on top of the one before."""

    sequence_length: Count = 16
    """Steps that gradients flow back through; the recurrent state reaches further. Longer links
    causes to later effects, and is slower."""

    burn_in: CountOrZero = 0
    """Steps before each sequence that are run again without learning from them, so that it starts
    from a state that fits the present weights. At most sequence_length."""

    refresh_states: bool = False
    """Recompute the state at the start of each sequence before every epoch, with the present
    weights. Makes an epoch about a third slower."""

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

    activation: Literal["auto", "tanh", "relu", "elu", "silu"] = "auto"
    """Of the hidden layers. auto: relu if an image is observed, otherwise tanh, which suits small
    control networks; relu, elu and silu suit wider ones."""

    layer_norm: bool = False
    """Normalise each hidden layer before its activation: steadier with wide or deep networks."""

    shared: bool = False
    """Share all layers but the last between policy and critic. Separate is safer for vectors;
    shared is faster for images and memory, by half where it was measured."""

    memory: MemoryConfig = MemoryConfig()

    previous_action: bool = False
    """Give the policy its previous action as an input; memory tasks often need it."""

    previous_reward: bool = False
    """Give the policy the reward it has just received as an input."""

    image_encoder: Literal[
        "auto", "small", "simple", "nature_cnn", "resnet", "match3", "fully_connected"
    ] = "auto"
    """Layers that encode images. auto: nature_cnn, simple or small, the first that each image is
    large enough for. nature_cnn: three convolutions, for images of at least 36 x 36. simple: two,
    at least 20 x 20. small: two that use every pixel, any size. resnet: the 15 of IMPALA, any size;
    learns most, and is several times slower. match3: two wide ones, at least 5 x 5, for boards.
    fully_connected: none, any size, for images whose pixels have no neighbourhood."""

    image_features: Count = 128
    """Numbers that each image is encoded as."""

    entity_features: Count = 64
    """Numbers that each set of entities is encoded as."""

    entity_heads: Count = 4
    """Attention heads over entities; must divide entity_features."""

    goal_conditioning: Literal["hypernetwork", "concatenate"] = "hypernetwork"
    """How goal observations are used. hypernetwork: they determine the weights of the last hidden
    layer, so that goals can ask for opposite behaviour. concatenate: they are one more input."""

    custom: str | None = None
    """PACKAGE.MODULE:CLASS of your own network, which replaces the encoders and hidden layers;
    docs/networks.md says what it needs."""

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
    """The distribution of continuous actions. Discrete branches need no options."""

    distribution: Literal["gaussian", "squashed_gaussian"] = "gaussian"
    """gaussian: clipped at the bounds. squashed_gaussian: tanh keeps actions inside them."""

    clip: Positive = 1.0
    """Sampled value that reaches a bound, for dimensions that have both: values are clipped to plus
    and minus this and divided by it. So the Gaussian's unit is half the bounded range divided by
    clip. Above 1, fewer of a new policy's actions lie at the bounds. gaussian only."""

    log_sigma_sq: Literal["parameter", "network"] = "parameter"
    """What decides the log-variance of each dimension. parameter: a number that is learned, the
    same for every observation (usual for PPO). network: an output of the policy's network, so that
    it can be sure in one situation and try much in another (usual for SAC)."""

    initial_log_sigma_sq: Number = 0.0
    """Logarithm of each dimension's initial variance, in units of half the bounded range, or of
    that divided by clip."""

    min_log_sigma_sq: Number = -20.0
    """Smooth lower bound of the log-variance: exploration never falls below it."""

    max_log_sigma_sq: Number = 4.0
    """Smooth upper bound of the log-variance: an entropy bonus cannot push it further."""

    @model_validator(mode="after")
    def _check(self) -> "ActionConfig":
        if not self.min_log_sigma_sq < self.initial_log_sigma_sq < self.max_log_sigma_sq:
            raise ValueError(
                f"initial_log_sigma_sq is {self.initial_log_sigma_sq}; it must lie between "
                f"min_log_sigma_sq {self.min_log_sigma_sq} and "
                f"max_log_sigma_sq {self.max_log_sigma_sq}"
            )
        if self.clip != 1.0 and self.distribution == "squashed_gaussian":
            raise ValueError(
                f"clip is {self.clip:g}; a squashed_gaussian, which tanh keeps inside the bounds, "
                "is not clipped: leave clip out, or set distribution: gaussian"
            )
        return self


class EntropyTargetConfig(Options):
    """The entropy that the coefficient is adapted to reach; it may change linearly over the run."""

    per_dimension: Number = -1.0
    """Nats per continuous action dimension at the start, in units of half the bounded range, or of
    that divided by action.clip: a Gaussian of sigma 0.09 has -1, of sigma 0.24 has 0, of sigma 1
    has 1.42. A squashed_gaussian, which sac has unless told otherwise, can have 0.68 at most."""

    final_per_dimension: Number | None = None
    """per_dimension at the end of the run; null keeps it constant."""

    fraction: Fraction = 0.5
    """Share of a discrete branch's largest possible entropy, ln(choices that are allowed), at the
    start; of masked choices the mean over the steps."""

    final_fraction: Fraction | None = None
    """fraction at the end of the run; null keeps it constant."""

    rate: Positive = 0.05
    """How fast the coefficient adapts: its logarithm changes by this much per update and per nat
    between entropy and target. Too high, and both oscillate. Not for sac, which has
    algorithm.temperature_learning_rate."""

    sigma: Positive | None = None
    """Instead of per_dimension: the target is the entropy of a Gaussian of this sigma, in the same
    units, 1/2 ln(2 pi e sigma^2) nats; at most 0.47 for a squashed_gaussian. null leaves it to
    per_dimension."""

    @model_validator(mode="after")
    def _check(self) -> "EntropyTargetConfig":
        default = type(self).model_fields["per_dimension"].default
        if self.sigma is not None and self.per_dimension != default:
            raise ValueError(
                f"sigma is {self.sigma:g} and per_dimension {self.per_dimension:g}; both say what "
                "the entropy of a continuous dimension is to be: leave one of them out"
            )
        return self


class EntropyConfig(Options):
    """How the policy is rewarded for the entropy of its actions, beside the reward."""

    objective: Literal["bonus", "soft_return", "entropy_critic"] = "bonus"
    """bonus: a term of the loss for the entropy of the present action (usual for PPO). soft_return:
    entropy counts as reward, so that the policy also seeks states where it can stay random.
    entropy_critic: like soft_return, with its own discount and its own critic."""

    coefficient: NonNegative = 0.0
    """Value of one nat of entropy, in units of the reward that the critic sees: more explores for
    longer. With a target it is only the coefficient's first value, and must be above 0."""

    coefficient_schedule: Schedule = "constant"
    """linear goes to final_coefficient over the run. Not with a target, which adapts the
    coefficient instead."""

    final_coefficient: NonNegative = 0.0
    """What a linear coefficient_schedule ends at. Has no effect with constant."""

    dimensions: Literal["sum", "mean"] = "sum"
    """How the entropies of continuous dimensions become one, before those of the branches are
    added. sum: the entropy of the action. mean: a coefficient pushes each of D dimensions D times
    less. A target and the metrics are about the sum in any case."""

    target: EntropyTargetConfig | None = None
    """If given, the coefficient is adapted so that the entropy follows this target."""

    discount: Fraction = 0.99
    """Per step, for future entropy; used by entropy_critic only."""

    gae_lambda: Fraction = 0.95
    """As algorithm.gae_lambda, for future entropy; used by entropy_critic only."""

    prior: Path | None = None
    """Run folder of a trained policy to stay close to: minus the KL divergence from it replaces the
    entropy. Relative to the directory in which the trainer is started or resumed. Its newest
    checkpoint is read at every start, so name a run that has ended."""

    @model_validator(mode="after")
    def _check(self) -> "EntropyConfig":
        if self.target is not None and self.coefficient == 0.0:
            raise ValueError("coefficient is 0; with a target it must start above 0, such as 0.01")
        if self.target is not None and self.coefficient_schedule != "constant":
            raise ValueError(
                f"coefficient_schedule is {self.coefficient_schedule}, which has no effect beside "
                "a target, and algorithm.kind sac has one unless coefficient is given: leave the "
                "schedule out, or give its first value, coefficient, and no target"
            )
        if self.prior is not None and self.coefficient == 0.0:
            raise ValueError("coefficient is 0; with a prior it must be above 0, such as 0.1")
        if self.prior is not None and self.dimensions != "sum":
            raise ValueError(
                "dimensions is mean; with a prior, whose divergence is that of the whole action, "
                "it must be sum"
            )
        return self


class PolicyConfig(Options):
    """One policy: how long it trains, its networks and its algorithm."""

    total_steps: Count = 1_000_000
    """Env steps (outcomes received, over all agents) after which this policy is done."""

    rollout_steps: Count = 2048
    """Env steps, over all agents together, that are collected for one update. Without it, 2048 for
    ppo, and 64 for algorithms with a replay: they take updates_per_step gradient steps for each of
    them, whatever their number, and act with the newest weights from then on."""

    discount: Fraction = 0.99
    """Per step; the policy looks about 1 / (1 - discount) steps ahead."""

    policy_lag: ZeroOrOne = 0
    """Updates that the acting policy may be behind. 0: exactly on-policy, simulators wait for each
    update. 1: the next rollout is collected while the update runs, and is learned from one update
    later. That is allowed for: PPO's clip is around the policy that begins the update, and the one
    that acted only weighs what it did; algorithms with a replay learn from any policy's steps. As
    much is learned as without, within what seeds differ by
    (on HalfCheetah: docs/results.md). Simulators that wait for actions only so long
    (docs/real-time.md) need 1: with 0 none comes during an update."""

    initial_weights: Path | None = None
    """Where the first weights and statistics of observations come from, instead of chance: the run
    folder of a trained policy of the same behaviour, of which the newest checkpoint counts, or, of
    mlagents-learn, a checkpoint.pt or results/RUN_ID. Layers that do not fit keep weights of
    chance, and warnings name them and what that policy has and this one lacks (docs/running.md).
    Relative to the directory in which the trainer is started. Has no effect once the run has a
    checkpoint."""

    initial_progress: bool = False
    """Go on where `initial_weights` was: all of it must fit, and env steps and the optimizer's
    moments are taken over too. Of checkpoints of mlagents-learn only: runs of entrain are
    resumed."""

    network: NetworkConfig = NetworkConfig()
    action: ActionConfig = ActionConfig()

    normalize_observations: bool = True
    """Normalise vectors and goals of any dtype to mean 0 and variance 1, by running statistics.
    Without, numbers whose bounds the simulator states go from -1 to 1, and others stay as they are.
    Images are never normalised, but divided by 255 or their own largest number."""

    observation_clip: Positive = 10.0
    """Normalised observations are clipped to plus and minus this."""

    normalize_values: bool = True
    """Let the critic learn returns in units of their running standard deviation, so that it learns
    alike whatever the size of rewards; what it estimates stays in units of the reward."""

    normalize_rewards: bool = False
    """Divide rewards by the running standard deviation of their discounted sum. May be switched on
    or off when a run is resumed."""

    reward_clip: Positive = 10.0
    """Normalised rewards are clipped to plus and minus this."""

    reward_scale: NonNegative = 1.0
    """Rewards are multiplied by this before anything is learned from them, after they were
    normalised, if they are. The returns of episodes are those of the rewards as they came. May be
    changed when a run is resumed."""

    entropy: EntropyConfig = EntropyConfig()
    algorithm: Algorithm = PPOConfig()
    """How the policy learns. Its options depend on `kind`."""

    @model_validator(mode="before")
    @classmethod
    def _take_defaults_of_kind(cls, values: Any) -> Any:
        """Options that are not given have the defaults that their kind of algorithm has."""
        if values is not None and not isinstance(values, Mapping):
            return values
        algorithm = (values or {}).get("algorithm")
        kind = algorithm.get("kind") if isinstance(algorithm, Mapping) else algorithm
        for group in get_args(cls.model_fields["algorithm"].annotation):
            is_it = kind == group.model_fields["kind"].default or isinstance(kind, group)
            if is_it and issubclass(group, OffPolicyConfig):
                return _with_defaults(values, group.defaults_for(values))
        return values

    @model_validator(mode="after")
    def _check(self) -> "PolicyConfig":
        if isinstance(self.algorithm, OffPolicyConfig) and (misfit := self.algorithm.misfit(self)):
            raise ValueError(misfit)
        if self.initial_progress and self.initial_weights is None:
            raise ValueError(
                "initial_progress is true and initial_weights is not given; name the checkpoint.pt "
                "to go on from"
            )
        return self


def algorithm_options(policy: PolicyConfig, kind: type[Kind]) -> Kind:
    """The options of a policy's algorithm, which are known to be of that kind."""
    options = policy.algorithm
    if not isinstance(options, kind):
        raise TypeError(f"algorithm.kind is {options.kind}; expected a {kind.__name__}")
    return options


def _with_defaults(values: Any, defaults: Defaults, *, depth: int = 0) -> Any:
    """`values` of a group of options, with `defaults` for those that it does not give.

    The groups of a policy are always there: one that is null is empty. Those inside them may be
    left out, by null, whatever the default is.
    """
    if values is None and depth > 1:
        return None
    if isinstance(values, Options):
        given = {name: getattr(values, name) for name in values.model_fields_set}
        return _with_defaults(given, defaults, depth=depth)
    if values is not None and not isinstance(values, Mapping):
        return values
    merged = dict(values or {})
    for name, default in defaults.items():
        if name not in merged:
            merged[name] = default
        elif isinstance(default, Mapping):
            merged[name] = _with_defaults(merged[name], default, depth=depth + 1)
    return merged
