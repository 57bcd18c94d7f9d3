"""Everything that a run is given to be reached over gRPC, as one object, for tests."""

import time
from collections.abc import Callable

from entrain.config.run import ServerConfig
from entrain.native.connection import HELLO_S
from entrain.native.front import NativeFront
from entrain.serving.behaviours import Behaviours, Opener, open_nothing
from entrain.serving.front import Ending
from entrain.serving.participants import Participants
from entrain.state import State


class NativeServer:
    """Participants with the native front, on any free port of loopback unless told otherwise."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        accepts: Callable[[str], bool] = lambda _: True,
        policies: tuple[str, ...] = ("*",),
        expect: int = 1,
        on_new: Opener = open_nothing,
        hello_s: float = HELLO_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        behaviours = Behaviours(
            config, accepts=accepts, policies=policies, on_new=on_new, clock=clock
        )
        self.participants = Participants(
            config,
            behaviours,
            seed=1,
            expect=expect,
            environment_parameters={"gravity": 9.5},
            clock=clock,
        )
        self.front = NativeFront(self.participants, run_id="run", hello_s=hello_s)

    async def start(self) -> str:
        return await self.front.start()

    def pause(self) -> None:
        self.front.pause()

    async def stop(self, ending: Ending, message: str, *, goodbye_s: float = 1.0) -> None:
        await self.front.stop(ending, message, goodbye_s=goodbye_s)

    def state(self) -> State:
        return {"participants": self.participants.state(), "front": self.front.state()}

    def load_state(self, state: State) -> None:
        self.participants.load_state(state["participants"])
        self.front.load_state(state["front"])
