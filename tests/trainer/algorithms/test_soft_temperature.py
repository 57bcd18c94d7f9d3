"""The temperature of a soft actor-critic: fixed, on a schedule, or after a target."""

import math

import pytest
import torch

from entrain.algorithms.soft_temperature import AdaptiveTemperature, FixedTemperature
from entrain.config.policy import EntropyConfig, EntropyTargetConfig

SIGMA = math.exp(-1.0) / math.sqrt(2.0 * math.pi * math.e)
"""0.08902, of a Gaussian with an entropy of -1."""

CPU = torch.device("cpu")
NO_CHOICES = torch.zeros(4)


def adaptive(
    target: EntropyTargetConfig, *, dimensions: int = 0, coefficient: float = 0.5
) -> AdaptiveTemperature:
    return AdaptiveTemperature(
        EntropyConfig(coefficient=coefficient, target=target),
        target,
        dimensions=dimensions,
        learning_rate=0.01,
        device=CPU,
    )


def test_a_fixed_temperature_follows_its_schedule_whatever_the_entropy() -> None:
    config = EntropyConfig(coefficient=0.4, coefficient_schedule="linear", final_coefficient=0.2)
    temperature = FixedTemperature(config, device=CPU)
    temperature.begin(0.5)
    temperature.step(torch.full((4,), 100.0), NO_CHOICES)
    assert temperature.alpha.item() == pytest.approx(0.3)
    assert temperature.metrics() == {"entropy/coefficient": pytest.approx(0.3)}
    assert temperature.state() == {"alpha": pytest.approx(0.3)}
    temperature.load_state({})
    temperature.snapshot()
    temperature.restore(None)
    temperature.agree()
    assert temperature.alpha.item() == pytest.approx(0.3)


def test_a_step_is_as_long_as_the_learning_rate_towards_the_target() -> None:
    # The first step of Adam, whatever the gradient; the target is -2 in two dimensions.
    for log_prob, sign in ((3.0, 1.0), (1.0, -1.0)):
        temperature = adaptive(EntropyTargetConfig(per_dimension=-1.0), dimensions=2)
        temperature.step(torch.full((4,), log_prob), NO_CHOICES)
        assert temperature.alpha.item() == pytest.approx(0.5 * math.exp(sign * 0.01), rel=1e-5)
        assert temperature.metrics()["entropy/target"] == -2.0
        assert temperature.metrics()["entropy/distance"] == pytest.approx(-log_prob + 2.0)


def test_what_no_step_has_measured_is_not_reported() -> None:
    temperature = adaptive(EntropyTargetConfig(), dimensions=1)
    assert temperature.metrics() == {"entropy/coefficient": pytest.approx(0.5)}
    temperature.step(torch.full((4,), 3.0), NO_CHOICES)
    state = temperature.state()
    again = adaptive(EntropyTargetConfig(), dimensions=1)
    again.load_state(state)
    assert again.metrics().keys() == {"entropy/coefficient"}


def test_a_sigma_says_the_entropy_of_its_gaussian() -> None:
    # 1/2 ln(2 pi e sigma^2) is -1, in each of three dimensions.
    temperature = adaptive(EntropyTargetConfig(sigma=SIGMA), dimensions=3)
    assert temperature.target(NO_CHOICES).tolist() == pytest.approx([-3.0] * 4, abs=1e-5)
    moving = adaptive(EntropyTargetConfig(sigma=SIGMA, final_per_dimension=-2.0), dimensions=1)
    moving.begin(0.5)
    assert moving.target(NO_CHOICES)[0].item() == pytest.approx(-1.5, abs=1e-5)


def test_the_target_of_choices_is_a_share_of_what_the_allowed_ones_could_have() -> None:
    # A choice that is never allowed, or a branch of one choice, changes nothing.
    temperature = adaptive(EntropyTargetConfig(fraction=0.5, final_fraction=0.25))
    greatest = torch.tensor([math.log(4), 0.0])
    assert temperature.target(greatest).tolist() == pytest.approx([math.log(2), 0.0])
    temperature.begin(1.0)
    assert temperature.target(greatest)[0].item() == pytest.approx(0.25 * math.log(4))


def test_a_target_that_cannot_be_reached_drives_alpha_to_a_bound_only() -> None:
    temperature = adaptive(EntropyTargetConfig(per_dimension=9.0), dimensions=1, coefficient=9e7)
    for _ in range(30):
        temperature.step(torch.zeros(4), NO_CHOICES)
    assert temperature.alpha.item() == pytest.approx(1e8, rel=1e-5)


def test_it_goes_on_where_its_state_was_taken_to_the_bit() -> None:
    target = EntropyTargetConfig()
    one, other = adaptive(target, dimensions=1), adaptive(target, dimensions=1, coefficient=3.0)
    for _ in range(3):
        one.step(torch.full((4,), 2.0), NO_CHOICES)
    other.load_state(one.state())
    before = one.snapshot()
    for each in (one, other):
        each.step(torch.full((4,), -2.0), NO_CHOICES)
    assert torch.equal(one.alpha, other.alpha)
    changed = one.alpha
    one.restore(before)
    assert not torch.equal(one.alpha, changed)
    one.step(torch.full((4,), -2.0), NO_CHOICES)
    assert torch.equal(one.alpha, changed)


def test_a_fixed_temperature_that_is_adapted_from_now_on_begins_at_its_option() -> None:
    temperature = adaptive(EntropyTargetConfig(), coefficient=0.7)
    temperature.load_state({})
    assert temperature.alpha.item() == pytest.approx(0.7)


def test_rows_that_are_not_there_leave_it_as_it_is() -> None:
    temperature = adaptive(EntropyTargetConfig(), dimensions=1)
    temperature.step(torch.zeros(0), torch.zeros(0))
    assert temperature.alpha.item() == pytest.approx(0.5)
