"""Steps whose actions are polled for, so that a game draws while the trainer thinks."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from entrain_envs.background import Background
from entrain_envs.client import TrainerClient
from entrain_envs.errors import OutOfTurnError, SessionLostError, SpecError, TrainerClosed
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import StepType
from entrain_envs.wire import trainer_pb2 as pb
from scripted_trainer import RowsOf, Serve, act, close, welcome

FIRST, MID = StepType.FIRST, StepType.MID
WAIT_S = 20.0
"""Longest that a test waits for what comes in milliseconds."""

Requests = Iterator[pb.ConnectRequest]
Responses = Iterator[pb.ConnectResponse]
Talk = Callable[[Requests, Any], Responses]


def answering(walker: BehaviourSpec, may_answer: threading.Event) -> Talk:
    """Answers each Step, but none before it may."""

    def talk(requests: Requests, _context: Any) -> Responses:
        next(requests)
        yield welcome()
        for request in requests:
            if not request.HasField("step"):
                return
            may_answer.wait(WAIT_S)
            yield act(walker, request.step)

    return talk


@pytest.fixture
def may_answer() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def dial(serve_both: Serve, walker: BehaviourSpec) -> Iterator[Callable[..., TrainerClient]]:
    clients = []

    def make(*talks: Talk, **options: Any) -> TrainerClient:
        address = serve_both(*talks)
        client = TrainerClient(address, [walker], simulator="sim", **options)
        clients.append(client)
        client.connect()
        return client

    yield make
    for client in clients:
        client.close()


Dial = Callable[..., TrainerClient]


def test_the_caller_goes_on_until_the_actions_have_come(
    dial: Dial, walker: BehaviourSpec, rows_of: RowsOf, may_answer: threading.Event
) -> None:
    client = dial(answering(walker, may_answer))
    client.exchange_async({"walker": rows_of(walker, FIRST, FIRST)})
    assert client.poll() is None
    assert client.poll(timeout_s=0.01) is None
    may_answer.set()
    actions = client.poll(timeout_s=WAIT_S)
    assert actions is not None
    assert len(actions["walker"]) == 2

    # And again, also in the way that waits.
    client.exchange_async({"walker": rows_of(walker, MID)})
    actions = client.poll(timeout_s=WAIT_S)
    assert actions is not None
    assert len(actions["walker"]) == 1
    assert len(client.exchange({"walker": rows_of(walker, MID)})["walker"]) == 1


def test_turns_are_kept(
    dial: Dial, walker: BehaviourSpec, rows_of: RowsOf, may_answer: threading.Event
) -> None:
    client, rows = dial(answering(walker, may_answer)), {"walker": rows_of(walker, FIRST)}
    with pytest.raises(OutOfTurnError, match="no step was sent with exchange_async"):
        client.poll()
    client.exchange_async(rows)
    for again in (client.exchange_async, client.exchange):
        with pytest.raises(OutOfTurnError, match="no actions yet"):
            again(rows)
    may_answer.set()
    assert client.poll(timeout_s=WAIT_S) is not None
    with pytest.raises(OutOfTurnError, match="no step was sent"):
        client.poll()


def test_rows_that_do_not_fit_are_refused_at_once(
    dial: Dial, walker: BehaviourSpec, rows_of: RowsOf, may_answer: threading.Event
) -> None:
    client = dial(answering(walker, may_answer))
    with pytest.raises(SpecError, match="there is no behaviour 'bird'"):
        client.exchange_async({"bird": rows_of(walker, FIRST)})
    may_answer.set()
    client.exchange_async({"walker": rows_of(walker, FIRST)})
    assert client.poll(timeout_s=WAIT_S) is not None


def test_what_the_trainer_says_instead_is_raised_by_poll(
    dial: Dial, walker: BehaviourSpec, rows_of: RowsOf
) -> None:
    def ends(requests: Requests, _context: Any) -> Responses:
        next(requests)
        yield welcome()
        next(requests)
        yield close(pb.CLOSE_REASON_COMPLETED, "enough")

    client = dial(ends)
    client.exchange_async({"walker": rows_of(walker, FIRST)})
    with pytest.raises(TrainerClosed, match="enough"):
        while client.poll(timeout_s=WAIT_S) is None:
            pass


def test_a_broken_stream_is_dialled_again_while_the_caller_goes_on(
    dial: Dial, walker: BehaviourSpec, rows_of: RowsOf
) -> None:
    def breaks(requests: Requests, _context: Any) -> Responses:
        next(requests)
        yield welcome()
        next(requests)

    def forgets(requests: Requests, _context: Any) -> Responses:
        next(requests)
        yield welcome("another")
        for request in requests:
            if not request.HasField("step"):
                return
            yield act(walker, request.step)

    client = dial(breaks, forgets)
    client.exchange_async({"walker": rows_of(walker, FIRST)})
    with pytest.raises(SessionLostError):
        client.poll(timeout_s=WAIT_S)
    client.exchange_async({"walker": rows_of(walker, FIRST)})
    assert client.poll(timeout_s=WAIT_S) is not None


def test_one_may_leave_while_the_trainer_thinks(
    dial: Dial, walker: BehaviourSpec, rows_of: RowsOf
) -> None:
    said: list[str | None] = []

    def thinks(requests: Requests, _context: Any) -> Responses:
        next(requests)
        yield welcome()
        for request in requests:
            said.append(request.WhichOneof("message"))
            if request.HasField("goodbye"):
                return

    client = dial(thinks)
    client.exchange_async({"walker": rows_of(walker, FIRST)})
    assert client.poll(timeout_s=0.05) is None
    client.close()
    assert said[:2] == ["step", "goodbye"]


def _breaks(requests: Requests, _context: Any) -> Responses:
    next(requests)
    yield welcome()
    next(requests)


def _exchange_threads() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == "exchange"}


def test_closing_ends_a_dial_that_waits_for_a_welcome(
    dial: Dial, walker: BehaviourSpec, rows_of: RowsOf
) -> None:
    dialled, over = threading.Event(), threading.Event()

    def says_nothing(requests: Requests, _context: Any) -> Responses:
        next(requests)
        dialled.set()
        over.wait(WAIT_S)
        yield from ()

    before = _exchange_threads()
    client = dial(_breaks, says_nothing)
    client.exchange_async({"walker": rows_of(walker, FIRST)})
    assert dialled.wait(WAIT_S)
    client.close()
    for thread in _exchange_threads() - before:
        thread.join(WAIT_S / 4)
        assert not thread.is_alive(), "it waits for the Welcome"
    over.set()


def test_closing_ends_the_wait_between_two_dials(
    dial: Dial, walker: BehaviourSpec, rows_of: RowsOf
) -> None:
    dialled = threading.Event()

    def goes_away(requests: Requests, context: Any) -> Responses:
        next(requests)
        dialled.set()
        context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        yield from ()

    before = _exchange_threads()
    client = dial(_breaks, goes_away)
    client.exchange_async({"walker": rows_of(walker, FIRST)})
    assert dialled.wait(WAIT_S)
    client.close()
    for thread in _exchange_threads() - before:
        thread.join(WAIT_S / 4)
        assert not thread.is_alive(), "it dials on"


def test_after_closing_one_may_join_again(
    dial: Dial, walker: BehaviourSpec, rows_of: RowsOf, may_answer: threading.Event
) -> None:
    may_answer.set()
    never = threading.Event()
    client = dial(answering(walker, never), answering(walker, may_answer))
    client.exchange_async({"walker": rows_of(walker, FIRST)})
    never.set()
    client.close()
    client.exchange_async({"walker": rows_of(walker, FIRST)})
    assert client.poll(timeout_s=WAIT_S) is not None


def test_a_signal_handler_ends_the_wait(dial: Dial, walker: BehaviourSpec, rows_of: RowsOf) -> None:
    def thinks(requests: Requests, _context: Any) -> Responses:
        next(requests)
        yield welcome()
        while not next(requests).HasField("goodbye"):
            pass

    client = dial(thinks)
    client.exchange_async({"walker": rows_of(walker, FIRST)})
    assert client.poll(timeout_s=0.05) is None
    assert client.leave()
    with pytest.raises(KeyboardInterrupt):
        client.poll(timeout_s=WAIT_S)


def test_numbers_that_are_noted_meanwhile_go_with_the_next_step(
    dial: Dial, walker: BehaviourSpec, rows_of: RowsOf, may_answer: threading.Event
) -> None:
    steps: list[pb.Step] = []

    def talk(requests: Requests, _context: Any) -> Responses:
        next(requests)
        yield welcome(revision=1)
        for request in requests:
            if not request.HasField("step"):
                return
            steps.append(request.step)
            may_answer.wait(WAIT_S)
            yield act(walker, request.step)

    client = dial(talk)
    client.exchange_async({"walker": rows_of(walker, FIRST)})
    client.note("coins", 3.0)
    may_answer.set()
    client.poll(timeout_s=WAIT_S)
    client.exchange({"walker": rows_of(walker, MID)})
    assert [[each.name for each in step.statistics] for step in steps] == [[], ["coins"]]


def test_a_thread_ends_with_its_owner_and_begins_anew() -> None:
    background: Background[threading.Thread] = Background()
    seen = []
    for _ in range(2):
        background.begin(threading.current_thread)
        thread = background.poll(WAIT_S)
        assert thread is not None
        background.end(timeout_s=WAIT_S)
        thread.join(WAIT_S)
        assert not thread.is_alive()
        seen.append(thread)
    assert seen[0] is not seen[1]
