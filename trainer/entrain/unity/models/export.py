"""Exports a policy as the ONNX file that ML-Agents games load, after comparing it with torch."""

import copy
import importlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from entrain.errors import ExportError, MissingExtraError
from entrain.policy.actor_critic import ActorNetwork
from entrain.unity.models import names
from entrain.unity.models.policy_graph import model_inputs, to_input, write_graph
from entrain_envs.spec import ObservationSpec

CHECKED_ROWS = (1, 7)
CHECKED_STEPS = 3
"""Consecutive steps that are compared, so that the memory takes part."""

TOLERANCE = 1e-4
"""Largest deviation from torch that is accepted, relative to a number or absolute below 1."""


def export_model(policy: ActorNetwork, path: Path, *, metadata: Mapping[str, str]) -> float:
    """Write the policy to `path`, and replace a file there only if the new one agrees with torch.

    Args:
        policy: left untouched. Its observations are in the order of the game's sensors.
        path: of the file; its folder exists. Games name a model after its file.
        metadata: text that is written into the file.

    Returns:
        the largest deviation from torch on random observations, as for `TOLERANCE`.

    Raises:
        MissingExtraError: a package that exporting needs is not installed.
        ExportError: no game could run the policy, or the file computes otherwise.
    """
    for package in ("onnx", "onnxruntime"):
        try:
            importlib.import_module(package)
        except ImportError:
            raise MissingExtraError(
                f"exporting a policy needs the package {package}; install it with: "
                "pip install onnx onnxruntime (the extra entrain-rl[export])"
            ) from None
    policy = copy.deepcopy(policy).cpu()
    content = write_graph(policy, metadata)
    deviation = largest_deviation(policy, content, path)
    with tempfile.NamedTemporaryFile(prefix=".export-", dir=path.parent, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            # Others read exported files as well; a temporary file only its owner can.
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return deviation


def largest_deviation(policy: ActorNetwork, content: bytes, path: Path) -> float:
    """Run a file and its policy on random observations; ExportError, naming `path`, if they differ.

    Args:
        policy: on the CPU.
        content: of the file.
        path: where it will be.
    """
    actor = policy.without_critic().eval()
    session = importlib.import_module("onnxruntime").InferenceSession(
        content, providers=["CPUExecutionProvider"]
    )
    outputs = [each.name for each in session.get_outputs()]
    largest = 0.0
    for rows in CHECKED_ROWS:
        state, memory = actor.initial_state(rows), np.zeros((rows, 1, actor.state_size), np.float32)
        for step in range(CHECKED_STEPS):
            observation, mask = random_inputs(policy, rows=rows, seed=step)
            expected, state = run_torch(actor, observation, mask, state)
            fed = feed(policy, observation, mask, memory)
            arrived = dict(zip(outputs, session.run(outputs, fed), strict=True))
            memory = arrived.get(names.MEMORY_OUT, memory)
            deviation = max(_deviation(arrived[name], it) for name, it in expected.items())
            if not deviation <= TOLERANCE:
                raise ExportError(
                    f"{path}: the exported file deviates from torch by {deviation:.3g}, more than "
                    f"{TOLERANCE:g}; nothing was published: try another version of onnxruntime"
                )
            largest = max(largest, deviation)
    return largest


def run_torch(
    actor: ActorNetwork, observation: Mapping[str, Tensor], mask: Tensor, state: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """{output: what it should be} of one step, and the state after it."""
    rows = len(state)
    steps = {name: values.unsqueeze(0) for name, values in observation.items()}
    with torch.no_grad():
        out = actor(steps, state, torch.zeros((1, rows), dtype=torch.bool))
        action = actor.environment_action(out.distribution.masked(mask.unsqueeze(0)).mode())
    expected = {f"deterministic_{kind}_actions": values[0] for kind, values in action.items()}
    if actor.state_size:
        expected[names.MEMORY_OUT] = out.state.unsqueeze(1)
    return expected, out.state


def feed(
    policy: ActorNetwork, observation: Mapping[str, Tensor], mask: Tensor, memory: Any
) -> dict[str, Any]:
    """{input: array}, as a game feeds it, of observations as they come over the wire."""
    given = {
        names.observation_name(index): to_input(spec, observation[spec.name]).numpy()
        for index, spec in enumerate(policy.spec.observations)
    }
    given |= {names.MASKS: mask.float().numpy(), names.MEMORY_IN: memory}
    return {name: given[name] for name in model_inputs(policy)}


def random_inputs(
    policy: ActorNetwork, *, rows: int, seed: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Random observations, {name: [rows, *shape]} as on the wire, and masks, [rows, C] bool."""
    generator = torch.Generator().manual_seed(seed)
    normalizer = policy.normalizer
    features = torch.randn((rows, normalizer.feature_size), generator=generator)
    vectors = normalizer.split(normalizer.shift + 3.0 * features / normalizer.scale)
    observation = {
        spec.name: _random(spec, vectors.get(spec.name), rows, generator)
        for spec in policy.spec.observations
    }
    masks = [torch.ones((rows, 0), dtype=torch.bool)]
    for choices in policy.spec.action.branches:
        mask = torch.rand((rows, choices), generator=generator) < 0.5
        mask[torch.arange(rows), torch.randint(choices, (rows,), generator=generator)] = True
        masks.append(mask)
    return observation, torch.cat(masks, dim=1)


def _random(
    spec: ObservationSpec, vector: Tensor | None, rows: int, generator: torch.Generator
) -> Tensor:
    if spec.dtype == "uint8":
        return torch.randint(256, (rows, *spec.shape), generator=generator).to(torch.uint8)
    if vector is not None:
        return vector
    values = torch.randn((rows, *spec.shape), generator=generator)
    if spec.kind == "entities":
        # Some entities are absent; in the first row, all are.
        values[torch.rand((rows, spec.shape[0]), generator=generator) < 0.4] = 0.0
        values[0] = 0.0
    return values


def _deviation(arrived: Any, expected: Tensor) -> float:
    """Infinity if shapes or types differ."""
    values = expected.numpy()
    if arrived.shape != values.shape or arrived.dtype != values.dtype:
        return float("inf")
    reference = values.astype(np.float64)
    difference = np.abs(arrived.astype(np.float64) - reference)
    return float((difference / np.maximum(1.0, np.abs(reference))).max(initial=0.0))
