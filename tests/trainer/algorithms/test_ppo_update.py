"""An update of PPO: its metrics, when it ends, what it changes and what it does not."""

import math

import pytest
import torch
from torch import Tensor

from entrain.algorithms.algorithm import Algorithm
from entrain.algorithms.coefficients import Coefficients
from entrain.config.policy import EntropyConfig
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.state import State
from made_rollouts import (
    HYBRID,
    made_policy,
    made_ppo,
    made_rollout,
    same_state,
)

CPU = torch.device("cpu")
COEFFICIENTS = Coefficients(learning_rate=1e-3, clip_range=0.2, entropy_coefficient=0.0)
WHOLE_ROLLOUT = 10_000
LENGTHS = (7, 0, 12, 5)


def test_ppo_is_an_algorithm() -> None:
    algorithm: Algorithm[Rollout] = made_ppo(made_policy())
    assert algorithm.version == 0
    assert repr(algorithm) == "<PPO: 0 updates of 'walker' on cpu>"


def test_metrics_have_their_standard_names_and_are_finite() -> None:
    policy = made_policy(HYBRID)
    metrics = made_ppo(policy).update(made_rollout(policy, LENGTHS), progress=0.0)
    assert set(metrics) == {
        "loss/policy",
        "loss/value",
        "loss/entropy",
        "policy/entropy",
        "policy/kl",
        "policy/clip_fraction",
        "policy/gradient_norm",
        "policy/learning_rate",
        "policy/clip_range",
        "policy/clipped_actions",
        "entropy/coefficient",
        "policy/sigma/0",
        "policy/entropy/0",
        "value/explained_variance",
        "value/mean",
        "value/gradient_share",
        "update/epochs",
        "update/minibatches",
    }
    assert all(type(value) is float and math.isfinite(value) for value in metrics.values())
    assert metrics["loss/entropy"] == -metrics["policy/entropy"]
    assert metrics["policy/kl"] > 0.0
    assert metrics["update/minibatches"] == 2 * 3
    # 1/2 ln(2 pi e sigma^2)
    sigma = metrics["policy/sigma/0"]
    entropy = 0.5 * math.log(2 * math.pi * math.e * sigma**2)
    assert metrics["policy/entropy/0"] == pytest.approx(entropy, abs=1e-6)


def test_a_squashed_policy_reports_no_entropy_per_dimension_for_tanh_changes_it() -> None:
    policy = made_policy(distribution="squashed_gaussian")
    metrics = made_ppo(policy).update(made_rollout(policy, LENGTHS), progress=0.0)
    assert "policy/sigma/0" in metrics
    assert "policy/entropy/0" not in metrics


@pytest.mark.parametrize("filler", [0.0, math.nan])
def test_log_variances_by_the_network_are_learned_and_their_mean_is_reported(
    filler: float,
) -> None:
    policy = made_policy(HYBRID, log_sigma_sq="network", initial_log_sigma_sq=-1.0)
    before = policy.get_parameter("action_head.spread.weight").detach().clone()
    rollout = made_rollout(policy, LENGTHS, filler=filler)
    metrics = made_ppo(policy).update(rollout, progress=0.0)
    assert not torch.equal(policy.get_parameter("action_head.spread.weight"), before)
    # The policy has learned since: what is reported are the log-variances after the update, but
    # for the statistics of observations, which move last.
    seen = {name: rows[rollout.valid].unsqueeze(0) for name, rows in rollout.observation.items()}
    steps = seen["a"].shape[1]
    output = policy(seen, policy.initial_state(steps), torch.zeros(1, steps, dtype=torch.bool))
    sigma = torch.exp(0.5 * output.distribution.parameters()["log_sigma_sq"])
    assert metrics["policy/sigma/0"] == pytest.approx(sigma.mean().item(), rel=1e-5)
    assert sigma.std() > 0.0


