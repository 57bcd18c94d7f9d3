"""Runs a policy over experience in the order of time, without learning from it.

Shapes: T steps, B columns of a rollout; M sequences of a minibatch; S numbers of recurrent state.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from entrain.experience import BurnIn, Rollout
from entrain.policy.actor_critic import ActorCritic, PolicyOutput

MAX_STEPS = 2**14
"""In one forward, unless a single row has more columns."""

MAX_NUMBERS = 2**22
"""Observed in one forward, which bounds the memory that convolutions of images take; unless a
single row has more."""


@torch.no_grad()
def unroll(
    policy: ActorCritic, rollout: Rollout, *, cuts: Sequence[int] = ()
) -> Iterator[tuple[slice, PolicyOutput]]:
    """Evaluate `policy` on a rollout: (rows, output) of one chunk of rows after the other.

    The state before the first row is the rollout's; each chunk passes its state to the next.
    Chunks are as long as memory allows. In padding the output may be any number.

    Args:
        policy: with or without memory; the rollout is moved to its device chunk by chunk.
        rollout: [T, B].
        cuts: rows, in (0, T], before which a chunk ends in any case.
    """
    state = rollout.sequence_state[0].to(policy.initial_state(0).device)
    length = _rows_at_once(rollout)
    rows = len(rollout.valid)
    for start, stop in pairwise(sorted({0, rows, *cuts, *range(0, rows, length)})):
        chunk = slice(start, stop)
        output = policy(
            {name: tensor[chunk].to(state.device) for name, tensor in rollout.observation.items()},
            state,
            rollout.reset[chunk].to(state.device),
        )
        state = output.state
        yield chunk, output


def refresh_states(policy: ActorCritic, rollout: Rollout) -> Tensor:
    """[Q, B, S] what `rollout.sequence_state` would be if the present weights had acted.

    The state before the first row of each column stays as it is: the steps before it are not known
    any more. With burn-in these are the states before it, so that the two may be used together: the
    refreshed state is one epoch old at most, and burn-in renews it for every minibatch.
    """
    memory = policy.config.network.memory
    states = [rollout.sequence_state[0].to(policy.initial_state(0).device)]
    tops = range(memory.sequence_length, len(rollout.valid), memory.sequence_length)
    starts = [top - memory.burn_in for top in tops]
    # If burn-in is as long as a sequence, the second one starts where the first does.
    states += [states[0]] * starts.count(0)
    chunks = unroll(policy, rollout, cuts=starts)
    while len(states) <= len(starts):
        chunk, output = next(chunks)
        if chunk.stop in starts:
            states.append(output.state)
    return torch.stack(states)


@torch.no_grad()
def run_burn_in(policy: ActorCritic, burn_in: BurnIn, state: Tensor) -> Tensor:
    """[M, S] the state before each sequence of a minibatch, a constant.

    For sequences with burn-in, the present weights compute it from the steps before.

    Args:
        policy: with the present weights.
        burn_in: of the minibatch.
        state: [M, S] before the burn-in or, without one, the first step.
    """
    if len(burn_in.sequence) == 0:
        return state
    before = state.index_select(0, burn_in.sequence)
    after = policy(burn_in.observation, before, burn_in.reset).state
    return state.index_copy(0, burn_in.sequence, after)


def steps_at_once(rollout: Rollout) -> int:
    """Steps of a rollout that one forward may take."""
    numbers = sum(tensor.shape[2:].numel() for tensor in rollout.observation.values())
    return max(1, min(MAX_STEPS, MAX_NUMBERS // max(1, numbers)))


def _rows_at_once(rollout: Rollout) -> int:
    columns = max(1, rollout.valid.shape[1])
    return max(1, steps_at_once(rollout) // columns)
