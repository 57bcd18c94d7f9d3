"""A policy runs over experience in time order: in chunks, from stored, fresh or burnt-in states.

Columns of 7, 0, 12 and 5 rows, which begin in the middle of an episode.
"""

from typing import Literal

import pytest
import torch
from torch import Tensor

from entrain.algorithms import unrolling
from entrain.algorithms.unrolling import refresh_states, run_burn_in, unroll
from entrain.experience import Rollout
from entrain.policy.actor_critic import ActorCritic
from made_rollouts import made_policy, made_rollout
from recurrent_cases import Case, policy_of, whole

LENGTHS = (7, 0, 12, 5)
Kind = Literal["lstm", "gru", "mingru"]


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def acting(case: Case) -> tuple[ActorCritic, Rollout]:
    """A policy and what it has just done: its states are those of its present weights."""
    policy = case.policy()
    return policy, made_rollout(policy, case.lengths, seed=1)


def differently(policy: ActorCritic) -> ActorCritic:
    """The same with other weights."""
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1)
    return policy


# In chunks


@pytest.mark.parametrize("cuts", [(), (5,), (1, 2, 11, 12)])
@pytest.mark.parametrize("max_steps", [1, 9, 10_000])
def test_chunks_together_say_what_was_said_when_acting(
    cuts: tuple[int, ...], max_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unrolling, "MAX_STEPS", max_steps)
    policy, rollout = acting(Case(LENGTHS))
    chunks = list(unroll(policy, rollout, cuts=cuts))
    value = torch.cat([output.value for _, output in chunks])
    close(value[rollout.valid], rollout.value[rollout.valid])
    # They follow each other without a gap, and stop where they are told to.
    stops = [rows.stop for rows, _ in chunks]
    assert [rows.start for rows, _ in chunks] == [0, *stops[:-1]]
    assert stops[-1] == 12
    assert set(cuts) <= set(stops)


def test_a_policy_without_memory_is_run_as_well() -> None:
    policy = made_policy()
    rollout = made_rollout(policy, LENGTHS, seed=1)
    ((rows, output),) = unroll(policy, rollout)
    assert rows == slice(0, 12)
    close(output.value[rollout.valid], rollout.value[rollout.valid])


def chunk_lengths(policy: ActorCritic, rollout: Rollout) -> list[int]:
    return [rows.stop - rows.start for rows, _ in unroll(policy, rollout)]


def test_a_chunk_has_no_more_steps_and_numbers_than_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # 12 rows of 4 columns, each cell of which observes 3 + 1 numbers.
    policy, rollout = acting(Case(LENGTHS))
    assert chunk_lengths(policy, rollout) == [12]
    monkeypatch.setattr(unrolling, "MAX_STEPS", 4 * 5)
    assert chunk_lengths(policy, rollout) == [5, 5, 2]
    monkeypatch.setattr(unrolling, "MAX_NUMBERS", 4 * 4 * 3)
    assert chunk_lengths(policy, rollout) == [3, 3, 3, 3]
    # A row is not divided.
    monkeypatch.setattr(unrolling, "MAX_NUMBERS", 1)
    assert chunk_lengths(policy, rollout) == [1] * 12


def test_nothing_is_learned_from_it() -> None:
    policy, rollout = acting(Case(LENGTHS))
    for _, output in unroll(policy, rollout):
        assert not output.value.requires_grad
        assert torch.is_grad_enabled()


# Fresh states


@pytest.mark.parametrize("kind", ["lstm", "gru", "mingru"])
@pytest.mark.parametrize(
    ("sequence_length", "burn_in"), [(1, 0), (1, 1), (4, 0), (4, 3), (4, 4), (12, 2), (50, 7)]
)
def test_states_of_the_weights_that_acted_come_out_as_they_were_stored(
    kind: Kind, sequence_length: int, burn_in: int
) -> None:
    case = Case(LENGTHS, kind=kind, sequence_length=sequence_length, burn_in=burn_in)
    policy, rollout = acting(case)
    states = refresh_states(policy, rollout)
    assert states.shape == rollout.sequence_state.shape
    for q, top in enumerate(range(0, 12, sequence_length)):
        # Behind the end of a column there is no sequence, and no state of one.
        exists = rollout.valid[top]
        close(states[q][exists], rollout.sequence_state[q][exists])


