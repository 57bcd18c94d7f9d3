"""A critic and an actor alone: each computes what it computes beside the other."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import ActorCritic, ActorNetwork, make_actor_network
from entrain.policy.critic import (
    CriticNetwork,
    CriticOutput,
    ValueHead,
    make_critic_network,
    value_streams,
)
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

STEPS, COLUMNS = 4, 3
SPEC = BehaviourSpec(
    "b",
    (ObservationSpec("joints", (4,)), ObservationSpec("foes", (3, 2), kind="entities")),
    ActionSpec((-1.0, 0.0), (1.0, 2.0), branches=(3,)),
)
RESET = torch.zeros(STEPS, COLUMNS, dtype=torch.bool)
RESET[2, 1] = True
kinds_of_memory = pytest.mark.parametrize("memory", ["none", "lstm", "gru", "mingru"])
sharing = pytest.mark.parametrize("shared", [False, True])


def config_of(*, memory: str = "none", shared: bool = False, **options: Any) -> PolicyConfig:
    network = {
        "hidden_sizes": (8,),
        "entity_features": 4,
        "entity_heads": 2,
        "shared": shared,
        "memory": {"kind": memory, "size": 5},
    }
    return PolicyConfig.model_validate({"network": network, **options})


def observe() -> dict[str, Tensor]:
    return {
        "joints": torch.randn(STEPS, COLUMNS, 4),
        "foes": torch.randn(STEPS, COLUMNS, 3, 2),
    }


def estimate(
    critic: CriticNetwork, observation: Mapping[str, Tensor], state: Tensor | None = None
) -> CriticOutput:
    state = critic.backbone.initial_state(COLUMNS) if state is None else state
    output = critic(observation, state, RESET)
    assert isinstance(output, CriticOutput)
    return output


def last_group(policy: ActorCritic, critic: CriticNetwork) -> None:
    """Copy the weights of the policy's critic into `critic`."""
    weights = policy.state_dict()
    own = {
        name: weights[name][-1:] if name.startswith("backbone") else weights[name]
        for name, _ in critic.named_parameters()
    }
    critic.load_state_dict(own, strict=False)


def test_the_options_name_what_the_critic_estimates() -> None:
    assert value_streams(PolicyConfig()) == ("reward",)
    entropy = {"objective": "entropy_critic", "coefficient": 0.1}
    config = config_of(entropy=entropy)
    assert value_streams(config) == ("reward", "entropy")
    policy = ActorCritic(SPEC, config, seed=1)
    assert policy.value_head.streams == ("reward", "entropy")
    assert policy.num_values == 2


@kinds_of_memory
@sharing
def test_a_critic_alone_estimates_what_it_does_beside_an_actor(memory: str, shared: bool) -> None:
    policy = ActorCritic(SPEC, config_of(memory=memory, shared=shared), seed=1)
    critic = make_critic_network(SPEC, config_of(memory=memory), ("reward",), seed=2)
    last_group(policy, critic)
    observation = observe()
    state = torch.randn(COLUMNS, policy.state_size)
    both = policy(observation, state, RESET)
    size = critic.backbone.state_size
    # The critic's part of the state is the last one.
    alone = estimate(critic, observation, state[:, policy.state_size - size :])
    torch.testing.assert_close(alone.value, both.value)
    torch.testing.assert_close(alone.state, both.state[:, policy.state_size - size :])


@kinds_of_memory
@sharing
def test_an_actor_alone_acts_as_it_does_beside_a_critic(memory: str, shared: bool) -> None:
    policy = ActorCritic(SPEC, config_of(memory=memory, shared=shared), seed=1)
    actor = policy.without_critic()
    assert type(actor) is ActorNetwork
    observation = observe()
    state = torch.randn(COLUMNS, policy.state_size)
    both = policy(observation, state, RESET)
    alone = actor(observation, state[:, : actor.state_size], RESET)
    for name, values in both.distribution.parameters().items():
        torch.testing.assert_close(alone.distribution.parameters()[name], values)
    assert alone.value.shape == (STEPS, COLUMNS, 0)
    assert actor.num_values == 0
    torch.testing.assert_close(alone.state, both.state[:, : actor.state_size])


def test_a_copy_without_the_critic_shares_nothing_with_the_policy() -> None:
    policy = ActorCritic(SPEC, config_of(memory="lstm"), seed=1)
    before = {name: values.clone() for name, values in policy.state_dict().items()}
    actor = policy.without_critic()
    with torch.no_grad():
        for tensor in (*actor.parameters(), *actor.buffers()):
            tensor.zero_()
    for name, values in policy.state_dict().items():
        assert torch.equal(values, before[name]), name


def test_the_seed_alone_decides_the_weights_of_either() -> None:
    def weights(seed: int) -> list[Tensor]:
        actor = make_actor_network(SPEC, config_of(), seed=seed)
        critic = make_critic_network(SPEC, config_of(), ("reward",), seed=seed)
        return [*actor.parameters(), *critic.parameters()]

    before = torch.get_rng_state()
    first = weights(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(*pair) for pair in zip(first, weights(3), strict=True))
    assert not all(torch.equal(*pair) for pair in zip(first, weights(4), strict=True))


def test_an_actor_alone_starts_with_the_weights_of_one_that_shares_with_a_critic() -> None:
    # One group each, and the critic's head is drawn last.
    both = ActorCritic(SPEC, config_of(shared=True), seed=3).state_dict()
    alone = make_actor_network(SPEC, config_of(), seed=3).state_dict()
    assert all(name.startswith("value_head.") for name in both.keys() - alone.keys())
    assert all(torch.equal(values, both[name]) for name, values in alone.items())


def test_a_critic_may_share_the_backbone_of_an_actor() -> None:
    actor = make_actor_network(SPEC, config_of(), seed=1)
    head = ValueHead(
        ("reward", "cost"),
        actor.backbone.feature_size,
        normalize=False,
        generator=torch.Generator(),
    )
    critic = CriticNetwork(actor.backbone, head)
    value = estimate(critic, observe()).value
    assert value.shape == (STEPS, COLUMNS, 2)
    torch.autograd.backward(value.sum())
    assert all(parameter.grad is not None for parameter in actor.backbone.parameters())


def test_a_critic_of_actions_teaches_an_actor_through_its_differentiable_sample() -> None:
    spec = replace(SPEC, action=ActionSpec((-1.0, 0.0), (1.0, 2.0)))
    config = config_of(action={"distribution": "squashed_gaussian"})
    actor = make_actor_network(spec, config, seed=1)
    action = ObservationSpec("action", (2,))
    inputs = replace(spec, observations=(*spec.observations, action))
    critic = make_critic_network(inputs, config, ("reward",), seed=2)
    observation = observe()
    distribution: Any = actor(observation, actor.initial_state(COLUMNS), RESET).distribution
    noise = torch.rand(STEPS, COLUMNS, actor.noise_size, dtype=torch.float64)
    sampled, log_prob = distribution.rsample(noise)
    taken = actor.environment_action(sampled)["continuous"]
    value = estimate(critic, {**observation, "action": taken}).value[..., 0]
    torch.autograd.backward((0.1 * log_prob - value).mean())
    for name, parameter in actor.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
