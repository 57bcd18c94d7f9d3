"""The state of all ranks in one checkpoint: that of rank 0, with those of the others in it.

Whatever reads the policies of a run reads those of rank 0. What is the same on all ranks, weights
and optimizer, is written once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from entrain.app.build import policy_states
from entrain.app.command_words import resume_command
from entrain.errors import CheckpointError
from entrain.run.checkpoint import Loaded
from entrain.state import State

RANKS = "ranks"
_SHARED = ("policy", "optimizer", "critics", "q", "target")
"""Parts of an algorithm's state: all that gradients change, which are the mean over all ranks."""


def of_all(states: Sequence[State]) -> State:
    """Returns the state of a run, of those of its ranks in order."""
    first = states[0]
    shared = _algorithms(first)
    others = {
        str(rank): _with_algorithms(state, lambda name, it: _without_shared(it, shared.get(name)))
        for rank, state in enumerate(states[1:], start=1)
    }
    return {**first, RANKS: {"size": len(states), **others}}


def of_rank(restored: Loaded, rank: int) -> Loaded:
    """Returns the checkpoint as one rank loads it."""
    state = restored.state
    first = {name: value for name, value in state.items() if name != RANKS}
    if rank == 0:
        return Loaded(first, restored.step, restored.path, restored.skipped)
    shared = _algorithms(first)
    own = _with_algorithms(
        state[RANKS][str(rank)],
        lambda name, it: {**_parts(shared.get(name, {})), **it},
    )
    return Loaded(own, restored.step, restored.path, ())


def own_steps(state: State) -> Mapping[str, Mapping[int, int]]:
    """{behaviour: {rank: env steps that it has closed itself}} in the state of all ranks."""
    others = {int(rank): each for rank, each in state[RANKS].items() if rank != "size"}
    found: dict[str, dict[int, int]] = {}
    for rank, each in {0: state, **others}.items():
        for spec, trainer in policy_states(each["policies"]):
            own = int(trainer["progress"]["env_steps"]) - int(trainer["part"]["others"])
            found.setdefault(spec.name, {})[rank] = own
    return found


def require_size(restored: Loaded, size: int) -> None:
    """Raise CheckpointError unless so many ranks wrote the checkpoint; see `checked`."""
    wrote = int(restored.state[RANKS]["size"]) if RANKS in restored.state else 1
    if wrote == size:
        return
    run = restored.path.parent.parent
    remedy = resume_command(run, wrote) + ("" if wrote > 1 else ", without torchrun")
    raise CheckpointError(
        f"it is of a run of {_ranks(wrote)}, and {_ranks(size)} would go on with it; "
        f"each rank has steps and agents of its own in it. Resume with as many: {remedy}; or begin "
        f"a new run with its weights: policies.NAME.initial_weights={run}"
    )


def _ranks(size: int) -> str:
    return f"{size} rank{'' if size == 1 else 's'}"


def _algorithms(state: State) -> Mapping[str, State]:
    """{behaviour: state of its algorithm}."""
    return {spec.name: it["algorithm"] for spec, it in policy_states(state["policies"])}


def _with_algorithms(state: State, change: Any) -> State:
    policies = {}
    for index, each in state["policies"].items():
        trainer = each["trainer"]
        algorithm = change(each["spec"]["name"], trainer["algorithm"])
        policies[index] = {**each, "trainer": {**trainer, "algorithm": algorithm}}
    return {**state, "policies": policies}


def _parts(algorithm: State) -> State:
    return {name: algorithm[name] for name in _SHARED if name in algorithm}


def _without_shared(algorithm: State, first: State | None) -> State:
    if first is None:
        return algorithm
    return {name: value for name, value in algorithm.items() if name not in _SHARED}
