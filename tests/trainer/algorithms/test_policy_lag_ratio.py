"""With `policy_lag: 1` ratios are to the policy that begins the update, weights to who sampled."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from benchmarks.in_process import EnvironmentBatches, make_trainer, run
from torch import Tensor

from entrain.algorithms.algorithm import Metrics
from entrain.app.learning_parts import make_algorithm
from entrain.config.policy import PolicyConfig
from entrain.experience import PerDimensionRollout, Rollout
from entrain.policy.actor_critic import ActorCritic
from entrain.trainer import Update
from recurrent_cases import COEFFICIENTS
from toy_environments import Follow

NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"hidden_sizes": (8,)},
    "torch": {"hidden_sizes": (8,), "layer_norm": True},
}


def log_prob(policy: ActorCritic, rollout: Rollout) -> Tensor:
    """[T, B] of the stored actions, by a forward of its own; [T, B, A] if so they are stored."""
    with torch.no_grad():
        output = policy(rollout.observation, rollout.sequence_state[0], rollout.reset)
        if isinstance(rollout, PerDimensionRollout):
            parts: Tensor = output.distribution.log_prob_per_dimension(rollout.action)
            return parts
        found: Tensor = output.distribution.log_prob(rollout.action)
    return found


def stored_log_prob(rollout: Rollout) -> Tensor:
    """The same, as it was stored when acting."""
    if isinstance(rollout, PerDimensionRollout):
        return rollout.log_prob_per_dimension
    return rollout.log_prob


class Checked:
    """PPO, each of whose rollouts is held against the weights that sampled and that learn."""

    def __init__(self, ppo: Any, policy: ActorCritic, config: PolicyConfig) -> None:
        self._ppo = ppo
        self._policy = policy
        self._sampled = ActorCritic(policy.spec, config, seed=0)
        self._states = {0: self._copy()}
        self.checked = 0
        self.lags: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ppo, name)

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self._policy.state_dict().items()}

    def update(self, rollout: Rollout, **options: Any) -> Metrics:
        valid = rollout.valid
        for version in set(rollout.policy_version[valid].tolist()):
            self._sampled.load_state_dict(self._states[version])
            rows = valid & (rollout.policy_version == version)
            torch.testing.assert_close(
                log_prob(self._sampled, rollout)[rows],
                stored_log_prob(rollout)[rows],
                rtol=0,
                atol=1e-5,
            )
        self.lags.append(self._ppo.version - int(rollout.policy_version[valid].max()))
        self._check_ratio(rollout)
        metrics: Metrics = self._ppo.update(rollout, **options)
        self._states[self._ppo.version] = self._copy()
        return metrics

    def _check_ratio(self, rollout: Rollout) -> None:
        minibatches = self._ppo.minibatches(rollout)
        for minibatch in minibatches.epoch(torch.Generator()):
            log_ratio = self._ppo.loss.terms(minibatch, COEFFICIENTS).log_ratio
            assert log_ratio.abs().max() < 1e-5
        valid, began = rollout.valid, minibatches.all_steps.estimate.log_prob
        self.checked += int(valid.sum())
        if not self._ppo.version:
            assert began is None
            return
        assert began is not None
        now = log_prob(self._policy, rollout)[valid]
        torch.testing.assert_close(began[0], now, rtol=0, atol=1e-5)
        if self._ppo.version > 1:
            acted = stored_log_prob(rollout)[valid]
            assert (now - acted).abs().max() > 1e-3, "who learns is the one that sampled"


class NoRecorder:
    def record(self, update: Update) -> None:
        pass

    def note_completion(self) -> None:
        pass


@pytest.mark.parametrize("surrogate", ["joint", "per_dimension"])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_stored_log_probabilities_are_of_who_sampled_and_ratios_begin_at_one(
    network: Mapping[str, Any], surrogate: str
) -> None:
    config = PolicyConfig.model_validate(
        {
            "total_steps": 960,
            "rollout_steps": 160,
            "policy_lag": 1,
            "network": network,
            "algorithm": {
                "minibatch_size": 80,
                "num_epochs": 4,
                "learning_rate": 1e-2,
                "surrogate": surrogate,
            },
        }
    )
    environment = Follow(num_agents=16)
    policy = ActorCritic(environment.spec, config, seed=1)
    algorithm = Checked(make_algorithm(policy, seed=1), policy, config)
    trainer = make_trainer(policy, seed=1, recorder=NoRecorder(), algorithm=algorithm)
    run(trainer, EnvironmentBatches(environment, seed=1, is_over=lambda: trainer.is_complete))
    assert algorithm.checked == trainer.progress.env_steps == 960
    # The first two rollouts are collected by the initial weights; each later one by those of the
    # update before the newest.
    assert algorithm.lags == [0, 1, 1, 1, 1, 1]
