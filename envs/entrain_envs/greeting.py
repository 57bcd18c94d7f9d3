"""The handshake: the Hello of a simulator, and the Welcome of the trainer."""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from entrain_envs.codec import PROTOCOL_VERSION
from entrain_envs.errors import MisfitError, OptionError, WireError
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import encode_spec
from entrain_envs.wire import trainer_pb2 as pb

ROLES: Final[Mapping[str, pb.Role]] = MappingProxyType(
    {"training": pb.ROLE_UNSPECIFIED, "evaluation": pb.ROLE_EVALUATION}
)
"""What a simulator's agents may be for. In evaluations nothing is learned from them."""

ROLE_VARIABLE: Final = "ENTRAIN_ROLE"

ROLES_REVISION: Final = 3
"""Trainers of earlier ones know of no roles: they learn from everyone."""


def usual_role() -> str:
    """The role of a simulator that does not name one itself."""
    return os.environ.get(ROLE_VARIABLE) or "training"


def role_of(name: str) -> pb.Role:
    """The role of that name; OptionError if there is none."""
    if name not in ROLES:
        raise OptionError(f"role is '{name}'; it must be {' or '.join(ROLES)}")
    return ROLES[name]


@dataclass(frozen=True)
class Welcome:
    """The content of the Welcome that the trainer sent when this simulator joined."""

    version: int
    """Protocol version that both sides speak."""

    session_id: str
    """Name of this session."""

    run_id: str
    """Name of the training run."""

    seed: int
    """Seed for the simulator's own randomness."""

    environment_parameters: Mapping[str, float]
    """Settings of the environment, by name."""

    resumed: bool
    """Whether this continues an earlier session."""

    max_message_bytes: int = 0
    """Longest message that the trainer takes; 0 if it did not say."""

    revision: int = 0
    """Which additions to the protocol's version the trainer reads; see the wire contract."""

    max_unanswered_steps: int = 1
    """How many Steps may be without actions at a time."""

    def check_length(self, request: pb.ConnectRequest, *, who: str) -> None:
        """Raise MisfitError if the Step in `request` is longer than the trainer takes.

        Counting its bytes exactly costs a copy of it, so compare an upper bound first.

        Args:
            request: holds a Step.
            who: the simulator's name, for the message.
        """
        size = request.ByteSize()
        if size > self.max_message_bytes:
            raise MisfitError(
                f"Step {request.step.sequence} of '{who}' has {size:,} bytes, and the trainer "
                f"takes messages of up to {self.max_message_bytes:,}; send fewer agents in a "
                "message or smaller images, or raise server.max_message_mib of the trainer"
            )


NOT_JOINED = Welcome(0, "", "", 0, MappingProxyType({}), resumed=False)


def write_hello(
    behaviours: Sequence[BehaviourSpec],
    *,
    simulator: str,
    max_agents: int,
    max_unanswered_steps: int,
    role: str = "training",
) -> pb.Hello:
    """Write the Hello of a new simulator, with an instance id of its own.

    OptionError if no Step at all may be unanswered.
    """
    if max_unanswered_steps < 1:
        raise OptionError(f"max_unanswered_steps is {max_unanswered_steps}; it must be at least 1")
    return pb.Hello(
        min_version=PROTOCOL_VERSION,
        max_version=PROTOCOL_VERSION,
        simulator=simulator,
        instance_id=secrets.token_hex(16),
        behaviours=[encode_spec(spec) for spec in behaviours],
        max_agents=max_agents,
        max_unanswered_steps=max_unanswered_steps,
        role=role_of(role),
    )


def read_welcome(response: pb.ConnectResponse, *, address: str) -> Welcome:
    """Read the answer to a Hello.

    Args:
        response: what the trainer sent.
        address: of the trainer, for messages.

    Raises:
        WireError: the answer is no Welcome.
        MisfitError: the trainer chose a protocol version that this package does not speak.
    """
    if not response.HasField("welcome"):
        raise WireError(f"{address} answered Hello with an Act; expected a Welcome")
    answer = response.welcome
    if answer.version != PROTOCOL_VERSION:
        raise MisfitError(
            f"{address} chose protocol {answer.version}, this simulator speaks "
            f"{PROTOCOL_VERSION}; install the entrain-envs that belongs to the trainer"
        )
    return Welcome(
        version=answer.version,
        session_id=answer.session_id,
        run_id=answer.run_id,
        seed=answer.seed,
        environment_parameters=MappingProxyType(dict(answer.environment_parameters)),
        resumed=answer.resumed,
        max_message_bytes=answer.max_message_bytes,
        revision=answer.revision,
        max_unanswered_steps=max(1, answer.max_unanswered_steps),
    )


def require_role(welcome: Welcome, role: pb.Role, *, address: str) -> None:
    """Raise MisfitError if the trainer does not know the role that was asked for."""
    if role != pb.ROLE_UNSPECIFIED and welcome.revision < ROLES_REVISION:
        raise MisfitError(
            f"{address} is a trainer of revision {welcome.revision}, which would learn from this "
            f"simulator instead of evaluating in it; upgrade entrain there, to revision "
            f"{ROLES_REVISION} or later"
        )
