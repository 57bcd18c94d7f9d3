"""The gradient of each entropy objective equals the slope of the exact quantity it maximises.

The real actor runs the chain with every possible noise, each equally often, so that the mean of the
real loss is its expectation. Its gradient is compared with central differences of the exact return.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from acting_and_collecting import ActingAndCollecting
from entrain.algorithms.coefficients import Coefficients
from entrain.algorithms.entropy import Entropy, PriorDivergence, Regularizer
from entrain.algorithms.ppo import PPO
from entrain.algorithms.weights import weights_of
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import EntropyConfig, algorithm_options
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.requests import SlotTimesteps
from entrain.rollout import action_noise
from entrain_envs.environment import Environment
from exact_answers import (
    ALIKE,
    DISCOUNT,
    Floats,
    soft_chain,
    transitions_of,
    values_of,
    worths_of,
)
from in_process import Learned
from made_rollouts import same_state
from tables import learn_table, set_choices, set_values, table_config
from toy_environments import Chain

Objective = Literal["bonus", "soft_return", "entropy_critic"]
ROWS = 5
ALPHA = 0.5
WORTH_DISCOUNT = {"bonus": 0.0, "soft_return": DISCOUNT, "entropy_critic": 0.5}
"""By which each objective discounts future worth."""

RIGHT = np.array([0.5, 0.25, 0.75])
"""P(right), in quarters: four noises tell all that can happen in a step."""

ALL = ("none", "rollout", "minibatch")
"""Ways of normalising advantages; of a single minibatch, the last two are the same."""

PRIOR = np.array([[0.3, 0.7], [0.8, 0.2], [0.5, 0.5]])


@dataclass(frozen=True)
class Case:
    """A policy on the chain whose critic is right, and what it lived through."""

    ppo: PPO
    policy: ActorCritic
    rollout: Rollout

    @property
    def visits(self) -> Floats:
        """[3] share of the steps in each state."""
        seen = self.rollout.observation["seen"][self.rollout.valid].double()
        return seen.mean(dim=0).numpy()

    def by_state(self, numbers: Tensor) -> list[Tensor]:
        """`numbers`, [T, B], of the steps in each state."""
        seen = self.rollout.observation["seen"].bool()
        return [numbers[seen[..., state]] for state in range(3)]


def every_noise(
    _seed: int, slot: npt.NDArray[np.int64], counter: npt.NDArray[np.int64], _size: int
) -> npt.NDArray[np.float64]:
    """[K, 1] of slot 3 n + m, where n in base 4 says which quarter each of its actions is from."""
    quarter = slot // 3 // 4**counter % 4
    return np.asarray((quarter + 0.5) / 4.0, np.float64)[:, None]


def lived_through(policy: ActorCritic, environment: Environment, agents: int, rows: int) -> Rollout:
    """What the real actor collects in the first `rows` steps of all agents."""
    actor = ActingAndCollecting(policy, rollout_steps=rows * agents, seed=0, discount=DISCOUNT)
    timesteps = environment.reset(seed=0, parameters={})["toy"]
    while True:
        rollout = actor.observe(
            SlotTimesteps(
                slot=timesteps.agent_id,
                timesteps=timesteps,
                released=np.zeros(0, np.int64),
                num_slots=agents,
            )
        )
        if rollout is not None:
            return rollout
        timesteps = environment.step({"toy": actor.act()})["toy"]


def made_case(
    monkeypatch: pytest.MonkeyPatch,
    objective: Objective,
    *,
    right: Floats = RIGHT,
    prior: Floats = ALIKE,
    normalization: str = "none",
    gae_lambda: float = 0.7,
) -> Case:
    """Every noise once, with a critic that knows what the objective wants of it.

    In double precision: how well single precision adds up all these steps depends on the processor.
    """
    monkeypatch.setattr(action_noise, "uniform_noise", every_noise)
    agents = 3 * 4**ROWS
    environment = Chain(num_agents=agents)
    entropy = EntropyConfig(
        objective=objective, coefficient=ALPHA, discount=0.5, gae_lambda=gae_lambda / 2
    )
    config = table_config(
        entropy=entropy,
        discount=DISCOUNT,
        gae_lambda=gae_lambda,
        advantage_normalization=normalization,
        value_coefficient=0.0,
        learning_rate=0.1,
        adam_epsilon=1.0,
        num_epochs=1,
        minibatch_size=ROWS * agents,
    )
    policy = ActorCritic(environment.spec, config, seed=0).double()
    set_choices(policy, torch.tensor(np.stack([1.0 - right, right], axis=1)))
    heads = [values_of(right)]
    if objective == "soft_return":
        heads = [heads[0] + ALPHA * worths_of(right, prior)]
    if objective == "entropy_critic":
        heads.append(0.5 * worths_of(right, prior, discount=0.5))
    set_values(policy, torch.tensor(np.stack(heads, axis=1)))
    regularizer: Regularizer = Entropy()
    if prior is not ALIKE:
        frozen = ActorCritic(environment.spec, config, seed=1).double()
        set_choices(frozen, torch.tensor(prior))
        regularizer = PriorDivergence(frozen, policy)
    ppo = PPO(
        policy,
        algorithm_options(config, PPOConfig),
        discount=config.discount,
        seed=0,
        device=torch.device("cpu"),
        regularizer=regularizer,
    )
    return Case(ppo, policy, lived_through(policy, environment, agents, ROWS))


def gradient_of(case: Case) -> Floats:
    """[3, 2] of the loss with respect to the table's logits."""
    coefficients = Coefficients(learning_rate=0.1, clip_range=0.2, entropy_coefficient=ALPHA)
    minibatch = case.ppo.minibatches(case.rollout, entropy_coefficient=ALPHA).all_steps
    terms = case.ppo.loss.terms(minibatch, coefficients)
    case.policy.zero_grad(set_to_none=False)
    torch.autograd.backward(case.ppo.loss(terms, minibatch.mask, coefficients))
    gradient = case.policy.action_head.weight.grad
    assert gradient is not None
    return gradient.double().T.numpy().copy()


