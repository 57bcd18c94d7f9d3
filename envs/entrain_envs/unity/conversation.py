"""The conversation with one game, as a state machine without input or output.

    GREETING --introduction--> WAITING --request for orders--> PLAYING --records--> PLAYING ...
    any --the game leaves, or `close`--> OVER

Each message of the game becomes an event, and is answered once before the next: an introduction by
`greeting`, a request for orders by `reset`, records by `act`, any of them by `close`. This module
knows nothing of transports or policies.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, Int64Array, TimestepBatch
from entrain_envs.unity.agents import MOST_ABSENT, Agents
from entrain_envs.unity.codec import (
    encode_actions,
    encode_closing,
    encode_initialization,
    encode_reset,
)
from entrain_envs.unity.errors import UnityMessageError, one_line
from entrain_envs.unity.images import check_pixels
from entrain_envs.unity.messages import (
    API_VERSION,
    STATUS_OK,
    AgentRecords,
    BrainParameters,
    GameMessage,
    Initialization,
)
from entrain_envs.unity.specs import behaviour_name, sensors_of, spec_of

PACKAGE_VERSION = "1.1.0"
"""The trainer's version as games are told it. They only report it."""

OLD_PACKAGE_VERSION = "0.20.0"
"""The same for games of package 1.0, which refuse one above 0.25."""

MOST_KEYS = 1000
"""Behaviours and teams that one game may describe."""

MOST_CONTINUOUS, MOST_BRANCHES, MOST_CHOICES = 10_000, 1_000, 1_000_000
"""Continuous and discrete actions of one agent, and choices of all its discrete ones."""


class State(Enum):
    """Where a conversation stands."""

    GREETING = "has not said who it is"
    WAITING = "waits for its first order"
    PLAYING = "plays"
    OVER = "is over"


@dataclass(frozen=True)
class Greeted:
    """The game introduced itself. Answer: `greeting`."""

    initialization: Initialization


@dataclass(frozen=True)
class Ready:
    """The game asks for orders. Answer: `reset`."""


@dataclass(frozen=True)
class Moved:
    """Rows and departures of agents since the last actions. Answer: `act`."""

    new: tuple[BehaviourSpec, ...] = ()
    """Behaviours that have agents for the first time."""

    timesteps: Mapping[str, TimestepBatch] = field(default_factory=dict)
    """{behaviour: its rows}, those without any left out."""

    gone: Mapping[str, Int64Array] = field(default_factory=dict)
    """{behaviour: ids} of agents whose last action will have no outcome: they vanished, or all
    episodes began anew. It precedes `timesteps`."""

    side_channel: bytes = b""


@dataclass(frozen=True)
class Left:
    """The game leaves. Answer: `close`, if it still listens."""

    reason: str = ""


Event: TypeAlias = Greeted | Ready | Moved | Left


def check_length(message: bytes, most: int) -> None:
    """Raise UnityMessageError if a game's message has more than `most` bytes."""
    if len(message) > most:
        raise UnityMessageError(
            f"the game sent a message of {len(message):,} bytes, and {most:,} are taken; raise "
            "server.max_message_mib of the trainer (--receive-mib of entrain learn), or use "
            "smaller images or fewer agents in a game"
        )


