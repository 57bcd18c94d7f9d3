"""The fronts of one run, as one front."""

import asyncio
from collections.abc import Mapping

from entrain.serving.front import Ending, Front
from entrain.state import State


class Fronts:
    """Several wires over the same participants. Owned by the event loop."""

    def __init__(self, fronts: Mapping[str, Front]) -> None:
        """Nothing is listened on yet.

        Args:
            fronts: {name: front}; the first one's address is that of the run.
        """
        self._fronts = fronts

    def __repr__(self) -> str:
        return f"<Fronts: {', '.join(map(repr, self._fronts.values()))}>"

    def named(self, name: str) -> Front | None:
        """The front of that name, if the run has it."""
        return self._fronts.get(name)

    async def start(self) -> str:
        """Let simulators connect; returns the first front's address. ServeError as of `Front`."""
        addresses = [await front.start() for front in self._fronts.values()]
        return addresses[0]

    def pause(self) -> None:
        """See `Front`."""
        for front in self._fronts.values():
            front.pause()

    async def stop(self, ending: Ending, message: str) -> None:
        """Tell the simulators of all fronts at once. See `Front`."""
        # None may be released before its own front has told it.
        self.pause()
        await asyncio.gather(*(each.stop(ending, message) for each in self._fronts.values()))

    def state(self) -> State:
        """{name: state of that front}."""
        return {name: front.state() for name, front in self._fronts.items()}

    def load_state(self, state: State) -> None:
        """Go on from `state`; of a front that is no more, participants wait out their grace time.

        A run with one front may have been saved without its name.
        """
        named = state if state.keys() & {"native", "unity"} else {"native": state}
        for name, front in self._fronts.items():
            if name in named:
                front.load_state(named[name])
