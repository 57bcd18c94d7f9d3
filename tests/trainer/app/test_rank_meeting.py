"""What ranks tell each other before their run begins."""

import socket
import threading
import time
from typing import Any

import pytest
import torch
from torch._C._distributed_c10d import HashStore

from entrain.app import rank_meeting
from entrain.app.rank_meeting import TOLD_S, Meeting, meeting_of
from entrain.app.rank_place import RankPlace
from entrain.errors import CheckpointError, RankFailedError, RankLostError
from entrain.ranks import Group


def test_rank_0_stays_with_the_store_until_all_others_know_why_it_failed() -> None:
    store = HashStore()
    first, *others = (Meeting(RankPlace(rank, 3, "localhost"), store) for rank in range(3))
    known: list[RankFailedError] = []

    def wait(meeting: Meeting) -> None:
        with pytest.raises(RankFailedError) as raised:
            meeting.find("begin")
        known.append(raised.value)

    waiting = [threading.Thread(target=wait, args=(each,)) for each in others]
    for thread in waiting:
        thread.start()
    begin_s = time.monotonic()
    first.fail(CheckpointError("it is of other ranks"))
    # Nobody was given up: whoever keeps the store may end now.
    assert time.monotonic() - begin_s < TOLD_S
    for thread in waiting:
        thread.join(TOLD_S)
    assert [str(each) for each in known] == ["rank 0 failed: it is of other ranks"] * 2
    assert {each.exit_code for each in known} == {CheckpointError.exit_code}


def test_rank_0_does_not_wait_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entrain.app.rank_meeting.TOLD_S", 0.0)
    Meeting(RankPlace(0, 2, "localhost"), HashStore()).fail(CheckpointError("it is damaged"))


def two(store: HashStore | None = None) -> tuple[Meeting, Meeting]:
    store = store or HashStore()
    first, other = (Meeting(RankPlace(rank, 2, "127.0.0.1"), store) for rank in range(2))
    return first, other


def test_what_is_left_is_found_whole_and_its_bytes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_meeting, "_CHUNK", 4)
    first, other = two()
    assert repr(other) == "<Meeting of rank 1 of 2>"
    assert other.look("begin") is None
    first.leave("begin", {"port": 7}, b"0123456789")
    assert other.look("begin") == {"port": 7}
    assert other.find("begin") == ({"port": 7}, b"0123456789")
    assert not other._store.check(["begin/0"])


def test_rank_0_that_leaves_nothing_is_not_waited_for_without_end() -> None:
    _, other = two()
    with pytest.raises(RankLostError, match=r"rank 1 of 2: rank 0 did not begin .* within -1 s"):
        other.find("begin", wait_s=-1.0)


def test_a_look_fails_with_the_rank_that_failed() -> None:
    first, other = two()
    other.fail(CheckpointError("it is damaged"))
    with pytest.raises(RankFailedError, match="rank 1 failed: it is damaged") as raised:
        first.look("begin")
    # Whoever was only told of a failure says nothing of its own.
    first.fail(raised.value)
    assert '"rank": 1' in first._store.get("failed").decode()


class Gone(HashStore):
    """A store whose process has ended."""

    def set(self, *_: Any) -> None:
        raise RuntimeError("Connection reset by peer")

    def check(self, _: Any) -> bool:
        raise RuntimeError("Connection reset by peer")


def test_a_store_that_is_gone_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    _, other = two()
    monkeypatch.setattr(other, "_store", Gone())
    words = r"rank 1 of 2: the store .* is gone \(Connection reset by peer\); .* start all ranks"
    for use in (lambda: other.leave("x", {}), lambda: other.look("x"), lambda: other.find("x")):
        with pytest.raises(RankLostError, match=words):
            use()
    # There is nobody to tell.
    other.fail(CheckpointError("it is damaged"))


def test_ranks_that_are_not_met_are_an_error_that_names_rank_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> Any:
        raise ValueError("the address is in use\nand a stack")

    monkeypatch.setattr(rank_meeting, "rendezvous", refuse)
    with (
        pytest.raises(
            RankLostError, match=r"not met at gpu-0 \(MASTER_ADDR\): the address is in use; see"
        ),
        meeting_of(RankPlace(1, 2, "gpu-0")),
    ):
        pass


def test_an_error_within_the_meeting_is_left_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = HashStore()
    monkeypatch.setattr(rank_meeting, "rendezvous", lambda *_, **__: iter([(store, 1, 2)]))
    with (
        pytest.raises(CheckpointError, match="damaged"),
        meeting_of(RankPlace(1, 2, "127.0.0.1")),
    ):
        raise CheckpointError("it is damaged")
    with pytest.raises(RankFailedError, match="rank 1 failed: it is damaged"):
        Meeting(RankPlace(0, 2, "127.0.0.1"), store).require_nobody_failed()


def test_a_group_adds_up_and_ends_when_its_meeting_closes() -> None:
    meetings, groups, xs = two(), dict[int, Group](), [torch.tensor([1.0]), torch.tensor([2.0])]

    def work(rank: int) -> None:
        groups[rank] = meetings[rank].group("walker")()
        groups[rank].add_up(xs[rank])

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert [x.tolist() for x in xs] == [[3.0]] * 2
    peers: list[socket.socket] = list(meetings[0]._open)
    for meeting in (*meetings, meetings[0]):
        meeting.close()
        assert meeting._open == []
    assert [peer.fileno() for peer in peers] == [-1]
    with pytest.raises(OSError, match="Bad file descriptor"):
        groups[0].add_up(xs[0])
