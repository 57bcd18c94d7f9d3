"""Rank 0's end of the connections of all ranks: it decides when rounds begin and how a run ends.

Every rank, rank 0 too, has one connection to it (`rank_link`). What it tells all ranks, it tells
all in the same order: after "stop" no round begins, and what began before has begun on every rank.
"""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Mapping
from typing import Any

from entrain.app.rank_claims import Judge
from entrain.app.rank_hosts import ANY, own_hosts
from entrain.app.rank_messages import (
    MOST_GREETING,
    PING,
    BadMessageError,
    Message,
    read_message,
)
from entrain.app.rank_place import RankPlace
from entrain.app.rank_state_parts import LAST, StatesOfRanks
from entrain.app.rank_table import BadRoundError, RoundTable
from entrain.errors import ConfigError, RankLostError
from entrain_envs.spec import BehaviourSpec

logger = logging.getLogger(__name__)

PING_S = 2.0
"""Time between two signs of life."""

LOST_S = 60.0
"""A rank that gives no sign of life for so long is lost."""

GREETING_S = 10.0
MOST_STRANGERS = 16


class RankHub:
    """See the module. Owned by the event loop of rank 0."""

    def __init__(
        self, place: RankPlace, token: str, *, judge: Judge, max_wait_s: float | None
    ) -> None:
        """Nobody is connected.

        Args:
            place: of this process.
            token: that ranks must show.
            judge: of behaviours that ranks claim.
            max_wait_s: see `RoundTable`.
        """
        self._size = place.size
        self._address = place.address
        self._token = token
        self._judge = judge
        self._writers: dict[int, asyncio.StreamWriter] = {}
        self._heard_s: dict[int, float] = {}
        self._gone: set[int] = set()
        """Ranks that have said goodbye."""
        self._table = RoundTable(
            place.size,
            lambda rank, kind, fields: self._send(rank, Message(kind, fields)),
            max_wait_s=max_wait_s,
            call_later=lambda delay_s, callback: asyncio.get_running_loop().call_later(
                delay_s, callback
            ),
        )
        self._done: set[int] = set()
        self._steps: dict[str, dict[str, int]] = {}
        """{policy: {rank: env steps, once it collects no more}}."""
        self._specs: dict[str, tuple[int, Any]] = {}
        """{behaviour: its number, and its spec}."""
        self._untaken: set[int] = set()
        """Ranks whose state a snapshot waits for."""
        self._end: Message | None = None
        """How the run ends, once that is decided."""
        self._is_joined = False
        self._num_strangers = 0
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.states = StatesOfRanks(place.size)
        """The states of all ranks, filled in by snapshots and at the end of the run."""

    def __repr__(self) -> str:
        return f"<RankHub: {len(self._writers)} of {self._size} ranks>"

    def know(self, behaviours: Mapping[str, Any]) -> None:
        """Behaviours of a checkpoint: {number: spec}."""
        for number, spec in behaviours.items():
            self._specs[spec["name"]] = (int(number), spec)

    async def start(self) -> tuple[str, int]:
        """Listen; returns where this process reaches it."""
        hosts = await asyncio.to_thread(own_hosts, self._address)
        self._server = await asyncio.start_server(self._serve, hosts, 0)
        port = int(self._server.sockets[0].getsockname()[1])
        self._tasks.append(asyncio.create_task(self._watch()))
        return "127.0.0.1" if hosts == [ANY] else hosts[0], port

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rank = -1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            rank = await self._greeted(reader, writer)
            while rank >= 0:
                message = await read_message(reader)
                self._heard_s[rank] = asyncio.get_running_loop().time()
                self._take(rank, message)
        except (OSError, asyncio.IncompleteReadError):
            self._note_end(rank, "its connection closed: it was killed or has crashed")
        except (BadMessageError, BadRoundError, KeyError, TypeError, ValueError) as error:
            self._note_end(rank, f"it sent what no rank sends ({error})")
        except asyncio.CancelledError:
            pass  # the hub stops
        finally:
            writer.close()
            self._serving.discard(task)

    async def _greeted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        """The rank at the other end; -1 if it is none."""
        if self._num_strangers >= MOST_STRANGERS:
            return -1
        self._num_strangers += 1
        try:
            hello = await asyncio.wait_for(
                read_message(reader, most_fields=MOST_GREETING, most_blob=0), GREETING_S
            )
            rank, token = hello.fields["rank"], str(hello.fields["token"])
        except (TimeoutError, BadMessageError, KeyError, OSError, asyncio.IncompleteReadError):
            return -1
        finally:
            self._num_strangers -= 1
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return -1
        if not isinstance(rank, int) or not 0 <= rank < self._size or rank in self._writers:
            return -1
        self._writers[rank] = writer
        self._heard_s[rank] = asyncio.get_running_loop().time()
        if self._end is not None:
            self._send(rank, self._end)
        if len(self._writers) == self._size:
            self._is_joined = True
            self._send_all(Message("welcome"))
        return rank

    def _take(self, rank: int, message: Message) -> None:
        fields = message.fields
        match message.kind:
            case "ping":
                pass
            case "claim":
                self._claim(rank, fields)
            case "ready" | "complete":
                self._take_round(rank, message.kind, fields)
            case "done":
                self._done.add(rank)
                self._table.done(rank)
                if len(self._done) == self._size:
                    self._finish(Message("end", {"steps": self._steps}))
            case "taken" | "state":
                self._take_of_snapshot(rank, message)
            case "stop" | "fail":
                self._finish(Message(message.kind, {**fields, "rank": rank}))
            case "bye":
                self._gone.add(rank)
            case other:
                raise BadMessageError(f"a message of kind {other!r}")

    def _take_round(self, rank: int, kind: str, fields: Mapping[str, Any]) -> None:
        policy = str(fields["policy"])
        if kind == "ready":
            self._table.ready(rank, policy, int(fields["round"]), fields["share"])
        else:
            self._steps.setdefault(policy, {})[str(rank)] = int(fields["env_steps"])
            self._table.complete(rank, policy)

    def _claim(self, rank: int, fields: Mapping[str, Any]) -> None:
        """A rank has a behaviour: the first spec that fits counts, and all ranks serve it."""
        name = fields["spec"]["name"]
        is_new = name not in self._specs
        if is_new:
            others = [BehaviourSpec.from_state(spec) for _, spec in self._specs.values()]
            try:
                self._judge(BehaviourSpec.from_state(fields["spec"]), others)
            except ConfigError as error:
                self._send(rank, Message("refused", {"spec": fields["spec"], "reason": str(error)}))
                return
            self._specs[name] = (len(self._specs), fields["spec"])
        number, spec = self._specs[name]
        told = Message("behaviour", {"number": number, "spec": spec, "rank": rank})
        for other in range(self._size) if is_new else (rank,):
            self._send(other, told)

    def snapshot(self, number: int) -> None:
        """Ask every rank for its state; no round begins before all have taken it."""
        self._table.hold()
        self._untaken = set(range(self._size))
        self._send_all(Message("snapshot", {"number": number}))

    def _take_of_snapshot(self, rank: int, message: Message) -> None:
        if message.kind == "taken":
            self._untaken.discard(rank)
            if not self._untaken and self._end is None:
                self._table.release()
            return
        number, num_bytes = int(message.fields["number"]), int(message.fields["num_bytes"])
        is_last = bool(message.fields["is_last"])
        self.states.take(rank, number, message.blob, num_bytes=num_bytes, is_last=is_last)
        self._tell_of_saving(number)

    def keep(self, number: int, state: Any, *, num_bytes: int = 0) -> None:
        """Rank 0 has taken its own state; it will write so many bytes of it at the end."""
        self.states.put(0, number, state, num_bytes=num_bytes)
        self._tell_of_saving(number)

    def _tell_of_saving(self, number: int) -> None:
        if number == LAST:
            self._send_all(Message("saving", {"num_bytes": self.states.num_bytes}))

    def conclude(self, fields: Mapping[str, Any]) -> None:
        """Tell the other ranks what came of the run, once it is saved: they may end."""
        self._send_all(Message("concluded", fields))

    def _finish(self, end: Message) -> None:
        """The run ends, and how. A failure counts more than what was decided before."""
        if self._end is not None and (self._end.kind == "fail" or end.kind != "fail"):
            return
        self._end = end
        self._table.stop()
        self._send_all(end)
        self.states.end(is_failure=end.kind == "fail")

    def _note_end(self, rank: int, words: str) -> None:
        """The connection of a rank has ended."""
        if rank < 0 or rank in self._gone:
            return
        self._gone.add(rank)
        reason = f"rank {rank} of {self._size} was lost: {words}"
        fields = {"reason": reason, "exit_code": RankLostError.exit_code}
        self._finish(Message("fail", {**fields, "rank": -1}))

    def _send_all(self, message: Message) -> None:
        for rank in self._writers:
            self._send(rank, message)

    def _send(self, rank: int, message: Message) -> None:
        writer = self._writers.get(rank)
        if writer is not None and not writer.is_closing():
            writer.write(message.encoded())

    async def _watch(self) -> None:
        """Give signs of life, and see which ranks give none."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PING_S)
            self._send_all(PING)
            for rank, heard_s in self._heard_s.items():
                silent_s = loop.time() - heard_s
                if silent_s > LOST_S and rank not in self._gone:
                    self._note_end(rank, f"it gave no sign of life for {silent_s:.0f} s")

    @property
    def is_joined(self) -> bool:
        """Whether all ranks have come."""
        return self._is_joined

    async def stop(self) -> None:
        """Send what is to be sent, and close all connections."""
        for task in self._tasks:
            task.cancel()
        for writer in self._writers.values():
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.drain(), 1.0)
            writer.close()
        if self._server is not None:
            self._server.close()
        serving = list(self._serving)
        for each in serving:
            each.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
