"""Soft Q learns exact solutions through the whole trainer, and computes what its formulas say.

The temperature alpha is fixed in each of these tests, and said there.
"""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from entrain.algorithms.off_policy import OffPolicy
from entrain.algorithms.replay import Replay
from entrain.algorithms.soft_q import SoftQ, soft_value
from entrain.app.learning_parts import make_algorithm
from entrain.errors import ConfigError
from entrain.policy.actor_critic import make_policy
from entrain.policy.categorical import Branches
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from exact_answers import boltzmann, hard_chain, soft_chain
from off_policy_cases import CHOICES, Sitting, learn_in_process, made_transitions, soft_q_options
from tables import probabilities
from toy_environments import Chain, DiscreteBandit

TABLE = {"network": {"hidden_sizes": []}, "normalize_observations": False}
FAST = {
    "batch_size": 256,
    "updates_per_step": 0.2,
    "learning_rate": 0.1,
    "learning_rate_schedule": "linear",
    "target_rate": 0.5,
}


def values_of(sitting: Sitting, seen: torch.Tensor, alpha: float) -> np.ndarray:
    """[N, C] Q of observations [N, size]: alpha times the logits of the acting policy."""
    with torch.no_grad():
        reset = torch.ones(1, len(seen), dtype=torch.bool)
        output = sitting.policy({"seen": seen[None]}, torch.zeros(len(seen), 0), reset)
    values: np.ndarray = alpha * output.distribution.parameters()["logits"][0].numpy()
    return values


# Exact solutions


@pytest.mark.parametrize(
    ("alpha", "chosen", "value"),
    [
        (0.1, (0.993262, 0.006693, 0.000045), 1.000676),
        (0.5, (0.665241, 0.244728, 0.090031), 1.203803),
        (1.0, (0.506480, 0.307196, 0.186324), 1.680270),
    ],
)
def test_a_bandits_choices_are_weighed_by_exp_of_reward_over_alpha(
    alpha: float, chosen: Sequence[float], value: float
) -> None:
    rewards = (1.0, 0.5, 0.0)
    exact, soft = boltzmann(rewards, alpha)
    np.testing.assert_allclose(exact, chosen, atol=1e-6)
    assert soft == pytest.approx(value, abs=1e-6)
    config = soft_q_options(
        total_steps=1024, rollout_steps=64, entropy={"coefficient": alpha}, algorithm=FAST, **TABLE
    )
    learned = learn_in_process(DiscreteBandit(rewards, num_agents=64), config)
    alone = torch.ones(1, 1)
    np.testing.assert_allclose(probabilities(learned.policy, alone)[0], exact, atol=0.01)
    q = values_of(learned, alone, alpha)
    v = alpha * np.log(np.exp(q / alpha).sum())
    assert v == pytest.approx(value, abs=0.01)


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_the_chain_has_the_soft_values_and_choices_of_the_theory(alpha: float) -> None:
    value, right = soft_chain(alpha)
    config = soft_q_options(
        total_steps=2048,
        rollout_steps=128,
        discount=0.9,
        entropy={"coefficient": alpha},
        algorithm=FAST,
        **TABLE,
    )
    learned = learn_in_process(Chain(num_agents=64), config)
    seen = torch.eye(3)
    # With two choices the total variation is the difference of either.
    np.testing.assert_allclose(probabilities(learned.policy, seen)[:, 1], right, atol=0.02)
    q = values_of(learned, seen, alpha)
    np.testing.assert_allclose(alpha * np.log(np.exp(q / alpha).sum(1)), value, atol=0.02)


def test_as_alpha_goes_to_zero_the_hard_solution_is_recovered() -> None:
    value, right = hard_chain()
    config = soft_q_options(
        total_steps=2048,
        rollout_steps=128,
        discount=0.9,
        # From where everything is tried to where nothing but the best is.
        entropy={
            "coefficient": 0.5,
            "coefficient_schedule": "linear",
            "final_coefficient": 0.001,
        },
        algorithm=FAST,
        **TABLE,
    )
    learned = learn_in_process(Chain(num_agents=64), config)
    (alpha,) = {learned.metrics[-1]["entropy/coefficient"]}
    q = values_of(learned, torch.eye(3), alpha)
    # The last alpha is that of the run's last 1/16, so 0.03; V exceeds max Q by alpha ln 2 at most.
    np.testing.assert_allclose(q.max(1), value, atol=0.05)
    np.testing.assert_allclose(probabilities(learned.policy, torch.eye(3))[:, 1], right, atol=0.02)


# Formulas


def test_the_soft_value_of_two_branches_by_hand() -> None:
    # Branch 1: 2 ln(e^(1/2) + e^(3/2)) with the third choice not allowed; branch 2: 2 ln(2 e^0).
    q = torch.tensor([[1.0, 3.0, 1e9, 0.0, 0.0]])
    allowed = torch.tensor([[True, True, False, True, True]])
    value = soft_value(q, allowed, Branches((3, 2)), alpha=2.0)
    expected = 2.0 * math.log(math.exp(0.5) + math.exp(1.5)) + 2.0 * math.log(2.0)
    torch.testing.assert_close(value, torch.tensor([expected]))


def test_the_soft_value_of_branches_is_that_of_all_their_combinations() -> None:
    q, alpha = torch.randn(7, 5, dtype=torch.float64), 0.7
    allowed = torch.ones(7, 5, dtype=torch.bool)
    joint = (q[:, :3, None] + q[:, None, 3:]).flatten(1)
    expected = alpha * torch.logsumexp(joint / alpha, dim=1)
    value = soft_value(q, allowed, Branches((3, 2)), alpha=alpha)
    torch.testing.assert_close(value, expected)