def right_of(logits: Floats) -> Floats:
    """[3] of [3, 2]."""
    return 1.0 / (1.0 + np.exp(logits[:, 0] - logits[:, 1]))


def central_differences(maximised: Callable[[Floats], float], logits: Floats) -> Floats:
    """[3, 2] d maximised / d logits."""
    slopes = np.zeros_like(logits)
    for cell in np.ndindex(*logits.shape):
        step = np.zeros_like(logits)
        step[cell] = 1e-5
        slopes[cell] = (maximised(logits + step) - maximised(logits - step)) / 2e-5
    return slopes


def slopes_of(case: Case, objective: Objective, prior: Floats) -> Floats:
    """[3, 2] of the return of rewards and alpha times that of worth, per step of the rollout.

    A return discounted by g, from starts weighed by mu, has the gradient of a mean over steps
    whose shares are d, if d = mu + g * d P. So mu = d - g * d P, of the rollout's own d; it is
    held while differentiating.
    """
    passed_on = case.visits @ transitions_of(RIGHT)
    h = WORTH_DISCOUNT[objective]

    def maximised(logits: Floats) -> float:
        right = right_of(logits)
        rewards = (case.visits - DISCOUNT * passed_on) @ values_of(right)
        worths = (case.visits - h * passed_on) @ worths_of(right, prior, discount=h)
        return float(rewards + ALPHA * worths)

    return central_differences(maximised, np.log(np.stack([1.0 - RIGHT, RIGHT], axis=1)))


