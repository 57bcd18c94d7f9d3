"""The behaviours that all ranks serve: one rank's simulators bring one, and rank 0 numbers it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from entrain.app.apart import RunPart
from entrain.app.rank_link import RankLink
from entrain.errors import ConfigError
from entrain.serving.spec_differences import spec_differences
from entrain.state import State
from entrain_envs.spec import BehaviourSpec


class RankBehaviours:
    """As one rank knows them. Owned by the event loop."""

    def __init__(self, link: RankLink) -> None:
        """None yet.

        Args:
            link: to rank 0.
        """
        self._link = link
        self.numbers: dict[str, int] = {}
        """{behaviour: its number}."""
        self._specs: dict[str, State] = {}
        self._claims: dict[BehaviourSpec, asyncio.Future[str]] = {}
        """What rank 0 will answer: why it is refused; "" if it is not."""
        self._admitted: dict[str, asyncio.Event] = {}

    async def claim(self, spec: BehaviourSpec) -> int:
        """The number of a behaviour that simulators of this rank bring.

        Raises:
            ConfigError: it does not fit beside those of all ranks, or another rank has it with
                another spec.
        """
        name = spec.name
        if name not in self.numbers:
            claim = self._claims.setdefault(spec, asyncio.get_running_loop().create_future())
            self._link.say("claim", spec=spec.state())
            if reason := await asyncio.shield(claim):
                raise ConfigError(reason)
        others = BehaviourSpec.from_state(self._specs[name])
        if others != spec:
            differences = "; ".join(spec_differences(spec, others))
            raise ConfigError(
                f"another rank serves it with another spec: {differences}; use the same build of "
                "the simulator on all ranks"
            )
        return self.numbers[name]

    def claim_known(self) -> None:
        """Claim what a checkpoint has, so that rank 0 tells of it all who do not serve it yet.

        The run may have been stopped while a behaviour was new, and only one rank served it.
        """
        for spec in self._specs.values():
            self._link.say("claim", spec=spec)

    def note(self, fields: Mapping[str, Any]) -> None:
        """Rank 0 tells of a behaviour of all ranks."""
        name = fields["spec"]["name"]
        self.numbers[name], self._specs[name] = int(fields["number"]), fields["spec"]
        for spec in [each for each in self._claims if each.name == name]:
            self._claims.pop(spec).set_result("")

    def note_refused(self, fields: Mapping[str, Any]) -> None:
        """Rank 0 refuses a behaviour that this rank has claimed; it may be claimed again."""
        claim = self._claims.pop(BehaviourSpec.from_state(fields["spec"]), None)
        if claim is not None:
            claim.set_result(fields["reason"])

    async def admit(self, spec: BehaviourSpec, run: RunPart, *, who: str) -> None:
        """Let the run serve it, if it does not yet."""
        if spec.name not in run.trainers:
            await run.admit(spec, who=who)
        self.note_admitted(spec.name)

    def note_admitted(self, name: str) -> None:
        """The run serves it."""
        self._admitted.setdefault(name, asyncio.Event()).set()

    async def until_admitted(self, name: str) -> None:
        """Wait until the run serves it."""
        await self._admitted.setdefault(name, asyncio.Event()).wait()

    def state(self) -> State:
        """{number: spec}."""
        return {str(number): dict(self._specs[name]) for name, number in self.numbers.items()}

    def load_state(self, state: State) -> None:
        """Go on where `state` was taken."""
        for number, spec in state.items():
            self.note({"number": number, "spec": spec})
