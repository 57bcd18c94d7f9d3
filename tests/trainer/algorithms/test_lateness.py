"""Late steps, by exact enumeration: the masked gradient is that of the return, others are not.

Two states, two choices, three steps, no discount. Every noise and every lateness occurs once, each
equally often, so that sums over rollouts are expectations: 4 quarters of a choice times 4 quarters
of a lateness, in three steps, are 4,096 episodes. The real loss learns from them, and the exact
return is differentiated by autograd.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from entrain.algorithms.coefficients import Coefficients
from entrain.algorithms.ppo import PPO
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import EntropyConfig, algorithm_options
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from tables import set_choices, table_config

SPEC = BehaviourSpec("toy", (ObservationSpec("seen", (2,)),), ActionSpec(branches=(2,)))
STEPS, EPISODES = 3, 16**3
CHOICES = torch.tensor([[0.75, 0.25], [0.25, 0.75]], dtype=torch.float64)
"""[states, choices] of the policy."""

LATE = np.array([0.25, 0.5])
"""[states] how often an action comes too late."""

REWARD = np.array([[1.0, -2.0], [0.5, 4.0]])
"""[states, choices] for the choice that was taken."""

KNOWN = [-0.70587158, 0.15875244]
"""Of each state, the slope of the return along the second choice's logit, where no choice is the
fallback."""

OFF = [-0.25488281, -0.10766602]
"""How far that gradient is off if the fallback's choices are taken for the policy's own."""

FOLLOWING = np.array([[0, 1], [0, 1]])
"""[states, choices] the state after it."""

Ints = npt.NDArray[np.int64]
Fallback = Callable[[Ints, Ints], Ints]
"""What acts, given the choice that was taken last, and the one that came last."""


def neutral(taken: Ints, came: Ints) -> Ints:
    del came
    return np.zeros_like(taken)


def last_taken(taken: Ints, came: Ints) -> Ints:
    del came
    return taken


def last_to_come(taken: Ints, came: Ints) -> Ints:
    """What the wire forbids: it may be one that came too late."""
    del taken
    return came


@dataclass(frozen=True)
class Episodes:
    """All that can happen, [STEPS, 4096] each."""

    state: Ints
    sampled: Ints
    taken: Ints
    late: npt.NDArray[np.bool_]
    reward: npt.NDArray[np.float64]

    @property
    def to_go(self) -> npt.NDArray[np.float64]:
        """The rewards from each step on."""
        return self.reward[::-1].cumsum(axis=0)[::-1].copy()

    def exact_return(self, logits: Tensor, *, steps_that_count: npt.NDArray[np.bool_]) -> Tensor:
        """[] E[sum of rewards] of the policy with these [2, 2] logits.

        A choice has a probability where it may decide something; else all of them were summed over.
        """
        chosen = logits.log_softmax(dim=1)[self.state, self.sampled]
        before = CHOICES.log()[self.state, self.sampled]
        ratio = (chosen - before) * torch.from_numpy(steps_that_count)
        return (ratio.sum(dim=0).exp() * torch.from_numpy(self.reward.sum(axis=0))).mean()


def every_episode(fallback: Fallback) -> Episodes:
    number = np.arange(EPISODES)
    state = np.zeros(len(number), np.int64)
    taken = came = np.zeros(len(number), np.int64)
    rows = []
    for step in range(STEPS):
        digit = number // 16**step % 16
        sampled = ((digit % 4 + 0.5) / 4 < CHOICES[state, 1].numpy()).astype(np.int64)
        late = (digit // 4 + 0.5) / 4 < LATE[state]
        taken = np.where(late, fallback(taken, came), sampled)
        came = sampled
        rows.append((state, sampled, taken, late, REWARD[state, taken]))
        state = FOLLOWING[state, taken]
    return Episodes(*(np.stack(column) for column in zip(*rows, strict=True)))


def made_ppo(*, coefficient: float = 0.0, normalization: str = "none") -> PPO:
    """Of a table whose critic says 0, with undiscounted returns."""
    config = table_config(
        entropy=EntropyConfig(coefficient=coefficient),
        discount=1.0,
        gae_lambda=1.0,
        advantage_normalization=normalization,
        value_coefficient=0.0,
    )
    policy = ActorCritic(SPEC, config, seed=0).double()
    set_choices(policy, CHOICES)
    torch.nn.init.zeros_(policy.value_head.weight)
    torch.nn.init.zeros_(policy.value_head.bias)
    options = algorithm_options(config, PPOConfig)
    return PPO(
        policy,
        options,
        discount=1.0,
        seed=0,
        device=torch.device("cpu"),
    )


def rollout_of(episodes: Episodes, *, marked: bool = True, as_taken: bool = False) -> Rollout:
    """What the trainer collects.

    Args:
        episodes: that it lived through.
        marked: whether it is told which steps are late.
        as_taken: whether it takes the choice that was taken for its own.
    """
    shape = episodes.state.shape
    choice = torch.from_numpy(episodes.taken if as_taken else episodes.sampled)
    zeros = torch.zeros(*shape, dtype=torch.float64)
    ends = torch.zeros(shape, dtype=torch.bool)
    ends[-1] = True
    late = torch.from_numpy(episodes.late)
    return Rollout(
        observation={"seen": torch.eye(2, dtype=torch.float64)[episodes.state]},
        action={"discrete": choice.unsqueeze(-1)},
        action_mask=torch.ones(*shape, 2, dtype=torch.bool),
        log_prob=CHOICES.log()[episodes.state, choice],
        value=zeros.unsqueeze(-1),
        reset=ends.roll(1, 0),
        policy_version=zeros.long(),
        reward=torch.from_numpy(episodes.reward),
        next_value=zeros.unsqueeze(-1),
        boundary=ends,
        late=late if marked else late & False,
        valid=torch.ones(shape, dtype=torch.bool),
        sequence_state=torch.zeros(1, shape[1], 0, dtype=torch.float64),
    )


def gradient_of(ppo: PPO, rollout: Rollout, *, coefficient: float = 0.0) -> Tensor:
    """[states, choices] of the loss, with respect to the table's logits."""
    coefficients = Coefficients(learning_rate=0.1, clip_range=0.2, entropy_coefficient=coefficient)
    minibatch = ppo.minibatches(rollout).all_steps
    terms = ppo.loss.terms(minibatch, coefficients)
    weight = ppo.loss.policy.action_head.weight
    gradients = torch.autograd.grad(ppo.loss(terms, None, coefficients), [weight])
    return gradients[0].t()


