"""Actions reach the environment in its units and within its bounds."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.policy.action_bounds import ActionBounds, SquashedActionBounds, has_range
from entrain_envs.spec import ActionSpec

INF = math.inf
MIXED = ActionSpec(low=(0.0, -INF, -2.0, -INF), high=(10.0, INF, INF, 3.0))


def test_a_range_is_filled_affinely_and_clipped() -> None:
    bounds = ActionBounds(ActionSpec(low=(0.0,), high=(10.0,)))
    action = torch.tensor([[-1.0], [0.0], [0.5], [1.0], [7.0], [-7.0]])
    arrived = bounds({"continuous": action})["continuous"]
    assert arrived.tolist() == [[0], [5], [7.5], [10], [10], [0]]


def test_a_range_is_reached_at_the_clip_to_the_last_bit_as_a_clipped_value_divided_by_it() -> None:
    bounds = ActionBounds(ActionSpec(low=(-1.0,), high=(1.0,)), clip=3.0)
    sampled = 2.0 * torch.randn(1000, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bounds.bounded(sampled), sampled.clamp(-3.0, 3.0) / 3.0)
    is_clipped = bounds.is_clipped(torch.tensor([[2.9], [3.1], [-2.9], [-3.1]]))
    assert is_clipped.flatten().tolist() == [False, True, False, True]


def test_a_clip_changes_nothing_without_a_range() -> None:
    arrived = ActionBounds(MIXED, clip=3.0).bounded(torch.tensor([[3.0, 50.0, -50.0, 50.0]]))
    assert arrived.tolist() == [[10.0, 50.0, -2.0, 3.0]]


def test_dimensions_without_a_range_pass_through_and_stop_at_the_bound_they_have() -> None:
    assert has_range(MIXED) == [True, False, False, False]
    action = torch.tensor([[0.2, 50.0, -50.0, 50.0], [0.2, -50.0, 50.0, -50.0]])
    for kind in (ActionBounds, SquashedActionBounds):
        arrived = kind(MIXED)({"continuous": action})["continuous"][:, 1:]
        assert arrived.tolist() == [[50, -2, 3], [-50, 50, -50]]


def test_squashing_takes_the_place_of_clipping_only_where_there_is_a_range() -> None:
    arrived = SquashedActionBounds(MIXED)({"continuous": torch.tensor([0.5, 0.5, 0.5, 0.5])})
    expected = torch.tensor([5 + 5 * math.tanh(0.5), 0.5, 0.5, 0.5])
    torch.testing.assert_close(arrived["continuous"], expected)


def test_what_lies_beyond_a_bound_is_clipped() -> None:
    # In units of half the range where there is one, of the environment where there is none.
    inside = torch.tensor([0.99, -50.0, -1.9, 2.9])
    beyond = torch.tensor([-1.01, 50.0, -2.1, 3.1])
    clipped = ActionBounds(MIXED).is_clipped(torch.stack([inside, beyond]))
    assert clipped.tolist() == [[False] * 4, [True, False, True, True]]


def test_squashed_actions_are_as_good_as_clipped_within_a_hundredth_of_a_bound() -> None:
    # tanh(2.6) = 0.9890 and tanh(2.7) = 0.9910. Where nothing is squashed, bounds cut as ever.
    bounds = SquashedActionBounds(MIXED)
    for sign in (1.0, -1.0):
        assert not bounds.is_clipped(torch.tensor([sign * 2.6, 0.0, 0.0, 0.0])).any()
        assert bounds.is_clipped(torch.tensor([sign * 2.7, 0.0, 0.0, 0.0]))[0]
    clipped = bounds.is_clipped(torch.tensor([1.5, 50.0, -2.1, 3.1]))
    assert clipped.tolist() == [False, False, True, True]


@settings(deadline=None)
@given(
    low=st.floats(-1e6, 1e6, width=32),
    width=st.floats(2**-10, 2**20, width=32),
    action=st.floats(-1e6, 1e6, width=32),
)
def test_no_action_leaves_its_bounds(low: float, width: float, action: float) -> None:
    high = low + width
    if not low < high:
        return
    for kind in (ActionBounds, SquashedActionBounds):
        bounds = kind(ActionSpec(low=(low,), high=(high,)))
        arrived = bounds({"continuous": torch.tensor([action])})["continuous"]
        assert bounds.low <= arrived <= bounds.high


def test_choices_pass_through() -> None:
    bounds = ActionBounds(ActionSpec(low=(-1.0,), high=(1.0,), branches=(3,)))
    discrete = torch.tensor([[2]])
    arrived = bounds({"continuous": torch.tensor([[4.0]]), "discrete": discrete})
    assert arrived["continuous"].tolist() == [[1]]
    assert arrived["discrete"] is discrete
    only_choices = {"discrete": discrete}
    assert ActionBounds(ActionSpec(branches=(3,)))(only_choices) is only_choices


def test_the_sampled_action_is_left_as_it_is() -> None:
    sampled = {"continuous": torch.tensor([[4.0]])}
    ActionBounds(ActionSpec(low=(-1.0,), high=(1.0,)))(sampled)
    assert sampled["continuous"].item() == 4


def test_bounds_are_part_of_the_spec_and_not_saved() -> None:
    assert not SquashedActionBounds(MIXED).state_dict()
