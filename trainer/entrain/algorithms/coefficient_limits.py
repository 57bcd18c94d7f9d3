"""Finds an adapted entropy coefficient at one of its limits: it follows its target no more.

At the greatest, entropy is worth more than any reward; at the least, it is worth nothing.
"""

import math

from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.coefficients import COEFFICIENT_RANGE
from entrain.algorithms.findings import Finding
from entrain.config.policy import EntropyTargetConfig, PolicyConfig
from entrain.config.sac import SACConfig
from entrain.metrics import ENTROPY_COEFFICIENT, ENTROPY_DISTANCE, ENTROPY_TARGET
from entrain_envs.spec import ActionSpec

NEARLY = 1.001
"""A coefficient lies at a limit within this factor: it is kept as a logarithm, in float32."""


def coefficient_at_limit(
    metrics: Metrics, config: PolicyConfig, target: EntropyTargetConfig, action: ActionSpec
) -> Finding:
    """By how near the coefficient is to the limit that it moves towards.

    Args:
        metrics: of an update.
        config: of the policy.
        target: of its entropy.
        action: what it decides.
    """
    least, most = COEFFICIENT_RANGE
    coefficient = metrics.get(ENTROPY_COEFFICIENT.name, math.nan)
    asked = metrics.get(ENTROPY_TARGET.name, math.nan)
    distance = metrics.get(ENTROPY_DISTANCE.name, math.nan)
    options = _options_of_target(target, action)
    words = (
        f"coefficient at its limit: entropy.coefficient is {coefficient:.3g}, the {{}} that it can "
        f"be; the policy's entropy is {asked + distance:.3g} nats, and entropy.target asks for "
        f"{asked:.3g}. "
    )
    if distance > 0.0:
        return Finding(
            "coefficient at its least",
            NEARLY * least / coefficient,
            words.format("least")
            + "The policy stays more random than its target, although that earns nothing. If it "
            f"never comes down, raise {options} or, where rewards are tiny, reward_scale (now "
            f"{config.reward_scale:g}); if it comes down and falls far below its target, "
            f"lower {_rate(config, target)}",
        )
    return Finding(
        "coefficient at its greatest",
        NEARLY * coefficient / most,
        words.format("most")
        + "Rewards count for nothing beside it. Either the actions cannot be that random, such as "
        "choices of which masks leave few, or the policy had stopped exploring before: "
        f"lower {options}, and begin anew",
    )


def _options_of_target(target: EntropyTargetConfig, action: ActionSpec) -> str:
    of_dimensions = [target_words(target)] * (action.continuous_size > 0)
    of_choices = [target_words(target, of_choices=True)] * bool(action.branches)
    return " or ".join(of_dimensions + of_choices)


def _rate(config: PolicyConfig, target: EntropyTargetConfig) -> str:
    algorithm = config.algorithm
    if isinstance(algorithm, SACConfig):
        rate = algorithm.temperature_learning_rate
        return f"algorithm.temperature_learning_rate (now {rate:g})"
    return f"entropy.target.rate (now {target.rate:g})"


def target_words(target: EntropyTargetConfig, *, of_choices: bool = False) -> str:
    """The option that says the target of choices, or of continuous dimensions, and its value."""
    if of_choices:
        return f"entropy.target.fraction (now {target.fraction:g})"
    if target.sigma is not None:
        return f"entropy.target.sigma (now {target.sigma:g})"
    return f"entropy.target.per_dimension (now {target.per_dimension:g})"
