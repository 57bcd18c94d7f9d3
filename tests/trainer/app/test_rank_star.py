"""Small tensors of all ranks over plain connections, and strangers that dial rank 0 of them."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

from entrain.app.rank_star import MOST_BYTES, StarGroup, accept_peers, dial_first

TOKEN = "0123456789abcdef"


class Large:
    """Stands in for gloo: remembers what it was left."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def add_up(self, x: Tensor) -> None:
        self.calls.append(("add_up", x.numel()))

    def least(self, x: Tensor) -> None:
        self.calls.append(("least", x.numel()))

    def broadcast(self, x: Tensor) -> None:
        self.calls.append(("broadcast", x.numel()))


Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


def together(*works: Callable[[], None]) -> None:
    """Each in a thread of its own, as ranks are processes of their own."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10.0)


def test_sums_minima_and_copies_are_the_same_on_both_ranks(pair: Pair) -> None:
    first, other = StarGroup(0, [pair[0]], Large()), StarGroup(1, [pair[1]], Large())
    xs = [torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, 4.0]])]
    ys = [torch.tensor([7, 2]), torch.tensor([6, 9])]
    zs = [torch.tensor([1.5]), torch.tensor([0.0])]

    def work(group: StarGroup, rank: int) -> None:
        group.add_up(xs[rank])
        group.least(ys[rank])
        group.broadcast(zs[rank])

    together(lambda: work(first, 0), lambda: work(other, 1))
    assert [x.tolist() for x in xs] == [[[4.0, 9.0]]] * 2
    assert [y.tolist() for y in ys] == [[6, 2]] * 2
    assert [z.tolist() for z in zs] == [[1.5]] * 2


def test_large_tensors_and_those_in_pieces_are_left_to_gloo(pair: Pair) -> None:
    large = Large()
    group = StarGroup(0, [pair[0]], large)
    count = MOST_BYTES // 4 + 1
    group.add_up(torch.zeros(count))
    group.broadcast(torch.zeros(count))
    group.add_up(torch.zeros(3, 2).t())
    assert large.calls == [("add_up", count), ("broadcast", count), ("add_up", 6)]


def test_ranks_that_disagree_over_a_tensor_are_told_so(pair: Pair) -> None:
    pair[0].sendall(struct.pack(">Q", 1000) + bytes(8))
    with pytest.raises(ConnectionError, match="ranks disagree: 1,000 bytes came for 8"):
        StarGroup(1, [pair[1]], Large()).broadcast(torch.zeros(2))


def test_a_connection_that_closes_within_a_tensor_is_an_error(pair: Pair) -> None:
    pair[0].sendall(struct.pack(">Q", 8) + bytes(3))
    pair[0].close()
    with pytest.raises(ConnectionError, match="the connection of a rank closed"):
        StarGroup(1, [pair[1]], Large()).broadcast(torch.zeros(2))


class SendsInParts:
    """A socket whose buffer takes a few bytes at a time."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer

    def sendmsg(self, parts: Sequence[bytes]) -> int:
        return self._peer.send(b"".join(map(bytes, parts))[:11])

    def sendall(self, content: bytes) -> None:
        self._peer.sendall(content)


def test_what_a_full_buffer_did_not_take_is_sent_after_it(pair: Pair) -> None:
    sender = SendsInParts(pair[0])
    StarGroup(0, [sender], Large()).broadcast(torch.tensor([1.0, 2.0, 3.0]))  # type: ignore[list-item]
    arrived = torch.zeros(3)
    StarGroup(1, [pair[1]], Large()).broadcast(arrived)
    assert arrived.tolist() == [1.0, 2.0, 3.0]


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(10.0)
        yield made


def test_strangers_are_left_out_and_ranks_stand_in_their_order(listener: socket.socket) -> None:
    host, port = listener.getsockname()
    strangers = [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 1) + TOKEN[::-1].encode(),
        struct.pack(">I", 0) + TOKEN.encode(),
        struct.pack(">I", 3) + TOKEN.encode(),
    ]
    dialled = []
    for said in strangers:
        stranger = socket.create_connection((host, port), timeout=10.0)
        stranger.sendall(said)
        stranger.shutdown(socket.SHUT_WR)
        dialled.append(stranger)
    # Rank 2 comes twice: the second is left out.
    ranks = [dial_first(host, port, TOKEN, rank, 10.0) for rank in (2, 2, 1)]
    found = accept_peers(listener, TOKEN, 3)
    assert len(found) == 2
    for number, peer in enumerate(found):
        peer.sendall(bytes([number]))
    assert (ranks[2].recv(1), ranks[0].recv(1)) == (b"\x00", b"\x01")
    for left_out in (*dialled, ranks[1]):
        try:
            assert left_out.recv(1) == b""
        except ConnectionResetError:
            continue
    for each in (*dialled, *ranks, *found):
        each.close()


def test_ranks_that_do_not_come_are_not_waited_for_without_end(listener: socket.socket) -> None:
    listener.settimeout(0.01)
    with pytest.raises(OSError, match="timed out"):
        accept_peers(listener, TOKEN, 2)
