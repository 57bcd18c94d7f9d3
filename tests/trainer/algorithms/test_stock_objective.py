"""With these options, loss and updates are those of ML-Agents' PPO; what differs is measured."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from entrain.algorithms.coefficients import Coefficients, coefficients_at, make_temperature
from entrain.algorithms.ppo import PPO
from entrain.config.algorithm import PPOConfig
from entrain.config.load import load_config
from entrain.config.policy import EntropyConfig, MemoryConfig, algorithm_options
from entrain.experience import PerDimensionRollout
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.spread import ParameterSpread
from entrain_envs.spec import ActionSpec
from made_rollouts import CONTINUOUS, DISCRETE, HYBRID, NO_MEMORY, made_policy, made_rollout
from recurrent_cases import gradients_of, in_float64
from stock_ppo import TINY, stock_loss, stock_schedule, stock_steps

PAGE = (Path(__file__).parents[3] / "docs" / "mlagents-numerics.md").read_text(encoding="utf-8")
DISCOUNT, GAE_LAMBDA, HORIZON = 0.95, 0.9, 4
LENGTHS = (7, 0, 12, 5)
LSTM = MemoryConfig(kind="lstm", size=3, sequence_length=5)
WHOLE_ROLLOUT = 10_000
EPSILON, BETA = 0.05, 0.03
ENTROPY = EntropyConfig(
    coefficient=BETA, coefficient_schedule="linear", final_coefficient=1e-5, dimensions="mean"
)
OPTIONS: dict[str, Any] = {
    "minibatch_size": WHOLE_ROLLOUT,
    "num_epochs": 3,
    "learning_rate": 3e-3,
    "final_learning_rate": 1e-10,
    "adam_epsilon": 1e-8,
    "gae_lambda": GAE_LAMBDA,
    "horizon": HORIZON,
    "surrogate": "per_dimension",
    "clip_range": EPSILON,
    "clip_range_schedule": "linear",
    "final_clip_range": 0.1,
    "max_grad_norm": 0.0,
    "advantage_normalization": "rollout",
}
CLIPPING_VALUES = {
    "value_clip_range": EPSILON,
    "value_clip_range_schedule": "linear",
    "final_value_clip_range": 0.1,
}
CASES = pytest.mark.parametrize(
    ("action", "memory"),
    [(CONTINUOUS, NO_MEMORY), (DISCRETE, NO_MEMORY), (HYBRID, NO_MEMORY), (HYBRID, LSTM)],
    ids=["continuous", "multi-discrete", "hybrid", "hybrid with memory"],
)


def learning(action: ActionSpec, memory: MemoryConfig, *, moved: float = 0.1) -> ActorCritic:
    """The policy that acted, in float64, `moved` away from there: some ratios are clipped."""
    policy = acting(action, memory).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in policy.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(noise, alpha=moved)
    return policy


def acting(action: ActionSpec, memory: MemoryConfig) -> ActorCritic:
    return made_policy(
        action,
        memory=memory,
        entropy=ENTROPY,
        initial_log_sigma_sq=-0.7,
        normalize_values=False,
    )


def played(action: ActionSpec, memory: MemoryConfig) -> PerDimensionRollout:
    """Columns of unequal length; a step is followed by the value of the next one."""
    rollout = made_rollout(
        acting(action, memory),
        LENGTHS,
        filler=1e9,
        extra_rows=2,
        rollout_type=PerDimensionRollout,
    )
    following = torch.cat([rollout.value[1:], rollout.next_value[-1:]])
    ends = rollout.boundary[..., None]
    rollout = replace(rollout, next_value=torch.where(ends, rollout.next_value, following))
    rollout = in_float64(rollout)
    assert isinstance(rollout, PerDimensionRollout)
    return rollout


def coefficients_of(**values: float) -> Coefficients:
    return Coefficients(
        **{
            "learning_rate": 1e-3,
            "clip_range": EPSILON,
            "entropy_coefficient": BETA,
            **values,
        }
    )


def ppo_of(policy: ActorCritic, **options: Any) -> PPO:
    return PPO(
        policy,
        PPOConfig(**{**OPTIONS, **options}),
        discount=DISCOUNT,
        seed=0,
        device=torch.device("cpu"),
    )


def normalized(advantages: Sequence[float], *, correction: int = 1) -> list[float]:
    """As we do it. Stock's correction is 0, and instead of 1e-8 * |mean| it adds 1e-10."""
    mean = sum(advantages) / len(advantages)
    squares = sum((each - mean) ** 2 for each in advantages)
    std = math.sqrt(squares / (len(advantages) - correction))
    return [(each - mean) / (std + 1e-8 * abs(mean)) for each in advantages]


