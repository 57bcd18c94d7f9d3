"""The ONNX file of a policy is one that ML-Agents games load, and acts as the policy does."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from entrain.config.policy import PolicyConfig
from entrain.errors import ExportError
from entrain.policy.actor_critic import ActorCritic
from entrain.unity.models.export import export_model, feed, largest_deviation, random_inputs
from entrain.unity.models.policy_graph import write_graph
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

BODY = ObservationSpec("body", (5,))
RAYS = ObservationSpec("rays", (3,))
CAMERA = ObservationSpec("camera", (24, 20, 3), "uint8")
DEPTH = ObservationSpec("depth", (1, 24, 22))
FOES = ObservationSpec("foes", (4, 3), kind="entities")
ORDER = ObservationSpec("order", (3,), kind="goal")

TWO = ActionSpec((-1.0,) * 2, (1.0,) * 2)
CHOICES = ActionSpec(branches=(3, 2))
HYBRID = ActionSpec((-1.0,) * 2, (1.0,) * 2, (3, 2))

LSTM = {"memory": {"kind": "lstm", "size": 6, "layers": 2}}
GRU = {"memory": {"kind": "gru", "size": 6}, "shared": True}
MINGRU = {"memory": {"kind": "mingru", "size": 6, "layers": 2}}

CASES: dict[str, tuple[tuple[ObservationSpec, ...], ActionSpec, dict[str, Any]]] = {
    "continuous": ((BODY, RAYS), TWO, {}),
    "discrete": ((BODY,), CHOICES, {"activation": "relu"}),
    "hybrid": ((BODY,), HYBRID, {"activation": "elu", "layer_norm": True}),
    "lstm": ((BODY,), HYBRID, LSTM),
    "gru": ((BODY,), TWO, GRU),
    "mingru": ((BODY,), HYBRID, MINGRU),
    "images": ((CAMERA, BODY, DEPTH), HYBRID, {}),
    "resnet": ((CAMERA,), TWO, {"image_encoder": "resnet"}),
    "goal": ((ORDER, BODY), TWO, {"layer_norm": True}),
    "entities": ((BODY, FOES, ORDER), CHOICES, {}),
}


def make_policy(case: str, **action: Any) -> ActorCritic:
    """With weights and statistics as if it had learned for a while."""
    observations, actions, network = CASES[case]
    sizes = {"activation": "silu", "hidden_sizes": (12, 8), "entity_features": 8}
    config = PolicyConfig.model_validate(
        {"network": {**sizes, "image_features": 7, **network}, "action": {"clip": 3, **action}}
    )
    policy = ActorCritic(BehaviourSpec("Ball", observations, actions), config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.05)
        policy.action_head.weight.mul_(30)
    rows = {it.name: torch.randn(64, *it.shape, generator=generator) * 4 + 1 for it in observations}
    policy.normalizer.update(rows)
    return policy


@pytest.mark.parametrize("case", CASES)
def test_a_game_accepts_the_file_and_it_acts_as_the_policy(case: str) -> None:
    policy = make_policy(case)
    content = write_graph(policy, {"behaviour": "Ball"})
    assert largest_deviation(policy, content, Path("Ball.onnx")) < 1e-5
    model = onnx.load_from_string(content)
    assert problems(model, policy.spec) == []
    assert {node.op_type for node in model.graph.node} <= READ_BY_ENGINES


@pytest.mark.parametrize("log_sigma_sq", ["parameter", "network"])
def test_nothing_is_infinite_for_zeros_which_sentis_loads_a_model_with(log_sigma_sq: str) -> None:
    policy = make_policy("hybrid", log_sigma_sq=log_sigma_sq)
    session = onnxruntime.InferenceSession(write_graph(policy, {}))
    zeros = {each.name: np.zeros([1, *each.shape[1:]], np.float32) for each in session.get_inputs()}
    assert all(np.isfinite(values).all() for values in session.run(None, zeros))


@pytest.mark.parametrize("log_sigma_sq", ["parameter", "network"])
def test_samples_have_the_distribution_of_the_policy(log_sigma_sq: str) -> None:
    policy = make_policy("hybrid", initial_log_sigma_sq=-3.0, log_sigma_sq=log_sigma_sq)
    observation, mask = random_inputs(policy, rows=1, seed=3)
    mask[:] = torch.tensor([True, False, True, True, True])
    rows = 20000
    fed = feed(policy, observation, mask, None)
    content = write_graph(policy, {})
    assert {it.op_type for it in onnx.load_from_string(content).graph.node} <= READ_BY_ENGINES
    session = onnxruntime.InferenceSession(content)
    continuous, discrete = session.run(
        ["continuous_actions", "discrete_actions"],
        {name: np.repeat(values, rows, axis=0) for name, values in fed.items()},
    )
    steps = {name: values.expand(1, 1, *values.shape[1:]) for name, values in observation.items()}
    with torch.no_grad():
        reset = torch.zeros(1, 1, dtype=torch.bool)
        distribution = policy(steps, policy.initial_state(1), reset).distribution.masked(mask)
        uniform = torch.rand(rows, 1, 4, generator=torch.Generator().manual_seed(0)).double()
        wanted = distribution.sample(uniform)
    expected = policy.environment_action(wanted)["continuous"][:, 0].numpy()
    np.testing.assert_allclose(continuous.mean(0), expected.mean(0), atol=0.01)
    np.testing.assert_allclose(continuous.std(0), expected.std(0), atol=0.01)
    chosen = wanted["discrete"][:, 0].numpy()
    for branch, choices in enumerate((3, 2)):
        share = np.bincount(discrete[:, branch], minlength=choices) / rows
        of_policy = np.bincount(chosen[:, branch], minlength=choices) / rows
        np.testing.assert_allclose(share, of_policy, atol=0.02)
    assert not (discrete[:, 0] == 1).any()  # masked


def test_a_squashed_policy_is_exported_with_tanh() -> None:
    policy = make_policy("continuous", distribution="squashed_gaussian", clip=1)
    assert largest_deviation(policy, write_graph(policy, {}), Path("Ball.onnx")) < 1e-5


@pytest.mark.parametrize("option", ["previous_action", "previous_reward"])
def test_what_a_game_does_not_give_its_model_is_refused(option: str, tmp_path: Path) -> None:
    spec = BehaviourSpec("Ball", (BODY,), TWO)
    policy = ActorCritic(spec, PolicyConfig.model_validate({"network": {option: True}}), seed=0)
    with pytest.raises(ExportError, match=f"network.{option} is on"):
        export_model(policy, tmp_path / "Ball.onnx", metadata={})
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_published_whole(tmp_path: Path) -> None:
    path = tmp_path / "Ball.onnx"
    assert export_model(make_policy("continuous"), path, metadata={"run": "walk"}) < 1e-5
    assert list(tmp_path.iterdir()) == [path]
    model = onnx.load(path)
    assert (model.ir_version, model.opset_import[0].version) == (4, 9)
    assert {it.key: it.value for it in model.metadata_props} == {"run": "walk"}


READ_BY_ENGINES = {
    "Abs",
    "Add",
    "ArgMax",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "Div",
    "Elu",
    "Exp",
    "Gemm",
    "Greater",
    "Identity",
    "Log",
    "MatMul",
    "MaxPool",
    "Mul",
    "Multinomial",
    "RandomNormalLike",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Sqrt",
    "Sub",
    "Tanh",
    "Transpose",
}
"""Plain operations of opset 9; none computes with shapes."""


def problems(model: onnx.ModelProto, spec: BehaviourSpec) -> list[str]:
    """What the C# loader would complain about, with the box "deterministic inference" on or off."""
    found = []
    outputs = {value.name: shape_of(value) for value in model.graph.output}
    inputs = {value.name: shape_of(value) for value in model.graph.input}
    constants = constants_of(model)
    if constants["version_number"] != [3.0] or "memory_size" not in constants:
        found.append("version or memory size")
    memory = int(constants["memory_size"][0])
    for kind, sizes in (
        ("continuous", [spec.action.continuous_size]),
        ("discrete", spec.action.branches),
    ):
        if not sum(sizes):
            continue
        for name in (f"{kind}_actions", f"deterministic_{kind}_actions"):
            width = sizes[0] if kind == "continuous" else len(sizes)
            if outputs.get(name) != ["batch", width]:
                found.append(name)
        if constants.get(f"{kind}_action_output_shape") != [float(size) for size in sizes]:
            found.append(f"{kind} shape")
    expected: dict[str, list[Any]] = {}
    for index, observation in enumerate(spec.observations):
        shape = {"camera": (3, 24, 20)}.get(observation.name, observation.shape)
        expected[f"obs_{index}"] = ["batch", *shape]
    if spec.action.branches:
        expected["action_masks"] = ["batch", spec.action.num_choices]
    if memory:
        expected["recurrent_in"] = ["batch", 1, memory]
        if outputs.get("recurrent_out") != ["batch", 1, memory]:
            found.append("recurrent_out")
    if inputs != expected or list(inputs) != list(expected):
        found.append(f"inputs {inputs}")
    return found


def shape_of(value: onnx.ValueInfoProto) -> list[Any]:
    return [it.dim_param or it.dim_value for it in value.type.tensor_type.shape.dim]


def constants_of(model: onnx.ModelProto) -> dict[str, list[float]]:
    """{output that is an Identity of an initializer: its numbers}."""
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    return {
        node.output[0]: stored[node.input[0]].flatten().tolist()
        for node in model.graph.node
        if node.op_type == "Identity" and node.input[0] in stored
    }
