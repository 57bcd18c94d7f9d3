"""The most entropy that actions can have: of their distribution, and of the choices masks leave."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.algorithms.greatest_entropy import check_target, greatest_entropy, withheld_by_masks
from entrain.config.policy import (
    ActionConfig,
    EntropyConfig,
    EntropyTargetConfig,
    NetworkConfig,
    PolicyConfig,
)
from entrain.errors import ConfigError
from entrain.experience import Estimate, Rollout
from entrain.policy.gaussian import SquashedGaussian
from entrain.ranks import ALONE, OneRank
from entrain_envs.spec import ActionSpec
from made_rollouts import DISCRETE, made_policy, made_ppo, made_rollout

BOUNDED = ActionSpec(low=(-1.0,), high=(1.0,))
FREE = ActionSpec(low=(-math.inf,), high=(math.inf,))
BOTH = ActionSpec(low=(-1.0, -2.0, 0.0), high=(1.0, 2.0, math.inf), branches=(3, 4))
OF_SIGMA_1 = 0.5 * math.log(2.0 * math.pi * math.e)
SQUASHED = ActionConfig(distribution="squashed_gaussian")
TARGET = EntropyConfig(coefficient=0.01, target=EntropyTargetConfig())


def options_of(kind: str = "sac", action: dict[str, Any] | None = None, **target: Any) -> Any:
    return PolicyConfig.model_validate(
        {
            "algorithm": {"kind": kind},
            "action": action or {},
            "entropy": {"coefficient": 0.1, "target": target},
        }
    )


# What a distribution can have.


@given(mean=st.floats(-3.0, 3.0), log_sigma_sq=st.floats(-8.0, 4.0))
@settings(max_examples=30, deadline=None)
def test_no_squashed_gaussian_has_more_than_the_greatest_and_uniform_actions_do(
    mean: float, log_sigma_sq: float
) -> None:
    number, most = greatest_entropy(BOUNDED, SQUASHED).squashed
    numbers = torch.tensor([[mean], [log_sigma_sq], [1.0]], dtype=torch.float64)
    assert number == 1
    assert float(SquashedGaussian(*numbers).entropy()) <= most + 1e-7
    # By a search over sigma: 0.683636 at sigma 0.8744.
    assert most == pytest.approx(0.683636, abs=1e-6)
    assert most < math.log(2.0)


def test_each_kind_of_dimension_and_each_branch_has_its_own_greatest_entropy() -> None:
    # Two bounded dimensions are squashed, the third is a Gaussian of variance e^4 at most.
    greatest = greatest_entropy(BOTH, SQUASHED)
    assert (greatest.squashed[0], greatest.plain[0]) == (2, 1)
    assert greatest.squashed[1] == pytest.approx(0.683636, abs=1e-6)
    assert greatest.plain[1] == pytest.approx(OF_SIGMA_1 + 2.0)
    assert greatest.choices == pytest.approx(math.log(12.0))
    assert greatest.of_dimensions == pytest.approx(2 * 0.683636 + OF_SIGMA_1 + 2.0, abs=1e-5)
    plain = greatest_entropy(BOTH, ActionConfig(max_log_sigma_sq=1.0))
    assert (plain.squashed[0], plain.plain[0]) == (0, 3)
    assert plain.plain[1] == pytest.approx(OF_SIGMA_1 + 0.5)


@pytest.mark.parametrize(("bounds", "sigma"), [((-20.0, -2.0), -2.0), ((1.0, 4.0), 1.0)])
def test_a_sigma_that_may_not_be_the_best_one_lowers_what_squashed_actions_can_have(
    bounds: tuple[float, float], sigma: float
) -> None:
    least, most = bounds
    config = ActionConfig(
        distribution="squashed_gaussian",
        min_log_sigma_sq=least,
        max_log_sigma_sq=most,
        initial_log_sigma_sq=(least + most) / 2,
    )
    numbers = torch.tensor([[0.0], [sigma], [1.0]], dtype=torch.float64)
    expected = float(SquashedGaussian(*numbers).entropy())
    assert greatest_entropy(BOUNDED, config).squashed[1] == pytest.approx(expected)


# Targets.


@pytest.mark.parametrize(
    ("action", "options"),
    [
        (BOUNDED, options_of()),
        (BOUNDED, options_of(per_dimension=0.683)),
        (BOUNDED, options_of(sigma=0.47)),
        (BOUNDED, options_of("ppo", sigma=1.0)),
        (FREE, options_of(sigma=7.0)),
        (DISCRETE, options_of(per_dimension=9.0, fraction=1.0)),
        (BOTH, options_of(per_dimension=1.2, fraction=0.5)),
        (BOUNDED, PolicyConfig()),
    ],
)
def test_a_target_that_can_be_reached_is_taken(action: ActionSpec, options: PolicyConfig) -> None:
    check_target(action, options)


@pytest.mark.parametrize(
    ("action", "options", "said"),
    [
        (
            BOUNDED,
            options_of(sigma=1.0),
            "entropy.target asks for 1.419 nats at the start of the run, and its actions can have "
            "0.6836 nats at most (1 x 0.6836 for squashed dimensions), so that the coefficient "
            "would rise without end; lower entropy.target.sigma to at most 0.47, or set "
            "action.distribution: gaussian",
        ),
        (
            BOUNDED,
            options_of(final_per_dimension=0.7),
            "0.7 nats at the end of the run, and its actions can have 0.6836 nats at most (1 x "
            "0.6836 for squashed dimensions), so that the coefficient would rise without end; "
            "lower entropy.target.final_per_dimension to at most 0.68, or",
        ),
        (
            FREE,
            options_of("ppo", {"max_log_sigma_sq": 1.0}, per_dimension=2.0),
            "2 nats at the start of the run, and its actions can have 1.919 nats at most (1 x "
            "1.919 for other dimensions, by action.max_log_sigma_sq), so that the coefficient "
            "would rise without end; lower entropy.target.per_dimension to at most 1.91, or raise "
            "action.max_log_sigma_sq (now 1)",
        ),
        (
            # 3 * 2.5 + ln 12 = 9.985, and 2 * 0.6836 + 3.4189 + ln 12 = 7.271. Two thirds of what
            # dimensions can have, (2 * 0.6836 + 3.4189) / 3, is 1.595.
            BOTH,
            options_of(per_dimension=2.5, fraction=1.0),
            "9.985 nats at the start of the run, and its actions can have 7.271 nats at most (2 x "
            "0.6836 for squashed dimensions, 1 x 3.419 for other dimensions, by "
            "action.max_log_sigma_sq, 2.485 for choices), so that the coefficient would rise "
            "without end; lower entropy.target.per_dimension to at most 1.59, or",
        ),
    ],
)
def test_a_target_beyond_reach_is_refused_with_the_most_that_may_be_asked(
    action: ActionSpec, options: PolicyConfig, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check_target(action, options)
    assert said in str(caught.value)


# Masks.


def masked(allowed: list[list[bool]], **estimate: Any) -> tuple[Rollout, Estimate]:
    """Steps one after the other, with these choices of branches of 2 and 3."""
    policy = made_policy(DISCRETE, entropy=TARGET)
    rollout = made_rollout(policy, [len(allowed)])
    mask = torch.tensor(allowed).unsqueeze(1)
    nothing = torch.zeros(len(allowed), 1)
    return (
        replace(rollout, action_mask=mask),
        Estimate(advantage=nothing, return_=nothing.unsqueeze(-1), **estimate),
    )


ALL = [True] * 5
ONE_AND_ALL = [True, False, True, True, True]
TWO_OF_THREE = [True, True, True, False, True]
NONE_BUT_ONE = [False, True, False, False, True]


def withheld(rollout: Rollout, estimate: Estimate) -> float:
    policy = made_policy(DISCRETE, entropy=TARGET)
    return withheld_by_masks(policy, rollout, estimate, ranks=ALONE)


def test_what_masks_withhold_by_hand() -> None:
    # Nothing; ln 2 of the first branch; ln 3 - ln 2 of the second; all of it, ln 6.
    steps = masked([ALL, ONE_AND_ALL, TWO_OF_THREE, NONE_BUT_ONE])
    by_step = [0.0, math.log(2.0), math.log(1.5), math.log(6.0)]
    assert withheld(*steps) == pytest.approx(sum(by_step) / 4)


def test_without_masks_it_is_exactly_nothing() -> None:
    assert withheld(*masked([ALL, ALL, ALL])) == 0.0


def test_steps_that_are_late_or_not_there_withhold_nothing() -> None:
    weight = torch.tensor([[1.5], [1.5], [0.0]])
    rollout, estimate = masked([ALL, ONE_AND_ALL, NONE_BUT_ONE], weight=weight)
    assert withheld(rollout, estimate) == pytest.approx(math.log(2.0) / 2)
    valid = torch.tensor([[False], [True], [True]])
    assert withheld(replace(rollout, valid=valid), estimate) == pytest.approx(math.log(2.0))
    assert withheld(replace(rollout, valid=valid & False), estimate) == 0.0


class WithAnother(OneRank):
    """This rank, and one of three steps where nothing is forbidden."""

    def sum(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.tensor([0.0, 3.0])


def test_the_steps_of_all_ranks_count() -> None:
    # ln 2 in one of this rank's two steps: a fifth of it over all five.
    policy = made_policy(DISCRETE, entropy=TARGET)
    found = withheld_by_masks(policy, *masked([ALL, ONE_AND_ALL]), ranks=WithAnother())
    assert found == pytest.approx(math.log(2.0) / 5)


@pytest.mark.parametrize("num_allowed", [3, 100])
def test_ppo_follows_a_share_of_what_the_allowed_choices_could_have(num_allowed: int) -> None:
    # 3 of 100 choices, equally likely, have ln 3 = 1.0986; half of ln 100 = 2.3026 they never have.
    action = ActionSpec(branches=(100,))
    policy = made_policy(action, entropy=TARGET, network=NetworkConfig(hidden_sizes=()))
    policy.action_head.weight.data.zero_()
    rollout = made_rollout(policy, [6])
    mask = torch.arange(100) < num_allowed
    rollout = replace(
        rollout,
        action_mask=mask.expand(6, 1, 100),
        action={"discrete": torch.zeros(6, 1, 1, dtype=torch.int64)},
        log_prob=torch.full((6, 1), -math.log(num_allowed)),
        reward=torch.zeros(6, 1),
    )
    ppo = made_ppo(policy, num_epochs=1)
    metrics = ppo.update(rollout, progress=0.0)
    target = 0.5 * math.log(num_allowed)
    assert metrics["entropy/target"] == pytest.approx(target, rel=1e-12)
    assert num_allowed == 3 or metrics["entropy/target"] == target
    assert metrics["entropy/distance"] == pytest.approx(target, rel=0.1)
    # So the coefficient falls; it would have risen to its greatest.
    assert ppo.state()["temperature"]["log_coefficient"] < math.log(0.01)
