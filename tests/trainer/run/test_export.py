"""An exported policy stands alone, agrees with torch, and is published whole or not at all."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper

from entrain.config.policy import ActionConfig, NetworkConfig, PolicyConfig
from entrain.errors import ExportError, MissingExtraError
from entrain.policy.actor_critic import ActorCritic
from entrain.policy.spread import NetworkSpread
from entrain.run import export
from entrain.run.export import export_policy
from entrain.run.export_check import ExportCheck, random_inputs
from entrain.run.onnx_policy import input_names
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import check_observation

Arrays = dict[str, npt.NDArray[Any]]

HYBRID = BehaviourSpec(
    "walker",
    (
        ObservationSpec("joint angles/left", (3,)),
        ObservationSpec("logits", ()),
        ObservationSpec("camera", (2, 2), "uint8"),
        # Names that the exporter gives to values of its own.
        ObservationSpec("view", (1,)),
        ObservationSpec("val_0", (), low=(0.0,), high=(math.inf,)),
        ObservationSpec("_policy.action_head.weight", ()),
    ),
    ActionSpec(low=(-2.0, 0.0), high=(2.0, math.inf), branches=(3, 2)),
)
PLAIN = BehaviourSpec("ball", (ObservationSpec("tilt", (4,)),), ActionSpec((-3.0,), (1.0,)))
DISCRETE = BehaviourSpec("cart", (ObservationSpec("pole", (4,)),), ActionSpec(branches=(2,)))


LSTM = {"memory": {"kind": "lstm", "size": 5, "layers": 2}}
GRU = {
    "memory": {"kind": "gru", "size": 6},
    "shared": True,
    "previous_action": True,
    "previous_reward": True,
}
MINGRU = {"memory": {"kind": "mingru", "size": 7, "layers": 2}}


def make_policy(
    spec: BehaviourSpec,
    distribution: str,
    network: Mapping[str, Any] = MappingProxyType({}),
    log_sigma_sq: str = "parameter",
) -> ActorCritic:
    """With weights and statistics as if it had learned for a while."""
    config = PolicyConfig(
        network=NetworkConfig.model_validate({"hidden_sizes": (8, 8), **network}),
        action=ActionConfig.model_validate(
            {"distribution": distribution, "log_sigma_sq": log_sigma_sq}
        ),
    )
    policy = ActorCritic(spec, config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    seen = {
        observation.name: (torch.rand(64, *observation.shape, generator=generator) * 200).to(
            torch.uint8 if observation.dtype == "uint8" else torch.float32
        )
        for observation in policy.inputs.observations
    }
    policy.normalizer.update(seen)
    return policy


class Exported:
    """A policy, its file, and the two ways to run it."""

    def __init__(self, folder: Path, *case: Any) -> None:
        self.policy = make_policy(*case)
        self.path = folder / "policy.onnx"
        self.weights_before = {
            name: values.clone() for name, values in self.policy.state_dict().items()
        }
        self.check = export_policy(self.policy, self.path, metadata={"env_steps": "4096"})
        self.session = onnxruntime.InferenceSession(self.path, providers=["CPUExecutionProvider"])

    def run(self, inputs: Arrays) -> Arrays:
        names = [output.name for output in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, inputs), strict=True))

    def expected(self, inputs: Arrays) -> dict[str, torch.Tensor]:
        """By the policy's own forward, as the trainer evaluates it."""
        policy = self.policy
        rows = len(next(iter(inputs.values())))
        observation = {
            observation.name: torch.from_numpy(inputs[name])[None]
            for observation, name in zip(
                policy.inputs.observations, input_names(policy.inputs), strict=False
            )
        }
        state = policy.initial_state(rows)
        if self.state_size:
            state[:, : self.state_size] = torch.from_numpy(inputs["state_in"])
            # The critic's part is nobody's business.
            state[:, self.state_size :] = 9.0
        output = policy(observation, state, torch.zeros(1, rows, dtype=torch.bool))
        distribution = output.distribution
        if "action_mask" in inputs:
            distribution = distribution.masked(torch.from_numpy(inputs["action_mask"])[None])
        action = policy.environment_action(distribution.mode())
        named = {f"{name}_action": values[0] for name, values in action.items()}
        named.update({name: values[0] for name, values in distribution.parameters().items()})
        if self.state_size:
            named["state_out"] = output.state[:, : self.state_size]
        return {name: values.detach() for name, values in named.items()}

    @property
    def state_size(self) -> int:
        """By hand: cells and outputs of two layers of 5; outputs of one layer of 6, of two of 7."""
        kind = self.policy.config.network.memory.kind
        return {"none": 0, "lstm": 20, "gru": 6, "mingru": 14}[kind]


