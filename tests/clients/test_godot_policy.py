"""A policy that was exported as JSON acts in Godot as its ONNX file does."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from entrain.config.policy import ActionConfig, NetworkConfig, PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.run.export import export_policy
from entrain.run.export_check import random_inputs
from entrain.run.json_policy import export_json
from entrain.run.onnx_policy import DeterministicPolicy
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from support.godot import needs_godot, output, project

HERE = Path(__file__).parent / "godot"
ROWS = 20
SPEC = BehaviourSpec(
    "ball",
    (ObservationSpec("tilt", (4,)), ObservationSpec("height", (2,), low=(0.0,), high=(5.0,))),
    ActionSpec(low=(-3.0, 0.0), high=(1.0, float("inf")), branches=(3, 2)),
)

Arrays = dict[str, Any]


def make_policy(activation: str, distribution: str, clip: float) -> ActorCritic:
    """With weights and statistics as if it had learned for a while."""
    network = NetworkConfig.model_validate({"activation": activation, "hidden_sizes": (16, 8)})
    action = ActionConfig.model_validate({"distribution": distribution, "clip": clip})
    # Without statistics of observations nothing is cut off: the file's clip is null.
    config = PolicyConfig(
        network=network, action=action, normalize_observations=activation == "tanh"
    )
    policy = ActorCritic(SPEC, config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    seen = {
        each.name: torch.rand(64, *each.shape, generator=generator) for each in SPEC.observations
    }
    policy.normalizer.update(seen)
    return policy


def in_godot(policy: ActorCritic, inputs: Arrays, folder: Path) -> Arrays:
    """What policy.gd does in each row."""
    game = project(folder / "game", HERE / "policy.gd")
    export_json(policy, game / "policy.json", metadata={})
    rows = [
        {
            "observation": {name: inputs[name][row].tolist() for name in ("tilt", "height")},
            "mask": inputs["action_mask"][row].tolist(),
        }
        for row in range(ROWS)
    ]
    (game / "inputs.json").write_text(json.dumps(rows))
    code, said = output(game, "-s", "policy.gd")
    assert code == 0, said
    actions = json.loads(
        next(line for line in said.splitlines() if line.startswith("actions "))[8:]
    )
    return {key: np.asarray([each[key] for each in actions]) for key in ("continuous", "discrete")}


def check(arrived: Arrays, continuous: Any, discrete: Any) -> None:
    np.testing.assert_allclose(arrived["continuous"], continuous, atol=1e-5, rtol=1e-5)
    np.testing.assert_array_equal(arrived["discrete"], discrete)


@needs_godot
@pytest.mark.parametrize(
    ("activation", "distribution", "clip"),
    [
        ("tanh", "gaussian", 3.0),
        pytest.param("relu", "squashed_gaussian", 1.0, marks=pytest.mark.clients),
        pytest.param("elu", "gaussian", 1.0, marks=pytest.mark.clients),
        pytest.param("silu", "squashed_gaussian", 1.0, marks=pytest.mark.clients),
    ],
)
def test_godot_acts_as_torch_does(
    tmp_path: Path, activation: str, distribution: str, clip: float
) -> None:
    policy = make_policy(activation, distribution, clip)
    inputs = random_inputs(policy, rows=ROWS)
    module = DeterministicPolicy(policy, 0).eval()
    with torch.no_grad():
        expected = module(*(torch.from_numpy(values) for values in inputs.values()))
    arrived = in_godot(policy, inputs, tmp_path)
    check(arrived, expected["continuous_action"], expected["discrete_action"])


@needs_godot
@pytest.mark.clients
def test_godot_acts_as_onnx_does(tmp_path: Path) -> None:
    policy = make_policy("tanh", "gaussian", 1.0)
    export_policy(policy, tmp_path / "ball.onnx", metadata={})
    inputs = random_inputs(policy, rows=ROWS)
    session = onnxruntime.InferenceSession(tmp_path / "ball.onnx")
    expected = session.run(["continuous_action", "discrete_action"], inputs)
    check(in_godot(policy, inputs, tmp_path), *expected)


@needs_godot
def test_a_file_that_is_no_policy_is_said_to_be_none(tmp_path: Path) -> None:
    game = project(tmp_path / "game", HERE / "drift.gd")
    (game / "policy.json").write_text("[]")
    code, said = output(game, "-s", "drift.gd", "--policy=res://policy.json")
    assert code == 1
    assert (
        "res://policy.json is no policy; write one with: entrain export RUN --format json" in said
    )
    assert "SCRIPT ERROR" not in said


@needs_godot
@pytest.mark.clients
@pytest.mark.parametrize(
    ("observations", "action", "words"),
    [
        (
            (ObservationSpec("tilt", (4,)),),
            ActionSpec(low=(-1.0,), high=(1.0,)),
            "it reads 4 numbers of the observation 'tilt', and the game's 'ball' gives 0",
        ),
        (
            (ObservationSpec("x", (3,)),),
            ActionSpec(low=(-1.0,), high=(1.0,)),
            "it reads 3 numbers of the observation 'x', and the game's 'ball' gives 1",
        ),
        (
            (ObservationSpec("x", (1,)),),
            ActionSpec(low=(-1.0,), high=(1.0,), branches=(3,)),
            "it has 1 numbers and the choices [3] as actions, and the game's 'ball' 1 and []",
        ),
    ],
    ids=["other-observation", "other-size", "other-actions"],
)
def test_the_policy_of_another_game_is_told_so(
    tmp_path: Path, observations: tuple[ObservationSpec, ...], action: ActionSpec, words: str
) -> None:
    game = project(tmp_path / "game", HERE / "drift.gd")
    spec = BehaviourSpec("ball", observations, action)
    policy = ActorCritic(spec, PolicyConfig(), seed=1)
    export_json(policy, game / "policy.json", metadata={})
    code, said = output(game, "-s", "drift.gd", "--policy=res://policy.json")
    assert code == 1
    assert "res://policy.json is the policy of another game: " + words in said
    assert "SCRIPT ERROR" not in said


@needs_godot
@pytest.mark.clients
def test_a_policy_whose_file_lacks_a_part_is_said_to_be_none(tmp_path: Path) -> None:
    game = project(tmp_path / "game", HERE / "drift.gd")
    (game / "policy.json").write_text('{"format": "entrain-policy-1", "sizes": [2]}')
    code, said = output(game, "-s", "drift.gd", "--policy=res://policy.json")
    assert code == 1
    assert "res://policy.json is no policy" in said
    assert "SCRIPT ERROR" not in said
