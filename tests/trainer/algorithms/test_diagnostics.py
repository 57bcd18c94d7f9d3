"""Findings are reported where a policy goes wrong, once, and nowhere else."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from entrain.algorithms.diagnostics import Diagnostics
from entrain.config.fields import Options
from entrain.config.policy import PolicyConfig
from entrain.run.state_files import decode_state, encode_state
from entrain_envs.spec import ActionSpec
from in_process import learn
from made_rollouts import CONTINUOUS, DISCRETE, HYBRID, made_policy, made_ppo, made_rollout
from toy_environments import DiscreteBandit, GaussianBandit

THREE_CHOICES = ActionSpec(branches=(3,))
FREE = ActionSpec(low=(-math.inf,), high=(math.inf,))
LN_3 = math.log(3.0)
DOCS = Path(__file__).parents[3] / "docs/entropy.md"


def make_diagnostics(action: ActionSpec, /, **options: Any) -> Diagnostics:
    """Of a policy with these options in their groups, as YAML would have them."""
    return Diagnostics(PolicyConfig.model_validate(options), action)


def measured(
    *,
    branches: float = 0.0,
    sigma: Sequence[float] = (),
    clipped: float = 0.3,
    coefficient: float = 0.0,
) -> dict[str, float]:
    """What PPO reports of a Gaussian policy that an update left as it was."""
    of_sigma = [math.log(each) + 0.5 * math.log(2 * math.pi * math.e) for each in sigma]
    metrics = {
        "policy/entropy": branches + sum(of_sigma),
        "entropy/coefficient": coefficient,
        **{f"policy/sigma/{d}": each for d, each in enumerate(sigma)},
        **{f"policy/entropy/{d}": each for d, each in enumerate(of_sigma)},
    }
    return {**metrics, "policy/clipped_actions": clipped} if sigma else metrics


def of_choices(
    diagnostics: Diagnostics, entropies: Sequence[float], *, progress: float = 0.1
) -> list[int]:
    """How many warnings each of these updates brings."""
    return [
        len(diagnostics.findings(measured(branches=each), progress=progress)) for each in entropies
    ]


def of_sigmas(
    diagnostics: Diagnostics, sigmas: Sequence[float], *, progress: float = 0.1
) -> list[int]:
    """How many warnings each of these updates of a single dimension brings."""
    return [len(diagnostics.findings(measured(sigma=[each]), progress=progress)) for each in sigmas]


def the_one(warnings: Sequence[str]) -> str:
    (warning,) = warnings
    assert "\n" not in warning
    return warning


# Entropy collapse: choices.


def test_choices_have_collapsed_below_a_twentieth_of_what_they_began_with() -> None:
    # 0.05 * ln 3 = 0.0549.
    assert of_choices(make_diagnostics(THREE_CHOICES), [LN_3, 0.5, 0.056, 0.054]) == [0, 0, 0, 1]


def test_a_collapse_is_said_with_numbers_meaning_and_remedy() -> None:
    diagnostics = make_diagnostics(
        THREE_CHOICES, entropy={"coefficient": 0.02}, algorithm={"learning_rate": 0.003}
    )
    of_choices(diagnostics, [LN_3])
    warning = the_one(
        diagnostics.findings(measured(branches=0.02, coefficient=0.01), progress=0.125)
    )
    assert warning.startswith(
        "entropy collapse: of the 1.1 nats that the choices had in the first update, 0.02 are left "
        "after 12 % of the run. The policy hardly tries anything else any more"
    )
    assert "If its return is what you hoped for, all is well" in warning
    # As it is now, not as it began: it may follow a schedule.
    assert warning.endswith(
        "raise entropy.coefficient (now 0.01) or set an entropy.target, or lower "
        "algorithm.learning_rate (0.003), and begin anew"
    )


def test_it_is_said_once_however_long_it_lasts() -> None:
    assert of_choices(make_diagnostics(THREE_CHOICES), [LN_3, 0.01, 0.02, 0.01, 0.0]) == [
        0,
        1,
        0,
        0,
        0,
    ]


def test_it_does_not_flap_about_the_threshold() -> None:
    # It has passed above 0.0549 / 0.7 = 0.0785.
    entropies = [LN_3, 0.054, 0.056, 0.054, 0.078, 0.054]
    assert of_choices(make_diagnostics(THREE_CHOICES), entropies) == [0, 1, 0, 0, 0, 0]


def test_it_is_said_again_after_it_had_passed() -> None:
    assert of_choices(make_diagnostics(THREE_CHOICES), [LN_3, 0.054, 0.079, 0.054]) == [0, 1, 0, 1]


def test_a_policy_that_is_decided_later_in_its_run_is_as_it_should_be() -> None:
    diagnostics = make_diagnostics(THREE_CHOICES)
    assert of_choices(diagnostics, [LN_3, 0.1]) == [0, 0]
    assert of_choices(diagnostics, [0.01, 0.0], progress=0.34) == [0, 0]
    assert of_choices(diagnostics, [0.0], progress=0.32) == [1]


def test_masks_that_leave_little_choice_are_no_collapse() -> None:
    # A game that mostly allows a single move has little entropy from the beginning.
    assert of_choices(make_diagnostics(THREE_CHOICES), [0.05, 0.04, 0.0026, 0.0024]) == [0, 0, 0, 1]


def test_without_any_choice_there_is_none_to_lose() -> None:
    assert of_choices(make_diagnostics(ActionSpec(branches=(1,))), [0.0, 0.0]) == [0, 0]


def test_soft_q_may_be_as_decided_as_its_values_are() -> None:
    # Runs that ended with the best return had lost nearly all entropy after a tenth.
    diagnostics = make_diagnostics(THREE_CHOICES, algorithm={"kind": "soft_q"})
    assert of_choices(diagnostics, [LN_3, 0.01]) == [0, 0]


def test_a_policy_may_be_as_decided_as_its_target_asks() -> None:
    # The target falls from 0.04 ln 3 to 0 over the run: at 0.25 it is 0.03 ln 3, half of it 0.0165.
    target = {"fraction": 0.04, "final_fraction": 0.0}
    diagnostics = make_diagnostics(THREE_CHOICES, entropy={"coefficient": 0.1, "target": target})
    asked = {"entropy/target": 0.03 * LN_3}
    said = [
        len(diagnostics.findings({**measured(branches=each), **asked}, progress=0.25))
        for each in (LN_3, 0.017, 0.016)
    ]
    assert said == [0, 0, 1]


def test_of_choices_that_masks_forbid_a_target_asks_nothing() -> None:
    # Of 100 choices 3 are allowed: 0.04 ln 3 = 0.044 is asked, and not 0.04 ln 100 = 0.184.
    diagnostics = make_diagnostics(
        ActionSpec(branches=(100,)), entropy={"coefficient": 0.1, "target": {"fraction": 0.04}}
    )
    asked = {"entropy/target": 0.04 * LN_3}
    said = [
        len(diagnostics.findings({**measured(branches=each), **asked}, progress=0.25))
        for each in (LN_3, 0.04, 0.023, 0.021)
    ]
    assert said == [0, 0, 0, 1]


def test_a_target_above_the_threshold_does_not_raise_it() -> None:
    diagnostics = make_diagnostics(
        THREE_CHOICES, entropy={"coefficient": 0.1, "target": {"fraction": 0.5}}
    )
    assert of_choices(diagnostics, [LN_3, 0.056]) == [0, 0]
    warning = the_one(diagnostics.findings(measured(branches=0.01), progress=0.1))
    assert "or entropy.target.rate, or lower" in warning


def test_near_a_prior_a_policy_may_be_as_decided_as_that_is() -> None:
    options = {"entropy": {"coefficient": 1.0, "prior": "runs/walker"}}
    diagnostics = make_diagnostics(HYBRID, **options)
    for branches, sigma in [(LN_3, 1.0), (0.001, 0.001)]:
        metrics = measured(branches=branches, sigma=[sigma], coefficient=1.0)
        assert diagnostics.findings(metrics, progress=0.1) == ()
    # Once a schedule has taken the prior away, it is decided by itself.
    metrics = measured(branches=0.001, sigma=[0.001], coefficient=0.0)
    assert len(diagnostics.findings(metrics, progress=0.2)) == 2


# Entropy collapse: sigma.


def test_a_sigma_has_collapsed_below_a_twentieth_of_what_it_began_with() -> None:
    assert of_sigmas(make_diagnostics(FREE), [1.0, 0.051, 0.049, 0.001]) == [0, 0, 1, 0]


def test_the_narrowest_dimension_is_named() -> None:
    diagnostics = make_diagnostics(CONTINUOUS, action={"min_log_sigma_sq": -12.0})
    warning = the_one(diagnostics.findings(measured(sigma=[0.9, 0.04]), progress=0.2))
    assert warning.startswith(
        "entropy collapse: of the sigma 1 that action dimension 1 began with, 0.04 is left after "
        "20 % of the run."
    )
    assert "or else raise action.min_log_sigma_sq (now -12), raise entropy.coefficient" in warning


def test_a_sigma_that_is_meant_to_be_small_has_not_collapsed() -> None:
    # exp(-6 / 2) = 0.0498; a third of it is 0.0166.
    diagnostics = make_diagnostics(FREE, action={"initial_log_sigma_sq": -6.0})
    assert of_sigmas(diagnostics, [0.0498, 0.03, 0.017, 0.016]) == [0, 0, 0, 1]


def test_a_sigma_that_began_narrow_has_less_to_lose() -> None:
    # exp(-3 / 2) = 0.2231; 0.05 * 0.2231^-0.25 = 0.0728. From 0.5 on: 0.05 * 0.5^-0.25 = 0.0595.
    narrow = make_diagnostics(FREE, action={"initial_log_sigma_sq": -3.0})
    assert of_sigmas(narrow, [0.22, 0.12, 0.074, 0.07]) == [0, 0, 0, 1]
    middle = make_diagnostics(FREE, action={"initial_log_sigma_sq": 2 * math.log(0.5)})
    assert of_sigmas(middle, [0.5, 0.07, 0.060, 0.059]) == [0, 0, 0, 1]
    # One that began wide is judged by its start alone: 0.05 * 2.
    wide = make_diagnostics(FREE, action={"initial_log_sigma_sq": 2 * math.log(2.0)})
    assert of_sigmas(wide, [2.0, 0.11, 0.09]) == [0, 0, 1]


def test_a_sigma_that_is_small_late_is_as_it_should_be() -> None:
    assert of_sigmas(make_diagnostics(FREE), [0.01, 0.001], progress=0.5) == [0, 0]


def test_a_sigma_may_be_as_small_as_its_target_asks() -> None:
    # 1.4189 + ln sigma = -3 asks for sigma 0.0121; half of it is 0.0060.
    target = {"per_dimension": -3.0}
    diagnostics = make_diagnostics(FREE, entropy={"coefficient": 0.1, "target": target})
    assert of_sigmas(diagnostics, [1.0, 0.0061, 0.0059]) == [0, 0, 1]


def test_a_sigma_may_be_as_small_as_the_sigma_of_its_target() -> None:
    diagnostics = make_diagnostics(FREE, entropy={"coefficient": 0.1, "target": {"sigma": 0.02}})
    assert of_sigmas(diagnostics, [1.0, 0.02, 0.011, 0.0099]) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("action", "narrow", "target", "remedy"),
    [
        (FREE, {"sigma": [0.001]}, {}, "raise entropy.target.per_dimension (now -1) or"),
        (FREE, {"sigma": [0.001]}, {"sigma": 0.1}, "raise entropy.target.sigma (now 0.1) or"),
        (THREE_CHOICES, {"branches": 0.001}, {}, "raise entropy.target.fraction (now 0.5) or"),
    ],
    ids=["per dimension", "sigma", "choices"],
)
def test_what_raises_the_entropy_of_sac_is_its_target(
    action: ActionSpec, narrow: dict[str, Any], target: dict[str, float], remedy: str
) -> None:
    options = {"algorithm": {"kind": "sac"}, "entropy": {"target": target}}
    diagnostics = make_diagnostics(action, **options)
    first = {"sigma": [1.0]} if "sigma" in narrow else {"branches": LN_3}
    diagnostics.findings(measured(**first), progress=0.1)
    warning = the_one(diagnostics.findings(measured(**narrow), progress=0.1))
    assert f"{remedy} algorithm.temperature_learning_rate (0.0003), or lower" in warning
    assert "coefficient" not in warning
    assert "target.rate" not in warning


# Hybrids: the entropy of both parts is measured together.


def test_choices_of_a_hybrid_are_judged_without_its_sigma() -> None:
    diagnostics = make_diagnostics(HYBRID)
    for branches in (LN_3, 0.056):
        assert diagnostics.findings(measured(branches=branches, sigma=[1.0]), progress=0.1) == ()
    warning = the_one(diagnostics.findings(measured(branches=0.054, sigma=[1.0]), progress=0.1))
    assert "the choices had" in warning


def test_a_sigma_that_moved_within_an_update_does_not_look_like_a_collapse_of_choices() -> None:
    # The entropy is a mean over the update, and knows nothing yet of the sigma at its end.
    diagnostics = make_diagnostics(HYBRID)
    diagnostics.findings(measured(branches=LN_3, sigma=[1.0]), progress=0.1)
    for before, after in [(1.0, 1.9), (1.9, 0.6)]:
        metrics = {
            **measured(sigma=[after]),
            "policy/entropy": measured(branches=0.1, sigma=[before])["policy/entropy"],
        }
        assert diagnostics.findings(metrics, progress=0.1) == ()


def test_a_sigma_that_has_moved_before_does_not_hide_a_collapse_of_choices() -> None:
    diagnostics = make_diagnostics(HYBRID)
    for branches, warnings in [(LN_3, 0), (LN_3, 0), (0.05, 1)]:
        said = diagnostics.findings(measured(branches=branches, sigma=[1.9]), progress=0.1)
        assert len(said) == warnings


def test_choices_beside_squashed_dimensions_are_not_judged() -> None:
    # The entropy of those depends on where the agent is, and is not measured by itself.
    diagnostics = make_diagnostics(HYBRID, action={"distribution": "squashed_gaussian"})
    metrics = {"policy/sigma/0": 1.0, "policy/clipped_actions": 0.0}
    for entropy in (1.6, -5.0):
        assert diagnostics.findings({**metrics, "policy/entropy": entropy}, progress=0.1) == ()


# Sigma runaway.


def test_a_sigma_has_run_away_beyond_two_half_ranges() -> None:
    diagnostics = make_diagnostics(ActionSpec(low=(-3.0,), high=(5.0,)))
    assert of_sigmas(diagnostics, [1.0, 1.9, 1.99, 2.01, 3.0]) == [0, 0, 0, 1, 0]


def test_a_sigma_that_began_narrow_may_widen_as_far_as_others_begin() -> None:
    # exp(-2 / 2) = 0.37; it may grow fivefold, for it is the range that it is too wide for.
    diagnostics = make_diagnostics(
        ActionSpec(low=(-1.0,), high=(1.0,)), action={"initial_log_sigma_sq": -2.0}
    )
    assert of_sigmas(diagnostics, [0.37, 1.0, 1.99, 2.01]) == [0, 0, 0, 1]


def test_it_runs_away_late_in_a_run_as_well() -> None:
    diagnostics = make_diagnostics(ActionSpec(low=(-1.0,), high=(1.0,)))
    assert of_sigmas(diagnostics, [1.0, 2.1], progress=0.99) == [0, 1]


def test_a_runaway_is_said_again_after_it_had_passed() -> None:
    # It has passed below 0.7 * 2 = 1.4.
    diagnostics = make_diagnostics(ActionSpec(low=(-1.0,), high=(1.0,)))
    assert of_sigmas(diagnostics, [2.1, 1.41, 2.1, 1.39, 2.1]) == [1, 0, 0, 0, 1]


def test_a_sigma_without_a_range_has_run_away_near_its_ceiling() -> None:
    # The ceiling is exp(4 / 2) = 7.39, 0.8 of it 5.91. How wide is too wide nobody can say before.
    assert of_sigmas(make_diagnostics(FREE), [1.0, 3.0, 5.9, 5.92]) == [0, 0, 0, 1]


def test_a_dimension_with_a_single_bound_has_no_range() -> None:
    diagnostics = make_diagnostics(ActionSpec(low=(0.0,), high=(math.inf,)))
    assert of_sigmas(diagnostics, [1.0, 2.5]) == [0, 0]


def test_a_sigma_that_was_wide_from_the_beginning_has_not_run_away() -> None:
    # exp(2 / 2) = 2.72; the ceiling is at 7.39, and twice the beginning at 5.44.
    diagnostics = make_diagnostics(
        ActionSpec(low=(-1.0,), high=(1.0,)), action={"initial_log_sigma_sq": 2.0}
    )
    assert of_sigmas(diagnostics, [2.72, 5.4, 5.5]) == [0, 0, 1]


def test_a_ceiling_that_was_set_as_a_guard_is_one() -> None:
    # exp(0.6 / 2) = 1.35: that far a policy was meant to go.
    diagnostics = make_diagnostics(CONTINUOUS, action={"max_log_sigma_sq": 0.6})
    assert diagnostics.findings(measured(sigma=[1.34, 1.34]), progress=0.1) == ()


def test_the_widest_dimension_is_named_with_the_remedies_that_it_has() -> None:
    diagnostics = make_diagnostics(CONTINUOUS, entropy={"coefficient": 0.05})
    metrics = measured(sigma=[2.2, 2.5], coefficient=0.05)
    assert the_one(diagnostics.findings(metrics, progress=0.1)) == (
        "sigma runaway: sigma of action dimension 1 has grown from 1 to 2.5, where 1 is half the "
        "bounded range (its ceiling is 7.4). Its actions are mostly noise, which the reward does "
        "not hold back. Lower entropy.coefficient (now 0.05) or action.max_log_sigma_sq (now 4), "
        "or set action.distribution: squashed_gaussian"
    )


@pytest.mark.parametrize(
    ("action", "options", "remedy"),
    [
        (FREE, {}, "Lower action.max_log_sigma_sq (now 4)"),
        (
            CONTINUOUS,
            {"action": {"distribution": "squashed_gaussian"}},
            "Lower action.max_log_sigma_sq (now 4)",
        ),
        (
            FREE,
            {"entropy": {"coefficient": 0.1, "target": {"per_dimension": 3.5}}},
            "Lower entropy.target.per_dimension (now 3.5) or action.max_log_sigma_sq (now 4)",
        ),
    ],
    ids=["nothing is paid for entropy", "squashed already", "a target asks for it"],
)
def test_no_remedy_is_named_that_would_not_help(
    action: ActionSpec, options: dict[str, Any], remedy: str
) -> None:
    diagnostics = make_diagnostics(action, **options)
    sigma = [7.0] * action.continuous_size
    warning = the_one(diagnostics.findings(measured(sigma=sigma), progress=0.5))
    assert warning.endswith(f"hold back. {remedy}")


# Pinned actions.


def pinned(diagnostics: Diagnostics, clipped: float, *, dimensions: int) -> Sequence[str]:
    return diagnostics.findings(measured(sigma=[1.0] * dimensions, clipped=clipped), progress=0.5)


def test_actions_are_pinned_when_three_of_four_are_cut() -> None:
    diagnostics = make_diagnostics(CONTINUOUS)
    shares = [0.32, 0.5, 0.74, 0.76, 0.9, 0.53, 0.76, 0.52, 0.76]
    # It has passed below 0.7 * 0.75 = 0.525.
    said = [len(pinned(diagnostics, share, dimensions=2)) for share in shares]
    assert said == [0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_dimensions_without_a_bound_do_not_hide_those_that_are_pinned() -> None:
    # Of three dimensions two can be cut, each at one bound; 0.54 of all is 0.81 of them.
    diagnostics = make_diagnostics(
        ActionSpec(low=(-math.inf, 0.0, -math.inf), high=(math.inf, math.inf, 0.0))
    )
    assert pinned(diagnostics, 0.49, dimensions=3) == ()
    assert "pinned actions: 81 % of" in the_one(pinned(diagnostics, 0.54, dimensions=3))


def test_without_bounds_nothing_is_pinned() -> None:
    assert pinned(make_diagnostics(FREE), 0.0, dimensions=1) == ()


def test_pinned_actions_are_said_with_numbers_meaning_and_remedy() -> None:
    warning = the_one(pinned(make_diagnostics(CONTINUOUS), 0.81, dimensions=2))
    assert warning == (
        "pinned actions: 81 % of the continuous actions lie beyond a bound and are cut to it, "
        "where the simulator cannot tell them apart. If the task does not ask for full force, set "
        "action.distribution: squashed_gaussian, lower action.initial_log_sigma_sq (now 0) or "
        "algorithm.learning_rate (0.0003), or let the simulator offer a wider range"
    )


def test_squashed_actions_are_not_told_to_be_squashed() -> None:
    diagnostics = make_diagnostics(CONTINUOUS, action={"distribution": "squashed_gaussian"})
    warning = the_one(pinned(diagnostics, 0.81, dimensions=2))
    assert "81 % of the continuous actions lie at a bound, or within a hundredth of it" in warning
    assert "squashed_gaussian" not in warning


def test_findings_are_independent_of_each_other() -> None:
    diagnostics = make_diagnostics(ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0), branches=(3,)))
    diagnostics.findings(measured(branches=LN_3, sigma=[1.0, 1.0]), progress=0.0)
    everything = measured(branches=0.01, sigma=[0.01, 2.5], clipped=0.9)
    said = diagnostics.findings(everything, progress=0.1)
    assert [each.split(":")[0] for each in said] == [
        *["entropy collapse", "entropy collapse"],
        *["sigma runaway", "pinned actions"],
    ]
    # What passes alone sets in alone.
    diagnostics.findings({**everything, "policy/clipped_actions": 0.1}, progress=0.1)
    assert the_one(diagnostics.findings(everything, progress=0.1)).startswith("pinned")


# Going on.


def test_what_was_said_is_not_said_again_after_a_resume() -> None:
    first = make_diagnostics(HYBRID)
    first.findings(measured(branches=LN_3, sigma=[1.0]), progress=0.0)
    collapsed = measured(branches=0.05, sigma=[1.0], clipped=0.9)
    assert len(first.findings(collapsed, progress=0.1)) == 2
    second = make_diagnostics(HYBRID)
    second.load_state(decode_state(*encode_state(first.state())))
    assert second.state() == first.state()
    assert second.findings(collapsed, progress=0.1) == ()
    # A new run would compare with what it begins with, and find nothing lost.
    assert len(make_diagnostics(HYBRID).findings(collapsed, progress=0.1)) == 1


def test_a_resume_remembers_what_the_choices_began_with() -> None:
    first, second = make_diagnostics(THREE_CHOICES), make_diagnostics(THREE_CHOICES)
    of_choices(first, [LN_3, 0.06])
    second.load_state(first.state())
    assert of_choices(second, [0.054]) == [1]


# Real updates.


@pytest.mark.parametrize("distribution", ["gaussian", "squashed_gaussian"])
@pytest.mark.parametrize("action", [CONTINUOUS, DISCRETE, HYBRID], ids=str)
def test_the_first_updates_of_a_policy_bring_no_finding(
    action: ActionSpec, distribution: Any
) -> None:
    policy = made_policy(action, distribution=distribution)
    ppo, diagnostics = made_ppo(policy), Diagnostics(policy.config, action)
    for seed in range(5):
        metrics = ppo.update(made_rollout(policy, (40, 20, 30), seed=seed), progress=0.0)
        assert diagnostics.findings(metrics, progress=0.0) == ()


def judged(diagnostics: Diagnostics, metrics: Sequence[Any]) -> list[str]:
    """All that a run was warned of, its updates being evenly spaced."""
    return [
        warning
        for update, each in enumerate(metrics)
        for warning in diagnostics.findings(each, progress=update / len(metrics))
    ]


def test_a_policy_that_settles_at_once_is_warned_of_and_one_that_takes_its_time_is_not() -> None:
    def warnings(**ppo: Any) -> list[str]:
        ppo = {"minibatch_size": 128, "num_epochs": 4, **ppo}
        config = PolicyConfig.model_validate(
            {"total_steps": 5120, "rollout_steps": 256, "algorithm": ppo}
        )
        environment = DiscreteBandit([1.0, 0.9, 0.0], num_agents=32)
        learned = learn(environment, config, seed=1)
        return judged(Diagnostics(config, environment.spec.action), learned.metrics)

    assert "entropy collapse" in the_one(warnings(learning_rate=0.03))
    assert warnings(learning_rate=0.002) == []


def test_a_sigma_that_entropy_drives_to_its_ceiling_is_warned_of() -> None:
    # The best sigma^2 is alpha / c = 1 / 0.001, far beyond the ceiling's 54.6.
    config = PolicyConfig.model_validate(
        {
            "total_steps": 10240,
            "entropy": {"coefficient": 1.0},
            "rollout_steps": 256,
            "algorithm": {
                **{"minibatch_size": 64, "learning_rate": 0.02},
                **{"advantage_normalization": "none", "num_epochs": 8},
            },
        }
    )
    environment = GaussianBandit(curvature=0.001, target=0.0, num_agents=32)
    learned = learn(environment, config, seed=1)
    warning = the_one(judged(Diagnostics(config, environment.spec.action), learned.metrics))
    assert "sigma runaway: sigma of action dimension 0 has grown from 1 to" in warning
    assert "Lower entropy.coefficient (now 1)" in warning


# Starved policies.


def of_shares(diagnostics: Diagnostics, shares: Sequence[float]) -> list[int]:
    """How many warnings each of these updates brings."""
    return [
        len(diagnostics.findings({"value/gradient_share": each}, progress=0.5)) for each in shares
    ]


SHARED: dict[str, Any] = {"network": {"shared": True}, "normalize_values": False}


def test_a_policy_starves_once_the_critic_has_all_of_five_gradients_in_a_row() -> None:
    diagnostics = make_diagnostics(THREE_CHOICES, **SHARED)
    assert of_shares(diagnostics, [0.9999] * 4 + [0.99] + [0.9999] * 6) == [0] * 9 + [1, 0]


def test_where_no_layers_are_shared_more_is_needed_and_only_if_both_are_clipped_together() -> None:
    together = make_diagnostics(THREE_CHOICES)
    assert of_shares(together, [0.99999] * 6) == [0] * 6
    assert of_shares(together, [1.0] * 5) == [0, 0, 0, 0, 1]
    for algorithm in ({"clip_gradients": "apart"}, {"max_grad_norm": 0.0}):
        apart = make_diagnostics(THREE_CHOICES, algorithm=algorithm)
        assert of_shares(apart, [1.0] * 6) == [0] * 6


def test_how_often_it_has_starved_is_part_of_the_state() -> None:
    one, other = (make_diagnostics(THREE_CHOICES, **SHARED) for _ in range(2))
    of_shares(one, [1.0] * 3)
    other.load_state(decode_state(*encode_state(one.state())))
    assert of_shares(other, [1.0, 1.0]) == [0, 1]


def test_the_critics_share_and_the_remedies_are_said() -> None:
    diagnostics = make_diagnostics(THREE_CHOICES, **SHARED)
    of_shares(diagnostics, [0.9998] * 4)
    warning = the_one(diagnostics.findings({"value/gradient_share": 0.9998}, progress=0.5))
    assert warning == (
        "starved policy: the critic had 99.98 % of the gradient (its squared length) in each of "
        "the last 5 updates, where it shares layers with the policy, so hardly anything is learned "
        "about actions. Rewards are large for it: set normalize_values: true, or set "
        "normalize_rewards: true, or lower algorithm.value_coefficient (now 0.5), or set "
        "network.shared: false"
    )


@pytest.mark.parametrize("normalize_values", [True, False])
def test_large_rewards_starve_a_policy_unless_values_are_normalised(normalize_values: bool) -> None:
    config = PolicyConfig.model_validate(
        {
            "total_steps": 1024,
            "rollout_steps": 128,
            "network": {"hidden_sizes": [8], "shared": True},
            "algorithm": {"minibatch_size": 32, "num_epochs": 2, "learning_rate": 0.01},
            "normalize_values": normalize_values,
        }
    )
    environment = DiscreteBandit([1e5, 0.0, 0.0], num_agents=32)
    learned = learn(environment, config, seed=1)
    warnings = judged(Diagnostics(config, environment.spec.action), learned.metrics)
    assert any("starved policy" in each for each in warnings) == (not normalize_values)


# Late answers.


def test_late_answers_are_reported_from_a_fifth_on_and_once() -> None:
    diagnostics = make_diagnostics(THREE_CHOICES)
    shares = [0.0, 0.19, 0.25, 0.5, 0.18, 0.25, 0.1, 0.25]
    said = [
        len(diagnostics.findings({"rollout/late_steps": share}, progress=0.5)) for share in shares
    ]
    assert said == [0, 0, 1, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("lag", [0, 1])
def test_late_answers_are_said_with_the_share_and_what_helps(lag: int) -> None:
    diagnostics = make_diagnostics(THREE_CHOICES, policy_lag=lag)
    warning = the_one(diagnostics.findings({"rollout/late_steps": 0.43}, progress=0.5))
    assert warning.startswith("late answers: 43 % of the actions came after their simulator's")
    assert ("set policy_lag: 1" in warning) == (lag == 0)


# Coefficients at a limit.


def followed(
    coefficient: float, *, entropy: float = 1.0986, target: float = 2.302585
) -> dict[str, float]:
    return {
        "entropy/coefficient": coefficient,
        "entropy/target": target,
        "entropy/distance": entropy - target,
    }


@pytest.mark.parametrize(
    ("limit", "near", "passed", "entropy"), [(1e8, 9e7, 6.9e7, 1.0), (1e-8, 1.1e-8, 1.5e-8, 4.0)]
)
def test_a_coefficient_at_its_limit_is_reported_once_until_it_has_clearly_left_it(
    limit: float, near: float, passed: float, entropy: float
) -> None:
    diagnostics = make_diagnostics(
        ActionSpec(branches=(100,)), entropy={"coefficient": 0.01, "target": {}}
    )
    # Of SAC it is exp of a number in float32.
    rounded = limit * (1 - 2e-6) if limit > 1 else limit * (1 + 2e-6)
    said = [
        len(diagnostics.findings(followed(each, entropy=entropy), progress=0.9))
        for each in (0.01, near, rounded, limit, near, rounded, passed, rounded)
    ]
    assert said == [0, 0, 1, 0, 0, 0, 0, 1]


def test_a_coefficient_at_its_greatest_is_said_with_target_and_remedy() -> None:
    diagnostics = make_diagnostics(
        ActionSpec(branches=(100,)), entropy={"coefficient": 0.01, "target": {}}
    )
    assert the_one(diagnostics.findings(followed(1e8), progress=0.9)) == (
        "coefficient at its limit: entropy.coefficient is 1e+08, the most that it can be; the "
        "policy's entropy is 1.1 nats, and entropy.target asks for 2.3. Rewards count for nothing "
        "beside it. Either the actions cannot be that random, such as choices of which masks leave "
        "few, or the policy had stopped exploring before: lower entropy.target.fraction (now 0.5), "
        "and begin anew"
    )


@pytest.mark.parametrize(
    ("options", "rate"),
    [
        ({}, "entropy.target.rate (now 0.05)"),
        ({"algorithm": {"kind": "sac"}}, "algorithm.temperature_learning_rate (now 0.0003)"),
    ],
)
def test_a_coefficient_at_its_least_is_said_with_target_and_remedy(
    options: dict[str, Any], rate: str
) -> None:
    entropy = {"coefficient": 0.01, "target": {"sigma": 0.1}}
    diagnostics = make_diagnostics(HYBRID, entropy=entropy, **options)
    found = diagnostics.findings(followed(1e-8, entropy=3.0), progress=0.9)
    assert the_one(found).endswith(
        "the least that it can be; the policy's entropy is 3 nats, and entropy.target asks for "
        "2.3. The policy stays more random than its target, although that earns nothing. If it "
        "never comes down, raise entropy.target.sigma (now 0.1) or entropy.target.fraction (now "
        "0.5) or, where rewards are tiny, reward_scale (now 1); if it comes down and falls far "
        f"below its target, lower {rate}"
    )


# Options that are named.


def all_warnings() -> list[str]:
    """One of each kind and form."""
    target = {"coefficient": 0.1, "target": {"fraction": 0.5}}
    squashed = {"distribution": "squashed_gaussian"}
    said: list[str] = []
    for options in ({}, {"entropy": target}, {"action": squashed}):
        diagnostics = make_diagnostics(HYBRID, **options)
        diagnostics.findings(measured(branches=LN_3, sigma=[1.0]), progress=0.0)
        said += diagnostics.findings(
            measured(branches=0.0, sigma=[0.001], clipped=1.0), progress=0.0
        )
        said += diagnostics.findings(measured(branches=0.0, sigma=[7.0]), progress=0.0)
    said += make_diagnostics(THREE_CHOICES).findings({"rollout/late_steps": 1.0}, progress=0.9)
    for coefficient, nats in ((1e8, 0.0), (1e-8, 4.0)):
        diagnostics = make_diagnostics(HYBRID, entropy=target)
        said += diagnostics.findings(followed(coefficient, entropy=nats), progress=0.9)
    for shared in ({}, SHARED):
        diagnostics = make_diagnostics(THREE_CHOICES, **shared)
        for _ in range(5):
            said += diagnostics.findings({"value/gradient_share": 1.0}, progress=0.9)
    return said


def is_option(path: str) -> bool:
    group: Any = PolicyConfig
    for name in path.split("."):
        fields = group.model_fields if issubclass(group, Options) else {}
        if name not in fields:
            return False
        kind = fields[name].annotation
        # An optional group is that group or None.
        groups = [each for each in (kind, *get_args(kind)) if isinstance(each, type)]
        group = next((each for each in groups if issubclass(each, Options)), object)
    return True


def options_in(text: str) -> list[str]:
    return re.findall(r"\b(?:entropy|action|algorithm|network)\.[a-z_]+(?:\.[a-z_]+)*", text)


def test_every_option_that_is_named_exists() -> None:
    assert is_option("entropy.target.rate")
    assert not is_option("entropy.target.rates")
    named = {option for warning in all_warnings() for option in options_in(warning)}
    assert len(named) >= 8
    assert {option for option in named if not is_option(option)} == set()


def test_the_documentation_names_every_finding_and_no_option_that_is_none() -> None:
    text = DOCS.read_text()
    rows = [line for line in text.splitlines() if line.startswith("| **")]
    found = {warning.split(":")[0] for warning in all_warnings()}
    assert {row.split("**")[1] for row in rows} == found
    named = {option for row in rows for option in options_in(row)}
    assert named
    assert {option for option in named if not is_option(option)} == set()
