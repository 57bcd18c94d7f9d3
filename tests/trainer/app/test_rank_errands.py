"""What rank 0 asks of a rank is done in order, once the run trains."""

import asyncio

from entrain.app.rank_errands import Errands


def test_errands_wait_for_the_run_and_are_then_done_in_order() -> None:
    done: list[str] = []

    async def train() -> None:
        errands = Errands()
        errands.do(lambda: done.append("first"))
        errands.do(lambda: done.append("second"))
        assert done == []
        async with errands.done():
            assert done == ["first", "second"]
            errands.do(lambda: done.append("at once"))
            assert done[-1] == "at once"

    asyncio.run(train())
    assert len(done) == 3


def test_a_task_of_an_errand_is_over_when_the_run_has_trained() -> None:
    done: list[str] = []

    async def work() -> None:
        await asyncio.sleep(0)
        done.append("work")

    async def train() -> None:
        errands = Errands()
        errands.do(lambda: errands.begin(work()))
        async with errands.done():
            pass

    asyncio.run(train())
    assert done == ["work"]


def test_what_is_asked_after_the_end_is_left_undone() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("work")

    async def train() -> None:
        errands = Errands()
        async with errands.done():
            pass
        # A coroutine that nobody awaits would be a warning, and so an error.
        errands.do(lambda: errands.begin(work()))

    asyncio.run(train())
    assert done == []
