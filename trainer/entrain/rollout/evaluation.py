"""The two forms that pass between an actor and a collector: what it evaluated, what it sampled.

Shapes: K rows of a batch; N of them that are outcomes, or that need an action.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from entrain.inference.numpy_distributions import Action, ArrayDistribution
from entrain.requests import SlotTimesteps
from entrain_envs.timestep import ActionBatch, Array, BoolArray, Float32Array, Int64Array

Rows: TypeAlias = Int64Array | slice
"""An index of rows of an array: their numbers, or slice(None) for all of them."""

ALL_ROWS = slice(None)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A batch as the policy evaluated it. Its arrays are never written to again: what they hold is
    written down later, with that of other batches.
    """

    batch: SlotTimesteps

    begins: BoolArray
    """[K] true where no step awaits the row as its outcome. Recurrent state is cleared there: an
    episode begins, or the row is of one that was never begun."""

    observation: Mapping[str, Array]
    """{name: [K, *shape]} what the policy was shown: what came, and what the actor added."""

    recurrent_state: Float32Array
    """[K, S] before these rows."""

    distribution: ArrayDistribution
    """Over the actions of all K rows; nothing is masked yet."""

    value: Float32Array
    """[K, V] the critic's."""

    next_recurrent_state: Float32Array
    """[K, S] after these rows."""

    policy_version: int
    """How many updates the policy had seen."""

    is_usual: bool = False
    """True if the rows are those of `batch.steady`, and each of its slots has a step open."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The rows of an evaluation that are outcomes of earlier actions."""

    evaluation: Evaluation

    rows: Rows

    slot: Int64Array
    """[N]."""

    @classmethod
    def of(cls, evaluation: Evaluation) -> "Outcomes":
        """Those of a batch: every row whose agent has a step open."""
        steady = evaluation.batch.steady
        if evaluation.is_usual and steady is not None:
            return cls(evaluation, slice(len(steady)), steady)
        rows = rows_where(~evaluation.begins)
        return cls(evaluation, rows, evaluation.batch.slot[rows])

    @property
    def observation(self) -> Mapping[str, Array]:
        """{name: [N, *shape]} what followed the actions; where an episode ended, its true end."""
        return {name: values[self.rows] for name, values in self.evaluation.observation.items()}


@dataclass(frozen=True, eq=False)
class Sampled(ActionBatch):
    """The actions of a batch: as they are sent, and as they were sampled."""

    rows: Rows
    """Of the batch's K rows, the N that needed an action."""

    slot: Int64Array
    """[N]."""

    distribution: ArrayDistribution
    """Over the actions of all K rows, masked."""

    action: Action
    """{"continuous": [K, D], "discrete": [K, branches]} before they were bounded."""


def rows_where(is_wanted: BoolArray) -> Rows:
    """An index of these rows: a slice if it is all of them, as usual, so that nothing is copied."""
    if np.count_nonzero(is_wanted) == len(is_wanted):
        return ALL_ROWS
    return is_wanted.nonzero()[0]
