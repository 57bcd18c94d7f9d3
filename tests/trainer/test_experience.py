"""Rollout and Minibatch refuse tensors that do not fit together; rows are picked by name."""

from dataclasses import FrozenInstanceError, dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
import torch

from entrain.experience import (
    BurnIn,
    Estimate,
    Minibatch,
    PerDimensionRollout,
    Rollout,
    without_state,
)
from entrain.experience import rollout_of as rollout_of_state
from entrain.run.state_files import decode_state, encode_state
from entrain.tensor_fields import pick, pick_each

T, B = 3, 2
SIX = torch.arange(6).unsqueeze(0)


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
        "late": torch.zeros(T, B, dtype=torch.bool),
        "reset": torch.zeros(T, B, dtype=torch.bool),
        "valid": torch.tensor([[True, True], [True, True], [True, False]]),
        "policy_version": torch.full((T, B), 8),
        "sequence_state": torch.zeros(2, B, 0),
    }
    return Rollout(**{**tensors, **changes})


def minibatch_of(**changes: Any) -> Minibatch:
    """Six single steps, two of them with a burn-in of three."""
    rollout = pick(replace(rollout_of(), sequence_state=without_state(torch.zeros(T, B))), SIX)
    parts: dict[str, Any] = {
        "steps": rollout,
        "estimate": Estimate(torch.zeros(1, 6), torch.zeros(1, 6, 2)),
        "burn_in": BurnIn(
            {"x": torch.zeros(3, 2, 4)}, torch.zeros(3, 2, dtype=torch.bool), torch.tensor([1, 4])
        ),
    }
    return Minibatch(**{**parts, **changes})


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


PER_STEP = [
    field.name for field in fields(Rollout) if field.name not in {"valid", "sequence_state"}
]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", PER_STEP)
def test_a_field_of_another_length_or_width_is_refused_by_name(name: str) -> None:
    value = getattr(rollout_of(), name)
    for wrong in (wider(value), value_of(value, lambda tensor: tensor[:1])):
        with pytest.raises(ValueError, match=f"{name}.* its first dimensions must be"):
            rollout_of(**{name: wrong})


@pytest.mark.usefixtures("unchecked_shapes")
def test_one_observation_among_several_is_named_with_what_arrived() -> None:
    observation = {"x": torch.zeros(T, B, 4), "camera/left": torch.zeros(T, B + 1, 2, 2)}
    with pytest.raises(
        ValueError,
        match=r"observation 'camera/left' is \[3, 3, 2, 2\]; its first dimensions must be \[3, 2\]",
    ):
        rollout_of(observation=observation)


@pytest.mark.usefixtures("unchecked_shapes")
def test_sequence_states_are_as_many_and_as_large_as_they_like_with_one_a_column() -> None:
    states = torch.zeros(5, B, 7)
    assert rollout_of(sequence_state=states).sequence_state.shape == (5, B, 7)
    with pytest.raises(ValueError, match=r"sequence_state is \[5, 3, 7\].* must be \[5, 2\]"):
        rollout_of(sequence_state=torch.zeros(5, 3, 7))


def test_experience_is_not_changed_once_made() -> None:
    with pytest.raises(FrozenInstanceError):
        rollout_of().value = torch.zeros(T, B)  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        minibatch_of().is_padded = False  # type: ignore[misc]


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


def test_a_checkpoint_holds_which_type_of_rollout_it_was() -> None:
    joint = rollout_of()
    parts = torch.arange(3.0 * T * B).view(T, B, 3)
    per_dimension = PerDimensionRollout(**vars(joint), log_prob_per_dimension=parts)
    for rollout in (joint, per_dimension):
        back = rollout_of_state(decode_state(*encode_state(rollout.state())))
        assert type(back) is type(rollout)
        np.testing.assert_equal(back.state(), rollout.state())


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", ["advantage", "return_"])
def test_a_minibatchs_estimate_of_another_width_is_refused_by_name(name: str) -> None:
    estimate = minibatch_of().estimate
    wrong = replace(estimate, **{name: wider(getattr(estimate, name))})
    with pytest.raises(ValueError, match=f"{name}.* its first dimensions must be"):
        minibatch_of(estimate=wrong)


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_minibatch_of_whole_sequences_is_as_good_as_one_of_single_steps() -> None:
    flat = minibatch_of()
    assert flat.mask.shape == (1, 6)
    assert flat.initial_state.shape == (6, 0)
    steps, estimate = pick(flat.steps, SIX.view(3, 2)), pick(flat.estimate, SIX.view(3, 2))
    sequences = Minibatch(
        replace(steps, sequence_state=torch.zeros(1, 2, 9)), estimate, flat.burn_in
    )
    assert sequences.mask.shape == (3, 2)
    assert sequences.initial_state.shape == (2, 9)
    with pytest.raises(ValueError, match=r"sequence_state is \[1, 3, 9\].* must be \[1, 2\]"):
        replace(steps, sequence_state=torch.zeros(1, 3, 9))


# Picking rows by name


@dataclass(frozen=True)
class Table:
    """What `pick` knows: tensors, mappings of tensors, and what it leaves alone."""

    number: torch.Tensor
    by_name: dict[str, torch.Tensor]
    none_by_name: dict[str, torch.Tensor]
    label: str = "label"


def table() -> Table:
    """Row t of column b says 10 * t + b."""
    code = 10 * torch.arange(T)[:, None] + torch.arange(B)
    return Table(code, {"wide": torch.stack([code, -code], dim=-1)}, {})


def test_rows_are_picked_out_of_every_tensor_by_hand() -> None:
    # Row t * B + b is step t of column b.
    picked = pick(table(), torch.tensor([[5, 0, 3]]))
    assert isinstance(picked, Table)
    assert picked.number.tolist() == [[21, 0, 11]]
    assert picked.by_name["wide"].tolist() == [[[21, -21], [0, 0], [11, -11]]]
    assert picked.none_by_name == {}
    assert picked.label == "label"


def test_picked_rows_take_the_shape_that_they_were_asked_for_in() -> None:
    square = pick(table(), torch.tensor([[4, 4], [1, 2]]))
    assert square.number.tolist() == [[20, 20], [1, 10]]
    assert square.by_name["wide"].shape == (2, 2, 2)


def test_picking_several_times_at_once_is_picking_one_by_one_out_of_a_single_copy() -> None:
    rows = [torch.tensor([[0, 5]]), torch.tensor([[3]]), torch.zeros(1, 0, dtype=torch.int64)]
    together = pick_each(table(), rows)
    for one, each in zip(together, rows, strict=True):
        alone = pick(table(), each)
        assert torch.equal(one.number, alone.number)
        assert torch.equal(one.by_name["wide"], alone.by_name["wide"])
        assert one.none_by_name == {}
    assert len({one.number.untyped_storage().data_ptr() for one in together}) == 1


def test_picking_copies() -> None:
    original = table()
    pick(original, torch.tensor([[0]])).number.fill_(7)
    assert original.number[0, 0] == 0


def value_of(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {key: change(tensor) for key, tensor in value.items()}
    return change(value)


def wider(value: Any) -> Any:
    return value_of(value, lambda tensor: torch.cat([tensor, tensor], 1))