def test_progress_drives_the_schedules() -> None:
    policy = made_policy(entropy=EntropyConfig(coefficient=0.08, coefficient_schedule="linear"))
    ppo = made_ppo(
        policy,
        learning_rate=0.01,
        learning_rate_schedule="linear",
        clip_range=0.4,
        clip_range_schedule="linear",
    )
    metrics = ppo.update(made_rollout(policy, LENGTHS), progress=0.75)
    assert metrics["policy/learning_rate"] == pytest.approx(0.0025)
    assert metrics["policy/clip_range"] == pytest.approx(0.1)
    assert metrics["entropy/coefficient"] == pytest.approx(0.02)


def test_at_the_end_of_a_linear_schedule_weights_no_longer_move() -> None:
    policy = made_policy()
    ppo = made_ppo(policy, learning_rate_schedule="linear")
    weights = {name: tensor.clone() for name, tensor in policy.named_parameters()}
    rollout = made_rollout(policy, LENGTHS)
    before = values_of(policy, rollout)
    ppo.update(rollout, progress=1.0)
    moved = {
        name for name, tensor in policy.named_parameters() if not torch.equal(weights[name], tensor)
    }
    # The critic's last layer follows the statistics of returns, and no value changes with it.
    assert moved == {"value_head.weight", "value_head.bias"}
    policy.normalizer.shift.zero_()
    policy.normalizer.scale.fill_(1.0)
    torch.testing.assert_close(values_of(policy, rollout), before, rtol=1e-5, atol=1e-6)


def values_of(policy: ActorCritic, rollout: Rollout) -> Tensor:
    with torch.no_grad():
        state = policy.initial_state(rollout.valid.shape[1])
        value: Tensor = policy(rollout.observation, state, rollout.reset).value
    return value[rollout.valid]


def test_an_update_ends_after_the_epoch_in_which_the_policy_moved_too_far() -> None:
    def epochs(target_kl: float) -> float:
        policy = made_policy()
        ppo = made_ppo(policy, num_epochs=6, learning_rate=0.01, target_kl=target_kl)
        return ppo.update(made_rollout(policy, LENGTHS), progress=0.0)["update/epochs"]

    assert epochs(0.0) == 6.0
    assert epochs(1e-9) == 1.0
    assert 1.0 < epochs(0.01) < 6.0
    assert epochs(1e9) == 6.0


def test_the_normalizer_learns_from_valid_steps_and_only_after_the_epochs() -> None:
    policy = made_policy()
    rollout = made_rollout(policy, LENGTHS, filler=1e9)
    ppo = made_ppo(policy)
    seen: list[float] = []

    def cancelled() -> bool:
        seen.append(float(policy.normalizer.count))
        return False

    ppo.update(rollout, progress=0.0, cancelled=cancelled)
    assert set(seen) == {0.0}
    rows = torch.cat([rollout.observation["a"], rollout.observation["b"][..., None]], dim=-1)
    assert policy.normalizer.count == sum(LENGTHS)
    torch.testing.assert_close(
        policy.normalizer.mean, rows[rollout.valid].double().mean(0), rtol=1e-6, atol=1e-6
    )


def test_the_version_counts_updates() -> None:
    policy = made_policy()
    ppo = made_ppo(policy)
    versions = []
    for seed in range(3):
        ppo.update(made_rollout(policy, LENGTHS, seed=seed), progress=0.0)
        versions.append(ppo.version)
    assert versions == [1, 2, 3]


def test_the_seed_decides_the_order_of_minibatches_and_nothing_global_does() -> None:
    def weights(*, seed: int, global_seed: int) -> State:
        torch.manual_seed(global_seed)
        policy = made_policy()
        ppo = made_ppo(policy, seed=seed)
        ppo.update(made_rollout(policy, LENGTHS), progress=0.0)
        state: State = ppo.state()["policy"]
        return state

    assert same_state(weights(seed=1, global_seed=1), weights(seed=1, global_seed=2))
    assert not same_state(weights(seed=1, global_seed=1), weights(seed=2, global_seed=1))


def test_a_rollout_is_not_changed_by_learning_from_it() -> None:
    policy = made_policy(HYBRID)
    rollout = made_rollout(policy, LENGTHS, filler=math.inf)
    before = made_rollout(policy, LENGTHS, filler=math.inf).state()
    made_ppo(policy).update(rollout, progress=0.0)
    assert same_state(rollout.state(), before)
