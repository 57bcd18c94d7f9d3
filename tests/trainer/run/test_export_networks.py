"""Policies that see images, entities and goals, or have the user's own networks, as ONNX files."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from entrain.config.policy import PolicyConfig
from entrain.policy.actor_critic import ActorCritic
from entrain.run.export import export_policy
from entrain.run.export_check import random_inputs
from entrain.run.onnx_policy import input_names
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

ACTION = ActionSpec((-1.0,), (1.0,), branches=(3,))
BODY = ObservationSpec("body", (4,))
CAMERA = ObservationSpec("camera", (36, 40, 3), "uint8")
DEPTH = ObservationSpec("depth", (1, 36, 36))
FOES = ObservationSpec("foes", (5, 3), kind="entities")
ORDER = ObservationSpec("order", (3,), kind="goal")


GREY = ObservationSpec("grey", (40, 38), "uint8")
STACK = ObservationSpec("stack", (2, 22, 24, 3), "uint8")
MAP = ObservationSpec("map", (5, 6, 2), "uint8", "image", (0.0,), (3.0,))


class TwoLayers(nn.Module):
    """A user's network, over the body and the camera."""

    def __init__(self, observations: Mapping[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.trunk = nn.Linear(observations["body"][0], 6)
        self.camera = nn.Conv2d(3, 2, 5, stride=5)
        self.feature_size = 6 + 2 * 7 * 8

    def forward(self, observation: Mapping[str, Tensor]) -> Tensor:
        pixels = observation["camera"].to(self.camera.weight.dtype).permute(0, 3, 1, 2) / 255
        seen = self.camera(pixels).relu().flatten(1)
        return torch.cat([self.trunk(observation["body"]).tanh(), seen], dim=1)


CASES: dict[str, tuple[tuple[ObservationSpec, ...], dict[str, Any]]] = {
    "images": ((CAMERA, DEPTH, GREY, STACK, MAP), {}),
    "resnet": ((CAMERA,), {"image_encoder": "resnet", "shared": True}),
    "match3": ((CAMERA,), {"image_encoder": "match3"}),
    "all kinds": ((ORDER, FOES, BODY, CAMERA), {"layer_norm": True}),
    "entities, an image for a dense layer and a goal beside them": (
        (FOES, ORDER, GREY),
        {"goal_conditioning": "concatenate", "image_encoder": "fully_connected"},
    ),
    "custom": ((BODY, CAMERA), {"custom": f"{__name__}:TwoLayers"}),
}


def make_policy(case: str) -> ActorCritic:
    """With weights and statistics as if it had learned for a while."""
    observations, network = CASES[case]
    sizes = {
        "activation": "relu",
        "hidden_sizes": (8, 6),
        "image_features": 7,
        "entity_features": 8,
    }
    config = PolicyConfig.model_validate({"network": {**sizes, **network}})
    policy = ActorCritic(BehaviourSpec("fighter", observations, ACTION), config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.02)
        policy.action_head.weight.mul_(30)
    policy.normalizer.update(
        {spec.name: torch.randn(64, *spec.shape, generator=generator) * 9 for spec in observations}
    )
    return policy


@pytest.mark.parametrize("case", CASES)
def test_the_file_computes_what_the_policy_does(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    policy = make_policy(case)
    check = export_policy(policy, tmp_path / "policy.onnx", metadata={})
    assert check.largest_deviation < 1e-4
    session = onnxruntime.InferenceSession(check.path, providers=["CPUExecutionProvider"])
    spec = policy.spec
    for rows in (1, 2, 33):
        inputs = random_inputs(policy, rows=rows)
        observation = {
            observation.name: torch.from_numpy(inputs[name])[None]
            for observation, name in zip(spec.observations, input_names(spec), strict=False)
        }
        reset = torch.zeros(1, rows, dtype=torch.bool)
        with torch.no_grad():
            output = policy(observation, policy.initial_state(rows), reset)
        (mean,) = session.run(["action_mean"], inputs)
        expected = output.distribution.parameters()["action_mean"][0].numpy()
        np.testing.assert_allclose(mean, expected, atol=1e-4, rtol=1e-4)
        if rows > 1:
            assert np.ptp(expected) > 1e-3


def test_random_entities_are_sometimes_absent_and_once_all_of_them() -> None:
    foes = random_inputs(make_policy("all kinds"), rows=9)["foes"]
    is_there = (foes != 0.0).any(axis=-1)
    assert not is_there[0].any()
    assert is_there[1:].any()
    assert not is_there[1:].all()
