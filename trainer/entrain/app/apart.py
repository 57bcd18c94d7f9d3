"""A run of one rank, and the interface it shares with runs of several ranks, which have to agree.

`Together` is the same for a run of several ranks. Nothing here is connected to anybody.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, Protocol, TypeAlias

from entrain.app.checkpointing import Checkpointing
from entrain.app.rank_place import ONLY, RankPlace
from entrain.app.rank_states import require_size
from entrain.app.threads import make_learners
from entrain.config.environment_parameters import EnvironmentParameter, Value
from entrain.config.run import RunConfig
from entrain.errors import EntrainError
from entrain.ranks import ALONE, Ranks
from entrain.rollout.curricula import Curricula
from entrain.run.checkpoint import Loaded
from entrain.state import State
from entrain.trainer import Trainer
from entrain_envs.spec import BehaviourSpec

Parameters: TypeAlias = Mapping[str, EnvironmentParameter]
Changed: TypeAlias = Callable[[Mapping[str, Value], bool], None]


class RunPart(Protocol):
    """A training run, as `Together` tells it what all ranks do."""

    @property
    def trainers(self) -> Mapping[str, Trainer[Any]]: ...
    def admit(self, spec: BehaviourSpec, *, who: str) -> Coroutine[None, None, None]: ...
    @property
    def state(self) -> Callable[[], State]: ...
    def note_completion(self) -> None: ...
    def fail(self, error: EntrainError) -> None:
        """End the run, saved like one that no simulator is left for."""
        ...

    def serve_also(self, work: Coroutine[None, None, None]) -> None:
        """Do this beside the trainers' loops, and not end before it is done."""
        ...


class Apart:
    """A run of one rank."""

    place: RankPlace = ONLY
    is_over: bool = True
    """Whether all ranks had their total steps when the checkpoint was written."""

    def require(self, restored: Loaded) -> None:
        """Raise CheckpointError if a run of several ranks wrote the checkpoint."""
        require_size(restored, 1)

    def make_learners(self, config: RunConfig, *, processors: int) -> ThreadPoolExecutor:
        """Makes what runs the updates."""
        return make_learners(config.update_threads, processors=processors)

    def checkpointing(self, made: Checkpointing) -> Checkpointing:
        """Returns what writes checkpoints."""
        return made

    def ranks_of(self, behaviour: str) -> Ranks:  # noqa: ARG002 - see Together
        """Who learns the policy of a behaviour together."""
        return ALONE

    def seed(self, seed: int) -> int:
        """Returns a seed of this rank, of one that is the same for all."""
        return seed

    def make_curricula(self, parameters: Parameters, changed: Changed) -> Curricula:
        """Makes the curricula of a run; see `Curricula` for both."""
        return Curricula(parameters, changed)

    def make_trainer(self, behaviour: str, **parts: Any) -> Trainer[Any]:
        """Makes the trainer of a behaviour of its parts."""
        return Trainer(behaviour, **parts)

    async def number_of(self, spec: BehaviourSpec, number: int) -> int:  # noqa: ARG002
        """The number of a new behaviour, which is the same on all ranks."""
        return number

    def known_number(self, behaviour: str, number: int) -> int:  # noqa: ARG002
        """The number of a behaviour whose number was asked for before."""
        return number

    def connected(self, run: RunPart, stop: asyncio.Event) -> AbstractAsyncContextManager[None]:  # noqa: ARG002
        """Within the block, all ranks are there, and hear of an error that ends it."""
        return nullcontext()

    def tasks(self) -> list[Coroutine[None, None, None]]:
        """The coroutines that run beside training."""
        return []

    def note_done(self) -> bool:
        """All policies are done on this rank; returns whether they are on all."""
        return True

    def note_end(self, *, failure: EntrainError | None) -> None:
        """This rank is about to end: so do all others, and no update begins any more."""

    def state(self) -> State:
        """Which is part of the run's."""
        return {}

    def load_state(self, state: State) -> None:
        """Nothing."""