def test_states_of_other_weights_are_theirs_but_for_what_came_before_the_rollout() -> None:
    policy, rollout = acting(Case(LENGTHS, sequence_length=3))
    differently(policy)
    states = refresh_states(policy, rollout)
    assert torch.equal(states[0], rollout.sequence_state[0])
    # Column 2 is long enough for four sequences; one row after the other, as when acting.
    state = rollout.sequence_state[0, 2:3]
    for t in range(9):
        if t in {3, 6}:
            close(states[t // 3, 2:3], state)
            assert (states[t // 3, 2] - rollout.sequence_state[t // 3, 2]).abs().max() > 1e-3
        seen = {name: tensor[t : t + 1, 2:3] for name, tensor in rollout.observation.items()}
        with torch.no_grad():
            state = policy(seen, state, rollout.reset[t : t + 1, 2:3]).state
    close(states[3, 2:3], state)


def test_no_more_rows_are_run_than_states_need() -> None:
    policy, rollout = acting(Case(LENGTHS, sequence_length=5, burn_in=2))
    seen: list[int] = []
    policy.register_forward_hook(lambda module, args, output: seen.append(len(output.value)))
    refresh_states(policy, rollout)
    # Sequences begin at 0, 5 and 10; the states before rows 3 and 8 are wanted.
    assert seen == [3, 5]


# Burn-in


@pytest.mark.parametrize("kind", ["lstm", "gru", "mingru"])
@pytest.mark.parametrize("burn_in", [1, 3, 4])
def test_burn_in_leads_from_the_state_before_it_to_the_state_before_the_sequence(
    kind: Kind, burn_in: int
) -> None:
    # The same weights: what is burnt in is what the states would be without burn-in.
    found = burnt_in_states(Case(LENGTHS, kind=kind, burn_in=burn_in))
    expected = burnt_in_states(Case(LENGTHS, kind=kind, burn_in=0))
    # Columns of 7, 12 and 5 rows make 2 + 3 + 2 sequences of 4.
    assert found.shape[0] == 7
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def burnt_in_states(case: Case) -> Tensor:
    """[M, S] before all sequences of a case, as its own weights have them."""
    ppo = case.ppo()
    acting_policy = case.policy().double()
    minibatch = whole(ppo, case.rollout())
    return run_burn_in(acting_policy, minibatch.burn_in, minibatch.initial_state)


def test_burn_in_is_of_the_present_weights_and_only_where_there_is_any() -> None:
    ppo = Case(LENGTHS, burn_in=3).ppo()
    minibatch = whole(ppo, Case(LENGTHS, burn_in=3).rollout())
    state = run_burn_in(policy_of(ppo), minibatch.burn_in, minibatch.initial_state)
    is_burnt_in = torch.zeros(7, dtype=torch.bool)
    is_burnt_in[minibatch.burn_in.sequence] = True
    assert int(is_burnt_in.sum()) == 4
    assert torch.equal(state[~is_burnt_in], minibatch.initial_state[~is_burnt_in])
    stored = burnt_in_states(Case(LENGTHS, burn_in=3))
    assert ((state - stored)[is_burnt_in].abs().amax(dim=1) > 1e-4).all()


def test_without_burn_in_nothing_is_run() -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it was run")

    ppo = Case(LENGTHS).ppo()
    minibatch = whole(ppo, Case(LENGTHS).rollout())
    policy = policy_of(ppo)
    policy.register_forward_pre_hook(refuse)
    state = minibatch.initial_state
    assert torch.equal(run_burn_in(policy, minibatch.burn_in, state), state)
