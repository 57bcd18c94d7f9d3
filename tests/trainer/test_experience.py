"""Rollout and Minibatch refuse tensors that do not belong together, and say which."""

from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from entrain.experience import BurnIn, Minibatch, Rollout
from entrain.run.state_files import decode_state, encode_state

T, B = 3, 2
OF_SEQUENCES = {"sequence_state", "initial_state", "burn_in", "is_padded"}
"""What has another shape than a row's fields, or a form of its own."""


def rollout_of(**changes: Any) -> Rollout:
    """Three steps of two columns, the second one step shorter; every field another number."""
    tensors: dict[str, Any] = {
        "observation": {"x": torch.full((T, B, 4), 1.0), "camera/left": torch.ones(T, B, 2, 2)},
        "action": {"continuous": torch.full((T, B, 2), 2.0), "discrete": torch.full((T, B, 1), 3)},
        "action_mask": torch.ones(T, B, 5, dtype=torch.bool),
        "log_prob": torch.full((T, B), 4.0),
        "value": torch.full((T, B, 2), 5.0),
        "reward": torch.full((T, B), 6.0),
        "next_value": torch.full((T, B, 2), 7.0),
        "boundary": torch.zeros(T, B, dtype=torch.bool),
        "reset": torch.zeros(T, B, dtype=torch.bool),
        "valid": torch.tensor([[True, True], [True, True], [True, False]]),
        "policy_version": torch.full((T, B), 8),
        "sequence_state": torch.zeros(2, B, 0),
    }
    return Rollout(**{**tensors, **changes})


def minibatch_of(**changes: Any) -> Minibatch:
    tensors: dict[str, Any] = {
        name: torch.zeros(1, 6) for name in ("log_prob", "advantage", "reset", "mask")
    }
    tensors["value"] = tensors["return_"] = torch.zeros(1, 6, 2)
    tensors["observation"] = {"x": torch.zeros(1, 6, 4)}
    tensors["action"] = {"continuous": torch.zeros(1, 6, 2)}
    tensors["action_mask"] = torch.zeros(1, 6, 0, dtype=torch.bool)
    tensors["initial_state"] = torch.zeros(6, 0)
    tensors["burn_in"] = BurnIn(
        {"x": torch.zeros(3, 2, 4)}, torch.zeros(3, 2), torch.tensor([1, 4])
    )
    return Minibatch(**{**tensors, **changes})


def test_a_rollout_counts_only_its_valid_steps() -> None:
    assert rollout_of().num_steps == 5


def test_a_rollout_may_be_empty() -> None:
    rollout = rollout_of()
    nothing: dict[str, Any] = {
        field.name: {key: tensor[:0, :0] for key, tensor in value.items()}
        if isinstance(value := getattr(rollout, field.name), dict)
        else value[:0, :0]
        for field in fields(rollout)
        if field.name != "sequence_state"
    }
    assert Rollout(**nothing, sequence_state=torch.zeros(1, 0, 0)).num_steps == 0


def shaped_by(reference: str, form: type[Rollout | Minibatch]) -> list[str]:
    """Its fields whose first two dimensions are those of `reference`."""
    names = [field.name for field in fields(form)]
    return [name for name in names if name not in {reference, *OF_SEQUENCES}]


@pytest.mark.parametrize("name", shaped_by("valid", Rollout))
def test_a_field_of_another_length_or_width_is_refused_by_name(name: str) -> None:
    value = getattr(rollout_of(), name)
    for wrong in (wider(value), value_of(value, lambda tensor: tensor[:1])):
        with pytest.raises(ValueError, match=f"{name}.* its first dimensions must be"):
            rollout_of(**{name: wrong})


def test_one_observation_among_several_is_named_with_what_arrived() -> None:
    observation = {"x": torch.zeros(T, B, 4), "camera/left": torch.zeros(T, B + 1, 2, 2)}
    with pytest.raises(
        ValueError,
        match=r"observation 'camera/left' is \[3, 3, 2, 2\]; its first dimensions must be \[3, 2\]",
    ):
        rollout_of(observation=observation)


def test_sequence_states_are_as_many_and_as_large_as_they_like_with_one_a_column() -> None:
    states = torch.zeros(5, B, 7)
    assert rollout_of(sequence_state=states).sequence_state.shape == (5, B, 7)
    with pytest.raises(ValueError, match=r"sequence_state is \[5, 3, 7\].* must be \[5, 2\]"):
        rollout_of(sequence_state=torch.zeros(5, 3, 7))


def test_experience_is_not_changed_once_made() -> None:
    for experience in (rollout_of(), minibatch_of()):
        with pytest.raises(FrozenInstanceError):
            experience.value = torch.zeros(T, B)  # type: ignore[misc]


def test_padding_may_hold_anything() -> None:
    reward = torch.where(rollout_of().valid, 1.0, float("nan"))
    assert rollout_of(reward=reward).num_steps == 5


def test_a_rollout_comes_back_from_a_checkpoint_as_it_was() -> None:
    rng = np.random.default_rng(0)
    rollout = rollout_of(
        reward=torch.from_numpy(rng.normal(size=(T, B)).astype(np.float32)),
        observation={
            "x": torch.zeros(T, B, 4),
            "camera/left": torch.from_numpy(rng.integers(0, 256, (T, B, 2, 2)).astype(np.uint8)),
        },
    )
    back = Rollout.from_state(decode_state(*encode_state(rollout.state())))
    assert back.num_steps == 5
    np.testing.assert_equal(back.state(), rollout.state())
    for field in fields(rollout):
        before, after = getattr(rollout, field.name), getattr(back, field.name)
        for key in before if isinstance(before, dict) else ():
            assert after[key].dtype == before[key].dtype
        if not isinstance(before, dict):
            assert after.dtype == before.dtype


@pytest.mark.parametrize("name", shaped_by("mask", Minibatch))
def test_a_minibatchs_field_of_another_width_is_refused_by_name(name: str) -> None:
    value = getattr(minibatch_of(), name)
    with pytest.raises(ValueError, match=f"{name}.* its first dimensions must be"):
        minibatch_of(**{name: wider(value)})


def test_a_minibatch_of_whole_sequences_is_as_good_as_one_of_single_steps() -> None:
    flat = minibatch_of()
    assert flat.mask.shape == (1, 6)
    sequences = {
        field.name: value_of(getattr(flat, field.name), lambda t: t.reshape(3, 2, *t.shape[2:]))
        for field in fields(flat)
        if field.name not in OF_SEQUENCES
    }
    sequences["burn_in"] = flat.burn_in
    assert Minibatch(**sequences, initial_state=torch.zeros(2, 9)).mask.shape == (3, 2)
    with pytest.raises(ValueError, match=r"initial_state is \[3, 9\].* must be \[2\]"):
        replace(flat, **{**sequences, "initial_state": torch.zeros(3, 9)})


def value_of(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {key: change(tensor) for key, tensor in value.items()}
    return change(value)


def wider(value: Any) -> Any:
    return value_of(value, lambda tensor: torch.cat([tensor, tensor], 1))
