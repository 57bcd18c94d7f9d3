"""The options of soft actor-critic, and the defaults of a policy that learns by it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from entrain.config.fields import Count, CountOrZero, FractionBelowOne, Options, Positive
from entrain.config.off_policy import Defaults, OffPolicyConfig


class BatchNormConfig(Options):
    """How each layer of the critics is normalised: by batch renormalisation (Ioffe 2017,
    arXiv:1702.03275), with running statistics for judging what the actor does.
    """

    momentum: FractionBelowOne = 0.99
    """Share of the running mean and variance that stays at a gradient step; the rest are those of
    its batch. 0.99 looks about 100 batches back."""

    warmup_steps: CountOrZero = 100_000
    """Gradient steps in which a batch is normalised by its own statistics alone; later they are
    held near the running ones, against batches that are unlike the others."""


class SACConfig(OffPolicyConfig):
    """Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905), for continuous actions, discrete
    choices (Christodoulou 2019, arXiv:1910.07207) and both together.

    A policy of this kind has other defaults: rollout_steps 64, normalize_values false,
    network.hidden_sizes 256 and 256 with relu, action.distribution squashed_gaussian,
    action.log_sigma_sq network, entropy.objective soft_return, entropy.coefficient 1 and an
    entropy.target. If entropy.coefficient is given and no target, it is the temperature, fixed or
    on entropy.coefficient_schedule.
    """

    policy_defaults: ClassVar[Defaults] = {
        **OffPolicyConfig.policy_defaults,
        "network": {"hidden_sizes": (256, 256), "activation": "relu"},
        "action": {"distribution": "squashed_gaussian", "log_sigma_sq": "network"},
        "entropy": {"objective": "soft_return", "coefficient": 1.0, "target": {}},
    }

    beside: ClassVar[str] = "critics and temperature"

    kind: Literal["sac"] = "sac"
    """An actor that follows critics of actions, and keeps as random as its temperature says."""

    critics: Count = 2
    """Critics of actions, of whose values the least counts. One believes its own errors where they
    are too high; more than two are more careful, and slower."""

    critic_learning_rate: Positive | None = None
    """Step size of Adam for the critics; null is that of the policy, learning_rate. A schedule
    shortens both alike."""

    critic_hidden_sizes: tuple[Count, ...] | None = None
    """Width of each hidden layer of the critics; null is that of the actor, network.hidden_sizes.
    Wider ones learn from fewer steps, and most of the time of a gradient step is theirs."""

    batch_norm: BatchNormConfig | None = None
    """If given, critics are normalised by batches and have no target networks (CrossQ, Bhatt et al.
    2024, arXiv:1902.05605): what was done and what the policy would do next go through them as one
    batch. It needs fewer env steps, and more time for each gradient step."""

    policy_every: Count = 1
    """Gradient steps of the critics for each of the actor and the temperature. More are cheaper,
    and let critics settle in between."""

    adam_beta_1: FractionBelowOne = 0.9
    """Share of the mean gradient that Adam keeps at each step, of actor and critics. Lower follows
    new gradients sooner."""

    temperature_learning_rate: Positive = 3e-4
    """Step size of Adam for the logarithm of entropy.coefficient, with an entropy.target."""

    update: Literal["auto", "torch"] = "auto"
    """auto computes gradients by hand where that is quicker: for vectors through hidden layers, and
    continuous actions, on a CPU, without batch_norm. torch never does. Both take the same steps, up
    to rounding."""

    @classmethod
    def defaults_for(cls, policy: Mapping[str, Any]) -> Defaults:
        """See `OffPolicyConfig.defaults_for`: a coefficient alone is fixed, and no target alone is
        refused.
        """
        defaults = super().defaults_for(policy)
        entropy = policy.get("entropy")
        given = dict(entropy) if isinstance(entropy, Mapping) else {}
        if isinstance(entropy, Options):
            given = {name: getattr(entropy, name) for name in entropy.model_fields_set}
        if "coefficient" in given and "target" not in given:
            return {**defaults, "entropy": {"objective": "soft_return"}}
        if "coefficient" not in given and given.get("target", {}) is None:
            raise ValueError(
                "entropy.target is null and entropy.coefficient is not given; without a target the "
                "temperature is entropy.coefficient, fixed or on a schedule: give it, such as 0.1, "
                "in units of the reward"
            )
        return defaults

    def misfit(self, policy: Any) -> str:
        """See `OffPolicyConfig.misfit`."""
        if self.batch_norm is not None and (words := self._misfit_of_batch_norm(policy)):
            return words
        target = policy.entropy.target
        if target is not None and target.rate != type(target)().rate:
            return (
                f"entropy.target.rate is {target.rate:g}, which has no effect with algorithm.kind "
                "sac: leave it out, and set algorithm.temperature_learning_rate"
            )
        return super().misfit(policy)

    def _misfit_of_batch_norm(self, policy: Any) -> str:
        defaults = type(self)()
        for name in ("target_rate", "target_every"):
            value = getattr(self, name)
            if value != getattr(defaults, name):
                return (
                    f"algorithm.{name} is {value:g}, which has no effect with algorithm.batch_norm:"
                    " there are no target networks then; leave one of the two out"
                )
        if policy.network.custom is not None:
            return (
                f"network.custom is {policy.network.custom}; with algorithm.batch_norm it must "
                "be null: layers of your own are not normalised; leave one of the two out"
            )
        return ""
