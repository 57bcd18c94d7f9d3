"""The exchange between ranks before an update: each sends its share, all get the agreement.

A round is one rollout of each rank and the update that learns from all of them. Nothing here knows
how ranks are connected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from entrain.state import State

Moments = tuple[float, float, float]
"""Count, mean and variance of numbers."""

NO_NUMBERS: Moments = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Returned:
    """One rank's episodes of a policy, for curricula; see `SharedCurricula`."""

    returns: Sequence[float] = ()
    """Returns of its newest episodes since the last round."""

    lesson: int = 0
    """How many lessons had begun by then."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """One rank's contribution to a round."""

    env_steps: int
    """Env steps that this rank has closed since training began."""

    num_steps: int = 0
    """Steps in its rollout."""

    is_complete: bool = False
    """Whether it collects no more."""

    rewards: Moments = NO_NUMBERS
    """Of the discounted sums of its rewards, since the round before: see `RewardScaler`."""

    episodes: Mapping[str, float] = field(default_factory=dict)
    """Metrics of its episodes since the round before."""

    returned: Returned = Returned()

    def state(self) -> State:
        """For messages and checkpoints: plain values."""
        return {
            **vars(self),
            "rewards": list(self.rewards),
            "episodes": dict(self.episodes),
            "returned": [list(self.returned.returns), self.returned.lesson],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Share":
        """The share that `state` is of."""
        count, mean, variance = map(float, state["rewards"])
        returns, lesson = state.get("returned", ((), 0))
        return cls(
            env_steps=int(state["env_steps"]),
            num_steps=int(state["num_steps"]),
            is_complete=bool(state["is_complete"]),
            rewards=(count, mean, variance),
            episodes={str(name): float(value) for name, value in state["episodes"].items()},
            returned=Returned(tuple(map(float, returns)), int(lesson)),
        )


@dataclass(frozen=True)
class Agreement:
    """The contributions of all ranks to a round."""

    shares: Sequence[Share]
    """By rank."""

    @property
    def env_steps(self) -> int:
        """Closed by all ranks since training began."""
        return sum(share.env_steps for share in self.shares)

    @property
    def num_steps(self) -> int:
        """Steps that the update learns from, of all ranks."""
        return sum(share.num_steps for share in self.shares)

    @property
    def num_collecting(self) -> int:
        """Ranks that go on collecting."""
        return sum(not share.is_complete for share in self.shares)

    def state(self) -> State:
        """For messages and checkpoints: plain values."""
        return {str(rank): share.state() for rank, share in enumerate(self.shares)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Agreement":
        """The agreement that `state` is of."""
        return cls([Share.from_state(state[rank]) for rank in sorted(state, key=int)])


class Rounds(Protocol):
    """The rounds of one policy, as one rank sees them. See `app.rank_link`."""

    rank: int

    @property
    def has_begun(self) -> bool:
        """Whether a round was agreed to, and `end` was not called since."""
        ...

    async def agree(self, number: int, share: Share) -> Agreement:
        """Wait until every rank has its rollout of the round.

        Raises:
            UpdateCancelled: the run stops instead.
        """
        ...

    def end(self) -> None:
        """The update is over."""
        ...

    def complete(self, env_steps: int) -> None:
        """This rank collects no more; it takes part with what it has."""
        ...
