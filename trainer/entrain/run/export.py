"""Exports a trained policy as one ONNX file, after comparing its outputs with those of torch.

The file holds everything between a simulator's raw observations and its raw actions: normalizer,
networks, bounds. Running it needs neither torch nor this package.

    inputs    each observation by its name, [batch, *shape]; if that is one of the names below,
                  with "observation." in front
              previous_action [batch, D + C], if the policy observes it: action_mean of the step
                  before, clipped to [-10, 10], then a one-hot of each discrete_action
              previous_reward [batch, 1], if the policy observes it: received for that action
              action_mask [batch, C] bool, if there are C discrete choices
              state_in [batch, S], if the policy has a memory: state_out of the step before
    outputs   continuous_action [batch, D]        the action, without noise, in environment units
              action_mean, log_sigma_sq [batch, D]  of the Gaussian, before bounds
              discrete_action [batch, N] int64    the most likely allowed choices
              logits [batch, C]                   the lowest float where a choice is forbidden
              state_out [batch, S]                recurrent state after this step

previous_action, previous_reward and state_in are zeros at the first step of an episode.
"""

import copy
import importlib
import json
import logging
import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entrain.errors import ExportError, MissingExtraError
from entrain.policy.actor_critic import ActorNetwork
from entrain.run.export_check import ExportCheck, check_export, random_inputs
from entrain.run.onnx_names import name_ends
from entrain.run.onnx_policy import DeterministicPolicy, input_names

FORMAT_VERSION = 1
"""Raised when one of the names above changes its meaning."""


def export_policy(policy: ActorNetwork, path: Path, *, metadata: Mapping[str, str]) -> ExportCheck:
    """Write the policy to `path`, and replace a file there only if the new one agrees with torch.

    Args:
        policy: left untouched.
        path: of the ONNX file; its folder exists.
        metadata: written into the file, together with behaviour, spec and format version.

    Raises:
        MissingExtraError: a package that exporting needs is not installed.
        ExportError: the outputs of the file differ from those of the policy, or the policy cannot
            be translated.
    """
    _require_packages()
    policy = copy.deepcopy(policy).cpu()
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        candidate = Path(folder) / path.name
        _write(policy, candidate, {**_own_metadata(policy), **metadata})
        check = check_export(policy, candidate, path)
        with candidate.open("rb") as file:
            os.fsync(file.fileno())
        candidate.replace(path)
    return check


def _require_packages() -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise MissingExtraError(
                f"exporting a policy needs the package {name}; install it with: "
                "pip install onnx onnxscript onnxruntime (the extra entrain-rl[export])"
            ) from None


def _own_metadata(policy: ActorNetwork) -> dict[str, str]:
    spec = policy.spec
    described = {
        "observations": [
            {
                **asdict(observation),
                "low": [_finite_or_null(bound) for bound in observation.low],
                "high": [_finite_or_null(bound) for bound in observation.high],
                "input": name,
            }
            for observation, name in zip(
                policy.inputs.observations, input_names(policy.inputs), strict=False
            )
        ],
        "action": {
            "low": [_finite_or_null(bound) for bound in spec.action.low],
            "high": [_finite_or_null(bound) for bound in spec.action.high],
            "branches": spec.action.branches,
        },
    }
    return {
        "format_version": str(FORMAT_VERSION),
        "behaviour": spec.name,
        "spec": json.dumps(described),
        "action_distribution": policy.config.action.distribution,
        "action_clip": repr(policy.config.action.clip),
    }


def _finite_or_null(bound: float) -> float | None:
    # JSON has no infinity.
    return bound if math.isfinite(bound) else None


def _write(policy: ActorNetwork, path: Path, metadata: Mapping[str, str]) -> None:
    actor = policy.without_critic()
    module = DeterministicPolicy(actor, actor.state_size).eval()
    # Not 0 or 1 rows: torch.export would treat those as constants.
    inputs = random_inputs(policy, rows=3)
    example = tuple(torch.from_numpy(values) for values in inputs.values())
    with torch.no_grad():
        outputs = module(*example)
    model = _translate(module, example)
    name_ends(model.graph, inputs=tuple(inputs), outputs=tuple(outputs))
    onnx = importlib.import_module("onnx")
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)


def _translate(module: DeterministicPolicy, example: tuple[Tensor, ...]) -> Any:
    """The module as an `onnx.ModelProto`; ExportError if it uses what ONNX does not have."""
    batch = torch.export.Dim("batch")
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                example,
                dynamo=True,
                verbose=False,
                dynamic_shapes={"inputs": tuple({0: batch} for _ in example)},
            )
        assert program is not None
        return program.model_proto
    except Exception as error:
        # A user's own network may do anything, and torch raises errors of any class.
        cause = _first_cause(error)
        reason = str(cause).strip().partition("\n")[0]
        raise ExportError(
            f"torch cannot translate this policy to ONNX: {type(cause).__name__}: {reason}; "
            "with network.custom, use operations that ONNX has (docs/networks.md), otherwise "
            "other versions of torch and onnxscript"
        ) from error


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence messages of the exporter that do not concern users."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    # It warns that torchvision is missing, which nothing here uses.
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch.export deep-copies a class that torch itself has deprecated.
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
            # Every input has the axis `batch`, as intended.
            warnings.filterwarnings("ignore", "# The axis name: batch will not be used")
            yield
    finally:
        registration.setLevel(level)