def soft_q(alpha: float = 0.5, **algorithm: object) -> tuple[SoftQ, OffPolicy]:
    config = soft_q_options(
        entropy={"coefficient": alpha},
        network={"hidden_sizes": [4]},
        rollout_steps=8,
        algorithm={"batch_size": 16, "replay_size": 64, **algorithm},
    )
    algorithm_ = make_algorithm(make_policy(CHOICES, config, seed=1), seed=1)
    assert isinstance(algorithm_, OffPolicy)
    assert isinstance(algorithm_.method, SoftQ)
    return algorithm_.method, algorithm_


def test_the_policy_that_acts_has_the_values_over_alpha_as_logits() -> None:
    method, algorithm = soft_q(alpha=0.25)
    algorithm.update(made_transitions([0, 1, 2, 3]), progress=0.0)
    learned = method.state()
    for name in ("action_head.weight", "action_head.bias"):
        np.testing.assert_allclose(learned["policy"][name] * 0.25, learned["q"][name], rtol=1e-6)
    for name, array in learned["q"].items():
        if not name.startswith("action_head"):
            assert np.array_equal(array, learned["policy"][name])


def test_another_alpha_leaves_values_as_they_are() -> None:
    method, algorithm = soft_q(alpha=0.5, learning_starts=10**6)
    before = method.state()["q"]["action_head.weight"]
    config = soft_q_options(entropy={"coefficient": 2.0})
    algorithm.change(config)
    algorithm.update(made_transitions([0]), progress=0.0)
    after = method.state()
    assert np.array_equal(after["q"]["action_head.weight"], before)
    np.testing.assert_allclose(after["policy"]["action_head.weight"], before / 2.0, rtol=1e-6)


def test_nothing_is_expected_after_an_end_whatever_was_seen_there() -> None:
    method, algorithm = soft_q(alpha=0.5)
    ended = torch.tensor([True, False])
    transitions = made_transitions(
        [0, 1],
        terminated=ended,
        next_observation={"x": torch.tensor([[float("nan"), 1e30], [0.5, 0.5]])},
    )
    algorithm.replay.append(transitions)
    batch = algorithm.replay.sample(64, n_step=1, discount=0.9)
    targets = method.targets(batch)
    is_end = batch.bootstrap == 0.0
    assert is_end.any()
    torch.testing.assert_close(targets[is_end], batch.reward[is_end])
    assert torch.isfinite(targets).all()
    assert (targets[~is_end] != batch.reward[~is_end]).all()


def test_masked_choices_never_matter() -> None:
    method, algorithm = soft_q(alpha=0.5)
    mask = torch.tensor([[True, False, True, True, False]])
    transitions = made_transitions(
        [0], action_mask=mask, next_action_mask=mask, terminated=torch.tensor([False])
    )
    algorithm.replay.append(transitions)
    batch = algorithm.replay.sample(4, n_step=1, discount=0.9)
    before = method.targets(batch)
    with torch.no_grad():
        # Of the choices that are not allowed: the second of the first branch and of the second.
        for row in (1, 4):
            method._target.action_head.weight[row] = 1e6
    torch.testing.assert_close(method.targets(batch), before)


def test_the_target_network_follows_or_is_copied() -> None:
    for options, expected in (
        ({"target_rate": 0.25}, 0.25),
        ({"target_rate": 1.0, "target_every": 1}, 1.0),
        ({"target_rate": 1.0, "target_every": 2}, 0.0),
    ):
        method, algorithm = soft_q(updates_per_step=1.0, learning_rate=0.5, **options)
        start = method._targets.weights.clone()
        algorithm.update(made_transitions([0]), progress=0.0)
        learned = method._optimizer.weights
        torch.testing.assert_close(method._targets.weights, start + expected * (learned - start))


def test_values_rise_as_fast_as_the_target_follows() -> None:
    # A reward of 1 in every step, for ever, is worth 1 / (1 - 0.9) = 10. What the target says of it
    # follows dV/dk = rate * (1 + 0.9 V - V): after 200 steps, 10 * (1 - exp(-200 * rate / 10)).
    for rate, share in ((0.02, 0.33), (0.1, 0.86)):
        assert 1.0 - math.exp(-200 * rate * 0.1) == pytest.approx(share, abs=0.005)
        config = soft_q_options(
            entropy={"coefficient": 1e-4},
            discount=0.9,
            algorithm={"learning_rate": 0.1, "target_rate": rate},
            **TABLE,
        )
        method = SoftQ(make_policy(CHOICES, config, seed=1), device=torch.device("cpu"))
        here = {"x": torch.tensor([[1.0, 0.0]])}
        replay = Replay(CHOICES, capacity=8, seed=1)
        replay.append(
            made_transitions(
                [0],
                observation=here,
                next_observation=here,
                reward=torch.ones(1),
                terminated=torch.tensor([False]),
                action={"discrete": torch.zeros(1, 2, dtype=torch.int64)},
            )
        )
        batch = replay.sample(1, n_step=1, discount=0.9)
        for _ in range(200):
            method.step(batch)
        # y = 1 + 0.9 V
        value = (method.targets(batch).item() - 1.0) / 0.9
        assert value == pytest.approx(10.0 * share, rel=0.05)


def test_continuous_actions_are_sent_to_sac() -> None:
    action = ActionSpec(low=(-1.0, -1.0), high=(1.0, 1.0))
    spec = BehaviourSpec("walker", (ObservationSpec("x", (2,)),), action)
    with pytest.raises(ConfigError, match=r"2 continuous dimensions; set algorithm\.kind: sac"):
        make_algorithm(make_policy(spec, soft_q_options(), seed=0), seed=0)
