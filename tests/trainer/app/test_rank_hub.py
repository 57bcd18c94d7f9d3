"""What ranks and rank 0 say to each other over loopback, and strangers that say something else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from entrain.algorithms.algorithm import UpdateCancelled
from entrain.app import rank_hub, rank_link
from entrain.app.rank_hosts import ANY, family_of, own_hosts
from entrain.app.rank_hub import MOST_STRANGERS, RankHub
from entrain.app.rank_link import RankLink
from entrain.app.rank_messages import BadMessageError, Message, read_message
from entrain.app.rank_place import RankPlace
from entrain.app.rank_state_parts import LAST
from entrain.errors import RankLostError
from entrain.rounds import Share

TOKEN = "token"
SHARE = Share(env_steps=5)


async def read(content: bytes, **most: int) -> Message:
    reader = asyncio.StreamReader()
    reader.feed_data(content)
    reader.feed_eof()
    return await read_message(reader, **most)


async def test_a_message_arrives_as_it_was_sent() -> None:
    message = Message("state", {"number": 3, "is_last": True}, b"\x00\xff")
    assert await read(message.encoded()) == message


@pytest.mark.parametrize(
    "text", [b"{", b"3", b'["ping"]', b"[3, {}]", b'["ping", []]', b"\xff\xff", b"[" * 4096]
)
async def test_what_is_no_message_is_refused(text: bytes) -> None:
    content = len(text).to_bytes(4, "big") + bytes(8) + text
    with pytest.raises(BadMessageError, match="a message without a kind"):
        await read(content)


async def test_a_message_that_is_too_long_is_refused_before_it_is_read() -> None:
    head = (100).to_bytes(4, "big") + (2000).to_bytes(8, "big")
    for most in ({"most_fields": 99}, {"most_blob": 1999}):
        with pytest.raises(BadMessageError, match="a message of 100 and 2,000 bytes"):
            await read(head, **most)
    with pytest.raises(asyncio.IncompleteReadError):
        await read(head, most_fields=100, most_blob=2000)


class Ranks:
    """Rank 0's hub, and links and strangers that dial it."""

    def __init__(self, size: int) -> None:
        self.size = size
        place = RankPlace(0, size, "127.0.0.1")
        self.hub = RankHub(place, TOKEN, judge=lambda _spec, _others: None, max_wait_s=None)
        self.told: dict[int, list[str]] = {}
        self.messages: list[Message] = []
        self.links: list[RankLink] = []
        self._writers: list[asyncio.StreamWriter] = []
        self.where = ("", 0)

    async def link(self, rank: int) -> RankLink:
        """A rank that has dialled."""
        link = RankLink(RankPlace(rank, self.size, "127.0.0.1"))

        def note(message: Message) -> None:
            self.told.setdefault(rank, []).append(message.kind)
            self.messages.append(message)

        link.on_message = note
        await link.connect(*self.where, TOKEN)
        self.links.append(link)
        return link

    async def dial(self, *said: bytes) -> asyncio.StreamReader:
        """What the hub answers somebody who says this."""
        reader, writer = await asyncio.open_connection(*self.where)
        self._writers.append(writer)
        writer.write(b"".join(said))
        return reader

    async def close(self) -> None:
        """End all."""
        for link in self.links:
            await link.close()
        await self.hub.stop()
        for writer in self._writers:
            writer.close()


