"""A `Front` whose simulators live on the trainer's event loop: no protobuf, no gRPC, no bytes."""

import asyncio
from collections.abc import Callable, Sequence

from entrain.serving.admission import JoinRequest
from entrain.serving.front import Ending
from entrain.serving.participant import Participant
from entrain.serving.participants import Participants
from entrain.state import State
from support.lives import SPECS, Life

ROW_BYTES = 100


class InProcessSimulator:
    """One simulator; the `Receiver` of its participant."""

    def __init__(self, participants: Participants, life: Life) -> None:
        self.participant: Participant
        self._participants = participants
        self._life = life
        self._is_connected = False
        self._answered = asyncio.Event()

    async def live(self) -> None:
        """Join, and act for ever."""
        rows = self._life.begin(self._join())
        for step in range(1, 10**9):
            self._answered.clear()
            self.participant.ask(rows, size=ROW_BYTES * len(rows))
            if self._life.breaks.get(step) == "before":
                await self._break()
            if self.participant.is_waiting:
                await self._answered.wait()
            if self._life.breaks.get(step) == "after":
                await self._break()
            rows = self._life.step(self.participant.answers)

    def _join(self) -> int:
        self.participant = self._participants.join(
            JoinRequest(
                simulator=self._life.name,
                instance_id="process",
                peer="here",
                specs=tuple(SPECS.values()),
                max_agents=0,
            )
        )
        self.participant.receiver = self
        self._is_connected = True
        return self.participant.identity.seed

    async def _break(self) -> None:
        """Vanish for a while, and come back."""
        self._is_connected = False
        self._participants.detach(self.participant)
        for _ in range(5):
            await asyncio.sleep(0)
        self._participants.resume(self.participant, "here again")
        self._is_connected = True

    def act(self, taken: Callable[[], None]) -> bool:
        """Not at once: what a simulator does next is no part of the trainer's reply."""
        if not self._is_connected:
            # Who comes back sees that the answers are there.
            return False
        loop = asyncio.get_running_loop()
        loop.call_soon(self._answered.set)
        loop.call_soon(taken)
        return True


class InProcessFront:
    """Runs these simulators from `start` to `stop`."""

    def __init__(self, participants: Participants, lives: Sequence[Life]) -> None:
        self._participants = participants
        self.simulators = [InProcessSimulator(participants, life) for life in lives]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> str:
        self._participants.renew_deadlines()
        self._tasks = [asyncio.create_task(each.live()) for each in self.simulators]
        return "here"

    def pause(self) -> None:
        self._participants.pause()

    async def stop(self, ending: Ending, message: str) -> None:
        self.pause()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if ending is Ending.COMPLETED:
            self._participants.leave_all(message)

    def state(self) -> State:
        return {}

    def load_state(self, state: State) -> None:
        """The simulators begin anew; the in-process front is not resumed."""
