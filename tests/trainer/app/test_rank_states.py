"""A checkpoint of several ranks, as each rank loads it."""

from pathlib import Path

import pytest
import torch

from entrain.algorithms.off_policy import OffPolicy
from entrain.app.build import checked
from entrain.app.learning_parts import make_algorithm
from entrain.app.rank_gathering import _decoded
from entrain.app.rank_states import RANKS, of_all, of_rank, require_size
from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError
from entrain.policy.actor_critic import make_policy
from entrain.run.checkpoint import CheckpointStore, Loaded
from entrain.run.state_files import decode_state, encode_state
from entrain.state import State
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from made_rollouts import same_state
from off_policy_cases import made_transitions

CHOICES = BehaviourSpec("walker", (ObservationSpec("x", (2,)),), ActionSpec(branches=(3,)))
PATH = Path("runs/walk/checkpoints/0002-step-2091")


def state(number: int) -> State:
    """Of one rank, before it has any policy."""
    return {"number": number, "policies": {}}


def loaded(*states: State) -> Loaded:
    """The checkpoint of a run of so many ranks."""
    whole = of_all(states) if len(states) > 1 else states[0]
    return Loaded(whole, 2091, PATH, ())


def test_each_rank_loads_what_it_wrote() -> None:
    restored = loaded(state(0), state(1), state(2))
    require_size(restored, 3)
    assert [of_rank(restored, rank).state for rank in range(3)] == [state(0), state(1), state(2)]


def test_the_replay_of_each_rank_comes_back_to_it_alone(tmp_path: Path) -> None:
    ranks = [learner(seed=rank) for rank in range(2)]
    first, second = ({"policies": {"0": policy_of(each)}} for each in ranks)
    document, tensors = encode_state(second)
    # As another rank's state comes to rank 0.
    come = bytearray(len(document).to_bytes(8, "big") + document + tensors)
    store = CheckpointStore(tmp_path, keep=1)
    store.save(of_all([first, _decoded(come)]), step=16)
    restored = store.load_newest()
    for rank, each in enumerate(ranks):
        # As rank 0 sends it on.
        own = decode_state(*encode_state(of_rank(restored, rank).state))
        again = learner(seed=7)
        again.load_state(own["policies"]["0"]["trainer"]["algorithm"])
        assert same_state(again.state()["replay"], each.state()["replay"])
        assert torch.equal(again.weights.parameters, ranks[0].weights.parameters)


def learner(*, seed: int) -> OffPolicy:
    """One rank's, with steps of its own."""
    options = PolicyConfig.model_validate(
        {"network": {"hidden_sizes": (4,)}, "algorithm": {"kind": "soft_q", "replay_size": 50}}
    )
    algorithm = make_algorithm(make_policy(CHOICES, options, seed=seed), seed=seed)
    assert isinstance(algorithm, OffPolicy)
    algorithm.update(made_transitions([0, 1, 0, 1], spec=CHOICES, seed=seed), progress=0.0)
    return algorithm


def policy_of(algorithm: OffPolicy) -> State:
    return {"spec": CHOICES.state(), "trainer": {"algorithm": algorithm.state()}}


@pytest.mark.parametrize(
    ("wrote", "size", "words", "remedy"),
    [
        (
            2,
            1,
            "2 ranks, and 1 rank would",
            "torchrun --nproc-per-node 2 -m entrain resume runs/walk;",
        ),
        (
            2,
            3,
            "2 ranks, and 3 ranks would",
            "torchrun --nproc-per-node 2 -m entrain resume runs/walk;",
        ),
        (1, 2, "1 rank, and 2 ranks would", "entrain resume runs/walk, without torchrun;"),
    ],
)
def test_another_number_of_ranks_is_refused_in_one_line_with_a_command_that_helps(
    wrote: int, size: int, words: str, remedy: str
) -> None:
    restored = loaded(*(state(rank) for rank in range(wrote)))
    with pytest.raises(CheckpointError) as raised, checked(restored.path):
        require_size(restored, size)
    text = str(raised.value)
    assert text.startswith(f"{PATH}: it is of a run of {words} go on with it")
    assert remedy in text
    assert text.endswith("policies.NAME.initial_weights=runs/walk")
    assert len(text.splitlines()) == text.count(str(PATH)) == 1


def test_a_checkpoint_that_lacks_a_rank_is_refused_in_one_line() -> None:
    restored = loaded(state(0), state(1))
    del restored.state[RANKS]["1"]
    with (
        pytest.raises(CheckpointError, match="whole, but not of this run: KeyError: '1'") as raised,
        checked(restored.path),
    ):
        of_rank(restored, 1)
    assert "\n" not in str(raised.value)
