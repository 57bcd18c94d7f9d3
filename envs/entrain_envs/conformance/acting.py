"""Writes the Acts of the kit: random allowed actions, and what an Act may hold beside them."""

import numpy as np

from entrain_envs.codec import PROTOCOL_VERSION, REVISION, encode_actions
from entrain_envs.conformance.arrays import Rows
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch
from entrain_envs.wire import trainer_pb2 as pb

_WIDEST = 1.0
"""Where a dimension has no bound, actions are this far from the other bound, or from 0."""

_UNKNOWN_FIELD = 15_000
"""A field number that the contract will not use soon."""

UNKNOWN = b"".join(
    [
        # field 15000 as a varint, 15001 as 8 bytes, 15002 as text, 15003 as 4 bytes
        bytes.fromhex("c0a907ffffffffffffffffff01"),
        bytes.fromhex("c9a9070000000000000000"),
        bytes.fromhex("d2a90706") + b"future",
        bytes.fromhex("dda90700000000"),
    ]
)
"""Fields of the future, of each wire type."""


_WELCOME_FIELD, _ACT_FIELD = b"\x0a", b"\x12"
"""Fields 1 and 2 of ConnectResponse, messages."""


def padding(num_bytes: int) -> bytes:
    """An unknown field of about so many bytes."""
    return bytes.fromhex("d2a907") + _length(bytes(num_bytes)) + bytes(num_bytes)


def written_welcome(welcome: pb.Welcome) -> bytes:
    """The message of a Welcome, with what all of the kit's have in common.

    One of a resumed session has fields of the future: Acts have shown before that they are ignored.
    """
    welcome.version = PROTOCOL_VERSION
    welcome.run_id = "conformance"
    welcome.environment_parameters["conformance_kit"] = 1.0
    welcome.grace_s = 60.0
    welcome.revision = REVISION
    content = welcome.SerializeToString() + (UNKNOWN if welcome.resumed else b"")
    return _WELCOME_FIELD + _length(content) + content


def written_act(act: pb.Act, extra: bytes) -> bytes:
    """The message of an Act, with bytes of unknown fields at its end."""
    content = act.SerializeToString() + extra
    return _ACT_FIELD + _length(content) + content


def _length(content: bytes) -> bytes:
    """How long it is, as protobuf writes it."""
    groups = bytearray()
    left = len(content)
    while left > 0x7F:
        groups.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*groups, left])


class RandomActions:
    """Chooses actions evenly among those that the spec and the mask allow."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def choose(self, spec: BehaviourSpec, rows: Rows) -> pb.BehaviourAct:
        """Actions for the rows that need one."""
        acts = rows.step_type <= pb.STEP_TYPE_MID
        mask = rows.action_mask[acts]
        low, high = _bounds(spec)
        count = len(mask)
        continuous = self._random.uniform(low, high, (count, len(low)))
        discrete = np.zeros((count, len(spec.action.branches)), np.int32)
        first_choice = 0
        for branch, choices in enumerate(spec.action.branches):
            allowed = mask[:, first_choice : first_choice + choices]
            first_choice += choices
            # The largest of random numbers among those that are allowed.
            drawn = np.where(allowed, self._random.random((count, choices)), -1.0)
            discrete[:, branch] = drawn.argmax(axis=1)
        batch = ActionBatch(continuous.astype(np.float32), discrete, policy_version=1)
        return encode_actions(spec, batch)


def _bounds(spec: BehaviourSpec) -> tuple[np.ndarray, np.ndarray]:
    low = np.asarray(spec.action.low, np.float64)
    high = np.asarray(spec.action.high, np.float64)
    bounded_low = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high, 0) - _WIDEST)
    bounded_high = np.where(np.isfinite(high), high, np.where(np.isfinite(low), low, 0) + _WIDEST)
    return bounded_low, bounded_high
