"""Which weights are the critic's alone: those that move a value, and no action."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

VECTOR = ObservationSpec("joints", (3,))
CAMERA = ObservationSpec("camera", (36, 36, 3), "uint8", kind="image")
FOES = ObservationSpec("foes", (4, 3), kind="entities")
GOAL = ObservationSpec("goal", (2,), kind="goal")
LSTM = {"kind": "lstm", "size": 4, "layers": 2}


class Mine(nn.Module):
    """A user's network, with weights whose first dimension is 2, and lists of layers of its own."""

    def __init__(self, observations: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.towers = nn.ModuleList([nn.Linear(3, 2), nn.Linear(2, 2)])
        self.feature_size = 2

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        hidden: Tensor = torch.tanh(self.towers[0](observation["joints"]))
        after: Tensor = self.towers[1](hidden)
        return after


CASES: dict[str, tuple[tuple[ObservationSpec, ...], dict[str, Any]]] = {
    "vector": ((VECTOR,), {"layer_norm": True}),
    "no layer": ((VECTOR,), {"hidden_sizes": ()}),
    "lstm": ((VECTOR,), {"memory": LSTM}),
    "mingru": ((VECTOR,), {"memory": {**LSTM, "kind": "mingru"}}),
    "image": ((VECTOR, CAMERA), {"image_encoder": "nature_cnn"}),
    "resnet": ((CAMERA,), {"image_encoder": "resnet"}),
    "entities": ((FOES,), {}),
    "goal": ((VECTOR, GOAL), {"hidden_sizes": (4,)}),
    "user's own": ((VECTOR,), {"custom": f"{__name__}:Mine"}),
}


def policy_of(observations: tuple[ObservationSpec, ...], network: dict[str, Any]) -> ActorCritic:
    options = {"hidden_sizes": (6, 6), "image_features": 4, "entity_features": 4, **network}
    spec = BehaviourSpec("b", observations, ActionSpec((-1.0,), (1.0,), branches=(3,)))
    policy = ActorCritic(spec, PolicyConfig.model_validate({"network": options}), seed=1)
    policy.value_head.normalizer.scale.fill_(1.0)
    return policy


def reached(policy: ActorCritic, *, by_value: bool) -> dict[str, Tensor]:
    """Bool: the numbers of each parameter on which the values, or the actions, depend."""
    observation = {
        spec.name: torch.randint(1, 200, (3, 3, *spec.shape)).to(getattr(torch, spec.dtype))
        for spec in policy.inputs.observations
    }
    output = policy(observation, policy.initial_state(3), torch.zeros(3, 3, dtype=torch.bool))
    parameters = output.distribution.parameters().values()
    numbers = [output.value] if by_value else list(parameters)
    policy.zero_grad()
    torch.autograd.backward(sum((each.square().sum() for each in numbers), torch.zeros(())))
    return {
        name: torch.zeros_like(each, dtype=torch.bool) if each.grad is None else each.grad != 0
        for name, each in policy.named_parameters()
    }


@pytest.mark.parametrize("case", CASES)
def test_they_are_those_that_move_values_and_nothing_else(case: str) -> None:
    policy = policy_of(*CASES[case])
    with torch.no_grad():
        policy.action_head.weight.mul_(100.0)
    critics = policy.critic_weights()
    assert critics is not None
    of_value, of_action = reached(policy, by_value=True), reached(policy, by_value=False)
    for name, is_critic in critics.items():
        assert not (of_value[name] & ~is_critic).any(), name
        assert not (of_action[name] & is_critic).any(), name
        assert of_value[name].any() == is_critic.any(), name
    assert sum(int(each.sum()) for each in critics.values()) > 0


def test_where_layers_are_shared_there_are_none() -> None:
    assert policy_of((VECTOR,), {"shared": True}).critic_weights() is None