def loss_of_stock(
    policy: ActorCritic,
    rollout: PerDimensionRollout,
    coefficients: Coefficients,
    *,
    tiny: float = 0.0,
    correction: int = 1,
    value_epsilon: float | None = None,
) -> Tensor:
    steps = stock_steps(
        policy,
        rollout,
        discount=DISCOUNT,
        gae_lambda=GAE_LAMBDA,
        horizon=HORIZON,
        tiny=tiny,
        normalize=lambda advantages: normalized(advantages, correction=correction),
    )
    return stock_loss(
        steps,
        epsilon=coefficients.clip_range,
        beta=coefficients.entropy_coefficient,
        value_epsilon=value_epsilon,
    )


def loss_of_ours(ppo: PPO, rollout: PerDimensionRollout, coefficients: Coefficients) -> Tensor:
    (minibatch,) = ppo.minibatches(rollout).epoch(torch.Generator())
    return ppo.loss(ppo.loss.terms(minibatch, coefficients), minibatch.mask, coefficients)


@CASES
@pytest.mark.parametrize("value_epsilon", [None, 0.03])
def test_loss_and_gradients_are_those_of_stock(
    action: ActionSpec, memory: MemoryConfig, value_epsilon: float | None
) -> None:
    coefficients = coefficients_of(value_clip_range=value_epsilon or 0.0)
    policy, rollout = learning(action, memory), played(action, memory)
    ppo = ppo_of(policy)
    ours = loss_of_ours(ppo, rollout, coefficients)
    found = gradients_of(ppo, ours)
    stock = loss_of_stock(policy, rollout, coefficients, value_epsilon=value_epsilon)
    expected = gradients_of(ppo, stock)
    torch.testing.assert_close(ours, stock, rtol=0, atol=1e-10)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert all(gradient.any() for gradient in expected.values())


