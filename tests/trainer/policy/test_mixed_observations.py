"""Any mix of observations: all affect the outputs, rows are independent, and weights are saved."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from entrain.config.policy import PolicyConfig
from entrain.errors import ConfigError
from entrain.policy.actor_critic import ActorCritic, ActorNetwork, PolicyOutput
from entrain.policy.goals import GoalHiddenLayers
from entrain.policy.layers import HiddenLayers
from entrain.policy.trunk import Trunk
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

JOINTS = ObservationSpec("joints", (4,))
CAMERA = ObservationSpec("camera", (20, 24, 3), "uint8")
DEPTH = ObservationSpec("depth/left.eye", (1, 20, 20))
FOES = ObservationSpec("foes", (5, 3), kind="entities")
GOAL = ObservationSpec("colour", (3,), kind="goal")
MIXES = {
    "image": (CAMERA,),
    "entities": (FOES,),
    "goal": (JOINTS, GOAL),
    "two images": (CAMERA, DEPTH),
    "two goals": (GOAL, JOINTS, ObservationSpec("place", (2,), kind="goal")),
    "image and goal": (GOAL, CAMERA),
    "vector, image and goal": (JOINTS, CAMERA, GOAL),
    "all": (GOAL, FOES, JOINTS, DEPTH, CAMERA),
}
every_mix = pytest.mark.parametrize("mix", MIXES)
Observation = dict[str, Tensor]


def make_policy(
    mix: str = "all", *, seed: int = 1, policy: Mapping[str, Any] | None = None, **network: Any
) -> ActorCritic:
    """With weights as if it had learned for a while, so that every output depends on the input."""
    options = {
        "network": {
            "hidden_sizes": (8, 6),
            "image_features": 5,
            "entity_features": 4,
            "entity_heads": 2,
            **network,
        },
        **(policy or {}),
    }
    spec = BehaviourSpec("b", MIXES[mix], ActionSpec((-1.0,), (1.0,), branches=(3,)))
    made = ActorCritic(spec, PolicyConfig.model_validate(options), seed=seed)
    with torch.no_grad():
        made.action_head.weight.mul_(100)
        made.value_head.normalizer.scale.fill_(3.0)
    return made


def observe(policy: ActorCritic, steps: int, columns: int) -> Observation:
    """Random, with some entities absent."""
    observation = {}
    for spec in policy.inputs.observations:
        shape = (steps, columns, *spec.shape)
        is_bytes = spec.dtype == "uint8"
        values = torch.randint(0, 256, shape, dtype=torch.uint8) if is_bytes else torch.randn(shape)
        if spec.kind == "entities":
            values[..., torch.rand(shape[:-1]) < 0.4, :] = 0.0
        observation[spec.name] = values
    return observation


def run(policy: ActorNetwork, observation: Observation) -> PolicyOutput:
    shape = next(iter(observation.values())).shape[:2]
    output = policy(observation, policy.initial_state(shape[1]), torch.zeros(shape) > 0)
    assert isinstance(output, PolicyOutput)
    return output


def outputs(policy: ActorNetwork, observation: Observation) -> Observation:
    output = run(policy, observation)
    return {"value": output.value, **output.distribution.parameters()}


def assert_close(one: Observation, other: Observation, *, tolerance: float = 1e-4) -> None:
    assert one.keys() == other.keys()
    for name, values in one.items():
        torch.testing.assert_close(values, other[name], atol=tolerance, rtol=tolerance)


@every_mix
@pytest.mark.parametrize("shared", [False, True])
def test_steps_and_columns_together_equal_row_by_row(mix: str, shared: bool) -> None:
    policy = make_policy(mix, shared=shared)
    observation = observe(policy, 2, 3)
    whole = outputs(policy, observation)
    for t in range(2):
        for b in range(3):
            row = {name: values[t : t + 1, b : b + 1] for name, values in observation.items()}
            expected = {name: values[t : t + 1, b : b + 1] for name, values in whole.items()}
            assert_close(outputs(policy, row), expected)


@every_mix
@pytest.mark.parametrize("conditioning", ["hypernetwork", "concatenate"])
def test_every_observation_reaches_every_output(mix: str, conditioning: str) -> None:
    policy = make_policy(mix, goal_conditioning=conditioning)
    observation = observe(policy, 1, 4)
    before = outputs(policy, observation)
    for name, values in observation.items():
        other = observe(policy, 1, 4)[name]
        assert not torch.equal(other, values)
        for output, numbers in outputs(policy, {**observation, name: other}).items():
            if output != "log_sigma_sq":
                assert not torch.allclose(numbers, before[output]), (name, output)


@every_mix
@pytest.mark.parametrize("shared", [False, True])
def test_every_parameter_learns(mix: str, shared: bool) -> None:
    policy = make_policy(mix, shared=shared, layer_norm=True)
    output = run(policy, observe(policy, 2, 16))
    action = output.distribution.sample(torch.rand(2, 16, policy.noise_size).double())
    loss = output.distribution.log_prob(action) + output.value[..., 0]
    torch.autograd.backward(loss.sum())
    for name, parameter in policy.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        # A bias of the keys adds the same to all of a looker's scores, which softmax ignores.
        assert (parameter.grad != 0).any() or name.endswith("key.bias"), name


@every_mix
def test_policy_and_critic_learn_from_each_other_only_if_they_share(mix: str) -> None:
    policy = make_policy(mix)
    before = outputs(policy, observe_again := observe(policy, 1, 6))
    torch.autograd.backward(run(policy, observe_again).value.sum())
    with torch.no_grad():
        for parameter in policy.parameters():
            if parameter.grad is not None:
                parameter.sub_(0.1 * parameter.grad)
    after = outputs(policy, observe_again)
    assert not torch.allclose(after["value"], before["value"])
    for name in ("action_mean", "logits"):
        assert torch.equal(after[name], before[name])


@every_mix
@pytest.mark.parametrize("layer_norm", [False, True])
def test_forgetting_the_critic_leaves_the_actions(mix: str, layer_norm: bool) -> None:
    policy = make_policy(mix, layer_norm=layer_norm)
    actor = policy.without_critic()
    observation = observe(policy, 1, 4)
    before, after = outputs(policy, observation), outputs(actor, observation)
    for name in ("action_mean", "logits"):
        torch.testing.assert_close(after[name], before[name], atol=1e-4, rtol=1e-4)

    def trunk_size(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert trunk_size(actor.backbone.trunk) * 2 == trunk_size(policy.backbone.trunk)


@every_mix
def test_a_saved_policy_acts_as_before(mix: str) -> None:
    policy, other = make_policy(mix), make_policy(mix, seed=2)
    observation = observe(policy, 1, 6)
    policy.normalizer.update({name: values[0] for name, values in observation.items()})
    assert not torch.allclose(run(other, observation).value, run(policy, observation).value)
    other.load_state_dict(policy.state_dict())
    assert_close(outputs(other, observation), outputs(policy, observation), tolerance=0)


@every_mix
def test_the_seed_alone_decides_the_weights(mix: str) -> None:
    before = torch.get_rng_state()
    first = make_policy(mix, seed=3).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    again = make_policy(mix, seed=3).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


@every_mix
def test_double_precision_agrees_with_single(mix: str) -> None:
    policy = make_policy(mix, layer_norm=True)
    observation = observe(policy, 2, 3)
    policy.normalizer.update({name: values[0] for name, values in observation.items()})
    single = outputs(policy, observation)
    double = outputs(copy.deepcopy(policy).double(), observation)
    assert double["value"].dtype == torch.float64
    assert_close(double, {name: values.double() for name, values in single.items()})


@every_mix
def test_no_rows_are_answered_with_no_rows(mix: str) -> None:
    policy = make_policy(mix)
    assert run(policy, observe(policy, 1, 0)).value.shape == (1, 0, 1)


@every_mix
def test_acting_without_gradients_computes_the_same(mix: str) -> None:
    policy = make_policy(mix)
    observation = observe(policy, 1, 5)
    with torch.inference_mode():
        acting = outputs(policy, observation)
    assert_close(outputs(policy, observation), acting, tolerance=1e-5)


def test_only_vectors_and_goals_are_normalised() -> None:
    policy = make_policy("all", previous_action=True, previous_reward=True)
    sizes = {name: len(values[0]) for name, values in split_ones(policy).items()}
    # Vectors in the spec's order, what the trainer adds, then goals.
    assert sizes == {"joints": 4, "previous_action": 4, "previous_reward": 1, "colour": 3}
    is_running = policy.normalizer.split(policy.normalizer.is_running.unsqueeze(0))
    assert {name for name, running in is_running.items() if running.all()} == {
        "joints",
        "previous_reward",
        "colour",
    }


def split_ones(policy: ActorCritic) -> Observation:
    return policy.normalizer.split(torch.ones(1, policy.normalizer.feature_size))


def test_an_observation_that_is_only_called_previous_action_is_normalised() -> None:
    spec = BehaviourSpec(
        "b", (ObservationSpec("previous_action", (2,)),), ActionSpec(branches=(3,))
    )
    assert ActorCritic(spec, PolicyConfig(), seed=1).normalizer.is_running.all()


def test_the_goal_chooses_weights_only_if_asked_to() -> None:
    concatenated = make_policy("goal", goal_conditioning="concatenate").backbone.trunk
    assert isinstance(concatenated, Trunk)
    assert isinstance(concatenated.hidden_layers, HiddenLayers)
    hypernetwork = make_policy("goal").backbone.trunk
    assert isinstance(hypernetwork, Trunk)
    assert not isinstance(hypernetwork.hidden_layers, HiddenLayers)


def test_beside_a_vector_and_an_image_the_goal_and_only_it_chooses_the_weights() -> None:
    made = make_policy("vector, image and goal", hidden_sizes=(6,)).backbone.trunk
    assert isinstance(made, Trunk)
    assert isinstance(made.hidden_layers, GoalHiddenLayers)
    given: list[tuple[Tensor, Tensor]] = []
    made.hidden_layers.last.register_forward_pre_hook(lambda _, inputs: given.append(inputs))
    observation = observe(make_policy("vector, image and goal"), 1, 4)
    made(observation, 4)
    ((before, goal),) = given
    for chosen_by in goal:
        # No statistics yet: vectors and goals stay as they are.
        assert torch.equal(chosen_by, observation["colour"][0])
    for name in observation:
        given.clear()
        made({**observation, name: 255 - observation[name]}, 4)
        ((features, chosen_by),) = given
        assert torch.equal(chosen_by, goal) == (name != "colour"), name
        assert torch.equal(features, before) == (name == "colour"), name


def test_an_image_that_is_too_small_is_refused_when_the_policy_is_made() -> None:
    with pytest.raises(ConfigError, match=r"image 'camera' is 20 x 24 .* at least 36 x 36"):
        make_policy("image", image_encoder="nature_cnn")