CASES: Mapping[str, tuple[Any, ...]] = {
    "hybrid": (HYBRID, "squashed_gaussian", {}),
    "gaussian": (PLAIN, "gaussian", {}),
    "discrete": (DISCRETE, "gaussian", {}),
    "hybrid gru, spread by the network": (HYBRID, "squashed_gaussian", GRU, "network"),
    "gaussian lstm": (PLAIN, "gaussian", LSTM),
    "gaussian mingru": (PLAIN, "gaussian", MINGRU),
}


@pytest.fixture(scope="module", params=CASES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(tmp_path_factory.mktemp("export"), *CASES[request.param])


@pytest.mark.parametrize("rows", [1, 2, 65])
def test_the_file_computes_what_the_policy_does_at_any_batch_size(
    exported: Exported, rows: int
) -> None:
    inputs = random_inputs(exported.policy, rows=rows)
    arrived, expected = exported.run(inputs), exported.expected(inputs)
    assert arrived.keys() == expected.keys()
    for name, values in expected.items():
        assert arrived[name].shape == values.shape
        np.testing.assert_allclose(arrived[name], values.numpy(), atol=1e-5, rtol=1e-5)


def test_the_comparison_is_worth_something(exported: Exported) -> None:
    # If all rows gave the same answer, a file that ignores its inputs would pass.
    outputs = exported.run(random_inputs(exported.policy, rows=65))
    is_plain = exported.policy.has_plain_spread
    for name in set(outputs) - ({"log_sigma_sq"} if is_plain else set()):
        assert len(np.unique(outputs[name], axis=0)) > 1, name


def test_what_was_checked_is_told(exported: Exported) -> None:
    assert isinstance(exported.check, ExportCheck)
    assert exported.check.path == exported.path
    # Four steps of one row, and four of seven.
    assert exported.check.rows == 32
    assert exported.check.largest_deviation < 1e-5


def test_inputs_and_outputs_have_the_promised_names_and_shapes(exported: Exported) -> None:
    def described(values: Any) -> dict[str, list[Any]]:
        return {value.name: value.shape for value in values}

    inputs = described(exported.session.get_inputs())
    outputs = described(exported.session.get_outputs())
    promised_inputs: dict[str, list[Any]]
    promised_outputs: dict[str, list[Any]]
    if exported.policy.spec is HYBRID:
        promised_inputs = {
            "joint angles/left": ["batch", 3],
            "observation.logits": ["batch"],
            "camera": ["batch", 2, 2],
            "view": ["batch", 1],
            "val_0": ["batch"],
            "_policy.action_head.weight": ["batch"],
            "action_mask": ["batch", 5],
        }
        promised_outputs = {
            "continuous_action": ["batch", 2],
            "action_mean": ["batch", 2],
            "log_sigma_sq": ["batch", 2],
            "discrete_action": ["batch", 2],
            "logits": ["batch", 5],
        }
    elif exported.policy.spec is PLAIN:
        promised_inputs = {"tilt": ["batch", 4]}
        promised_outputs = {
            name: ["batch", 1] for name in ("continuous_action", "action_mean", "log_sigma_sq")
        }
    else:
        promised_inputs = {"pole": ["batch", 4], "action_mask": ["batch", 2]}
        promised_outputs = {"discrete_action": ["batch", 1], "logits": ["batch", 2]}
    if exported.policy.config.network.previous_action:
        promised_inputs |= {"previous_action": ["batch", 7], "previous_reward": ["batch", 1]}
    if exported.state_size:
        promised_inputs["state_in"] = ["batch", exported.state_size]
        promised_outputs["state_out"] = ["batch", exported.state_size]
    assert inputs == promised_inputs
    assert outputs == promised_outputs


@pytest.mark.parametrize(
    "exported",
    ["hybrid gru, spread by the network", "gaussian lstm", "gaussian mingru"],
    indirect=True,
)
def test_carried_from_step_to_step_the_state_is_that_of_a_whole_episode(
    exported: Exported,
) -> None:
    policy, size = exported.policy, exported.state_size
    steps = [random_inputs(policy, rows=3, seed=step) for step in range(6)]
    state = np.zeros((3, size), np.float32)
    arrived = []
    for inputs in steps:
        outputs = exported.run({**inputs, "state_in": state})
        state = outputs["state_out"]
        arrived.append(outputs["action_mean"])
    # All six steps in one call, as learning sees them.
    observation = {
        observation.name: torch.from_numpy(np.stack([inputs[name] for inputs in steps]))
        for observation, name in zip(
            policy.inputs.observations, input_names(policy.inputs), strict=False
        )
    }
    reset = torch.zeros(6, 3, dtype=torch.bool)
    output = policy(observation, policy.initial_state(3), reset)
    mean = output.distribution.parameters()["action_mean"].detach().numpy()
    np.testing.assert_allclose(np.stack(arrived), mean, atol=1e-5, rtol=1e-5)
    forgetful = exported.run({**steps[5], "state_in": np.zeros_like(state)})["action_mean"]
    assert np.abs(forgetful - mean[5]).max() > 1e-3


def test_actions_are_within_bounds_and_forbidden_choices_are_never_taken(
    exported: Exported,
) -> None:
    inputs = random_inputs(exported.policy, rows=65)
    outputs = exported.run(inputs)
    spec = exported.policy.spec.action
    if spec.low:
        assert (outputs["continuous_action"] >= spec.low).all()
        assert (outputs["continuous_action"] <= spec.high).all()
    if spec.branches:
        first_choice = np.cumsum([0, *spec.branches[:-1]])
        chosen = outputs["discrete_action"] + first_choice
        assert np.take_along_axis(inputs["action_mask"], chosen, axis=1).all()
        forbidden = outputs["logits"][~inputs["action_mask"]]
        assert (forbidden == np.finfo(np.float32).min).all()


def test_metadata_says_whose_policy_it_is_and_how_old(exported: Exported) -> None:
    metadata = exported.session.get_modelmeta().custom_metadata_map
    spec = exported.policy.spec
    assert metadata["format_version"] == "1"
    assert metadata["behaviour"] == spec.name
    assert metadata["env_steps"] == "4096"
    assert metadata["action_distribution"] == exported.policy.config.action.distribution
    assert float(metadata["action_clip"]) == exported.policy.config.action.clip

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    described = json.loads(metadata["spec"], parse_constant=refuse)
    inputs = [value.name for value in exported.session.get_inputs()]
    assert {each["input"] for each in described["observations"]} <= set(inputs)
    # What the file has as inputs: also what the agent itself did.
    assert [each["name"] for each in described["observations"]] == [
        observation.name for observation in exported.policy.inputs.observations
    ]
    assert described["action"]["branches"] == list(spec.action.branches)
    # JSON has no infinity: null stands for a bound that is not there.
    assert described["action"]["high"] == [
        high if math.isfinite(high) else None for high in spec.action.high
    ]


def test_the_critic_stays_at_home(exported: Exported) -> None:
    weights = onnx.load(exported.path).graph.initializer
    size = sum(math.prod(weight.dims) for weight in weights)
    spec = exported.policy.spec
    features = exported.policy.normalizer.feature_size
    actions = spec.action.continuous_size + spec.action.num_choices
    # K gates of H units, which read F features and H outputs of their own.
    remembering, seen = {
        "none": (0, 8),
        "lstm": (4 * 5 * (8 + 5 + 1) + 4 * 5 * (5 + 5 + 1), 5),
        "gru": (3 * 6 * (8 + 6 + 1), 6),
        "mingru": (2 * 7 * (8 + 1) + 2 * 7 * (7 + 1), 7),
    }[exported.policy.config.network.memory.kind]
    hidden = (features + 1) * 8 + 9 * 8
    one_network = hidden + remembering + (seen + 1) * actions
    # The rest: normalizer, bounds, constants. A critic would add another (features + 10) * 8.
    assert size < one_network + 4 * features + 60


def test_the_policy_and_its_folder_are_left_as_they_were(exported: Exported) -> None:
    for name, values in exported.policy.state_dict().items():
        assert torch.equal(values, exported.weights_before[name]), name
    assert exported.policy.training
    assert [path.name for path in exported.path.parent.iterdir()] == ["policy.onnx"]


@pytest.mark.parametrize("exported", ["gaussian"], indirect=True)
def test_a_file_that_deviates_is_not_published(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "policy.onnx"
    path.write_text("the one before")
    model = onnx.load(exported.path)
    (bias,) = [each for each in model.graph.initializer if each.name.endswith("action_head.bias")]
    bias.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.01), bias.name)
    )
    monkeypatch.setattr(export, "_write", lambda _policy, to, _metadata: onnx.save(model, to))
    with pytest.raises(ExportError, match=r"output 'action_mean'.* nothing was published"):
        export_policy(exported.policy, path, metadata={})
    assert path.read_text() == "the one before"
    assert [each.name for each in tmp_path.iterdir()] == ["policy.onnx"]


