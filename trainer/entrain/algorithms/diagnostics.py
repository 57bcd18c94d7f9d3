"""Finds out from an update's metrics when a policy explores too little or too much, or starves.

    entropy collapse   it stopped exploring early, and cannot learn from what it does not try
    sigma runaway      continuous actions vary by more than the range in which they have an effect
    pinned actions     nearly all sampled actions are cut to a bound, so their differences are lost
    starved policy     nearly all of the gradient is the critic's, so the policy learns nothing
    late answers       many actions come after their deadline, and teach the policy nothing
    coefficient        one that follows an entropy target has come to its greatest or its least

Each is reported once when it sets in, and again only after it had clearly passed. Nothing here
knows of networks, files or logs.
"""

import math
from collections.abc import Iterator

from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.coefficient_limits import coefficient_at_limit, target_words
from entrain.algorithms.coefficients import nats_per_dimension
from entrain.algorithms.findings import Finding
from entrain.config.algorithm import PPOConfig
from entrain.config.off_policy import SoftQConfig
from entrain.config.policy import PolicyConfig
from entrain.config.sac import SACConfig
from entrain.metrics import (
    CLIPPED_ACTIONS,
    CRITIC_SHARE,
    ENTROPY,
    ENTROPY_COEFFICIENT,
    ENTROPY_OF_DIMENSION,
    ENTROPY_TARGET,
    LATE_STEPS,
    SIGMA,
)
from entrain.policy.action_bounds import has_range
from entrain.state import State
from entrain_envs.spec import ActionSpec

EARLY = 1 / 3
"""Part of the run in which a collapse is reported. Little entropy is normal at the end of a run;
early in it, most of the run would be spent without exploring."""

COLLAPSED = 0.05
"""Fraction of the first entropy or sigma. The likeliest of three choices then has 99 %; a sigma has
lost 3 nats. Runs that learn well seldom get there in their first third."""

NARROWER = -0.25
"""Power of the first sigma, if that is below 1, that its fraction is raised by: a policy that began
with 0.22 has less to lose than 3 nats, and has lost them at 0.07."""

LEAST_LOSS = 1 / 3
"""Of the first sigma: more is never a collapse."""

STARVED = 0.999
"""Critic's share of the gradient in layers that it shares with the policy. Every run begins near
it, while the policy's last layer is small, and leaves it within a few updates."""

STARVED_APART = 0.999999
"""The same where policy and critic share no layers, and only the length that both gradients are
shortened to. Adam makes up for much of that."""

STARVED_UPDATES = 5
"""In a row."""

BELOW_TARGET = 0.5
"""Fraction of an entropy target: a policy follows its target, and swings about it."""

WIDE = 2.0
"""Sigma, in half ranges. 62 % of a normal distribution about the middle then lie beyond the bounds,
and about any other place more. A policy begins at 1, with 32 %."""

NEAR_CEILING = 0.8
"""Fraction of the greatest sigma that `max_log_sigma_sq` allows. Here the smooth ceiling takes away
two thirds of the gradient."""

GROWN = 2.0
"""Multiple of the first sigma: a large sigma that was configured has not run away."""

PINNED = 0.75
"""Fraction of the continuous actions that have a bound. It begins at 32 %, and reaches a half in
good policies that need full force."""

LATE = 0.2
"""Of the steps. A policy that learns from four fifths of them learns hardly more slowly."""

PASSED = 0.7
"""Severity below which a finding has passed and may set in again; it sets in at 1."""

LEAST = 1e-12
"""Smallest number that is divided by."""


