"""Messages that are well formed and break a rule: rows for a trainer to refuse, or actions."""

from dataclasses import dataclass

import numpy as np
from proto.vector_bytes import packed_float
from proto.vector_cases import FIRST, MID, walker_rows

from entrain_envs.wire import trainer_pb2 as pb


@dataclass(frozen=True)
class WrongRows:
    """Rows that a trainer refuses with INVALID_ARGUMENT."""

    name: str
    reason: str
    rows: pb.BehaviourStep
    behaviour: str = "walker"


@dataclass(frozen=True)
class WrongActions:
    """Actions that a client must refuse: it was to act for `rows` rows."""

    name: str
    reason: str
    actions: pb.BehaviourAct
    rows: int
    behaviour: str = "walker"


def _two_rows(**changed: object) -> pb.BehaviourStep:
    rows = walker_rows((1, MID, 1.0, [1.0, 2.0, 3.0]), (2, MID, 2.0, [4.0, 5.0, 6.0]))
    for name, content in changed.items():
        if name == "observations":
            del rows.observations[:]
            rows.observations.extend(content)  # type: ignore[arg-type]
        else:
            setattr(rows, name, content)
    return rows


def _gunner(mask: bytes) -> pb.BehaviourStep:
    return pb.BehaviourStep(
        behaviour="gunner",
        agent_id=bytes([1, *bytes(7)]),
        step_type=bytes([FIRST]),
        reward=bytes(4),
        observations=[bytes(12), bytes(8)],
        action_mask=mask,
    )


_BODIES = np.asarray([[1, 2, 3], [4, 5, 6]])

WRONG_ROWS = (
    WrongRows(
        "agent-id-int32",
        "Ids are int64; these are int32, four bytes each, and no whole number of rows.",
        _two_rows(agent_id=np.asarray([1, 2, 3], "<i4").tobytes()),
    ),
    WrongRows("reward-too-few", "One reward for two rows.", _two_rows(reward=packed_float(1.0))),
    WrongRows(
        "step-type-too-many",
        "Three step types for two rows.",
        _two_rows(step_type=bytes([MID, MID, MID])),
    ),
    WrongRows(
        "step-type-zero",
        "There is no step type 0: counting begins with FIRST, 1.",
        _two_rows(step_type=bytes([0, 1])),
    ),
    WrongRows("step-type-five", "There is no step type 5.", _two_rows(step_type=bytes([MID, 5]))),
    WrongRows(
        "observation-float64",
        "The numbers are float64; the spec says float32.",
        _two_rows(observations=[_BODIES.astype("<f8").tobytes()]),
    ),
    WrongRows(
        "observation-big-endian",
        "Each float has its bytes in the wrong order. Most are tiny numbers; the last is NaN.",
        _two_rows(observations=[_BODIES.astype(">f4").tobytes()[:-4] + bytes([0, 0, 0xC0, 0x7F])]),
    ),
    WrongRows(
        "observation-one-short",
        "Five numbers for two rows of three.",
        _two_rows(observations=[_BODIES.astype("<f4").tobytes()[:-4]]),
    ),
    WrongRows(
        "observation-missing",
        "The spec has one observation; none was sent.",
        _two_rows(observations=[]),
    ),
    WrongRows(
        "observation-not-finite",
        "Infinity.",
        _two_rows(observations=[np.asarray([1, 2, 3, 4, 5, np.inf], "<f4").tobytes()]),
    ),
    WrongRows(
        "reward-nan", "NaN.", _two_rows(reward=packed_float(1.0) + packed_float(float("nan")))
    ),
    WrongRows(
        "mask-too-short",
        "Branches of 3 and 2 choices need five bytes a row.",
        _gunner(bytes([1, 1, 1, 1])),
        "gunner",
    ),
    WrongRows(
        "mask-not-0-or-1",
        "A mask holds 1 and 0 and nothing else.",
        _gunner(bytes([1, 2, 1, 1, 1])),
        "gunner",
    ),
    WrongRows(
        "mask-allows-nothing",
        "The second branch has no choice left in a row that needs an action.",
        _gunner(bytes([1, 1, 1, 0, 0])),
        "gunner",
    ),
    WrongRows(
        "group-id-too-few",
        "One group for two rows; leave it out if no agent has one.",
        _two_rows(group_id=bytes(8)),
    ),
)

WRONG_ACTIONS = (
    WrongActions(
        "continuous-too-few",
        "Two numbers for two rows of two.",
        pb.BehaviourAct(behaviour="walker", continuous=packed_float(0.5) * 2),
        2,
    ),
    WrongActions(
        "continuous-not-whole",
        "Seven bytes are no whole number of float32.",
        pb.BehaviourAct(behaviour="walker", continuous=bytes(7)),
        1,
    ),
    WrongActions(
        "continuous-for-a-row-that-ended",
        "Actions for two rows, of which one ended an episode and needs none.",
        pb.BehaviourAct(behaviour="walker", continuous=packed_float(0.5) * 4),
        1,
    ),
    WrongActions(
        "discrete-as-int64",
        "Choices are int32; these are int64.",
        pb.BehaviourAct(behaviour="gunner", discrete=bytes(16)),
        1,
        "gunner",
    ),
    WrongActions(
        "discrete-beyond-branch",
        "The second branch has two choices, 0 and 1; this is choice 2.",
        pb.BehaviourAct(behaviour="gunner", discrete=np.asarray([2, 2], "<i4").tobytes()),
        1,
        "gunner",
    ),
    WrongActions(
        "discrete-below-zero",
        "Choices begin with 0.",
        pb.BehaviourAct(behaviour="gunner", discrete=np.asarray([-1, 1], "<i4").tobytes()),
        1,
        "gunner",
    ),
)
