"""Weights of one policy for another: what fits is taken over, the rest is named."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork, PolicyOutput, make_policy
from entrain.policy.transfer import TakenOver, take_over
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec


def policy(
    *,
    seen: int = 3,
    choices: int = 2,
    seed: int = 0,
    action: ActionSpec | None = None,
    log_sigma_sq: str = "parameter",
    **options: Any,
) -> ActorCritic:
    network = {"hidden_sizes": (4, 4), **options.pop("network", {})}
    config = PolicyConfig.model_validate(
        {"network": network, "action": {"log_sigma_sq": log_sigma_sq}, **options}
    )
    acts = action or ActionSpec(branches=(choices,))
    spec = BehaviourSpec("A", (ObservationSpec("x", (seen,)),), acts)
    made = ActorCritic(spec, config, seed=seed)
    made.normalizer.update({"x": torch.randn(9, seen) + seed})
    return made


def told(trained: ActorNetwork, new: ActorNetwork) -> tuple[str, ...]:
    """What is said when the one begins as the other."""
    taken = take_over(trained, new)
    return (*taken.left, *taken.changed)


def values(of: ActorCritic) -> torch.Tensor:
    reset = torch.zeros(1, 1).bool()
    value: torch.Tensor = of({"x": torch.ones(1, 1, 3)}, of.initial_state(1), reset).value.detach()
    return value


def test_a_policy_of_the_same_form_becomes_the_other_one() -> None:
    trained, new = policy(seed=1), policy(seed=2)
    trained.value_head.follow(torch.tensor([[3.0], [7.0]]))
    taken = take_over(trained, new)
    state = new.state_dict()
    assert taken == TakenOver(len(state), left=(), changed=())
    for name, tensor in trained.state_dict().items():
        assert torch.equal(state[name], tensor)


def test_statistics_of_other_observations_are_left_as_a_whole() -> None:
    trained, new = policy(seed=1, seen=5), policy(seed=2)
    before = {name: it.clone() for name, it in new.normalizer.state_dict().items()}
    left = told(trained, new)
    # The count is one number in both, and would have fitted.
    assert before["count"] == trained.normalizer.count
    trained.normalizer.count += 5
    take_over(trained, new)
    for name, tensor in new.normalizer.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert torch.equal(new.action_head.weight, trained.action_head.weight)
    assert left == (
        "not taken over: 'backbone.trunk.encoder.mean' is [5], this policy needs [3]",
        "not taken over: 'backbone.trunk.hidden_layers.layers.0.weight' is [2, 5, 4], this policy "
        "needs [2, 3, 4]",
        "its observations were x: float32[5] and are x: float32[3]",
    )


def test_values_are_kept_where_the_new_policy_does_not_normalise_them() -> None:
    trained, new = policy(seed=1), policy(seed=2, normalize_values=False)
    trained.value_head.follow(torch.tensor([[30.0], [70.0]]))
    take_over(trained, new)
    torch.testing.assert_close(values(new), values(trained))
    assert new.value_head.normalizer.scale == 1.0


def test_another_unit_of_rewards_lets_the_next_returns_decide() -> None:
    trained, new = policy(seed=1), policy(seed=2, reward_scale=0.1)
    trained.value_head.follow(torch.tensor([[30.0], [70.0]]))
    assert trained.value_head.normalizer.count > 0
    take_over(trained, new)
    assert new.value_head.normalizer.count == 0


def test_layers_that_compute_otherwise_are_refused() -> None:
    trained = policy(network={"activation": "silu"})
    with pytest.raises(CheckpointError, match=r"set network\.activation: silu"):
        take_over(trained, policy())
    with pytest.raises(CheckpointError, match="none of its layers fits"):
        take_over(policy(seen=5), policy(network={"hidden_sizes": (6, 6)}))


def test_log_variances_by_the_network_begin_where_the_parameter_was() -> None:
    action = ActionSpec(low=(-1.0,) * 2, high=(1.0,) * 2)
    trained, new = (
        policy(seed=1, action=action),
        policy(seed=2, action=action, log_sigma_sq="network"),
    )
    with torch.no_grad():
        trained.get_parameter("action_head.spread.parameter").copy_(torch.tensor([-3.0, 0.5]))
    left = told(trained, new)
    assert left == ()
    x, reset = {"x": torch.randn(1, 9, 3)}, torch.zeros(1, 9).bool()
    before, now = (
        it(x, it.initial_state(9), reset).distribution.parameters() for it in (trained, new)
    )
    for name, values in before.items():
        torch.testing.assert_close(now[name], values, rtol=0, atol=0)


def test_a_parameter_does_not_begin_as_the_mean_of_a_network() -> None:
    action = ActionSpec(low=(-1.0,), high=(1.0,))
    trained, new = policy(seed=1, action=action, log_sigma_sq="network"), policy(action=action)
    left = told(trained, new)
    assert left == (
        "not taken over: log-variances, which are outputs of its network (action.log_sigma_sq)",
    )


def test_the_actor_of_sac_begins_as_the_policy_that_ppo_has_trained() -> None:
    action = ActionSpec(low=(-1.0,) * 2, high=(1.0,) * 2, branches=(3,))
    trained = policy(seed=1, action=action)
    config = PolicyConfig.model_validate(
        {
            "network": {"hidden_sizes": (4, 4), "activation": "tanh"},
            "algorithm": {"kind": "sac"},
        }
    )
    actor = make_policy(trained.spec, config, seed=2)
    left = told(trained, actor)
    assert left == (
        "the same outputs are other actions now: action.distribution squashed_gaussian instead of "
        "gaussian",
    )
    x, reset = {"x": torch.randn(1, 9, 3)}, torch.zeros(1, 9).bool()
    before, now = (
        it(x, it.initial_state(9), reset).distribution.parameters() for it in (trained, actor)
    )
    for name, values in before.items():
        torch.testing.assert_close(now[name], values, rtol=1e-6, atol=1e-7)


def test_an_actor_alone_takes_over_that_of_an_actor_with_a_critic() -> None:
    spec = BehaviourSpec("b", (ObservationSpec("x", (2,)),), ActionSpec(branches=(3,)))
    trained = ActorCritic(spec, PolicyConfig(), seed=1)
    options = PolicyConfig.model_validate({"algorithm": {"kind": "soft_q"}})
    policy = make_policy(spec, options, seed=2)
    assert told(trained, policy) == ()
    alone = trained.without_critic().state_dict()
    for name, tensor in policy.state_dict().items():
        assert torch.equal(tensor, alone[name])


# Actors of algorithms whose critics are kept elsewhere, and critics that share layers

GAUSSIAN: dict[str, Any] = {"action": {"distribution": "gaussian"}}
SEEN: Mapping[str, tuple[ObservationSpec, ...]] = {
    "vector": (ObservationSpec("x", (3,)),),
    "image": (ObservationSpec("x", (3,)), ObservationSpec("camera", (20, 20, 1), "uint8")),
    "goal": (ObservationSpec("x", (3,)), ObservationSpec("goal", (2,), kind="goal")),
    "entities": (ObservationSpec("x", (3,)), ObservationSpec("all", (2, 3), kind="entities")),
}
FORCES = ActionSpec(low=(-1.0,) * 2, high=(1.0,) * 2)


def made(
    seed: int, seen: str = "vector", acts: ActionSpec = FORCES, **options: Any
) -> ActorNetwork:
    network = {"hidden_sizes": (4, 4), "activation": "tanh", **options.pop("network", {})}
    config = PolicyConfig.model_validate({"network": network, **options})
    policy = make_policy(BehaviourSpec("A", SEEN[seen], acts), config, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    policy.normalizer.update(
        {name: torch.randn(9, size) + seed for name, size in policy.normalizer.size_by_name.items()}
    )
    return policy


def outputs(of: ActorNetwork) -> Mapping[str, torch.Tensor]:
    """What its distributions are made of, for five steps of two columns."""
    generator = torch.Generator().manual_seed(9)
    seen = {
        each.name: torch.randint(0, 255, (5, 2, *each.shape), generator=generator).to(torch.uint8)
        if each.dtype == "uint8"
        else torch.randn(5, 2, *each.shape, generator=generator)
        for each in of.spec.observations
    }
    reset = torch.zeros(5, 2).bool()
    with torch.no_grad():
        output: PolicyOutput = of(seen, of.initial_state(2), reset)
    return output.distribution.parameters()


def assert_acts_as(one: ActorNetwork, other: ActorNetwork) -> None:
    expected = outputs(other)
    for name, parameters in outputs(one).items():
        torch.testing.assert_close(parameters, expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seen", SEEN)
def test_ppo_begins_as_the_actor_that_sac_has_trained_and_the_other_way(seen: str) -> None:
    sac: dict[str, Any] = {**GAUSSIAN, "algorithm": {"kind": "sac"}}
    # PPO's log-variance is a network's output, too, for that of SAC is.
    ppo: dict[str, Any] = {"action": {"log_sigma_sq": "network"}}
    trained, new = made(1, seen, **sac), made(2, seen, **ppo)
    critic = {name: it.clone() for name, it in new.state_dict().items() if "value_head" in name}
    left = told(trained, new)
    assert left == ("not taken over: a critic; that policy has none",)
    assert_acts_as(new, trained)
    for name, tensor in critic.items():
        assert torch.equal(new.state_dict()[name], tensor)
    back = made(3, seen, **sac)
    assert told(new, back) == ()
    assert_acts_as(back, trained)


def test_ppo_begins_as_the_choices_that_soft_q_has_trained_and_keeps_its_critic() -> None:
    choices = ActionSpec(branches=(4,))
    trained, new = made(1, acts=choices, algorithm={"kind": "soft_q"}), made(2, acts=choices)
    weight = new.get_parameter("backbone.trunk.hidden_layers.layers.0.weight")
    of_critic = weight[1].clone()
    take_over(trained, new)
    assert_acts_as(new, trained)
    assert torch.equal(weight[1], of_critic)


@pytest.mark.parametrize("is_shared", [True, False])
@pytest.mark.parametrize("memory", ["none", "lstm", "gru", "mingru"])
def test_the_actor_fits_whether_or_not_a_critic_shares_its_layers(
    is_shared: bool, memory: str
) -> None:
    more = {"memory": {"kind": memory, "size": 4}}
    trained = made(1, network={"shared": is_shared, **more})
    new = made(2, network={"shared": not is_shared, **more})
    before = new.get_parameter("value_head.weight").clone()
    left = told(trained, new)
    assert len(left) == 1
    assert "not taken over: a critic; that policy's" in left[0]
    assert_acts_as(new, trained)
    assert torch.equal(new.get_parameter("value_head.weight"), before)


def test_statistics_alone_are_no_layer_that_fits() -> None:
    trained, new = made(1), made(2, network={"hidden_sizes": (6, 6)})
    before = {name: it.clone() for name, it in new.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"none of its layers fits this policy: '.*layers\.0"):
        take_over(trained, new)
    for name, tensor in new.state_dict().items():
        assert torch.equal(tensor, before[name])


# Outputs that mean something else


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        (
            FORCES,
            ActionSpec(branches=(2,)),
            "of 2 continuous dimensions; this policy's is of branches [2]",
        ),
        (
            ActionSpec(branches=(2, 2)),
            ActionSpec(branches=(4,)),
            "of branches [2, 2]; this policy's is of branches [4]",
        ),
        (
            ActionSpec((0.0,) * 2, (1.0,) * 2, (2,)),
            ActionSpec((0.0,), (1.0,), (3,)),
            "of 2 continuous dimensions and branches [2]; this policy's is of 1 continuous "
            "dimensions and branches [3]",
        ),
    ],
)
def test_an_action_head_of_other_actions_keeps_weights_of_chance(
    was: ActionSpec, now: ActionSpec, words: str
) -> None:
    trained, new = made(1, acts=was), made(2, acts=now)
    before = {name: it.clone() for name, it in new.action_head.state_dict().items()}
    left = told(trained, new)
    assert left == (f"not taken over: its action head, {words}",)
    for name, tensor in new.action_head.state_dict().items():
        assert torch.equal(tensor, before[name])
    layer = "backbone.trunk.hidden_layers.layers.0.weight"
    assert torch.equal(new.get_parameter(layer), trained.get_parameter(layer))


@pytest.mark.parametrize(
    ("options", "action", "words"),
    [
        ({"action": {"clip": 3}}, FORCES, "action.clip 3 instead of 1"),
        (
            {"action": {"distribution": "squashed_gaussian"}},
            FORCES,
            "action.distribution squashed_gaussian instead of gaussian",
        ),
        (
            {"action": {"min_log_sigma_sq": -1}},
            FORCES,
            "action.min_log_sigma_sq -1 instead of -20",
        ),
        (
            {},
            ActionSpec((-1.0, -2.0), (1.0, 20.0)),
            "bounds -1 to 1, -2 to 20 instead of -1 to 1",
        ),
    ],
)
def test_outputs_that_mean_other_actions_are_named(
    options: dict[str, Any], action: ActionSpec, words: str
) -> None:
    left = told(made(1), made(2, acts=action, **options))
    assert left == (f"the same outputs are other actions now: {words}",)


def test_another_clip_of_observations_is_named() -> None:
    left = told(made(1), made(2, observation_clip=5))
    assert len(left) == 1
    assert left[0].startswith("observation_clip was 10 and is 5: ")