class Conversation:
    """See the module."""

    def __init__(self, *, most_absent: int = MOST_ABSENT) -> None:
        """Start before the game's first message. `most_absent`: see `agents`."""
        self.state = State.GREETING
        self._most_absent = most_absent
        self._package_version = ""
        self._names: dict[str, str] = {}
        self._brains: dict[str, BrainParameters] = {}
        self._agents: dict[str, Agents] = {}

    def __repr__(self) -> str:
        return f"<Conversation with a game that {self.state.value}>"

    @property
    def specs(self) -> Mapping[str, BehaviourSpec]:
        """{behaviour: its spec} of those that had agents so far."""
        return {name: agents.spec for name, agents in self._agents.items()}

    def receive(self, message: GameMessage) -> Event:
        """Take the game's next message.

        Raises:
            UnityMessageError: the message is out of order, or its content is wrong.
            SpecError: agents observe nothing, or cannot act.
        """
        if message.status != STATUS_OK:
            self.state = State.OVER
            return Left(one_line(message.text))
        if message.initialization is not None:
            return self._greet(message.initialization)
        if self.state is State.PLAYING:
            return self._move(message)
        if self.state is State.WAITING:
            for brain in message.behaviours:
                self._learn(brain)
            return Ready()
        raise UnityMessageError(
            f"a game that {self.state.value} sent records; it must say first who it is: stop it "
            "and start it again"
        )

    def _greet(self, said: Initialization) -> Greeted:
        if self.state is not State.GREETING:
            raise UnityMessageError(
                f"a game that {self.state.value} said again who it is; a game says it once"
            )
        ours = API_VERSION.partition(".")[0]
        if said.communication_version.partition(".")[0] != ours:
            raise UnityMessageError(
                f"the game speaks version {said.communication_version or '(none)'} of ML-Agents' "
                f"communication (package {said.package_version or 'unknown'}), and this trainer "
                f"speaks {ours}.x; use com.unity.ml-agents 1.0 or later in the Unity project"
            )
        self._package_version = said.package_version
        self.state = State.WAITING
        return Greeted(said)

    def _learn(self, brain: BrainParameters) -> None:
        """Remember the actions of a behaviour; its records describe its observations."""
        if len(self._brains) >= MOST_KEYS and brain.key not in self._brains:
            raise UnityMessageError(
                f"the game has more than {MOST_KEYS:,} behaviours and teams; give agents that are "
                "alike one Behavior Name"
            )
        _check_actions(brain)
        self._brains[brain.key] = brain

    def _move(self, message: GameMessage) -> Moved:
        check_pixels(each for its in message.agents.values() for each in its.observations)
        for brain in message.behaviours:
            self._learn(brain)
        teams: dict[str, dict[str, AgentRecords]] = {}
        for key, records in message.agents.items():
            name = self._names.get(key) or self._meet(key)
            teams.setdefault(name, {})[key] = records
        new = tuple(self._begin(name, teams[name]) for name in sorted(teams.keys() - self._agents))
        timesteps = {}
        for name in sorted(teams):
            rows = self._agents[name].read(teams[name])
            if len(rows):
                timesteps[name] = rows
        gone = {name: ids for name, each in self._agents.items() if len(ids := each.take_gone())}
        return Moved(new, timesteps, gone, message.side_channel)

    def _meet(self, key: str) -> str:
        """Register a key whose agents appear for the first time; returns its behaviour."""
        name = behaviour_name(key)
        brain = self._brains.get(key)
        if brain is None:
            raise UnityMessageError(
                f"agents of behaviour '{key}' came without a word on how they act (it told of: "
                f"{', '.join(sorted(self._brains)) or 'none'}); stop the game and start it again"
            )
        for other, its in self._names.items():
            if its == name and not _act_alike(brain, self._brains[other]):
                raise UnityMessageError(
                    f"the teams '{other}' and '{key}' act differently, and one policy serves both; "
                    "give them the same actions, or another Behavior Name"
                )
        self._names[key] = name
        return name

    def _begin(self, name: str, teams: Mapping[str, AgentRecords]) -> BehaviourSpec:
        key = min(teams)
        sensors = sensors_of(teams[key], package_version=self._package_version)
        spec = spec_of(name, self._brains[key], sensors)
        self._agents[name] = Agents(spec, sensors, most_absent=self._most_absent)
        return spec

    def greeting(self, *, seed: int, num_areas: int) -> bytes:
        """The answer to `Greeted`: the trainer's introduction.

        Args:
            seed: of the game's randomness; the low 31 bits are used.
            num_areas: copies of its training area that it shall make.
        """
        is_old = self._package_version.startswith("1.0.")
        return encode_initialization(
            seed=seed & 0x7FFFFFFF,
            num_areas=num_areas,
            package_version=OLD_PACKAGE_VERSION if is_old else PACKAGE_VERSION,
        )

    def reset(self, side_channel: bytes = b"") -> bytes:
        """The answer to `Ready`, or instead of actions: begin all episodes anew."""
        self.state = State.PLAYING
        self.forget()
        return encode_reset(side_channel)

    def forget(self) -> None:
        """From here on no agent has an action without outcome: its next row is FIRST."""
        for agents in self._agents.values():
            agents.forget()

    def act(self, actions: Mapping[str, ActionBatch], side_channel: bytes = b"") -> bytes:
        """The answer to `Moved`.

        Args:
            actions: {behaviour: for its rows that need one, in order}.
            side_channel: for the game.
        """
        by_key: dict[str, ActionBatch] = {}
        for name, batch in actions.items():
            by_key.update(self._agents[name].split(batch))
        return encode_actions(by_key, side_channel)

    def close(self, text: str = "") -> bytes:
        """The answer that ends the conversation, to any event."""
        self.state = State.OVER
        return encode_closing(text)


def _check_actions(brain: BrainParameters) -> None:
    """Raise UnityMessageError if it has more actions than any game; a few bytes can say so."""
    for count, most, what in (
        (brain.num_continuous, MOST_CONTINUOUS, "continuous actions"),
        (len(brain.branches), MOST_BRANCHES, "discrete branches"),
        (sum(brain.branches), MOST_CHOICES, "choices in its discrete branches"),
    ):
        if count > most:
            raise UnityMessageError(
                f"behaviour '{brain.key}' has {count:,} {what}; expected at most {most:,}: give "
                "its agents fewer, or split one choice into several branches"
            )


def _act_alike(one: BrainParameters, other: BrainParameters) -> bool:
    return (one.num_continuous, one.branches) == (other.num_continuous, other.branches)
