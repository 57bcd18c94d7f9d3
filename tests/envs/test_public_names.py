"""The names that a simulator of one's own needs come from the package itself, and cost little."""

import subprocess
import sys

import pytest

import entrain_envs
from entrain_envs.client import TrainerClient
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.statistics import Statistic
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

PUBLIC = {
    it.__name__: it
    for it in (
        TrainerClient,
        ActionSpec,
        BehaviourSpec,
        ObservationSpec,
        ActionBatch,
        Statistic,
        StepType,
        TimestepBatch,
    )
}


def modules_after(statement: str) -> set[str]:
    """What a fresh interpreter has imported after `statement`."""
    script = f"{statement}; import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(done.stdout.split())


def test_what_is_listed_is_what_can_be_imported() -> None:
    assert sorted(entrain_envs.__all__) == sorted(PUBLIC)
    imported = {name: getattr(entrain_envs, name) for name in entrain_envs.__all__}
    assert imported == PUBLIC
    assert set(entrain_envs.__all__) <= set(dir(entrain_envs))


def test_a_name_that_there_is_not_is_an_attribute_error_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'entrain_envs' has no attribute 'Brain'"):
        entrain_envs.Brain  # type: ignore[attr-defined] # noqa: B018


def test_importing_the_package_imports_neither_numpy_nor_grpc() -> None:
    assert not {"numpy", "grpc", "gymnasium", "torch"} & modules_after("import entrain_envs")


def test_connecting_a_simulator_of_ones_own_needs_neither_gymnasium_nor_torch() -> None:
    modules = modules_after(f"from entrain_envs import {', '.join(PUBLIC)}")
    assert "numpy" in modules
    assert not {"gymnasium", "torch"} & modules