@pytest.mark.parametrize("prior", [ALIKE, PRIOR], ids=["entropy", "prior"])
@pytest.mark.parametrize("gae_lambda", [0.1, 0.7, 1.0])
@pytest.mark.parametrize("objective", ["bonus", "soft_return", "entropy_critic"])
def test_the_gradient_is_the_slope_of_what_is_maximised(
    objective: Objective, gae_lambda: float, prior: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = made_case(monkeypatch, objective, prior=prior, gae_lambda=gae_lambda)
    expected = slopes_of(case, objective, prior)
    assert np.abs(expected).max() > 0.03
    np.testing.assert_allclose(-gradient_of(case), expected, atol=2e-7)


@pytest.mark.parametrize(
    ("objective", "normalization"),
    [
        ("bonus", "none"),
        *((objective, each) for objective in ("soft_return", "entropy_critic") for each in ALL),
    ],
)
def test_an_update_goes_up_the_slope_however_advantages_are_normalised(
    objective: Objective, normalization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = made_case(monkeypatch, objective)
    spread = case.ppo.estimate(case.rollout, entropy_coefficient=ALPHA).advantage.std().item()
    if normalization != "none":
        case = made_case(monkeypatch, objective, normalization=normalization)
    before = case.policy.action_head.weight.detach().clone()
    case.ppo.update(case.rollout, progress=0.0)
    # Adam's first step is 0.1 * g / (|g| + epsilon), with an epsilon of 1 here.
    step = (case.policy.action_head.weight.detach() - before).double().T.numpy() / 0.1
    expected = slopes_of(case, objective, ALIKE) / (1.0 if normalization == "none" else spread)
    np.testing.assert_allclose(step / (1.0 - np.abs(step)), expected, atol=5e-6)


@pytest.mark.parametrize("prior", [ALIKE, PRIOR], ids=["entropy", "prior"])
@pytest.mark.parametrize("objective", ["bonus", "soft_return", "entropy_critic"])
def test_the_advantages_of_a_state_sum_to_zero_under_the_policy(
    objective: Objective, prior: Floats, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = made_case(monkeypatch, objective, prior=prior)
    estimate = case.ppo.estimate(case.rollout, entropy_coefficient=ALPHA)
    for advantages in case.by_state(estimate.advantage):
        assert advantages.mean().item() == pytest.approx(0.0, abs=1e-6)
        assert advantages.abs().mean().item() > 0.05


def test_at_the_soft_optimum_an_advantage_is_alpha_times_what_the_choice_lacks_in_surprise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # There Q = V + alpha ln p, so A = r + alpha H + g V(s') - V = alpha (ln p(a|s) + H(s)).
    _, optimum = soft_chain(ALPHA)
    case = made_case(monkeypatch, "soft_return", right=optimum, gae_lambda=0.0)
    estimate = case.ppo.estimate(case.rollout, entropy_coefficient=ALPHA)
    entropy = torch.tensor(worths_of(optimum, discount=0.0))
    at_each = (case.rollout.observation["seen"] * entropy).sum(dim=-1)
    expected = ALPHA * (case.rollout.log_prob + at_each)
    torch.testing.assert_close(estimate.advantage, expected, rtol=0, atol=1e-6)


# Without weight


def learn_briefly(entropy: EntropyConfig, prepare: Callable[[ActorCritic], None]) -> Learned:
    """Three updates of several gradient steps, with the options that users have."""
    return learn_table(
        Chain(num_agents=64),
        updates=3,
        entropy=entropy,
        prepare=prepare,
        rollout_steps=512,
        minibatch_size=128,
        discount=DISCOUNT,
        advantage_normalization="minibatch",
    )


def first_values(policy: ActorCritic) -> None:
    """The same of every head: entropy critics begin like the others."""
    set_values(policy, torch.tensor([[0.3], [-0.2], [0.1]]).expand(3, policy.num_values))


HARD = EntropyConfig()


@pytest.mark.parametrize("coefficient", [0.0, 1e-30])
@pytest.mark.parametrize("objective", ["bonus", "soft_return"])
def test_alpha_to_zero_is_the_hard_run_bit_for_bit(
    objective: Objective, coefficient: float
) -> None:
    # 1e-30 goes all the way that a weight goes, and is lost in rounding.
    hard = learn_briefly(HARD, first_values)
    learned = learn_briefly(
        EntropyConfig(objective=objective, coefficient=coefficient), first_values
    )
    weights = [weights_of(run.policy) for run in (hard, learned)]
    assert same_state(*weights)
    names = hard.metrics[0].keys() - {"entropy/coefficient", "loss/entropy"}
    for of_hard, ours in zip(hard.metrics, learned.metrics, strict=True):
        assert {name: of_hard[name] for name in names} == {name: ours[name] for name in names}


@pytest.mark.parametrize("coefficient", [0.0, 1e-30])
def test_alpha_to_zero_with_an_entropy_critic_is_the_hard_run(coefficient: float) -> None:
    # But for rounding: a layer with two outputs multiplies in another order than one with one.
    hard = learn_briefly(HARD, first_values)
    entropy = EntropyConfig(objective="entropy_critic", coefficient=coefficient)
    learned = learn_briefly(entropy, first_values)
    ours, theirs = learned.policy.state_dict(), hard.policy.state_dict()
    for name in ("action_head.weight", "action_head.bias"):
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-6)
    for name in ("value_head.weight", "value_head.bias"):
        torch.testing.assert_close(ours[name][:1], theirs[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("objective", ["bonus", "soft_return", "entropy_critic"])
def test_a_weight_is_noticed_at_once(objective: Objective) -> None:
    hard = learn_briefly(HARD, first_values)
    learned = learn_briefly(EntropyConfig(objective=objective, coefficient=1e-3), first_values)
    weights = [run.policy.action_head.weight for run in (hard, learned)]
    assert (weights[0] - weights[1]).abs().max() > 1e-5
    torch.testing.assert_close(*weights, rtol=0, atol=0.05)
