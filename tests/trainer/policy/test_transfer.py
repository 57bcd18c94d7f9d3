"""Weights of one policy for another: what fits is taken over, the rest is named."""

from typing import Any

import pytest
import torch

from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError
from entrain.policy.actor_critic import ActorCritic, make_policy
from entrain.policy.transfer import take_over
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


def values(of: ActorCritic) -> torch.Tensor:
    reset = torch.zeros(1, 1).bool()
    value: torch.Tensor = of({"x": torch.ones(1, 1, 3)}, of.initial_state(1), reset).value.detach()
    return value


def test_a_policy_of_the_same_form_becomes_the_other_one() -> None:
    trained, new = policy(seed=1), policy(seed=2)
    trained.value_head.follow(torch.tensor([[3.0], [7.0]]))
    number, left = take_over(trained, new)
    state = new.state_dict()
    assert (number, left) == (len(state), ())
    for name, tensor in trained.state_dict().items():
        assert torch.equal(state[name], tensor)


def test_statistics_of_other_observations_are_left_as_a_whole() -> None:
    trained, new = policy(seed=1, seen=5), policy(seed=2)
    before = {name: it.clone() for name, it in new.normalizer.state_dict().items()}
    _, left = take_over(trained, new)
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
        "its observations were [('x', [5])] and are [('x', [3])]",
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
    _, left = take_over(trained, new)
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
    _, left = take_over(trained, new)
    assert left == ("not taken over: it has no 'action_head.spread.parameter'",)


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
    _, left = take_over(trained, actor)
    assert left == ()
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
    taken, left = take_over(trained, policy)
    assert (taken > 0, left) == (True, ())
    alone = trained.without_critic().state_dict()
    for name, tensor in policy.state_dict().items():
        assert torch.equal(tensor, alone[name])