Start = Callable[[int], Awaitable[Ranks]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    made: list[Ranks] = []

    async def begin(size: int) -> Ranks:
        ranks = Ranks(size)
        made.append(ranks)
        ranks.where = await ranks.hub.start()
        return ranks

    yield begin
    for ranks in made:
        await ranks.close()


async def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the hub ends this connection without a word."""
    try:
        return await asyncio.wait_for(reader.read(), 10.0) == b""
    except ConnectionResetError:
        return True


async def until(is_true: Callable[[], object]) -> None:
    async with asyncio.timeout(10.0):
        while not is_true():
            await asyncio.sleep(0)


def hello(**fields: Any) -> bytes:
    return Message("hello", fields).encoded()


@pytest.mark.parametrize(
    "said",
    [
        hello(rank=1, token="tokem"),
        hello(rank=1),
        hello(rank=2, token=TOKEN),
        hello(rank=-1, token=TOKEN),
        hello(rank="1", token=TOKEN),
        hello(rank=0, token=TOKEN),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["wrong", "none", "beyond", "below", "words", "twice", "http"],
)
async def test_a_stranger_is_left_out_and_disturbs_nobody(start: Start, said: bytes) -> None:
    ranks = await start(2)
    await ranks.link(0)
    await until(lambda: len(ranks.hub._writers) == 1)
    stranger = await ranks.dial(said)
    assert await is_closed(stranger)
    assert repr(ranks.hub) == "<RankHub: 1 of 2 ranks>"
    await ranks.link(1)
    await until(lambda: ranks.told == {0: ["welcome"], 1: ["welcome"]})
    assert ranks.hub.is_joined


async def test_strangers_who_say_nothing_are_few_and_not_heard_for_long(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = await start(2)
    for _ in range(MOST_STRANGERS):
        await ranks.dial()
    await until(lambda: ranks.hub._num_strangers == MOST_STRANGERS)
    late = await ranks.dial(hello(rank=1, token=TOKEN))
    assert await is_closed(late)
    assert ranks.hub._writers == {}
    for writer in ranks._writers[:MOST_STRANGERS]:
        writer.close()
    await until(lambda: ranks.hub._num_strangers == 0)
    monkeypatch.setattr(rank_hub, "GREETING_S", 0.0)
    assert await is_closed(await ranks.dial())


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Message("dance"), "it sent what no rank sends (a message of kind 'dance')"),
        (Message("complete", {"policy": "walker"}), "it sent what no rank sends ('env_steps')"),
        (None, "its connection closed: it was killed or has crashed"),
    ],
)
async def test_a_rank_that_is_lost_ends_the_run_of_all(
    start: Start, said: Message | None, words: str
) -> None:
    ranks = await start(2)
    await ranks.link(0)
    await ranks.dial(hello(rank=1, token=TOKEN), b"" if said is None else said.encoded())
    if said is None:
        ranks._writers[-1].close()
    await until(lambda: "fail" in ranks.told.get(0, ()))
    assert ranks.messages[-1].fields == {
        "reason": f"rank 1 of 2 was lost: {words}",
        "exit_code": RankLostError.exit_code,
        "rank": -1,
    }


async def test_a_rank_that_gives_no_sign_of_life_is_lost(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank_hub, "PING_S", 0.0)
    monkeypatch.setattr(rank_hub, "LOST_S", -1.0)
    ranks = await start(2)
    await ranks.link(0)
    await until(lambda: "fail" in ranks.told.get(0, ()))
    assert ranks.messages[-1].fields["reason"] == (
        "rank 0 of 2 was lost: it gave no sign of life for 0 s"
    )


async def test_who_comes_after_the_end_is_told_of_it(start: Start) -> None:
    ranks = await start(3)
    first = await ranks.link(0)
    first.say("stop", words="asked")
    await until(lambda: ranks.told == {0: ["stop"]})
    await ranks.link(1)
    await until(lambda: ranks.told == {0: ["stop"], 1: ["stop"]})
    # A failure counts more, and nothing more than a failure.
    first.say("fail", reason="it broke", exit_code=1)
    first.say("stop")
    first.say("fail", reason="again", exit_code=1)
    first.say("bye")
    await until(lambda: 0 in ranks.hub._gone)
    ranks.hub.conclude({})
    await until(lambda: all(told[-1] == "concluded" for told in ranks.told.values()))
    assert ranks.told == {rank: ["stop", "fail", "concluded"] for rank in range(2)}
    assert ranks.messages[2].fields == {"reason": "it broke", "exit_code": 1, "rank": 0}


async def test_a_link_begins_no_round_after_the_end(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = await start(2)
    link = await ranks.link(0)
    rounds = link.rounds_of("walker")
    assert link.rounds_of("walker") is rounds
    assert repr(link) == "<RankLink of rank 0 of 2>"
    waiting = asyncio.create_task(rounds.agree(1, SHARE))
    await asyncio.sleep(0)
    link.say("stop")
    with pytest.raises(UpdateCancelled):
        await asyncio.wait_for(waiting, 10.0)
    said: list[str] = []
    monkeypatch.setattr(link, "say", lambda kind, **_: said.append(kind))
    with pytest.raises(UpdateCancelled):
        await asyncio.wait_for(rounds.agree(2, SHARE), 1.0)
    assert said == []
    monkeypatch.undo()


async def test_a_rank_0_that_is_not_there_is_named_with_its_port() -> None:
    link = RankLink(RankPlace(1, 2, "127.0.0.1"))
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    with pytest.raises(
        RankLostError,
        match=rf"rank 1 of 2: rank 0 is not reached on 127\.0\.0\.1:{port} \(.*MASTER",
    ):
        await link.connect("127.0.0.1", port, TOKEN)


async def lost(link: RankLink, said: bytes | None) -> str:
    """How a link words it that rank 0 says this and nothing more; None: not even the end."""
    gone = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if said is None:
            await gone.wait()
        else:
            writer.write(said)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        await link.connect("127.0.0.1", server.sockets[0].getsockname()[1], TOKEN)
        assert link.lost is not None
        with pytest.raises(RankLostError) as raised:
            await asyncio.wait_for(link.lost, 10.0)
        gone.set()
        await link.close()
    assert link.is_stopping
    return str(raised.value)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", "its connection closed: it was killed or has crashed"),
        (Message("go", {"policy": "walker"}).encoded(), "it sent what no rank sends ('shares')"),
        (bytes(12), "it sent what no rank sends (a message without a kind)"),
    ],
)
async def test_a_rank_0_that_is_lost_is_said_with_what_to_do(said: bytes, words: str) -> None:
    link = RankLink(RankPlace(1, 2, "127.0.0.1"))
    assert await lost(link, said) == (
        f"rank 0 was lost: {words}; the newest checkpoint stands: start all ranks again"
    )


async def test_a_silent_rank_0_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank_link, "LOST_S", 0.01)
    monkeypatch.setattr(rank_link, "PING_S", 0.0)
    link = RankLink(RankPlace(1, 2, "127.0.0.1"))
    assert "it gave no sign of life for 0.01 s" in await lost(link, None)


@pytest.mark.parametrize(
    ("address", "hosts"),
    [("127.0.0.1", ["127.0.0.1"]), ("192.0.2.1", [ANY]), ("no such host.invalid", [ANY])],
)
def test_rank_0_listens_where_it_is_named_if_that_is_its_own(
    address: str, hosts: list[str]
) -> None:
    assert own_hosts(address) == hosts


def test_the_family_of_an_address() -> None:
    assert family_of("::1").name == "AF_INET6"
    assert family_of("127.0.0.1").name == "AF_INET"


async def test_a_state_comes_whole_in_parts_and_all_hear_how_much_has_come(start: Start) -> None:
    ranks = await start(2)
    first, second = await ranks.link(0), await ranks.link(1)
    await until(lambda: ranks.hub.is_joined)
    content = bytes(range(256)) * (5 << 11)
    ranks.hub.keep(LAST, b"mine", num_bytes=100)
    await second.send_state(LAST, iter([content[:7], content[7:]]), num_bytes=len(content))
    assert await ranks.hub.states.of_all(LAST) == [b"mine", content]
    await until(lambda: [kinds.count("saving") for kinds in ranks.told.values()] == [5, 5])
    saving = [it.fields["num_bytes"] for it in ranks.messages if it.kind == "saving"]
    # What rank 0 has of itself counts: it writes that as well.
    come = [0, 7, 7 + (1 << 20), 7 + (2 << 20), len(content)]
    assert sorted(set(saving)) == [100 + each for each in come]
    assert first.lost is not None
    assert not first.lost.done()
