"""A checkpoint of several ranks, as each rank loads it."""

from pathlib import Path

import pytest

from entrain.app.build import checked
from entrain.app.rank_states import RANKS, of_all, of_rank, require_size
from entrain.errors import CheckpointError
from entrain.run.checkpoint import Loaded
from entrain.state import State

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
