"""The whole policy: one forward pass with independent rows, for every kind of action."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from entrain.config.policy import ActionConfig, NetworkConfig, PolicyConfig
from entrain.policy.actor_critic import ActorCritic, PolicyOutput
from entrain.policy.noise import uniform_noise
from entrain.policy.spread import ParameterSpread
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

INF = math.inf
OBSERVATIONS = (
    ObservationSpec("joints", (4,)),
    ObservationSpec("height", ()),
    ObservationSpec("camera", (2, 3), "uint8"),
)
ACTIONS = {
    "continuous": ActionSpec(low=(-2.0, 0.0), high=(2.0, INF)),
    "discrete": ActionSpec(branches=(3, 2)),
    "hybrid": ActionSpec(low=(-1.0,), high=(1.0,), branches=(4,)),
}
KINDS = [
    (kind, distribution)
    for kind in ACTIONS
    for distribution in ("gaussian", "squashed_gaussian")
    if not (kind == "discrete" and distribution == "squashed_gaussian")
]
every_kind = pytest.mark.parametrize(("kind", "distribution"), KINDS)


def make_policy(
    kind: str = "hybrid",
    distribution: str = "gaussian",
    *,
    seed: int = 1,
    shared: bool = False,
    hidden_sizes: tuple[int, ...] = (16, 16),
) -> ActorCritic:
    """With weights as if it had learned for a while, so that every output depends on the input."""
    config = PolicyConfig(
        network=NetworkConfig(hidden_sizes=hidden_sizes, shared=shared),
        action=ActionConfig.model_validate({"distribution": distribution}),
    )
    policy = ActorCritic(BehaviourSpec("b", OBSERVATIONS, ACTIONS[kind]), config, seed=seed)
    with torch.no_grad():
        policy.action_head.weight.mul_(100)
        policy.value_head.normalizer.scale.fill_(3.0)
        policy.value_head.normalizer.shift.fill_(-7.0)
    return policy


def observe(steps: int, columns: int) -> dict[str, Tensor]:
    return {
        "joints": torch.randn(steps, columns, 4),
        "height": torch.randn(steps, columns),
        "camera": torch.randint(0, 256, (steps, columns, 2, 3), dtype=torch.uint8),
    }


def run(policy: ActorCritic, observation: Mapping[str, Tensor]) -> PolicyOutput:
    steps, columns = observation["height"].shape
    output = policy(
        observation, policy.initial_state(columns), torch.zeros(steps, columns, dtype=torch.bool)
    )
    assert isinstance(output, PolicyOutput)
    return output


def noise_for(policy: ActorCritic, steps: int, columns: int, *, seed: int = 5) -> Tensor:
    counter = np.arange(steps * columns)
    noise = uniform_noise(seed, np.zeros_like(counter), counter, policy.noise_size)
    return torch.from_numpy(noise).view(steps, columns, policy.noise_size)


def mask_for(policy: ActorCritic, steps: int, columns: int) -> Tensor:
    """The first choice of each branch, and half of the others."""
    branches = [
        torch.cat(
            [torch.ones(steps, columns, 1) > 0, torch.rand(steps, columns, size - 1) < 0.5], -1
        )
        for size in policy.spec.action.branches
    ]
    return torch.cat([torch.zeros(steps, columns, 0, dtype=torch.bool), *branches], dim=-1)


@every_kind
def test_shapes_and_dtypes_are_the_promised_ones(kind: str, distribution: str) -> None:
    policy = make_policy(kind, distribution)
    output = run(policy, observe(3, 5))
    action = output.distribution.sample(noise_for(policy, 3, 5))
    spec = policy.spec.action
    expected = {
        "continuous": ((3, 5, spec.continuous_size), torch.float32),
        "discrete": ((3, 5, len(spec.branches)), torch.int64),
    }
    assert {name: (tuple(x.shape), x.dtype) for name, x in action.items()} == {
        name: what for name, what in expected.items() if what[0][2] > 0
    }
    for tensor in (output.distribution.log_prob(action), output.distribution.entropy()):
        assert tensor.shape == (3, 5)
        assert tensor.dtype == torch.float32
    assert output.value.shape == (3, 5, 1)
    assert output.value.dtype == torch.float32
    assert output.state.shape == (5, 0)


@every_kind
def test_steps_and_columns_together_equal_row_by_row(kind: str, distribution: str) -> None:
    policy, observation = make_policy(kind, distribution), observe(3, 4)
    whole = run(policy, observation)
    parameters = whole.distribution.parameters()
    for t in range(3):
        for b in range(4):
            row = {name: values[t : t + 1, b : b + 1] for name, values in observation.items()}
            alone = run(policy, row)
            torch.testing.assert_close(alone.value[0, 0], whole.value[t, b])
            for name, values in alone.distribution.parameters().items():
                torch.testing.assert_close(values[0, 0], parameters[name][t, b])


@every_kind
def test_permuting_rows_permutes_outputs(kind: str, distribution: str) -> None:
    policy, observation = make_policy(kind, distribution), observe(1, 9)
    order = torch.randperm(9)
    straight = run(policy, observation)
    permuted = run(policy, {name: values[:, order] for name, values in observation.items()})
    torch.testing.assert_close(permuted.value, straight.value[:, order])
    for name, values in permuted.distribution.parameters().items():
        torch.testing.assert_close(values, straight.distribution.parameters()[name][:, order])


@every_kind
def test_the_learner_finds_the_log_probability_that_acting_found(
    kind: str, distribution: str
) -> None:
    policy = make_policy(kind, distribution)
    rows = 96
    policy.normalizer.update({name: values[0] for name, values in observe(1, 500).items()})
    observation, mask = observe(1, rows), mask_for(policy, 1, rows)
    with torch.inference_mode():
        acting = run(policy, observation).distribution.masked(mask)
        action = acting.sample(noise_for(policy, 1, rows))
        log_prob = acting.log_prob(action)
    # The learner sees the rows in another order, in smaller batches, and with gradients.
    for rows_of_minibatch in torch.split(torch.randperm(rows), 32):
        minibatch = {name: values[:, rows_of_minibatch] for name, values in observation.items()}
        learning = run(policy, minibatch).distribution.masked(mask[:, rows_of_minibatch])
        recomputed = learning.log_prob(
            {name: values[:, rows_of_minibatch] for name, values in action.items()}
        )
        assert recomputed.requires_grad
        torch.testing.assert_close(
            recomputed.detach(), log_prob[:, rows_of_minibatch], atol=1e-6, rtol=1e-6
        )


@every_kind
def test_actions_for_the_environment_are_within_bounds_and_allowed(
    kind: str, distribution: str
) -> None:
    policy = make_policy(kind, distribution)
    mask = mask_for(policy, 1, 300)
    spread = run(policy, observe(1, 300)).distribution.masked(mask)
    action = policy.environment_action(spread.sample(noise_for(policy, 1, 300)))
    spec = policy.spec.action
    if spec.low:
        assert (action["continuous"] >= torch.tensor(spec.low)).all()
        assert (action["continuous"] <= torch.tensor(spec.high)).all()
    if spec.branches:
        first_choice = torch.tensor([0, *spec.branches[:-1]]).cumsum(0)
        assert mask.gather(-1, action["discrete"] + first_choice).all()


@pytest.mark.parametrize("shared", [False, True])
def test_policy_and_critic_learn_from_each_other_only_if_they_share(shared: bool) -> None:
    policy = make_policy("continuous", shared=shared)
    torch.autograd.backward(run(policy, observe(1, 8)).value.sum())
    for parameter in policy.get_submodule("backbone.trunk.hidden_layers").parameters():
        assert parameter.grad is not None
        assert len(parameter) == (1 if shared else 2)
        assert (parameter.grad[0] != 0).any() == shared
    assert policy.action_head.weight.grad is None


def test_it_computes_what_two_plain_networks_would() -> None:
    policy, observation = make_policy("continuous"), observe(2, 3)
    features = torch.cat(
        [
            observation["joints"],
            observation["height"].unsqueeze(-1),
            # From -1 to 1.
            observation["camera"].flatten(2) / 127.5 - 1,
        ],
        dim=-1,
    )
    (first_w, first_b), (second_w, second_b) = (
        layer.parameters()
        for layer in policy.get_submodule("backbone.trunk.hidden_layers.layers").children()
    )
    policy_hidden, critic_hidden = (
        torch.tanh(torch.tanh(features @ first_w[g] + first_b[g]) @ second_w[g] + second_b[g])
        for g in (0, 1)
    )
    output = run(policy, observation)
    torch.testing.assert_close(
        output.distribution.parameters()["action_mean"], policy.action_head(policy_hidden)
    )
    torch.testing.assert_close(output.value, policy.value_head(critic_hidden))


def test_without_hidden_layers_it_is_linear() -> None:
    policy = make_policy("continuous", hidden_sizes=())
    output = run(policy, observe(2, 3))
    assert output.value.shape == (2, 3, 1)


def test_the_seed_alone_decides_the_weights() -> None:
    before = torch.get_rng_state()
    first = make_policy(seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    again, other = make_policy(seed=3).state_dict(), make_policy(seed=4).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["value_head.weight"], other["value_head.weight"])


def test_initial_gains_are_those_of_the_field() -> None:
    config = PolicyConfig(network=NetworkConfig(hidden_sizes=(32,)))
    spec = BehaviourSpec("b", (ObservationSpec("o", (32,)),), ACTIONS["continuous"])
    policy = ActorCritic(spec, config, seed=1)
    (layer,) = policy.get_submodule("backbone.trunk.hidden_layers.layers").children()
    for group in layer.get_parameter("weight"):
        torch.testing.assert_close(group @ group.T, 2 * torch.eye(32), atol=1e-5, rtol=0)
    norms = policy.action_head.weight.norm(dim=1)
    torch.testing.assert_close(norms, torch.full((2,), 0.01))
    assert policy.value_head.weight.norm().item() == pytest.approx(1.0, abs=1e-6)
    biases = [p for name, p in policy.named_parameters() if name.endswith("bias")]
    assert len(biases) == 3
    assert all((bias == 0).all() for bias in biases)


def test_log_sigma_sq_begins_where_the_options_say_and_learns() -> None:
    config = PolicyConfig(action=ActionConfig(initial_log_sigma_sq=-1.0))
    spec = BehaviourSpec("b", (ObservationSpec("o", (2,)),), ACTIONS["continuous"])
    policy = ActorCritic(spec, config, seed=1)
    assert isinstance(policy.action_head.spread, ParameterSpread)
    assert policy.action_head.spread().tolist() == pytest.approx([-1.0, -1.0], abs=1e-6)
    assert make_policy("discrete").action_head.spread is None
    output = policy({"o": torch.zeros(1, 3, 2)}, policy.initial_state(3), torch.zeros(1, 3) > 0)
    torch.autograd.backward(output.distribution.entropy().mean())
    gradient = policy.get_parameter("action_head.spread.parameter").grad
    assert gradient is not None
    # 1/2 per unit of the effective value, which follows the parameter with slope about 1.
    assert gradient.tolist() == pytest.approx([0.5, 0.5], abs=0.01)


@every_kind
def test_every_parameter_learns(kind: str, distribution: str) -> None:
    policy = make_policy(kind, distribution)
    output = run(policy, observe(1, 8))
    spread = output.distribution.masked(mask_for(policy, 1, 8))
    log_prob = spread.log_prob(spread.sample(noise_for(policy, 1, 8)))
    torch.autograd.backward((log_prob + output.value[..., 0] + spread.entropy()).sum())
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


@every_kind
def test_a_saved_policy_acts_as_before(kind: str, distribution: str) -> None:
    policy, other = make_policy(kind, distribution), make_policy(kind, distribution, seed=2)
    policy.normalizer.update({name: values[0] for name, values in observe(1, 50).items()})
    other.load_state_dict(policy.state_dict())
    observation = observe(1, 6)
    ours, theirs = run(policy, observation), run(other, observation)
    assert torch.equal(ours.value, theirs.value)
    for name, values in ours.distribution.parameters().items():
        assert torch.equal(values, theirs.distribution.parameters()[name])


def test_the_normalizer_shapes_what_the_networks_see() -> None:
    policy, observation = make_policy(), observe(1, 6)
    before = run(policy, observation).value
    shifted = {**observation, "joints": observation["joints"] * 100 + 7}
    policy.normalizer.update({name: values[0] for name, values in shifted.items()})
    unseen = run(make_policy(), shifted).value
    assert not torch.allclose(unseen, run(policy, shifted).value)
    assert not torch.allclose(before, run(policy, observation).value)


def test_a_policy_without_memory_has_no_state_and_ignores_resets() -> None:
    policy, observation = make_policy(), observe(2, 3)
    assert policy.state_size == 0
    assert policy.initial_state(3).shape == (3, 0)
    kept = policy(observation, policy.initial_state(3), torch.zeros(2, 3, dtype=torch.bool))
    reset = policy(observation, policy.initial_state(3), torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(kept.value, reset.value)


def test_no_rows_are_answered_with_no_rows() -> None:
    policy = make_policy()
    output = run(policy, observe(1, 0))
    assert output.value.shape == (1, 0, 1)
    assert output.distribution.sample(noise_for(policy, 1, 0))["discrete"].shape == (1, 0, 1)


class CountCalls(TorchFunctionMode):
    """Counts every call into torch."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: int = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204
        self.calls += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("unchecked_shapes")
@every_kind
def test_acting_costs_as_many_calls_for_a_thousand_agents_as_for_one(
    kind: str, distribution: str
) -> None:
    policy = make_policy(kind, distribution)

    def calls(agents: int) -> int:
        observation, mask = observe(1, agents), mask_for(policy, 1, agents)
        noise = noise_for(policy, 1, agents)
        with torch.inference_mode(), CountCalls() as counter:
            spread = run(policy, observation).distribution.masked(mask)
            action = spread.sample(noise)
            spread.log_prob(action)
            policy.environment_action(action)
        return int(counter.calls)

    assert calls(1000) == calls(1) < 130
