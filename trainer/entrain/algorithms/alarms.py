"""Says in plain words when a policy stops trying things, or does little but try.

    entropy collapse   it has settled early, and what it does not try it cannot learn from
    sigma runaway      continuous actions are spread wider than what they act on
    pinned actions     nearly all that is sampled is cut to a bound, so differences are lost

Each is said once when it sets in, and again only after it had clearly passed. What is judged are
the metrics of an update; nothing here knows of networks, files or logs.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from entrain.algorithms.algorithm import Metrics
from entrain.algorithms.temperature import interpolate
from entrain.config.policy import PolicyConfig
from entrain.policy.action_bounds import has_range
from entrain.state import State
from entrain_envs.spec import ActionSpec

EARLY = 1 / 3
"""Of the run. A policy that has solved its task is decided at the end, and so it should be; one
that is decided sooner has most of the run before it, and will not learn much in it."""

COLLAPSED = 0.05
"""Of what it began with. The likeliest of three choices has then 99 %; a sigma has lost 3 nats.
Tasks that are learned well in the whole of a run seldom get there in a third of it."""

BELOW_TARGET = 0.5
"""Of what an entropy target asks for: a policy may be as decided as it was told to be, and swings
about that."""

WIDE = 2.0
"""Sigma, in half ranges. 62 % of a normal distribution about the middle then lie beyond the bounds,
and about any other place more; a policy begins at 1, with 32 %."""

NEAR_CEILING = 0.8
"""Of the greatest sigma that `max_log_sigma_sq` allows: where the ceiling takes two
thirds of every push."""

GROWN = 2.0
"""Times the sigma it began with: what was chosen to begin with has not run away."""

PINNED = 0.75
"""Of the continuous actions that have a bound. It begins at 32 %, and good policies that need full
force have a half: only what is left beyond this says that little is distinguished any more."""

PASSED = 0.7
"""Of the severity at which an alarm sets in: below it, it has passed, and may set in again."""

LEAST = 1e-12
"""What is divided by, at least."""


@dataclass(frozen=True)
class Finding:
    """How bad one thing is after an update."""

    alarm: str
    """What it is called in a state."""

    severity: float
    """1 where the alarm sets in."""

    words: str
    """What was seen, what it means and what to change, if it sets in now."""


class Alarms:
    """Judges the updates of one policy, in their order. Owned by the policy's trainer."""

    def __init__(self, config: PolicyConfig, action: ActionSpec) -> None:
        """Begin at the first update.

        Args:
            config: of the policy; words name its options.
            action: what the policy decides.
        """
        self._config = config
        self._action = action
        self._has_range = has_range(action)
        self._initial_sigma = math.exp(0.5 * config.action.initial_log_sigma_sq)
        self._on: frozenset[str] = frozenset()
        self._first_of_branches = 0.0
        self._continuous = action.continuous_size * _gaussian_entropy(self._initial_sigma)

    def __repr__(self) -> str:
        return f"<Alarms: {', '.join(sorted(self._on)) or 'none'}>"

    def judge(self, metrics: Metrics, *, progress: float) -> tuple[str, ...]:
        """What has set in with this update, each in a line of plain words.

        Args:
            metrics: of the update, by standard name.
            progress: in [0, 1], the part of the run that was done before it.
        """
        symptoms = list(self._symptoms(metrics, progress))
        new = [each for each in symptoms if each.severity >= 1 and each.alarm not in self._on]
        self._on = frozenset(
            each.alarm
            for each in symptoms
            if each.severity >= (PASSED if each.alarm in self._on else 1)
        )
        return tuple(each.words for each in new)

    def _symptoms(self, metrics: Metrics, progress: float) -> Iterator[Finding]:
        sigma = [
            metrics.get(f"policy/sigma/{d}", math.nan) for d in range(self._action.continuous_size)
        ]
        of_branches = self._entropy_of_branches(metrics)
        # Near a prior that is decided, a policy is to be so too.
        follows_prior = self._config.entropy.prior and metrics.get("entropy/coefficient", 0.0) > 0
        if progress < EARLY and not follows_prior:
            if self._action.branches:
                yield self._settled(of_branches, metrics, progress)
            if sigma:
                yield self._narrow(sigma, metrics, progress)
        if sigma:
            yield self._runaway(sigma, metrics)
            yield self._pinned(metrics)

    def _entropy_of_branches(self, metrics: Metrics) -> float:
        """Nats of all discrete branches; NaN beside squashed dimensions, which hide it.

        `policy/entropy` holds the dimensions as well, and is a mean over the update, during which
        they went from what they were to `policy/entropy/D`. The less of both is taken off, so that
        nothing but branches can bring this near zero.
        """
        dimensions = range(self._action.continuous_size)
        now = sum(metrics.get(f"policy/entropy/{d}", math.nan) for d in dimensions)
        if math.isnan(now):
            return math.nan
        entropy = metrics.get("policy/entropy", math.nan) - min(self._continuous, now)
        self._continuous = now
        if self._first_of_branches == 0.0 and entropy > 0.0:
            self._first_of_branches = entropy
        return entropy

    def _settled(self, entropy: float, metrics: Metrics, progress: float) -> Finding:
        """Discrete branches without a choice that is left open."""
        first = self._first_of_branches
        least = COLLAPSED * first
        target = self._config.entropy.target
        if target is not None:
            most = sum(math.log(choices) for choices in self._action.branches)
            asked = most * interpolate(target.fraction, target.final_fraction, progress)
            least = min(least, BELOW_TARGET * asked)
        return Finding(
            "entropy collapse of branches",
            least / max(entropy, LEAST),
            f"entropy collapse: of the {first:.2g} nats that the choices had in the first update, "
            f"{entropy:.2g} are left after {_percent(progress)} of the run. {_SETTLED} "
            f"{self._raise_entropy(metrics)}",
        )

    def _narrow(self, sigma: list[float], metrics: Metrics, progress: float) -> Finding:
        """The action dimension that varies least."""
        d = min(range(len(sigma)), key=sigma.__getitem__)
        least = COLLAPSED * self._initial_sigma
        target = self._config.entropy.target
        if target is not None:
            asked = interpolate(target.per_dimension, target.final_per_dimension, progress)
            least = min(least, BELOW_TARGET * math.exp(asked - _gaussian_entropy(1.0)))
        floor = f"raise action.min_log_sigma_sq (now {self._config.action.min_log_sigma_sq:g})"
        return Finding(
            "entropy collapse of sigma",
            least / max(sigma[d], LEAST),
            f"entropy collapse: of the sigma {self._initial_sigma:.2g} that action dimension {d} "
            f"began with, {sigma[d]:.2g} is left after {_percent(progress)} of the run. "
            f"{_SETTLED} {floor}, {self._raise_entropy(metrics)}",
        )

    def _raise_entropy(self, metrics: Metrics) -> str:
        entropy = self._config.entropy
        target = "entropy.target.rate" if entropy.target is not None else "set an entropy.target"
        coefficient = metrics.get("entropy/coefficient", entropy.coefficient)
        return (
            f"raise entropy.coefficient (now {coefficient:.3g}) or {target}, or lower "
            f"algorithm.learning_rate ({self._config.algorithm.learning_rate:g}), and begin anew"
        )

    def _runaway(self, sigma: list[float], metrics: Metrics) -> Finding:
        """The action dimension that is most of all too wide."""
        options = self._config.action
        ceiling = math.exp(0.5 * options.max_log_sigma_sq)
        severities = [
            each / max(GROWN * self._initial_sigma, self._widest(d, ceiling))
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

    def _widest(self, d: int, ceiling: float) -> float:
        near_ceiling = NEAR_CEILING * ceiling
        return min(WIDE, near_ceiling) if self._has_range[d] else near_ceiling

    def _lower_entropy(self, metrics: Metrics) -> str:
        entropy = self._config.entropy
        if entropy.target is not None:
            return f"Lower entropy.target.per_dimension (now {entropy.target.per_dimension:g}) or"
        coefficient = metrics.get("entropy/coefficient", entropy.coefficient)
        if coefficient > 0.0:
            return f"Lower entropy.coefficient (now {coefficient:.3g}) or"
        return "Lower"

    def _pinned(self, metrics: Metrics) -> Finding:
        """Of the dimensions that have a bound, how much is at it."""
        bounds = zip(self._action.low, self._action.high, strict=True)
        dimensions = sum(math.isfinite(low) or math.isfinite(high) for low, high in bounds)
        everywhere = metrics.get("policy/clipped_actions", math.nan)
        share = everywhere * self._action.continuous_size / max(dimensions, 1)
        action, algorithm = self._config.action, self._config.algorithm
        if action.distribution == "gaussian":
            where = "lie beyond a bound and are cut to it"
            how = "set action.distribution: squashed_gaussian, "
        else:
            where = "lie at a bound, or within a hundredth of it"
            how = "raise entropy.coefficient, which draws squashed actions inwards, "
        return Finding(
            "pinned actions",
            share / PINNED,
            f"pinned actions: {_percent(share)} of the continuous actions {where}, where the "
            "simulator cannot tell them apart. If the task does not ask for full force, "
            f"{how}lower action.initial_log_sigma_sq (now {action.initial_log_sigma_sq:g}) or "
            f"algorithm.learning_rate ({algorithm.learning_rate:g}), or let the simulator offer a "
            "wider range",
        )

    def state(self) -> State:
        """Which alarms are on, and what the next update is compared with."""
        return {
            "on": sorted(self._on),
            "first_of_branches": self._first_of_branches,
            "continuous": self._continuous,
        }

    def load_state(self, state: State) -> None:
        """Go on there: what was said is not said again."""
        self._on = frozenset(state["on"])
        self._first_of_branches = float(state["first_of_branches"])
        self._continuous = float(state["continuous"])


_SETTLED = (
    "The policy hardly tries anything else any more, so it will find nothing better. If its "
    "return is what you hoped for, all is well and fewer total_steps would do; or else"
)


def _gaussian_entropy(sigma: float) -> float:
    """Nats of one dimension: ln sigma + 1/2 ln(2 pi e)."""
    return math.log(sigma) + 0.5 * math.log(2.0 * math.pi * math.e)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