def exact_gradient(episodes: Episodes, *, counts: npt.NDArray[np.bool_]) -> Tensor:
    """[states, choices] of the expected return of an episode."""
    logits = CHOICES.log().requires_grad_()
    exact = episodes.exact_return(logits, steps_that_count=counts)
    (gradient,) = torch.autograd.grad(exact, [logits])
    return gradient


def per_episode(gradient: Tensor, count: int) -> Tensor:
    """Minus a loss's gradient, which is a mean over `count` steps, as that of an episode's sum."""
    return -gradient * count / EPISODES


def score_of(state: Ints, choice: Ints) -> Tensor:
    """[N, states, choices] d ln p(choice | state) / d logits."""
    rows = torch.zeros(len(state), 2, 2, dtype=torch.float64)
    each = torch.arange(len(state))
    rows[each, state] = -CHOICES[state]
    rows[each, state, choice] += 1.0
    return rows


@pytest.mark.parametrize("fallback", [neutral, last_taken])
def test_the_masked_gradient_is_that_of_the_return(fallback: Fallback) -> None:
    episodes = every_episode(fallback)
    in_time = int((~episodes.late).sum())

    masked = gradient_of(made_ppo(), rollout_of(episodes))

    exact = exact_gradient(episodes, counts=~episodes.late)
    torch.testing.assert_close(per_episode(masked, in_time), exact, rtol=1e-12, atol=1e-12)
    assert exact.abs().max() > 0.2


