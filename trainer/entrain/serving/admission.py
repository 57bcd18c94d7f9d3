"""Checks who may join a run, and gives each newcomer its identity.

Nothing here changes who takes part; see `Participants`.
"""

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from entrain.config.run import ServerConfig
from entrain.errors import BadHelloError, LimitError, RefusedHelloError
from entrain.quoting import listed
from entrain.serving.behaviours import Behaviours
from entrain.serving.member import Identity, Presence
from entrain.serving.participant import Participant
from entrain.state import State
from entrain_envs.spec import BehaviourSpec

MOST_NAMES = 4096
"""Simulators' names of which it is known how often they joined: the newest."""


@dataclass(frozen=True)
class JoinRequest:
    """A simulator asks to take part: its name, its behaviours, and where it runs."""

    simulator: str
    instance_id: str
    """Of its process: random, and the same as long as it runs."""

    peer: str
    """The host it comes from, for messages."""

    specs: tuple[BehaviourSpec, ...]
    max_agents: int
    """Most agents that will be alive at once; 0 = not known."""

    @property
    def who(self) -> str:
        """simulator@host, for messages."""
        return f"{self.simulator}@{self.peer}"


class Admission:
    """Checks who wants to join, and numbers who does. Owned by the event loop."""

    def __init__(self, config: ServerConfig, behaviours: Behaviours, *, seed: int) -> None:
        """Start without simulators.

        Args:
            config: limits, lockstep.
            behaviours: of the run.
            seed: of the run; simulators' seeds derive from it.
        """
        self._config = config
        self._behaviours = behaviours
        self._seed = seed
        self._joined = 0
        self._joined_by_name: dict[str, int] = {}
        self._most_forgotten = 0

    def check_behaviours(self, specs: Sequence[BehaviourSpec], who: str) -> None:
        """Raise BadHelloError, RefusedHelloError or LimitError unless it may bring these."""
        names = [spec.name for spec in specs]
        if not names or len(set(names)) < len(names):
            raise BadHelloError(
                f"{who} declares the behaviours [{listed(names)}]; "
                "expected at least one, and each name once"
            )
        self._behaviours.check_count(specs, who=who)
        for spec in specs:
            self._behaviours.check(spec, who=who)

    def check(self, request: JoinRequest, present: Sequence[Participant]) -> None:
        """Raise BadHelloError, RefusedHelloError or LimitError unless it may join.

        Args:
            request: the newcomer's.
            present: who takes part.
        """
        self.check_behaviours(request.specs, request.who)
        if len(present) >= self._config.max_sessions:
            raise LimitError(
                f"{request.who} would be simulator {len(present) + 1}, and this trainer "
                f"allows {self._config.max_sessions}; raise server.max_sessions of the trainer, "
                "or wait until another simulator leaves"
            )
        if request.max_agents > self._config.max_agents:
            raise LimitError(
                f"{request.who} announces up to {request.max_agents:,} agents, and this trainer "
                f"allows {self._config.max_agents:,}; raise server.max_agents of the trainer, or "
                "run fewer agents"
            )
        self._check_name(request, present)

    def _check_name(self, request: JoinRequest, present: Iterable[Participant]) -> None:
        """In lockstep a name is one simulator."""
        if not self._config.lockstep:
            return
        for other in namesakes(request.simulator, present):
            if other.presence is Presence.RUNNING:
                raise RefusedHelloError(
                    f"{request.who} has the name of {other.label}, which is connected; in "
                    "lockstep the names order the rows of a batch: give every simulator a name "
                    "of its own"
                )

    def check_resume(self, request: JoinRequest, participant: Participant) -> None:
        """Raise BadHelloError or RefusedHelloError unless `participant` may go on like this."""
        self.check_behaviours(request.specs, request.who)
        known = set(participant.behaviours)
        if not known <= {spec.name for spec in request.specs}:
            raise RefusedHelloError(
                f"{request.who} resumes its session without behaviours that it had declared; "
                f"expected {listed(sorted(known))}, and perhaps more: leave resume_session_id "
                "empty to begin anew"
            )

    def identify(self, request: JoinRequest) -> Identity:
        """A new identity for a simulator that joins."""
        identity = Identity(
            id=secrets.token_hex(16),
            simulator=request.simulator,
            instance_id=request.instance_id,
            joined=self._joined,
            seed=self._simulator_seed(request.simulator),
        )
        self._joined += 1
        self._count(request.simulator)
        return identity

    def _count(self, simulator: str) -> None:
        """It joined once more; of very many names the one that joined longest ago is forgotten."""
        times = self._times_joined(simulator) + 1
        self._joined_by_name.pop(simulator, None)
        self._joined_by_name[simulator] = times
        if len(self._joined_by_name) > MOST_NAMES:
            oldest = next(iter(self._joined_by_name))
            self._most_forgotten = max(self._most_forgotten, self._joined_by_name.pop(oldest))

    def _times_joined(self, simulator: str) -> int:
        """How often it joined; of a name that may have been forgotten, at least as often."""
        return self._joined_by_name.get(simulator, self._most_forgotten)

    def _simulator_seed(self, simulator: str) -> int:
        """The same for the same run seed and name; in greedy mode also for how often it joined.

        In lockstep the name alone decides, for a name is one simulator however often it joins.
        """
        ordinal = 0 if self._config.lockstep else self._times_joined(simulator)
        content = f"{self._seed}/{ordinal}/{simulator}".encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:8], "little")

    def state(self) -> State:
        """The counts that number the simulators that join next."""
        return {
            "joined": self._joined,
            "names": list(self._joined_by_name),
            "counts": list(self._joined_by_name.values()),
            "most_forgotten": self._most_forgotten,
        }

    def load_state(self, state: State) -> None:
        """Number newcomers from here on as where `state` was taken."""
        self._joined = state["joined"]
        self._joined_by_name = dict(zip(state["names"], state["counts"], strict=True))
        # Checkpoints of before it was bounded have all names.
        self._most_forgotten = state.get("most_forgotten", 0)


def namesakes(simulator: str, present: Iterable[Participant]) -> Sequence[Participant]:
    """Those of `present` with that simulator's name."""
    return [each for each in present if each.identity.simulator == simulator]
