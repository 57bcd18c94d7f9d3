"""The unit of rewards makes no difference to what is learned.

Powers of two change no digit of a float, only its exponent: with those, not one bit may differ.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from entrain.config.policy import EntropyConfig, MemoryConfig, NetworkConfig, PolicyConfig
from entrain_envs.timestep import ActionBatch
from in_process import Learned, learn
from made_rollouts import HYBRID, made_policy, made_ppo, made_rollout
from recurrent_cases import in_float64
from toy_environments import Follow

PLAIN = {"hidden_sizes": (8,)}
SHARED = {"hidden_sizes": (8,), "shared": True}
LSTM = {"hidden_sizes": (6,), "memory": {"kind": "lstm", "size": 4, "sequence_length": 5}}
IN_UNITS_OF_REWARD = (
    "rollout/episode_return",
    "rollout/reward",
    "entropy/coefficient",
    "value/mean",
)


class Scaled(Follow):
    """Pays in another unit."""

    def __init__(self, unit: float) -> None:
        super().__init__(num_agents=4)
        self._unit = np.float32(unit)

    def act(self, actions: ActionBatch) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
        reward, step_type = super().act(actions)
        return self._unit * reward, step_type


def learned(unit: float, *, worth: float = 0.0, **options: Any) -> Learned:
    """From rewards in that unit, where a nat is worth so many of them."""
    objective = options.pop("objective", "bonus")
    config = PolicyConfig.model_validate(
        {
            "total_steps": 4 * 64,
            "rollout_steps": 64,
            "algorithm": {"minibatch_size": 16, "num_epochs": 3, "learning_rate": 3e-3},
            "entropy": {"objective": objective, "coefficient": unit * worth},
            **options,
        }
    )
    return learn(Scaled(unit), config, seed=3)


def weights_of(run: Learned) -> dict[str, Tensor]:
    return {name: weights.detach() for name, weights in run.policy.named_parameters()}


def unitless(metrics: Mapping[str, float]) -> dict[str, float]:
    return {
        name: value for name, value in metrics.items() if not name.startswith(IN_UNITS_OF_REWARD)
    }


CASES: dict[str, Any] = {
    "plain": {"network": PLAIN},
    "shared, soft": {"network": SHARED, "objective": "soft_return", "worth": 0.1},
    "entropy critic": {"network": PLAIN, "objective": "entropy_critic", "worth": 0.1},
    "lstm, one behind": {"network": LSTM, "policy_lag": 1},
}


@pytest.mark.parametrize("case", CASES)
def test_no_bit_of_what_is_learned_depends_on_the_unit_of_rewards(case: str) -> None:
    one = learned(1.0, **CASES[case])
    assert one.metrics[0]["policy/kl"] > 1e-5
    for unit in (2.0**-80, 2.0**20):
        other = learned(unit, **CASES[case])
        for name, weights in weights_of(one).items():
            assert torch.equal(weights_of(other)[name], weights), (unit, name)
        assert [unitless(each) for each in other.metrics] == [
            unitless(each) for each in one.metrics
        ]


def test_the_first_update_learns_values_also_where_they_are_clipped() -> None:
    # A critic that has seen no reward has said 0, far from these returns.
    policy = made_policy(HYBRID)
    policy.value_head.normalizer.scale.fill_(0.0)
    ppo = made_ppo(policy, value_clip_range=0.01, num_epochs=40, learning_rate=0.02)
    rollout = made_rollout(policy, (40,))
    metrics = ppo.update(
        replace(rollout, reward=1e6 + rollout.reward, next_value=0.0 * rollout.next_value),
        progress=0.0,
    )
    assert metrics["loss/value"] < 0.9


def test_without_normalised_values_it_does() -> None:
    one = learned(1.0, network=SHARED, normalize_values=False)
    other = learned(2.0**20, network=SHARED, normalize_values=False)
    assert not torch.equal(
        weights_of(one)["action_head.weight"], weights_of(other)["action_head.weight"]
    )


@pytest.mark.parametrize("unit", [1e-6, 7.0, 1e6])
def test_nor_does_it_depend_on_units_that_change_every_digit(unit: float) -> None:
    def weights(unit: float) -> dict[str, Tensor]:
        network = NetworkConfig(hidden_sizes=(8,), memory=MemoryConfig())
        policy = made_policy(HYBRID, network=network, entropy=EntropyConfig()).double()
        policy.value_head.normalizer.scale.fill_(0.0)
        ppo = made_ppo(policy, minibatch_size=16, value_clip_range=0.3)
        acting = made_policy(HYBRID, network=network)
        for seed in range(4):
            rollout = in_float64(made_rollout(acting, (30, 12, 25), seed=seed))
            amounts = {
                name: unit * getattr(rollout, name) for name in ("reward", "value", "next_value")
            }
            ppo.update(replace(rollout, **amounts), progress=0.0)
        return {name: each.detach() for name, each in policy.named_parameters()}

    torch.testing.assert_close(weights(unit), weights(1.0), rtol=0, atol=1e-6)
