"""Bytes of one simulator's steps and their answers, counted in the limit of all simulators."""

from entrain.serving.limits import Limit


class WaitingBytes:
    """See the module. Owned by its participant."""

    def __init__(self, limit: Limit) -> None:
        """None yet.

        Args:
            limit: of all simulators together.
        """
        self._limit = limit
        self._newest = 0
        self._earlier = 0
        self._unread = 0

    def hold_newest(self, size: int, *, who: str) -> None:
        """The newest step and its answers take so many, instead of as many as before.

        Raises LimitError if there is no room, here as below.
        """
        self._take(size - self._newest, who)
        self._newest = size

    def hold_earlier(self, size: int, *, who: str) -> None:
        """The answers to the step before the newest take so many."""
        self._take(size - self._earlier, who)
        self._earlier = size

    def hold_unread(self, size: int, *, who: str) -> None:
        """A step whose turn has not come takes so many."""
        self._take(size - self._unread, who)
        self._unread = size

    def give_back(self) -> None:
        """Nothing is held any more."""
        self._limit.used -= self._newest + self._earlier + self._unread
        self._newest = self._earlier = self._unread = 0

    def _take(self, more: int, who: str) -> None:
        limit = self._limit
        if limit.used + more > limit.limit:
            limit.take(more, who=who)
        else:
            limit.used += more
