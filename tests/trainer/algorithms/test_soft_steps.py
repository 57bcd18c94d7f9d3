"""Soft actor-critic by hand takes the gradient steps that it takes by torch."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from entrain.algorithms.sac import SAC
from entrain.tensor_fields import map_tensors
from entrain.transitions import ReplayBatch
from entrain_envs.spec import ActionSpec, ObservationSpec
from made_batches import double, made_batch, made_sac

INF = math.inf
BOUNDED = ActionSpec(low=(-2.0, -1.0), high=(2.0, 3.0))
MIXED = ActionSpec(low=(-1.0, -INF, 0.0, -INF), high=(1.0, INF, INF, 2.0))
ROWS = 7


def both(acts: ActionSpec, /, **options: Any) -> tuple[SAC, SAC]:
    """The same learner, by hand and by torch, in float64."""
    algorithm = options.pop("algorithm", {})
    options = {"network": {"hidden_sizes": (5, 4)}, **options}
    by_hand, by_torch = (
        made_sac(acts, dtype=torch.float64, algorithm={**algorithm, "update": update}, **options)
        for update in ("auto", "torch")
    )
    assert by_hand._by_hand is not None
    return by_hand, by_torch


def steps_of(action: ActionSpec, rows: int, seed: int) -> ReplayBatch:
    """Random steps, after some of which nothing follows."""
    follows = torch.arange(rows) % 3 > 0
    return double(made_batch(action, rows, seed=seed, bootstrap=0.9 * follows))


def flat(state: Any, path: str = "") -> dict[str, Any]:
    """{path: number or array} of a state."""
    if not isinstance(state, dict):
        return {path: state}
    return {
        name: each
        for key, value in state.items()
        for name, each in flat(value, f"{path}/{key}").items()
    }


def assert_same_steps(one: SAC, other: SAC, action: ActionSpec, steps: int = 4) -> None:
    for seed in range(steps):
        batch = steps_of(action, ROWS, seed)
        for sac in (one, other):
            sac.begin(0.0)
        found, expected = one.step(batch), other.step(batch)
        assert found.keys() == expected.keys()
        for name in found:
            assert found[name].item() == pytest.approx(expected[name].item(), abs=1e-10), name
    states = flat(one.state()), flat(other.state())
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        np.testing.assert_allclose(value, states[1][name], atol=1e-9, err_msg=name)
    metrics = one.finish(), other.finish()
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-9)


@pytest.mark.parametrize("activation", ["relu", "tanh", "elu"])
@pytest.mark.parametrize("sizes", [(5,), (6, 3), (4, 5, 6)])
def test_layers_of_any_shape(activation: str, sizes: tuple[int, ...]) -> None:
    network = {"hidden_sizes": sizes, "activation": activation}
    assert_same_steps(*both(BOUNDED, network=network), BOUNDED)


@pytest.mark.parametrize("distribution", ["gaussian", "squashed_gaussian"])
@pytest.mark.parametrize("log_sigma_sq", ["parameter", "network"])
@pytest.mark.parametrize("action", [BOUNDED, MIXED])
def test_actions_of_any_bounds(action: ActionSpec, distribution: str, log_sigma_sq: str) -> None:
    # Wide enough that some actions are clipped, and near a bound of the spread.
    options = {
        "distribution": distribution,
        "log_sigma_sq": log_sigma_sq,
        "initial_log_sigma_sq": 1.5,
        "max_log_sigma_sq": 2.0,
    }
    assert_same_steps(*both(action, action=options), action)


@pytest.mark.parametrize(
    "algorithm",
    [
        {"critics": 1},
        {"critics": 3, "critic_learning_rate": 1e-3},
        {"max_grad_norm": 0.01},
        {"target_every": 2},
        {"critic_hidden_sizes": (7,), "policy_every": 2, "adam_beta_1": 0.5},
    ],
)
def test_options_of_the_algorithm(algorithm: dict[str, Any]) -> None:
    assert_same_steps(*both(BOUNDED, algorithm=algorithm), BOUNDED)


def test_observations_of_every_plain_kind() -> None:
    # Critics read goals after the action; observations are normalised by running statistics.
    seen = (
        ObservationSpec("goal", (2,), kind="goal"),
        ObservationSpec("where", (3,)),
        ObservationSpec("bytes", (2, 2), "uint8"),
    )
    network = {"hidden_sizes": (5, 4), "goal_conditioning": "concatenate"}
    pair = both(BOUNDED, observations=seen, network=network, normalize_observations=True)
    generator = torch.Generator().manual_seed(0)

    def shown() -> dict[str, torch.Tensor]:
        return {
            "goal": torch.randn(ROWS, 2, generator=generator, dtype=torch.float64),
            "where": 3.0 * torch.randn(ROWS, 3, generator=generator, dtype=torch.float64),
            "bytes": torch.randint(256, (ROWS, 2, 2), generator=generator, dtype=torch.uint8),
        }

    for seed in range(3):
        steps = steps_of(BOUNDED, ROWS, seed)
        batch = replace(steps, observation=shown(), next_observation=shown())
        for sac in pair:
            sac.observe(batch.observation)
            sac.begin(0.0)
            sac.step(batch)
    states = [flat(sac.state()) for sac in pair]
    for name, value in states[0].items():
        if "normalizer" not in name:
            np.testing.assert_allclose(value, states[1][name], atol=1e-9, err_msg=name)


@pytest.mark.parametrize("entropy", [{"coefficient": 0.3}, {"target": {"per_dimension": 0.5}}])
def test_any_temperature(entropy: dict[str, Any]) -> None:
    assert_same_steps(*both(BOUNDED, entropy=entropy), BOUNDED)


def test_a_rank_without_steps_takes_part_by_torch() -> None:
    one, other = both(BOUNDED)
    batch = steps_of(BOUNDED, ROWS, 0)
    nothing = map_tensors(batch, lambda rows: rows[:0])
    for sac in (one, other):
        sac.begin(0.0)
        for each in (batch, nothing, batch):
            sac.step(each)
    np.testing.assert_allclose(one.weights.parameters, other.weights.parameters, atol=1e-10)


def test_what_the_last_step_held_counts_in_none_after_it() -> None:
    # Batches of other lengths: memory that is used again must be of the right shape.
    one, other = both(BOUNDED)
    for rows in (3, 9, 1, 9):
        batch = steps_of(BOUNDED, rows, rows)
        for sac in (one, other):
            sac.begin(0.0)
            sac.step(batch)
    np.testing.assert_allclose(one.weights.parameters, other.weights.parameters, atol=1e-10)


@pytest.mark.parametrize(
    ("action", "options"),
    [
        (ActionSpec(branches=(3,)), {}),
        (ActionSpec(low=(-1.0,), high=(1.0,), branches=(3,)), {}),
        (BOUNDED, {"network": {"hidden_sizes": (4,), "activation": "silu"}}),
        (BOUNDED, {"network": {"hidden_sizes": (4,), "layer_norm": True}}),
        (BOUNDED, {"network": {"hidden_sizes": ()}}),
        (BOUNDED, {"network": {"hidden_sizes": (4,)}, "algorithm": {"critic_hidden_sizes": ()}}),
        (BOUNDED, {"network": {"hidden_sizes": (4,)}, "algorithm": {"batch_norm": {}}}),
        (BOUNDED, {"observations": (ObservationSpec("eye", (12, 12, 3), "uint8", "image"),)}),
    ],
)
def test_others_learn_by_torch(action: ActionSpec, options: dict[str, Any]) -> None:
    assert made_sac(action, **options)._by_hand is None
