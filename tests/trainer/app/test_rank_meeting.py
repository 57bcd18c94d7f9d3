"""What ranks tell each other before their run begins."""

import threading
import time

import pytest
from torch._C._distributed_c10d import HashStore

from entrain.app.rank_meeting import TOLD_S, Meeting
from entrain.app.rank_place import RankPlace
from entrain.errors import CheckpointError, RankFailedError


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