def test_the_enumeration_agrees_with_a_recursion() -> None:
    logits = CHOICES.log().requires_grad_()
    value = torch.zeros(2, dtype=torch.float64)
    late, reward = torch.from_numpy(LATE), torch.from_numpy(REWARD)
    for _ in range(STEPS):
        worth = reward + value[FOLLOWING]
        value = (1.0 - late) * (logits.softmax(dim=1) * worth).sum(dim=1) + late * worth[:, 0]
    (gradient,) = torch.autograd.grad(value[0], [logits])
    episodes = every_episode(neutral)
    exact = exact_gradient(episodes, counts=~episodes.late)
    torch.testing.assert_close(exact, gradient, rtol=1e-12, atol=1e-12)
    assert exact[:, 1].tolist() == pytest.approx(KNOWN)


def test_a_trainer_that_takes_the_fallbacks_choice_for_its_own_is_off_by_what_it_earned() -> None:
    episodes = every_episode(neutral)
    exact = exact_gradient(episodes, counts=~episodes.late)
    late = episodes.late

    unmasked = gradient_of(made_ppo(), rollout_of(episodes, marked=False, as_taken=True))

    score = score_of(episodes.state[late], episodes.taken[late])
    to_go = torch.from_numpy(episodes.to_go[late])
    off = (score * to_go[:, None, None]).sum(dim=0) / EPISODES
    found = per_episode(unmasked, late.size) - exact
    torch.testing.assert_close(found, off, rtol=1e-12, atol=1e-12)
    assert found[:, 1].tolist() == pytest.approx(OFF)


def test_without_the_mask_the_first_gradient_is_right_but_short() -> None:
    # A choice that decided nothing has a score of mean zero. So all that is lost is size.
    episodes = every_episode(last_taken)
    masked = gradient_of(made_ppo(), rollout_of(episodes))
    unmasked = gradient_of(made_ppo(), rollout_of(episodes, marked=False))
    in_time = (~episodes.late).mean()
    torch.testing.assert_close(unmasked, masked * in_time, rtol=1e-12, atol=1e-12)


def test_without_the_mask_the_entropy_of_states_where_another_acts_is_pushed_too() -> None:
    alpha, episodes = 0.7, every_episode(neutral)
    masked, unmasked = (
        gradient_of(
            made_ppo(coefficient=alpha), rollout_of(episodes, marked=marked), coefficient=alpha
        )
        for marked in (True, False)
    )
    logits = CHOICES.log().requires_grad_()
    entropy = -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum()
    (slopes,) = torch.autograd.grad(entropy, [logits])
    visits = np.bincount(episodes.state[episodes.late], minlength=2)
    off = alpha * torch.from_numpy(visits)[:, None] * slopes / EPISODES
    size, in_time = episodes.late.size, int((~episodes.late).sum())
    found = per_episode(unmasked, size) - per_episode(masked, in_time)
    torch.testing.assert_close(found, off, rtol=1e-7, atol=1e-12)
    assert found.abs().max() > 0.05


def test_without_the_mask_later_gradients_point_elsewhere() -> None:
    # Once the policy has moved, choices whose ratio is clipped have no gradient, and the scores
    # of the others do not cancel any more.
    episodes = every_episode(neutral)
    moved = torch.tensor([[0.6, 0.4], [0.15, 0.85]], dtype=torch.float64)
    masked, unmasked = (
        gradient_of(moved_ppo(moved), rollout_of(episodes, marked=marked))
        for marked in (True, False)
    )
    size, in_time = episodes.late.size, int((~episodes.late).sum())
    found = per_episode(unmasked, size) - per_episode(masked, in_time)

    off = torch.zeros(2, 2, dtype=torch.float64)
    for state in range(2):
        here = episodes.late & (episodes.state == state)
        for choice in range(2):
            ratio = float(moved[state, choice] / CHOICES[state, choice])
            advantage = episodes.to_go[here & (episodes.sampled == choice)]
            counts = advantage[(ratio < 1.2) | (advantage < 0)] if ratio > 1.0 else advantage
            counts = counts[(ratio > 0.8) | (counts > 0)]
            step = torch.eye(2, dtype=torch.float64)[choice] - moved[state]
            off[state] += ratio * float(counts.sum()) * step / EPISODES
    torch.testing.assert_close(found, off, rtol=1e-12, atol=1e-12)
    assert found.abs().max() > 0.1