@pytest.mark.parametrize("exported", ["gaussian mingru"], indirect=True)
def test_a_file_that_forgets_is_not_published(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(exported.path)
    for node in model.graph.node:
        node.input[:] = ["forgotten" if name == "state_in" else name for name in node.input]
    # x - x: zeros, for any batch.
    forget = onnx.helper.make_node("Sub", ["state_in", "state_in"], ["forgotten"])
    model.graph.node.insert(0, forget)
    monkeypatch.setattr(export, "_write", lambda _policy, to, _metadata: onnx.save(model, to))
    with pytest.raises(ExportError, match="at step 0 of 1 rows"):
        export_policy(exported.policy, tmp_path / "policy.onnx", metadata={})
    assert not list(tmp_path.iterdir())


class Branching(torch.nn.Module):
    """Decides by the numbers it sees which way to compute, which no graph of ONNX can."""

    def __init__(self, observations: Mapping[str, Any]) -> None:
        super().__init__()
        del observations
        self.feature_size = 4

    def forward(self, observation: Mapping[str, torch.Tensor]) -> torch.Tensor:
        tilt = observation["tilt"]
        return tilt if bool((tilt == 0).all()) else 2 * tilt


def test_a_network_that_onnx_cannot_say_is_refused_in_one_line(tmp_path: Path) -> None:
    policy = make_policy(PLAIN, "gaussian", {"custom": f"{__name__}:Branching"})
    with pytest.raises(ExportError, match=r"^torch cannot translate .*docs/networks.md.*$"):
        export_policy(policy, tmp_path / "policy.onnx", metadata={})
    assert not list(tmp_path.iterdir())


def test_a_file_that_onnxruntime_refuses_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_nonsense(policy: ActorCritic, candidate: Path, metadata: dict[str, str]) -> None:
        del policy, metadata
        candidate.write_bytes(b"no model")

    monkeypatch.setattr(export, "_write", write_nonsense)
    with pytest.raises(ExportError, match=r"^.*policy.onnx: onnxruntime refuses .*$"):
        export_policy(make_policy(PLAIN, "gaussian"), tmp_path / "policy.onnx", metadata={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    remedy = r"pip install onnx onnxscript onnxruntime \(the extra entrain-rl\[export\]\)"
    with pytest.raises(MissingExtraError, match=rf"{package};.*{remedy}"):
        export_policy(make_policy(PLAIN, "gaussian"), tmp_path / "policy.onnx", metadata={})
    assert not list(tmp_path.iterdir())


def test_random_inputs_fit_the_spec_and_spread_around_what_was_seen() -> None:
    policy = make_policy(HYBRID, "gaussian")
    inputs = random_inputs(policy, rows=400)
    assert list(inputs) == input_names(HYBRID)
    angles = inputs["joint angles/left"]
    # The policy saw numbers from 0 to 200: mean 100, standard deviation 58.
    assert np.abs(angles.mean(axis=0) - 100).max() < 50
    assert (angles.std(axis=0) > 100).all()
    for observation, name in zip(HYBRID.observations, input_names(HYBRID), strict=False):
        check_observation(HYBRID.name, observation, inputs[name], rows=400)
    first, second = np.split(inputs["action_mask"], [3], axis=1)
    assert first.any(axis=1).all()
    assert second.any(axis=1).all()


def test_log_variances_are_exported_as_they_are_bounded_however_far_they_would_go(
    tmp_path: Path,
) -> None:
    free = [-300.0, -21.0, -15.0, 0.0, 3.9, 120.0]
    six = BehaviourSpec("six", PLAIN.observations, ActionSpec((-1.0,) * 6, (1.0,) * 6))
    policy = make_policy(six, "squashed_gaussian", log_sigma_sq="network")
    spread = policy.action_head.spread
    assert isinstance(spread, NetworkSpread)
    with torch.no_grad():
        spread.weight.zero_()
        spread.bias.copy_(torch.tensor(free))
    path = tmp_path / "six.onnx"
    # It compares the outputs with torch's.
    export_policy(policy, path, metadata={})
    expected = np.logaddexp(free, spread.minimum.item())
    expected -= np.logaddexp(np.array(free) - spread.maximum, 0.0)
    run = onnxruntime.InferenceSession(path)
    (log_sigma_sq,) = run.run(["log_sigma_sq"], dict(random_inputs(policy, rows=3)))
    assert log_sigma_sq == pytest.approx(np.tile(expected, (3, 1)), abs=1e-5)
