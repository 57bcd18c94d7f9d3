"""Keeps the weights of a run's best evaluation in a checkpoint of their own: `checkpoints/best`.

Returns are compared within one lesson: those of environments that differ say nothing of weights.

It holds what acting needs, and nothing of how training goes on: a run is never resumed from it. It
is written before the one before is removed, and the newest checkpoints come and go beside it.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from entrain.errors import CheckpointError, EntrainError
from entrain.run.checkpoint import CheckpointStore
from entrain.state import State

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """One evaluation, as the checkpoint of its weights names it."""

    number: int
    """Counted from 1."""

    env_steps: int
    """Of training, over all policies, when it began."""

    returns: Mapping[str, float]
    """{policy: mean return}."""

    versions: Mapping[str, int]
    """{policy: updates that its weights had seen}."""

    parameters: Mapping[str, object] = field(default_factory=dict)
    """{environment parameter: its number, or its sampler as plain values} of its episodes."""

    @property
    def score(self) -> float:
        """The number by which the best is chosen: the mean over policies of their mean returns."""
        return math.fsum(self.returns.values()) / len(self.returns) if self.returns else math.nan

    def is_better_than(self, other: "Evaluated | None") -> bool:
        """Whether its weights are kept in place of the other's; of two that are equal, the older.

        Returns of other policies, or in other environments, cannot be compared: then the newer one
        counts.
        """
        if not math.isfinite(self.score):
            return False
        if other is None or other.returns.keys() != self.returns.keys():
            return True
        return self.parameters != other.parameters or self.score > other.score


class BestCheckpoint:
    """See the module. Owned by the event loop; writing is done in a thread."""

    def __init__(self, folder: Path, *, check: Callable[[], None]) -> None:
        """Go on with the one in `folder`, if there is one; what is on the disk is what counts.

        Args:
            folder: need not exist.
            check: raises if this process may not write there any more.
        """
        self._store = CheckpointStore(folder, keep=1, check=check)
        self.evaluated = evaluated_of(self._store)
        """The evaluation whose weights are kept; None before the first."""

    async def offer(self, evaluated: Evaluated, policies: State, others: State) -> Path | None:
        """Keep these weights, if they did better than those that are kept.

        Args:
            evaluated: how they did.
            policies: as in a checkpoint of the run, of what acting needs.
            others: further parts of the run's state.

        Returns:
            Where they are; None if they are not kept.
        """
        if not evaluated.is_better_than(self.evaluated):
            return None
        about = {"evaluation": {**asdict(evaluated), "return": evaluated.score}}
        state = {**others, "policies": policies, "evaluated": asdict(evaluated)}
        try:
            path = await asyncio.to_thread(
                self._store.save, state, step=evaluated.env_steps, about=about
            )
        except EntrainError as error:
            logger.error("%s; training goes on, and the best weights before are kept", error)
            return None
        self.evaluated = evaluated
        return path


def evaluated_of(store: CheckpointStore) -> Evaluated | None:
    """Returns the evaluation of which `store` has the weights; None if it has none."""
    if not store.paths:
        return None
    try:
        return Evaluated(**store.load_newest().state["evaluated"])
    except (CheckpointError, KeyError, TypeError) as error:
        logger.warning(
            "the best checkpoint cannot be read, and the next takes its place: %s", error
        )
        return None