class Diagnostics:
    """Examines the updates of one policy, in their order. Owned by the policy's trainer."""

    def __init__(self, config: PolicyConfig, action: ActionSpec) -> None:
        """Begin at the first update.

        Args:
            config: of the policy; messages name its options.
            action: the actions of the policy.
        """
        self._config = config
        self._action = action
        self._has_range = has_range(action)
        self._initial_sigma = math.exp(0.5 * config.action.initial_log_sigma_sq)
        self._active: frozenset[str] = frozenset()
        self._first_of_branches = 0.0
        self._continuous = action.continuous_size * _gaussian_entropy(self._initial_sigma)
        self._starved = 0
        """Updates in a row in which the critic had nearly all of the gradient."""

    def __repr__(self) -> str:
        return f"<Diagnostics: {', '.join(sorted(self._active)) or 'none'}>"

    def findings(self, metrics: Metrics, *, progress: float) -> tuple[str, ...]:
        """Returns a message, in one line, about each thing that has set in with this update.

        Args:
            metrics: of the update.
            progress: in [0, 1], the part of the run that was done before it.
        """
        measured = list(self._measure(metrics, progress))
        new = [each for each in measured if each.severity >= 1 and each.name not in self._active]
        self._active = frozenset(
            each.name
            for each in measured
            if each.severity >= (PASSED if each.name in self._active else 1)
        )
        return tuple(each.message for each in new)

    def _measure(self, metrics: Metrics, progress: float) -> Iterator[Finding]:
        """Yields every finding that applies to such a policy, however small its severity."""
        dimensions = range(self._action.continuous_size)
        sigma = [metrics.get(SIGMA.of(d), math.nan) for d in dimensions]
        of_branches = self._entropy_of_branches(metrics)
        coefficient = metrics.get(ENTROPY_COEFFICIENT.name, 0.0)
        # A policy that is drawn to a prior with little entropy should have little itself.
        follows_prior = self._config.entropy.prior and coefficient > 0
        # That of soft Q is as certain as its values say, and learns from what others tried.
        is_of_values = isinstance(self._config.algorithm, SoftQConfig)
        if progress < EARLY and not follows_prior and not is_of_values:
            if self._action.branches:
                yield self._branches_collapsed(of_branches, metrics, progress)
            if sigma:
                yield self._sigma_collapsed(sigma, metrics, progress)
        algorithm = self._config.algorithm
        if isinstance(algorithm, PPOConfig):
            yield self._policy_starved(metrics, algorithm)
        yield _answers_late(metrics, self._config)
        target = self._config.entropy.target
        if target is not None:
            yield coefficient_at_limit(metrics, self._config, target, self._action)
        if sigma:
            yield self._sigma_ran_away(sigma, metrics)
            yield self._actions_pinned(metrics)

    def _entropy_of_branches(self, metrics: Metrics) -> float:
        """Returns nats of all discrete branches; NaN if squashed dimensions hide them.

        The policy's entropy counts the continuous dimensions as well. It is a mean over the update,
        in which their entropy changed from that of the update before to the present one. The
        smaller of the two is subtracted, so that only the branches can bring this near zero.
        """
        dimensions = range(self._action.continuous_size)
        now = sum(metrics.get(ENTROPY_OF_DIMENSION.of(d), math.nan) for d in dimensions)
        if math.isnan(now):
            return math.nan
        entropy = metrics.get(ENTROPY.name, math.nan) - min(self._continuous, now)
        self._continuous = now
        if self._first_of_branches == 0.0 and entropy > 0.0:
            self._first_of_branches = entropy
        return entropy

    def _branches_collapsed(self, entropy: float, metrics: Metrics, progress: float) -> Finding:
        """Entropy collapse of the discrete branches together."""
        first = self._first_of_branches
        least = COLLAPSED * first
        target = self._config.entropy.target
        if target is not None:
            of_dimensions = self._action.continuous_size * nats_per_dimension(target, progress)
            # Masks lower what the target asks of choices, so it is as it was in the update.
            asked = metrics.get(ENTROPY_TARGET.name, math.inf) - of_dimensions
            least = min(least, BELOW_TARGET * asked)
        return Finding(
            "entropy collapse of branches",
            least / max(entropy, LEAST),
            f"entropy collapse: of the {first:.2g} nats that the choices had in the first update, "
            f"{entropy:.2g} are left after {_percent(progress)} of the run. {_SETTLED} "
            f"{self._raise_entropy(metrics, of_choices=True)}",
        )

    def _sigma_collapsed(self, sigma: list[float], metrics: Metrics, progress: float) -> Finding:
        """Entropy collapse of the action dimension that varies least."""
        d = min(range(len(sigma)), key=sigma.__getitem__)
        first = self._initial_sigma
        least = min(COLLAPSED * max(first, first**NARROWER), LEAST_LOSS * first)
        target = self._config.entropy.target
        if target is not None:
            asked = nats_per_dimension(target, progress)
            least = min(least, BELOW_TARGET * math.exp(asked - _gaussian_entropy(1.0)))
        floor = f"raise action.min_log_sigma_sq (now {self._config.action.min_log_sigma_sq:g})"
        return Finding(
            "entropy collapse of sigma",
            least / max(sigma[d], LEAST),
            f"entropy collapse: of the sigma {self._initial_sigma:.2g} that action dimension {d} "
            f"began with, {sigma[d]:.2g} is left after {_percent(progress)} of the run. "
            f"{_SETTLED} {floor}, {self._raise_entropy(metrics)}",
        )

    def _raise_entropy(self, metrics: Metrics, *, of_choices: bool = False) -> str:
        entropy = self._config.entropy
        algorithm = self._config.algorithm
        coefficient = metrics.get(ENTROPY_COEFFICIENT.name, entropy.coefficient)
        raised = f"entropy.coefficient (now {coefficient:.3g})"
        if entropy.target is None:
            raised += " or set an entropy.target"
        elif isinstance(algorithm, SACConfig):
            rate = f"algorithm.temperature_learning_rate ({algorithm.temperature_learning_rate:g})"
            raised = f"{target_words(entropy.target, of_choices=of_choices)} or {rate}"
        else:
            raised += " or entropy.target.rate"
        return (
            f"raise {raised}, or lower "
            f"algorithm.learning_rate ({algorithm.learning_rate:g}), and begin anew"
        )

    def _sigma_ran_away(self, sigma: list[float], metrics: Metrics) -> Finding:
        """Sigma runaway of the action dimension that exceeds its limit the most."""
        options = self._config.action
        ceiling = math.exp(0.5 * options.max_log_sigma_sq)
        severities = [
            each / max(GROWN * self._initial_sigma, self._sigma_limit(d, ceiling))
            for d, each in enumerate(sigma)
        ]
        d = max(range(len(sigma)), key=severities.__getitem__)
        unit = ", where 1 is half the bounded range" if self._has_range[d] else ""
        squash = ""
        if options.distribution == "gaussian" and self._has_range[d]:
            squash = ", or set action.distribution: squashed_gaussian"
        return Finding(
            "sigma runaway",
            severities[d],
            f"sigma runaway: sigma of action dimension {d} has grown from "
            f"{self._initial_sigma:.2g} to {sigma[d]:.2g}{unit} (its ceiling is {ceiling:.2g}). "
            "Its actions are mostly noise, which the reward does not hold back. "
            f"{self._lower_entropy(metrics)} action.max_log_sigma_sq (now "
            f"{options.max_log_sigma_sq:g}){squash}",
        )

    def _sigma_limit(self, d: int, ceiling: float) -> float:
        near_ceiling = NEAR_CEILING * ceiling
        return min(WIDE, near_ceiling) if self._has_range[d] else near_ceiling

    def _lower_entropy(self, metrics: Metrics) -> str:
        entropy = self._config.entropy
        if entropy.target is not None:
            return f"Lower {target_words(entropy.target)} or"
        coefficient = metrics.get(ENTROPY_COEFFICIENT.name, entropy.coefficient)
        if coefficient > 0.0:
            return f"Lower entropy.coefficient (now {coefficient:.3g}) or"
        return "Lower"

    def _actions_pinned(self, metrics: Metrics) -> Finding:
        """Pinned actions, as a share of the dimensions that have a bound."""
        bounds = zip(self._action.low, self._action.high, strict=True)
        dimensions = sum(math.isfinite(low) or math.isfinite(high) for low, high in bounds)
        everywhere = metrics.get(CLIPPED_ACTIONS.name, math.nan)
        share = everywhere * self._action.continuous_size / max(dimensions, 1)
        action, algorithm = self._config.action, self._config.algorithm
        if action.distribution == "gaussian":
            where = "lie beyond a bound and are cut to it"
            how = "set action.distribution: squashed_gaussian, "
        else:
            where = "lie at a bound, or within a hundredth of it"
            target = self._config.entropy.target
            is_adapted = target is not None and isinstance(algorithm, SACConfig)
            raised = target_words(target) if target and is_adapted else "entropy.coefficient"
            how = f"raise {raised}, which draws squashed actions inwards, "
        return Finding(
            "pinned actions",
            share / PINNED,
            f"pinned actions: {_percent(share)} of the continuous actions {where}, where the "
            "simulator cannot tell them apart. If the task does not ask for full force, "
            f"{how}lower action.initial_log_sigma_sq (now {action.initial_log_sigma_sq:g}) or "
            f"algorithm.learning_rate ({algorithm.learning_rate:g}), or let the simulator offer a "
            "wider range",
        )

    def _policy_starved(self, metrics: Metrics, algorithm: PPOConfig) -> Finding:
        """Starved policy, by what it has to share with the critic."""
        is_shared = self._config.network.shared
        is_clipped_alike = algorithm.max_grad_norm > 0.0 and algorithm.clip_gradients == "together"
        share = metrics.get(CRITIC_SHARE.name, 0.0)
        is_starved = share > STARVED if is_shared else is_clipped_alike and share > STARVED_APART
        self._starved = self._starved + 1 if is_starved else 0
        where = (
            "where it shares layers with the policy"
            if is_shared
            else f"which is shortened to max_grad_norm ({algorithm.max_grad_norm:g}) as one"
        )
        remedies = [
            *(() if self._config.normalize_values else ("set normalize_values: true",)),
            *(() if self._config.normalize_rewards else ("set normalize_rewards: true",)),
            f"lower algorithm.value_coefficient (now {algorithm.value_coefficient:g})",
            "set network.shared: false" if is_shared else "set algorithm.clip_gradients: apart",
        ]
        return Finding(
            "starved policy",
            self._starved / STARVED_UPDATES,
            f"starved policy: the critic had {100 * share:.4g} % of the gradient (its squared "
            f"length) in each of the last {STARVED_UPDATES} updates, {where}, so hardly anything "
            f"is learned about actions. Rewards are large for it: {', or '.join(remedies)}",
        )

    def state(self) -> State:
        """Returns which findings were reported, and what the next update is compared with."""
        return {
            "on": sorted(self._active),
            "first_of_branches": self._first_of_branches,
            "continuous": self._continuous,
            "starved": self._starved,
        }

    def load_state(self, state: State) -> None:
        """Go on there, without reporting the same again."""
        self._active = frozenset(state["on"])
        self._first_of_branches = float(state["first_of_branches"])
        self._continuous = float(state["continuous"])
        self._starved = int(state.get("starved", 0))


def _answers_late(metrics: Metrics, config: PolicyConfig) -> Finding:
    """Late answers, by the share of the steps that a simulator's fallback decided."""
    share = metrics.get(LATE_STEPS.name, 0.0)
    lag = "set policy_lag: 1, so that actions do not wait for updates, " * (config.policy_lag == 0)
    return Finding(
        "late answers",
        share / LATE,
        f"late answers: {_percent(share)} of the actions came after their simulator's deadline, so "
        "that its fallback acted. The policy learns nothing from these steps. To answer in time, "
        f"{lag}choose a smaller network, put agents of several simulators into one, lower "
        "update_threads, run fewer simulators on the trainer's machine, or give a longer deadline "
        "in the simulator",
    )


_SETTLED = (
    "The policy hardly tries anything else any more, so it will find nothing better. If its "
    "return is what you hoped for, all is well and fewer total_steps would do; or else"
)


def _gaussian_entropy(sigma: float) -> float:
    """Returns nats of one dimension: ln sigma + 1/2 ln(2 pi e)."""
    return math.log(sigma) + 0.5 * math.log(2.0 * math.pi * math.e)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
