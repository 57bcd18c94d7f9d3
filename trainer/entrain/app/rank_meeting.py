"""Where ranks meet before their event loops run: the store that torchrun keeps.

Rank 0 leaves there what the others need to begin: the configuration, each one's part of the
checkpoint, and where rank 0 can be reached. Whoever fails before leaves its reason.
"""

import contextlib
import json
import logging
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore, ProcessGroupGloo, Store
from torch.distributed.rendezvous import rendezvous

from entrain.app.rank_hosts import family_of, own_hosts
from entrain.app.rank_place import RankPlace
from entrain.app.rank_star import StarGroup, accept_peers, dial_first
from entrain.errors import EntrainError, RankFailedError, RankLostError
from entrain.ranks import GlooGroup, Group

logger = logging.getLogger(__name__)

MEET_S = 300.0
"""How long ranks wait for each other at the beginning."""

COLLECTIVE_S = 1800.0
"""How long an update waits for a rank that is still there."""

TOLD_S = 10.0
"""How long rank 0, which may keep the store, stays for the others to read why it failed."""

_LOOK_S = 0.1
_CHUNK = 4 << 20
_FAILED = "failed"
_TOLD = "told"


class Meeting:
    """The store, as one rank uses it. Every method may block."""

    def __init__(self, place: RankPlace, store: Store) -> None:
        """Use `store`, in which nothing of this run is yet."""
        self.place = place
        self._store = PrefixStore("entrain", store)
        self._open: list[socket.socket] = []

    def __repr__(self) -> str:
        return f"<Meeting of {self.place}>"

    def leave(self, key: str, content: Mapping[str, Any], blob: bytes = b"") -> None:
        """Let others find something."""
        with self._reached():
            count = -(-len(blob) // _CHUNK)
            for index in range(count):
                part = blob[index * _CHUNK : (index + 1) * _CHUNK]
                self._store.set(f"{key}/{index}", part)  # type: ignore[arg-type]
            self._store.set(key, json.dumps([dict(content), count]))

    def find(self, key: str, *, wait_s: float = MEET_S) -> tuple[Mapping[str, Any], bytes]:
        """Returns what another rank leaves there, once it does.

        Raises:
            RankFailedError: a rank failed instead.
            RankLostError: none did for so long, or the store is gone.
        """
        until_s = time.monotonic() + wait_s
        with self._reached():
            while not self._store.check([key]):
                self.require_nobody_failed()
                if time.monotonic() > until_s:
                    raise RankLostError(
                        f"{self.place}: rank 0 did not begin the run within {wait_s:g} s; see what "
                        "it printed, and start all ranks again"
                    )
                time.sleep(_LOOK_S)
            content, count = json.loads(self._store.get(key))
            return content, b"".join(self._taken(f"{key}/{index}") for index in range(count))

    def look(self, key: str) -> Mapping[str, Any] | None:
        """Returns what another rank has left there, if it has; RankFailedError as of `find`."""
        self.require_nobody_failed()
        with self._reached():
            return json.loads(self._store.get(key))[0] if self._store.check([key]) else None

    def _taken(self, key: str) -> bytes:
        content: bytes = self._store.get(key)
        self._store.delete_key(key)
        return content

    def fail(self, error: EntrainError) -> None:
        """Let others know that this rank ends before it has begun."""
        content = {"rank": self.place.rank, "reason": str(error), "exit_code": error.exit_code}
        try:
            if not isinstance(error, RankFailedError):
                self.leave(_FAILED, content)
                self._wait_for_readers()
        except RankLostError:
            logger.debug("nobody is left to be told of a failure")

    def _wait_for_readers(self) -> None:
        others = range(1, self.place.size) if self.place.rank == 0 else ()
        keys = [f"{_TOLD}/{rank}" for rank in others]
        until_s = time.monotonic() + TOLD_S
        with self._reached():
            while keys and not self._store.check(keys) and time.monotonic() < until_s:
                time.sleep(_LOOK_S)

    def require_nobody_failed(self) -> None:
        """Raise RankFailedError if a rank has ended before it began."""
        with self._reached():
            if self._store.check([_FAILED]):
                content, _ = json.loads(self._store.get(_FAILED))
                self._store.set(f"{_TOLD}/{self.place.rank}", "")
                raise RankFailedError(
                    f"rank {content['rank']} failed: {content['reason']}",
                    exit_code=int(content["exit_code"]),
                )

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise RankLostError(
                f"{self.place}: the store that the ranks share is gone ({str(error)[:200]}); the "
                "process that kept it has ended: start all ranks again"
            ) from error

    def group(self, name: str) -> Callable[[], Group]:
        """Returns what connects all ranks for the updates of a policy; they call it at one time."""

        def join() -> Group:
            rank, size = self.place.rank, self.place.size
            store = PrefixStore(f"policy/{name}", self._store)
            gloo = ProcessGroupGloo(store, rank, size, timedelta(seconds=COLLECTIVE_S))
            peers = self._peers(f"star/{name}")
            self._open.extend(peers)
            return StarGroup(rank, peers, GlooGroup(cast(dist.ProcessGroup, gloo)))

        return join

    def close(self) -> None:
        """End the connections of updates; one that still waits in a thread fails."""
        for peer in self._open:
            with contextlib.suppress(OSError):  # the other end may have been first
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()
        self._open.clear()

    def _peers(self, key: str) -> Sequence[socket.socket]:
        """Connections for small tensors: of rank 0 to all, of the others to rank 0."""
        if self.place.rank:
            about, _ = self.find(key)
            port, token = int(about["port"]), str(about["token"])
            return [dial_first(self.place.address, port, token, self.place.rank, COLLECTIVE_S)]
        host = own_hosts(self.place.address)[0]
        with socket.create_server((host, 0), family=family_of(host)) as listener:
            listener.settimeout(COLLECTIVE_S)
            token = secrets.token_hex(16)
            self.leave(key, {"port": listener.getsockname()[1], "token": token})
            return accept_peers(listener, token, self.place.size)


@contextmanager
def meeting_of(place: RankPlace) -> Iterator[Meeting]:
    """Within the block, the ranks meet; an error that ends it is left for the others."""
    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=MEET_S)))
    except (RuntimeError, ValueError) as error:
        raise RankLostError(
            f"{place}: the other ranks were not met at {place.address} (MASTER_ADDR): "
            f"{str(error).splitlines()[0][:200]}; see that it names the machine of rank 0, and "
            "that all ranks were started"
        ) from error
    meeting = Meeting(place, store)
    try:
        yield meeting
    except EntrainError as error:
        meeting.fail(error)
        raise
