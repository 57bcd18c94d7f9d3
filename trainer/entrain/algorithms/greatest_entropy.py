"""Whether a policy's actions can be as random as its entropy target asks, whatever it learns.

Beyond the greatest entropy that its distribution can have, a target would drive the coefficient up
until the reward no longer counts. Masks, which only a rollout shows, lower what choices can have.
"""

import math
from dataclasses import dataclass
from itertools import accumulate

import torch

from entrain.algorithms.coefficients import interpolate, nats_per_dimension
from entrain.config.policy import ActionConfig, EntropyTargetConfig, PolicyConfig
from entrain.errors import ConfigError
from entrain.experience import Estimate, Rollout
from entrain.policy.action_bounds import has_range
from entrain.policy.actor_critic import ActorNetwork
from entrain.policy.gaussian import SquashedGaussian, entropy_per_dimension
from entrain.ranks import Ranks
from entrain_envs.spec import ActionSpec

WIDEST_LOG_SIGMA_SQ = -0.2684
"""Of the Gaussian about 0 whose tanh has the most entropy, 0.6836 nats: sigma is 0.874. Uniform
actions would have ln 2 = 0.6931; a wider one piles up at the bounds."""

ROUNDING = 1e-6
"""Nats."""


@dataclass(frozen=True)
class GreatestEntropy:
    """The most that actions can have, in nats: a policy may come near it, and not beyond."""

    squashed: tuple[int, float]
    """How many dimensions tanh keeps inside their bounds, and the nats of each."""

    plain: tuple[int, float]
    """The same of the other dimensions."""

    choices: float
    """Of all branches together, with every choice allowed."""

    @property
    def of_dimensions(self) -> float:
        """Of all dimensions together."""
        return sum(number * nats for number, nats in (self.squashed, self.plain))

    def __str__(self) -> str:
        parts = [
            f"{number:,} x {nats:.4g} for {what}"
            for (number, nats), what in (
                (self.squashed, "squashed dimensions"),
                (self.plain, "other dimensions, by action.max_log_sigma_sq"),
            )
            if number
        ]
        parts += [f"{self.choices:.4g} for choices"] * (self.choices > 0.0)
        return f"{self.of_dimensions + self.choices:.4g} nats at most ({', '.join(parts)})"


def greatest_entropy(action: ActionSpec, config: ActionConfig) -> GreatestEntropy:
    """The greatest entropy of a policy's actions, in the units of `policy/entropy`.

        squashed     that of tanh(u), u ~ N(0, sigma^2), with the best sigma that is allowed
        plain        1/2 (ln(2 pi e) + max_log_sigma_sq)
        each branch  ln(choices)

    Args:
        action: what the policy decides.
        config: its distribution.
    """
    is_squashed = config.distribution == "squashed_gaussian"
    num_squashed = sum(has_range(action)) if is_squashed else 0
    widest = min(max(WIDEST_LOG_SIGMA_SQ, config.min_log_sigma_sq), config.max_log_sigma_sq)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    of_squashed = float(SquashedGaussian(zero, zero + widest, one).entropy())
    of_plain = float(entropy_per_dimension(zero + config.max_log_sigma_sq))
    return GreatestEntropy(
        squashed=(num_squashed, of_squashed),
        plain=(action.continuous_size - num_squashed, of_plain),
        choices=sum(math.log(choices) for choices in action.branches),
    )


def check_target(action: ActionSpec, options: PolicyConfig) -> None:
    """Raise ConfigError if the entropy target of a policy is beyond what its actions can have."""
    target = options.entropy.target
    if target is None:
        return
    greatest = greatest_entropy(action, options.action)
    for progress, when in ((0.0, "at the start"), (1.0, "at the end")):
        of_choices = interpolate(target.fraction, target.final_fraction, progress)
        of_choices *= greatest.choices
        asked = of_choices + nats_per_dimension(target, progress) * action.continuous_size
        if asked > greatest.of_dimensions + greatest.choices + ROUNDING:
            # The choices' share is at most all of it, so it is the dimensions that ask too much.
            left = greatest.of_dimensions + greatest.choices - of_choices
            raise ConfigError(
                f"entropy.target asks for {asked:.4g} nats {when} of the run, and its actions can "
                f"have {greatest}, so that the coefficient would rise without end; "
                f"{_remedy(target, left / action.continuous_size, progress)}, or "
                f"{_more(greatest, options.action)}"
            )


def _remedy(target: EntropyTargetConfig, nats: float, progress: float) -> str:
    """The option that asks too much of each dimension, and the most that it may say."""
    if progress and target.final_per_dimension is not None:
        name, most = "final_per_dimension", nats
    elif target.sigma is not None:
        name, most = "sigma", math.exp(nats - float(entropy_per_dimension(torch.zeros(1))))
    else:
        name, most = "per_dimension", nats
    # Rounded down: what is named must fit.
    return f"lower entropy.target.{name} to at most {math.floor(100 * most) / 100:g}"


def _more(greatest: GreatestEntropy, action: ActionConfig) -> str:
    if greatest.squashed[0] and greatest.plain[1] > greatest.squashed[1]:
        return "set action.distribution: gaussian"
    return f"raise action.max_log_sigma_sq (now {action.max_log_sigma_sq:g})"


def withheld_by_masks(
    policy: ActorNetwork, rollout: Rollout, estimate: Estimate, *, ranks: Ranks
) -> float:
    """Nats by which masks lower what the choices of a rollout could have.

        mean over steps of sum_b ln(choices of b / allowed choices of b)

    over the steps of all ranks that the policy decided; exactly 0 where nothing is forbidden, and
    without a target, which alone needs it. Every rank must call it.

    Args:
        policy: that learns.
        rollout: of T steps of B columns.
        estimate: says which steps are late.
        ranks: that learn together.
    """
    branches = policy.spec.action.branches
    if policy.config.entropy.target is None or not branches:
        return 0.0
    counted = rollout.valid
    if estimate.weight is not None:
        counted = counted & (estimate.weight > 0.0)
    mask = rollout.action_mask[counted]
    ends = zip(branches, accumulate(branches), strict=True)
    allowed = torch.stack([mask[:, end - size : end].sum(dim=-1) for size, end in ends], dim=-1)
    logarithm = (allowed / torch.tensor(branches, dtype=torch.float64, device=allowed.device)).log()
    found = ranks.sum(torch.stack([-logarithm.sum(), logarithm.new_tensor(len(logarithm))]))
    withheld, num_steps = found.tolist()
    return float(withheld / max(num_steps, 1.0))
