"""Bytes of one simulator's steps and their answers, counted in the limit of all simulators."""

from entrain.serving.limits import Limit
from entrain.serving.member import Member


class WaitingBytes:
    """See the module. Owned by its participant."""

    def __init__(self, limit: Limit, owner: Member) -> None:
        """None yet.

        Args:
            limit: of all simulators together.
            owner: whose bytes they are, for messages.
        """
        self._limit = limit
        self._owner = owner
        self._newest = 0
        self._earlier = 0
        self._unread = 0

    def hold_newest(self, size: int) -> None:
        """The newest step and its answers take so many, instead of as many as before.

        Raises LimitError if there is no room, here as below.
        """
        self._take(size - self._newest)
        self._newest = size

    def hold_earlier(self, size: int) -> None:
        """The answers to the step before the newest take so many."""
        self._take(size - self._earlier)
        self._earlier = size

    def hold_unread(self, size: int) -> None:
        """A step whose turn has not come takes so many."""
        self._take(size - self._unread)
        self._unread = size

    def give_back(self) -> None:
        """Nothing is held any more."""
        self._limit.used -= self._newest + self._earlier + self._unread
        self._newest = self._earlier = self._unread = 0

    def _take(self, more: int) -> None:
        limit = self._limit
        if limit.used + more > limit.limit:
            limit.take(more, who=self._owner.label)
        else:
            limit.used += more
