"""Messages of an ML-Agents game, as arrays over all agents of a behaviour.

A message of `communicator_objects.UnityToExternalProto/Exchange` becomes one `GameMessage`; `codec`
reads and writes its bytes. K is the number of records of one behaviour.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from entrain_envs.shapes import Bool, Float, Int
from entrain_envs.timestep import BoolArray, Float32Array, Int64Array

STATUS_OK = 200
"""Status of a message that continues the conversation."""

STATUS_CLOSING = 400
"""Status of its sender's last message; nothing is answered after it."""

API_VERSION = "1.5.0"
"""Of the communicator, unchanged since 2021. Both sides must have the same first number."""

TRANSLATION = 2
"""Bit of a dimension's properties: it is translation-equivariant, as height and width are."""

VARIABLE_SIZE = 4
"""Bit of a dimension's properties: rows of zeros at its end are absent entities."""

ObservationKind = Literal["default", "goal"]


@dataclass(frozen=True)
class Capabilities:
    """The features that one side supports. A game that is told `False` does not use the feature."""

    base: bool = True
    concatenated_png: bool = True
    """Several PNGs one after another, for images of more than three channels."""

    channel_mapping: bool = True
    """A mapping from decoded channels to those of an image."""

    hybrid_actions: bool = True
    training_analytics: bool = False
    """Messages about the training for the engine's maker; none are sent."""

    variable_length: bool = True
    groups: bool = True


@dataclass(frozen=True)
class Initialization:
    """The first message of a game."""

    name: str = ""
    communication_version: str = API_VERSION
    package_version: str = ""
    capabilities: Capabilities = Capabilities()


@dataclass(frozen=True)
class BrainParameters:
    """The actions of a behaviour's agents. Only their records describe their observations."""

    key: str
    """As on the wire, with the team: "Ball?team=0"."""

    num_continuous: int = 0
    branches: tuple[int, ...] = ()
    """Number of choices of each discrete action."""


@dataclass(frozen=True)
class Observation:
    """One sensor of K agents. Either `values` or `png` is given."""

    name: str
    """May be empty, or the same as another sensor's."""

    shape: tuple[int, ...]
    """Of one agent, as the game declares it."""

    kind: ObservationKind = "default"

    dimension_properties: tuple[int, ...] = ()
    """Bits of each dimension; empty if the game does not say."""

    mapping: tuple[int, ...] = ()
    """For each decoded channel of a PNG its channel in the image, or -1. Empty: in order."""

    values: npt.NDArray[np.float32] | None = None
    """[K, *shape]"""

    png: tuple[bytes, ...] = ()
    """Of each agent one PNG, or several one after another."""


@dataclass(frozen=True)
class AgentRecords:
    """K records of one behaviour, in the game's order: ends of episodes and requests for actions.

    An agent whose episode ended and whose next one began has two records, the end first.
    """

    id: Int[Int64Array, " K"]
    """[K] of the agents. One may stay over episodes; one that was switched off gets a new one."""

    reward: Float[Float32Array, " K"]
    """[K] since the agent's last action."""

    done: Bool[BoolArray, " K"]
    """[K] whether its episode ended. No action is due then."""

    interrupted: Bool[BoolArray, " K"]
    """[K] whether it was cut off by a limit; only where `done`."""

    group_id: Int[Int64Array, " K"]
    """[K] 0 without a group."""

    group_reward: Float[Float32Array, " K"]
    """[K] of the whole group since the agent's last action."""

    observations: tuple[Observation, ...]
    """In the sensors' order, which all agents of a behaviour have in common."""

    mask: BoolArray | None = None
    """[K, sum of branches] true = forbidden. None: everything is allowed."""

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True)
class GameMessage:
    """One request of a game."""

    status: int = STATUS_OK
    text: str = ""
    """Given with a status that is not OK."""

    initialization: Initialization | None = None
    """Of the first message."""

    behaviours: tuple[BrainParameters, ...] = ()
    """Behaviours that now have agents for the first time."""

    agents: Mapping[str, AgentRecords] = field(default_factory=dict)
    """{key of the behaviour: its records}, those without any left out."""

    side_channel: bytes = b""
    has_output: bool = False
    """Whether there was a payload at all. The game's second message has none."""
