"""What several ranks measure is of the steps of all, weighted by steps, and the same on each."""

from collections.abc import Mapping

import pytest
import torch

from entrain.algorithms.off_policy import OffPolicy
from entrain.algorithms.ppo import PPO
from entrain.algorithms.soft_temperature import AdaptiveTemperature
from entrain.app.learning_parts import make_algorithm
from entrain.app.metrics_page import explain
from entrain.config.algorithm import PPOConfig
from entrain.config.policy import EntropyConfig, EntropyTargetConfig, PolicyConfig
from entrain.metrics import find_metric
from entrain.policy.actor_critic import make_policy
from entrain.ranks import ALONE, Ranks
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from made_rollouts import HYBRID, made_policy, made_rollout
from off_policy_cases import made_transitions
from ranks_in_processes import columns_of
from ranks_in_threads import together
from recurrent_cases import in_float64

LENGTHS = (20, 17, 4, 0)
BOTH = ActionSpec(low=(-1.0,) * 2, high=(1.0,) * 2, branches=(3,))
WALKER = BehaviourSpec("walker", (ObservationSpec("x", (2,)),), BOTH)


def ppo_metrics(columns: slice, ranks: Ranks = ALONE) -> Mapping[str, float]:
    """Of an update by these columns; sigma is the network's, another one in each state."""
    acting = made_policy(HYBRID, log_sigma_sq="network")
    policy = made_policy(HYBRID, log_sigma_sq="network").double()
    # No layer is at rest: the network's spread begins the same in all states.
    with torch.no_grad():
        for each in policy.parameters():
            each.add_(
                torch.randn(each.shape, generator=torch.Generator().manual_seed(5)), alpha=0.1
            )
    config = PPOConfig(minibatch_size=10_000, num_epochs=2)
    ppo = PPO(policy, config, discount=0.9, seed=1, device=torch.device("cpu"), ranks=ranks)
    rollout = in_float64(made_rollout(acting, LENGTHS, filler=float("nan")))
    return ppo.update(columns_of(rollout, columns), progress=0.0)


@pytest.mark.parametrize("cut", [1, 3], ids=["20 and 21 steps", "41 and 0 steps"])
def test_every_metric_of_ppo_is_that_of_one_rank_with_all_steps(cut: int) -> None:
    alone = ppo_metrics(slice(0, 4))
    first, second = together(
        lambda rank, ranks: ppo_metrics([slice(0, cut), slice(cut, 4)][rank], ranks)
    )
    assert first == second
    assert {"policy/sigma/0", "policy/clipped_actions", "value/mean"} < first.keys()
    assert first == pytest.approx(alone, abs=1e-7)


def sac_metrics(rank: int, ranks: Ranks) -> Mapping[str, float]:
    """Of two updates; masks differ from step to step, and rank 1 first has no step at all."""
    options = PolicyConfig.model_validate(
        {
            "network": {"hidden_sizes": (8,)},
            "action": {"log_sigma_sq": "network"},
            "entropy": {"coefficient": 0.1, "target": {"fraction": 0.5}},
            "algorithm": {"kind": "sac", "learning_starts": 0, "batch_size": 16},
        }
    )
    algorithm = make_algorithm(make_policy(WALKER, options, seed=1), seed=rank, ranks=ranks)
    assert isinstance(algorithm, OffPolicy)
    found: dict[str, float] = {}
    for update in range(2):
        streams = [] if rank and not update else [0, 1, 0, 1]
        transitions = made_transitions(streams, spec=WALKER, seed=10 * update + rank)
        found |= {
            f"{update}/{name}": value
            for name, value in algorithm.update(transitions, progress=0.5).items()
        }
    return found


def test_every_metric_of_soft_actor_critic_is_the_same_on_all_ranks() -> None:
    first, second = together(sac_metrics)
    assert first == second
    assert {"0/entropy/distance", "0/policy/sigma/1", "1/policy/clipped_actions"} < first.keys()
    assert all(find_metric(name[2:]).is_of_all_ranks for name in first)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["time/learn", "time/update_seconds", "evaluation/return_mean"])
def test_what_only_the_first_rank_knows_is_said_to_be_its_own(name: str) -> None:
    (title, *_) = explain([name])
    assert "of the first rank alone, if there are several" in title


def test_the_distance_from_the_target_is_that_of_all_rows_by_hand() -> None:
    # Entropies 1, 1, 1 and 5: 2 on average. Targets half of 2, 2, 2 and 6: 1.5 on average.
    log_prob, greatest = [torch.full((3,), -1.0), torch.tensor([-5.0])], [2.0, 6.0]
    target = EntropyTargetConfig(fraction=0.5)

    def measured(rank: int, ranks: Ranks) -> Mapping[str, float]:
        temperature = AdaptiveTemperature(
            EntropyConfig(coefficient=0.5, target=target),
            target,
            dimensions=0,
            learning_rate=0.01,
            device=torch.device("cpu"),
            ranks=ranks,
        )
        temperature.step(log_prob[rank], torch.full((len(log_prob[rank]),), greatest[rank]))
        return temperature.metrics()

    for found in together(measured):
        assert found["entropy/target"] == pytest.approx(1.5)
        assert found["entropy/distance"] == pytest.approx(0.5)
