"""The options of algorithms that learn from a replay of earlier steps.

What they share is `OffPolicyConfig`; each algorithm adds its own. Such an algorithm also says which
defaults of a policy it changes, and which of a policy's options it has no use for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from entrain.config.fields import (
    Count,
    CountOrZero,
    Fraction,
    NonNegative,
    Options,
    Positive,
    Schedule,
)

Defaults: TypeAlias = Mapping[str, Any]
"""{option of a policy: its default for a kind of algorithm, or the same of the options below}."""


@dataclass(frozen=True)
class Requirement:
    """An option of a policy that must have one of a few values for a kind of algorithm."""

    path: tuple[str, ...]
    """Of the option, within the policy."""

    allowed: tuple[Any, ...]

    reason: str
    """Why, and what to do instead; follows a semicolon."""

    def misfit(self, policy: Any, kind: str) -> str:
        """Names the fault of a policy's options in a sentence; "" if there is none."""
        value = policy
        for name in self.path:
            value = getattr(value, name)
        if value in self.allowed:
            return ""
        shown = "a group" if isinstance(value, Options) else _shown(value)
        expected = " or ".join(map(_shown, self.allowed))
        return (
            f"{'.'.join(self.path)} is {shown}; with algorithm.kind {kind} it must be "
            f"{expected}: {self.reason}"
        )


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


OFF_POLICY_REQUIREMENTS = (
    Requirement(
        ("network", "memory", "kind"),
        ("none",),
        "it samples single steps, which have no past; for a policy with memory use kind ppo",
    ),
    Requirement(
        ("network", "shared"),
        (False,),
        "it has no critic of states that could share the policy's layers",
    ),
    Requirement(
        ("normalize_values",),
        (False,),
        "its values are learned in units of the reward; if rewards are large, lower reward_scale",
    ),
    Requirement(
        ("normalize_rewards",),
        (False,),
        "rewards in the replay would be of many sizes; set reward_scale instead",
    ),
    Requirement(
        ("entropy", "objective"),
        ("soft_return",),
        "entropy counts as reward, now and later",
    ),
    Requirement(
        ("entropy", "dimensions"),
        ("sum",),
        "entropy is that of the whole action",
    ),
    Requirement(
        ("entropy", "prior"),
        (None,),
        "only entropy is counted, no divergence; for a prior use kind ppo",
    ),
    Requirement(
        ("initial_progress",),
        (False,),
        "checkpoints of mlagents-learn do not hold a replay; initial_weights alone takes weights",
    ),
)
"""What holds for every algorithm that learns from a replay."""


class OffPolicyConfig(Options):
    """Options of all algorithms with a replay."""

    policy_defaults: ClassVar[Defaults] = {
        "rollout_steps": 64,
        "normalize_values": False,
        "entropy": {"objective": "soft_return"},
    }
    requirements: ClassVar[tuple[Requirement, ...]] = OFF_POLICY_REQUIREMENTS

    beside: ClassVar[str] = "values"
    """What is learned beside the policy, in words."""

    kind: str
    """Which algorithm."""

    replay_size: Count = 1_000_000
    """Observations that are kept to learn from; the oldest make way. One for each step, and one
    more where an episode ends or an agent still acts. Memory is taken as it fills."""

    batch_size: Count = 256
    """Steps, sampled from the replay, in one gradient step; of all ranks together. Larger is
    steadier and slower."""

    updates_per_step: Positive = 1.0
    """Gradient steps for each env step, whatever the speed of simulators: with 0.25, one for every
    four. More learn more from each step, and take longer."""

    learning_starts: CountOrZero = 1000
    """Env steps before the first gradient step. Until then the initial policy acts, which prefers
    hardly any action, and nothing is made up for later."""

    n_step: Count = 1
    """Rewards that are summed before the value of what followed stands for the rest. More carry
    rewards back faster; the actions in between are those of older policies, and their entropy is
    not counted."""

    learning_rate: Positive = 3e-4
    """Step size of Adam."""

    learning_rate_schedule: Schedule = "constant"
    """linear goes to final_learning_rate over the run."""

    final_learning_rate: NonNegative = 0.0
    """What a linear learning_rate_schedule ends at. Has no effect with constant."""

    adam_epsilon: Positive = 1e-8
    """Added to Adam's denominator."""

    max_grad_norm: NonNegative = 0.0
    """Gradients longer than this are shortened to it; 0 does not clip gradients."""

    target_rate: Fraction = 0.005
    """How far the target network goes towards the learned one each time: 0.005 follows it about 200
    times behind, 1 is a copy. Values rise no faster: after k gradient steps to at most
    1 - exp(-k * target_rate * (1 - discount)) of what an endless reward is worth, so that runs with
    few gradient steps need more."""

    target_every: Count = 1
    """Gradient steps between two moves of the target network. With target_rate 1, such as 1000."""

    @classmethod
    def defaults_for(cls, policy: Mapping[str, Any]) -> Defaults:
        """The defaults of a policy that learns so, given the options that are written."""
        del policy
        return cls.policy_defaults

    def misfit(self, policy: Any) -> str:
        """Names the fault of the policy's other options in a sentence; "" if there is none."""
        return next(filter(None, (it.misfit(policy, self.kind) for it in self.requirements)), "")


class SoftQConfig(OffPolicyConfig):
    """Soft Q-learning for discrete choices (Haarnoja et al. 2017, arXiv:1702.08165).

    A policy of this kind has other defaults: rollout_steps 64, normalize_values false,
    entropy.objective soft_return, entropy.coefficient 0.01.
    """

    policy_defaults: ClassVar[Defaults] = {
        **OffPolicyConfig.policy_defaults,
        "entropy": {"objective": "soft_return", "coefficient": 0.01},
    }
    requirements: ClassVar[tuple[Requirement, ...]] = (
        *OFF_POLICY_REQUIREMENTS,
        Requirement(
            ("entropy", "target"),
            (None,),
            "its temperature is entropy.coefficient, fixed or on a schedule",
        ),
    )

    kind: Literal["soft_q"] = "soft_q"
    """Values of choices, of which the policy is the softmax: softmax(Q / entropy.coefficient)."""

    max_grad_norm: NonNegative = 10.0
    """Gradients longer than this are shortened to it; 0 does not clip gradients."""

    def misfit(self, policy: Any) -> str:
        """See `OffPolicyConfig.misfit`."""
        entropy = policy.entropy
        used = ["coefficient"]
        used += ["final_coefficient"] * (entropy.coefficient_schedule == "linear")
        for name in used:
            if getattr(entropy, name) == 0.0:
                return (
                    f"entropy.{name} is 0; with algorithm.kind soft_q it must be above 0, for "
                    "choices are weighed by exp(Q / coefficient): 0.001 is nearly greedy"
                )
        return super().misfit(policy)