def moved_ppo(choices: Tensor) -> PPO:
    ppo = made_ppo()
    set_choices(ppo.loss.policy, choices)
    return ppo


def test_a_fallback_that_repeats_what_came_too_late_biases_the_masked_gradient() -> None:
    # Such a choice decides the next late step, so its own step should have taught the policy.
    episodes = every_episode(last_to_come)
    everywhere = np.ones_like(episodes.late)
    exact = exact_gradient(episodes, counts=everywhere)
    masked = per_episode(gradient_of(made_ppo(), rollout_of(episodes)), int((~episodes.late).sum()))
    score = score_of(episodes.state[episodes.late], episodes.sampled[episodes.late])
    to_go = torch.from_numpy(episodes.to_go[episodes.late])
    missing = (score * to_go[:, None, None]).sum(dim=0) / EPISODES
    torch.testing.assert_close(exact - masked, missing, rtol=1e-12, atol=1e-12)
    assert missing.abs().max() > 0.01


def test_advantages_are_normalised_over_the_steps_in_time() -> None:
    episodes = every_episode(neutral)
    rollout = rollout_of(episodes)
    in_time = torch.from_numpy(~episodes.late)
    for normalization in ("rollout", "minibatch"):
        ppo = made_ppo(normalization=normalization)
        advantage, _ = ppo.loss.scaled_advantage(ppo.minibatches(rollout).all_steps)
        std, mean = torch.std_mean(advantage.view(in_time.shape)[in_time])
        assert (float(mean), float(std)) == pytest.approx((0.0, 1.0), abs=1e-7)


def test_all_steps_late_teach_the_critic_and_leave_the_policy_alone() -> None:
    episodes = every_episode(neutral)
    all_late = replace(rollout_of(episodes), late=torch.ones(episodes.late.shape, dtype=torch.bool))
    assert not gradient_of(made_ppo(coefficient=0.7), all_late, coefficient=0.7).any()

    ppo = made_ppo()
    before = ppo.loss.policy.action_head.weight.clone()
    metrics = ppo.update(all_late, progress=0.0)
    assert torch.equal(ppo.loss.policy.action_head.weight, before)
    assert metrics["rollout/late_steps"] == 1.0
    assert metrics["policy/entropy"] == pytest.approx(0.5623, abs=1e-4), "it is not taken for none"


def test_what_is_measured_of_the_policy_is_so_over_the_steps_in_time() -> None:
    episodes = every_episode(neutral)
    metrics = made_ppo().update(rollout_of(episodes), progress=0.0)
    assert metrics["rollout/late_steps"] == pytest.approx(episodes.late.mean())
    assert "rollout/late_steps" not in made_ppo().update(
        rollout_of(episodes, marked=False), progress=0.0
    )


@pytest.mark.parametrize("objective", ["soft_return", "entropy_critic"])
def test_no_regularizer_is_earned_where_another_acts(
    objective: Literal["soft_return", "entropy_critic"],
) -> None:
    # So the return is the one whose gradient the loss has both parts of.
    episodes = every_episode(neutral)
    rollout = rollout_of(episodes)
    config = table_config(
        entropy=EntropyConfig(coefficient=0.5, objective=objective, discount=1.0, gae_lambda=1.0),
        discount=1.0,
        gae_lambda=1.0,
    )
    policy = ActorCritic(SPEC, config, seed=0).double()
    set_choices(policy, CHOICES)
    zeros = torch.zeros(*rollout.value.shape[:2], policy.num_values, dtype=torch.float64)
    rollout = replace(rollout, value=zeros, next_value=zeros)
    options = algorithm_options(config, PPOConfig)
    ppo = PPO(
        policy,
        options,
        discount=1.0,
        seed=0,
        device=torch.device("cpu"),
    )
    estimate = ppo.estimate(rollout, entropy_coefficient=0.5)
    entropy = -(CHOICES * CHOICES.log()).sum(dim=1)
    earned = 0.5 * entropy[episodes.state] * torch.from_numpy(~episodes.late)
    expected = torch.from_numpy(episodes.to_go) + earned.flip(0).cumsum(dim=0).flip(0)
    torch.testing.assert_close(estimate.advantage, expected, rtol=1e-9, atol=1e-9)
