"""Decides when each round begins, from what ranks say. Nothing here sends or waits by itself.

A round of a policy begins once every rank is ready, that is, has its rollout. A rank that collects
no more, because it has its share of the total steps, is told to cut as soon as all others are
ready. A rank that is slow is told to cut once another has waited for `max_wait_s`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from entrain.serving.batcher import Timer

Fields = Mapping[str, Any]
Send = Callable[[int, str, Fields], None]
"""To a rank: kind and fields of a message."""


class BadRoundError(Exception):
    """Ranks disagree over which round comes next."""


class CallLater(Protocol):
    """As `loop.call_later`."""

    def __call__(self, delay_s: float, callback: Callable[[], None]) -> Timer: ...


@dataclass
class _Round:
    """The next round of one policy."""

    number: int = 0
    shares: dict[int, Fields] = field(default_factory=dict)
    complete: set[int] = field(default_factory=set)
    told: set[int] = field(default_factory=set)
    """Ranks that were told to cut."""

    timer: Timer | None = None


class RoundTable:
    """See the module. Owned by the event loop of rank 0."""

    def __init__(
        self, size: int, send: Send, *, max_wait_s: float | None, call_later: CallLater
    ) -> None:
        """No policy yet.

        Args:
            size: how many ranks there are.
            send: sends a message to one of them.
            max_wait_s: after which slow ranks are told to cut; None: never.
            call_later: how to be called back after seconds.
        """
        self._size = size
        self._send = send
        self._max_wait_s = max_wait_s
        self._call_later = call_later
        self._rounds: dict[str, _Round] = {}
        self._is_held = False
        self._done: set[int] = set()
        """Ranks on which all policies are complete."""

    def __repr__(self) -> str:
        waiting = {name: len(each.shares) for name, each in self._rounds.items()}
        return f"<RoundTable: ranks ready {waiting}>"

    def ready(self, rank: int, policy: str, number: int, share: Fields) -> None:
        """A rank has its rollout of a round; BadRoundError if others are in another one."""
        each = self._rounds.setdefault(policy, _Round())
        if each.shares and number != each.number:
            raise BadRoundError(
                f"rank {rank} is in round {number} of policy '{policy}', others in {each.number}"
            )
        each.number, each.shares[rank] = number, share
        self._look(policy)

    def complete(self, rank: int, policy: str) -> None:
        """A rank has its share of the total steps, and collects no more."""
        self._rounds.setdefault(policy, _Round()).complete.add(rank)
        self._look(policy)

    def done(self, rank: int) -> None:
        """A rank serves no policy any more, also none that another rank may bring yet."""
        self._done.add(rank)
        for policy in list(self._rounds):
            self._look(policy)

    def hold(self) -> None:
        """Begin no round until `release`."""
        self._is_held = True

    def release(self) -> None:
        """Rounds may begin again."""
        self._is_held = False
        for policy in list(self._rounds):
            self._look(policy)

    def stop(self) -> None:
        """Begin no round any more."""
        self._is_held = True
        for each in self._rounds.values():
            if each.timer is not None:
                each.timer.cancel()

    def _look(self, policy: str) -> None:
        each = self._rounds[policy]
        if len(each.shares) == self._size:
            if not self._is_held:
                self._begin(policy, each)
            return
        complete = each.complete | self._done
        if each.shares and len(each.shares.keys() | complete) == self._size:
            self._tell_to_cut(policy, each)
        elif (each.shares or complete) and len(complete) < self._size:
            self._wait(policy, each)

    def _begin(self, policy: str, each: _Round) -> None:
        if each.timer is not None:
            each.timer.cancel()
        self._rounds[policy] = _Round(complete=each.complete)
        shares = {str(rank): share for rank, share in each.shares.items()}
        for rank in range(self._size):
            self._send(rank, "go", {"policy": policy, "round": each.number, "shares": shares})

    def _tell_to_cut(self, policy: str, each: _Round) -> None:
        for rank in range(self._size):
            if rank not in each.shares and rank not in each.told:
                each.told.add(rank)
                self._send(rank, "cut", {"policy": policy, "round": each.number})

    def _wait(self, policy: str, each: _Round) -> None:
        if each.timer is None and self._max_wait_s is not None:
            each.timer = self._call_later(self._max_wait_s, lambda: self._be_overdue(policy, each))

    def _be_overdue(self, policy: str, each: _Round) -> None:
        if each is not self._rounds[policy] or self._is_held:
            each.timer = None
            return
        if each.shares:
            self._tell_to_cut(policy, each)
            return
        for rank in range(self._size):
            if rank not in each.complete | self._done:
                self._send(rank, "finish", {"policy": policy})
