"""A policy exported as JSON computes what its ONNX file does; one that is not plain is refused."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from entrain.config.policy import ActionConfig, NetworkConfig, PolicyConfig
from entrain.errors import ExportError
from entrain.policy.actor_critic import ActorCritic
from entrain.run import json_policy
from entrain.run.export import export_policy
from entrain.run.export_check import random_inputs
from entrain.run.json_policy import FORMAT, evaluate, export_json
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec

SEEN = (
    ObservationSpec("tilt", (4,)),
    ObservationSpec("order", (2,), low=(0.0,), high=(5.0,)),
)
PLAIN: Mapping[str, Any] = MappingProxyType({"hidden_sizes": (8, 8)})
HYBRID = BehaviourSpec(
    "ball", SEEN, ActionSpec(low=(-3.0, 0.0), high=(1.0, math.inf), branches=(3, 2))
)


def make_policy(network: Mapping[str, Any] = PLAIN, **action: Any) -> ActorCritic:
    """With weights and statistics as if it had learned for a while."""
    config = PolicyConfig(
        network=NetworkConfig.model_validate(network),
        action=ActionConfig.model_validate(action),
        # Without statistics of observations nothing is cut off: the file's clip is null.
        normalize_observations=network.get("activation") != "silu",
    )
    policy = ActorCritic(HYBRID, config, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    seen = {
        each.name: 200 * torch.rand(64, *each.shape, generator=generator)
        for each in policy.inputs.observations
    }
    policy.normalizer.update(seen)
    return policy


@pytest.mark.parametrize(
    ("activation", "distribution", "clip"),
    [
        ("tanh", "gaussian", 3.0),
        ("relu", "squashed_gaussian", 1.0),
        ("elu", "gaussian", 1.0),
        ("silu", "squashed_gaussian", 1.0),
    ],
)
def test_json_computes_what_torch_computes(
    tmp_path: Path, activation: str, distribution: str, clip: float
) -> None:
    network = {"activation": activation, "hidden_sizes": [8, 5]}
    policy = make_policy(network, distribution=distribution, clip=clip)
    check = export_json(policy, tmp_path / "ball.json", metadata={"run": "walk"})
    document = json.loads((tmp_path / "ball.json").read_text())
    assert (document["format"], document["run"]) == (FORMAT, "walk")
    assert check.largest_deviation < 1e-5


def test_json_computes_what_onnx_computes(tmp_path: Path) -> None:
    policy = make_policy(clip=3.0)
    export_policy(policy, tmp_path / "ball.onnx", metadata={})
    export_json(policy, tmp_path / "ball.json", metadata={})
    inputs = random_inputs(policy, rows=50, seed=3)
    inputs["action_mask"][:] = True
    session = onnxruntime.InferenceSession(tmp_path / "ball.onnx")
    expected, expected_logits = session.run(["continuous_action", "logits"], inputs)
    continuous, logits = evaluate(json.loads((tmp_path / "ball.json").read_text()), inputs)
    np.testing.assert_allclose(continuous, expected, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(logits, expected_logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "network",
    [
        {"memory": {"kind": "gru", "size": 4}},
        {"layer_norm": True},
        {"previous_action": True},
    ],
    ids=["memory", "layer-norm", "previous-action"],
)
def test_a_policy_that_is_not_plain_is_refused_in_words(
    tmp_path: Path, network: Mapping[str, Any]
) -> None:
    with pytest.raises(ExportError, match=r"'ball' is no plain policy.*export this one as ONNX"):
        export_json(make_policy(network), tmp_path / "ball.json", metadata={})
    assert not list(tmp_path.iterdir())


def test_a_document_that_deviates_from_torch_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off_by_a_little(document: Mapping[str, Any], observation: Mapping[str, Any]) -> Any:
        continuous, logits = evaluate(dict(document), observation)
        return continuous + 1e-3, logits

    monkeypatch.setattr(json_policy, "evaluate", off_by_a_little)
    with pytest.raises(ExportError, match=r"deviates from torch by .*nothing was published"):
        export_json(make_policy(), tmp_path / "ball.json", metadata={})
    assert not list(tmp_path.iterdir())
