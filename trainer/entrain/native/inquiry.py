"""Answers a simulator that asks, on a second connection, whether its unanswered Step is held.

Damage on the way can make a stream wait for ever although both ends answer pings, and neither end
sees that of itself. Nothing here waits for anything but the question, changes a session, or knows
what carries messages.
"""

import asyncio

from google.protobuf.message import DecodeError

from entrain.errors import LimitError, UnexpectedMessageError
from entrain.native.connection import DONE, Transport
from entrain.native.sessions import Sessions
from entrain.native.stream import EndCode, StreamEnd
from entrain_envs.wire import trainer_pb2 as pb

MAX_INQUIRY_BYTES = 1024
"""Of an InquireRequest; two ids and a number have less than 100."""

INQUIRY_S = 5.0
"""Longest that a call may take to send its question and to take the answer."""


class Inquiries:
    """See the module. Owned by the event loop."""

    def __init__(self, sessions: Sessions, *, inquiry_s: float = INQUIRY_S) -> None:
        """Start without calls.

        Args:
            sessions: of the simulators.
            inquiry_s: how long one call may take.
        """
        self._sessions = sessions
        self._inquiry_s = inquiry_s

    def __repr__(self) -> str:
        return f"<Inquiries about {self._sessions}>"

    async def carry(self, transport: Transport) -> StreamEnd:
        """Answer the one message of a call, and say how to close the transport."""
        try:
            async with asyncio.timeout(self._inquiry_s):
                content = await transport.receive()
                if isinstance(content, bytes):
                    await transport.send(self.answer(content, peer=transport.peer))
        except (LimitError, UnexpectedMessageError) as error:
            return StreamEnd.of(error)
        except TimeoutError:
            words = (
                f"the question did not come, or its answer was not read, in {self._inquiry_s:g} s"
            )
            return StreamEnd(EndCode.LATE, words)
        except transport.broken:
            return DONE
        return DONE

    def answer(self, content: bytes, *, peer: str) -> bytes:
        """The serialised answer to a serialised InquireRequest.

        Who does not know a session's two secrets learns the same as where there is none.

        Raises:
            LimitError: it is too long.
            UnexpectedMessageError: it is none.
        """
        if len(content) > MAX_INQUIRY_BYTES:
            raise LimitError(
                f"a simulator@{peer} sent an InquireRequest of {len(content):,} bytes; expected at "
                f"most {MAX_INQUIRY_BYTES:,}: the ids of its session and process, and a number"
            )
        try:
            request = pb.InquireRequest.FromString(content)
        except DecodeError:
            raise UnexpectedMessageError(
                f"a simulator@{peer} sent {len(content):,} bytes that are no InquireRequest; "
                "generate the simulator's protobuf code from proto/entrain/v1/trainer.proto"
            ) from None
        session = self._sessions.of_process(request.session_id, request.instance_id)
        standing = (
            pb.STEP_STANDING_NOT_HELD
            if session is None
            else session.exchange.standing(request.sequence)
        )
        return pb.InquireResponse(standing=standing).SerializeToString()
