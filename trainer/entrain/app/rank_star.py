"""Adds up small tensors of all ranks over plain connections to rank 0.

gloo passes every message through three threads, which costs several times the processor time of
the message itself, and is much of what a small network's gradient step takes. Here the learner's
own thread sends and receives. Large tensors, for which rank 0 would be the bottleneck, and those on
a GPU are left to gloo. All ranks get the same bits: rank 0 adds in the order of the ranks.
"""

import hmac
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from entrain.ranks import Group

MOST_BYTES = 1 << 20
"""The largest tensor that is sent over the star; larger ones go by gloo."""

_LENGTH = struct.Struct(">Q")
_RANK = struct.Struct(">I")

Numbers = npt.NDArray[Any]


class StarGroup:
    """One policy's connections; see `ranks.Group`. Used by one thread at a time."""

    def __init__(self, rank: int, peers: Sequence[socket.socket], large: Group) -> None:
        """Take connections that are open.

        Args:
            rank: of this process.
            peers: on rank 0 to all others, in their order; on the others to rank 0.
            large: for all other tensors.
        """
        self._is_first = rank == 0
        self._peers = peers
        self._large = large

    def add_up(self, x: Tensor) -> None:
        """See `Group.add_up`."""
        if self._is_large(x):
            self._large.add_up(x)
        else:
            self._reduce(x.numpy(), np.add)

    def least(self, x: Tensor) -> None:
        """See `Group.least`."""
        self._reduce(x.numpy(), np.minimum)

    def broadcast(self, x: Tensor) -> None:
        """See `Group.broadcast`."""
        if self._is_large(x):
            self._large.broadcast(x)
        elif self._is_first:
            self._tell(x.numpy())
        else:
            _receive(self._peers[0], x.numpy())

    @staticmethod
    def _is_large(x: Tensor) -> bool:
        return x.is_cuda or x.nbytes > MOST_BYTES or not x.is_contiguous()

    def _reduce(self, own: Numbers, combine: Callable[..., Numbers]) -> None:
        if not self._is_first:
            _send(self._peers[0], own)
            _receive(self._peers[0], own)
            return
        other = np.empty_like(own)
        for peer in self._peers:
            _receive(peer, other)
            combine(own, other, out=own)
        self._tell(own)

    def _tell(self, own: Numbers) -> None:
        for peer in self._peers:
            _send(peer, own)


def accept_peers(listener: socket.socket, token: str, size: int) -> Sequence[socket.socket]:
    """Returns a connection to each rank but the first, once all have come; strangers are left out.

    Raises:
        OSError: they have not, within the listener's timeout.
    """
    found: dict[int, socket.socket] = {}
    while len(found) < size - 1:
        peer, _ = listener.accept()
        peer.settimeout(listener.gettimeout())
        greeting = bytearray(_RANK.size + len(token))
        try:
            _fill(peer, memoryview(greeting))
        except OSError:
            peer.close()
            continue
        rank = _RANK.unpack_from(greeting)[0]
        is_known = hmac.compare_digest(bytes(greeting[_RANK.size :]), token.encode())
        if not is_known or not 0 < rank < size or rank in found:
            peer.close()
            continue
        found[rank] = _at_once(peer)
    return [found[rank] for rank in sorted(found)]


def dial_first(host: str, port: int, token: str, rank: int, timeout_s: float) -> socket.socket:
    """Returns a connection to rank 0."""
    peer = socket.create_connection((host, port), timeout=timeout_s)
    peer.sendall(_RANK.pack(rank) + token.encode())
    return _at_once(peer)


def _at_once(peer: socket.socket) -> socket.socket:
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The system's own limit: with Python's, every call would be two.
    limit_s = int(peer.gettimeout() or 0)
    peer.settimeout(None)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", limit_s, 0))
    return peer


def _send(peer: socket.socket, numbers: Numbers) -> None:
    content = numbers.reshape(-1).view(np.uint8).data
    head = _LENGTH.pack(len(content))
    sent = peer.sendmsg([head, content])
    if sent < len(head) + len(content):
        peer.sendall((head + bytes(content))[sent:])


def _receive(peer: socket.socket, numbers: Numbers) -> None:
    content = numbers.reshape(-1).view(np.uint8).data
    head = bytearray(_LENGTH.size)
    _fill(peer, memoryview(head))
    length = _LENGTH.unpack(head)[0]
    if length != len(content):
        raise ConnectionError(f"ranks disagree: {length:,} bytes came for {len(content):,}")
    _fill(peer, content)


def _fill(peer: socket.socket, content: memoryview) -> None:
    position = 0
    while position < len(content):
        count = peer.recv_into(content[position:], 0, socket.MSG_WAITALL)
        if count == 0:
            raise ConnectionError("the connection of a rank closed")
        position += count