@CASES
@pytest.mark.parametrize("clips_values", [False, True])
def test_a_whole_update_is_that_of_stock(
    action: ActionSpec, memory: MemoryConfig, *, clips_values: bool
) -> None:
    # Three epochs, each of one minibatch, a quarter into the run, by the Adam of torch.
    rollout = played(action, memory)
    ours, stock = learning(action, memory), learning(action, memory)
    ppo_of(ours, **(CLIPPING_VALUES if clips_values else {})).update(rollout, progress=0.25)
    learning_rate, epsilon, beta = (
        stock_schedule(initial, least, step=250, max_steps=1000)
        for initial, least in ((3e-3, 1e-10), (EPSILON, 0.1), (BETA, 1e-5))
    )
    adam = torch.optim.Adam(stock.parameters(), lr=learning_rate)
    for _ in range(3):
        adam.zero_grad()
        coefficients = coefficients_of(clip_range=epsilon, entropy_coefficient=beta)
        value_epsilon = epsilon if clips_values else None
        loss = loss_of_stock(stock, rollout, coefficients, value_epsilon=value_epsilon)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    before, found, expected = (
        nn.utils.parameters_to_vector(policy.parameters()).detach()
        for policy in (learning(action, memory), ours, stock)
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert float((found - before).abs().min()) > 0.0
    assert float((found - before).abs().max()) > 1e-3


def test_the_joint_surrogate_and_the_summed_entropy_are_others() -> None:
    coefficients = coefficients_of()
    policy, rollout = learning(CONTINUOUS, NO_MEMORY), played(CONTINUOUS, NO_MEMORY)
    stock = loss_of_stock(policy, rollout, coefficients)
    joint = loss_of_ours(ppo_of(policy, surrogate="joint"), rollout, coefficients)
    assert abs((joint - stock).item()) > 1e-3


def test_the_options_on_the_page_are_those_of_the_proof(tmp_path: Path) -> None:
    (written,) = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    (tmp_path / "page.yaml").write_text(written, encoding="utf-8")
    policy = load_config(tmp_path / "page.yaml", []).policies["3DBall"]
    of_the_task = {"minibatch_size", "learning_rate", "gae_lambda", "horizon", "clip_range"}
    of_the_task |= {"value_clip_range"}
    for name, value in {**OPTIONS, **CLIPPING_VALUES}.items():
        if name not in of_the_task:
            assert getattr(policy.algorithm, name) == value, name
    options = algorithm_options(policy, PPOConfig)
    assert options.value_coefficient == PPOConfig(**OPTIONS).value_coefficient
    assert policy.entropy.model_copy(update={"coefficient": BETA}) == ENTROPY
    assert (policy.normalize_values, policy.action.clip) == (False, 3.0)


def test_the_tests_that_the_page_names_are_there() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    for name in re.findall(r"`(test_\w+)`", PAGE):
        assert f"def {name}(" in here, name


# What differs


@CASES
def test_the_small_constants_of_stock_change_the_loss_by_less_than_a_millionth(
    action: ActionSpec, memory: MemoryConfig
) -> None:
    coefficients = coefficients_of()
    policy, rollout = learning(action, memory), played(action, memory)
    exact, stock = (loss_of_stock(policy, rollout, coefficients, tiny=tiny) for tiny in (0.0, TINY))
    assert 0.0 < abs((stock - exact).item()) < 1e-6


def test_stock_divides_advantages_by_the_deviation_without_bessels_correction() -> None:
    rollout = played(CONTINUOUS, NO_MEMORY)
    estimate = ppo_of(learning(CONTINUOUS, NO_MEMORY)).estimate(rollout, entropy_coefficient=0.0)
    advantage = estimate.advantage[rollout.valid]
    steps = rollout.num_steps
    assert float(advantage.std(correction=1)) == pytest.approx(1.0, rel=1e-7)
    assert float(advantage.std(correction=0)) == pytest.approx(math.sqrt((steps - 1) / steps))


def test_clipping_values_at_what_stock_takes_for_old_values_clips_nothing() -> None:
    policy, rollout = learning(CONTINUOUS, NO_MEMORY), played(CONTINUOUS, NO_MEMORY)
    coefficients = coefficients_of()
    inert = loss_of_stock(policy, rollout, coefficients)
    unclipped = loss_of_ours(ppo_of(policy), rollout, coefficients)
    effective = loss_of_stock(policy, rollout, coefficients, value_epsilon=0.03)
    assert inert.item() == pytest.approx(unclipped.item(), abs=1e-10)
    assert (effective - inert).item() > 1e-3


def test_a_first_step_moves_ln_sigma_by_half_the_learning_rate() -> None:
    # The first step of Adam is as long as the learning rate, whatever the gradient; ln sigma is
    # half of the parameter, whose smooth bounds take 2 % of it here.
    before, after = learning(CONTINUOUS, NO_MEMORY), learning(CONTINUOUS, NO_MEMORY)
    ppo_of(after, num_epochs=1).update(played(CONTINUOUS, NO_MEMORY), progress=0.0)
    now, was = (it.action_head.spread for it in (after, before))
    assert isinstance(now, ParameterSpread)
    assert isinstance(was, ParameterSpread)
    moved = 0.5 * (now() - was()).detach().abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.5 * 3e-3), rtol=0.025, atol=0)


def test_the_schedules_are_those_of_stock_for_the_same_count_of_steps() -> None:
    config, temperature = PPOConfig(**OPTIONS), make_temperature(ENTROPY, CONTINUOUS)
    for step in (0, 1, 400, 999, 1000):
        found = coefficients_at(step / 1000, config, temperature)
        for value, initial, least in (
            (found.learning_rate, 3e-3, 1e-10),
            (found.clip_range, EPSILON, 0.1),
            (found.entropy_coefficient, BETA, 1e-5),
        ):
            expected = stock_schedule(initial, least, step=step, max_steps=1000)
            assert value == pytest.approx(expected, rel=1e-12)
    assert stock_schedule(3e-3, 1e-10, step=2000, max_steps=1000) == 1e-10
