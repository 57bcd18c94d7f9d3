"""Messages of the contract that every client should be able to write or read, each with its point.

Numbers are chosen so that their decimal form is exact, or say what they are.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from entrain_envs.wire import trainer_pb2 as pb

FIRST, MID, TERMINATED, TRUNCATED = 1, 2, 3, 4

_INF = float("inf")


@dataclass(frozen=True)
class Case:
    """One message and what it shows."""

    name: str
    about: str
    message: Message


def _floats(values: npt.ArrayLike) -> bytes:
    return np.asarray(values, "<f4").tobytes()


def _longs(*values: int) -> bytes:
    return np.asarray(values, "<i8").tobytes()


def _ints(values: npt.ArrayLike) -> bytes:
    return np.asarray(values, "<i4").tobytes()


WALKER = pb.BehaviourSpec(
    name="walker",
    observations=[
        pb.ObservationSpec(
            name="body", shape=[3], dtype=pb.DTYPE_FLOAT32, kind=pb.OBSERVATION_KIND_VECTOR
        )
    ],
    action=pb.ActionSpec(low=[-1.0, -_INF], high=[1.0, _INF]),
)
"""Continuous: float32[3] in, two numbers out, the second without bounds."""

GUNNER = pb.BehaviourSpec(
    name="gunner",
    observations=[
        pb.ObservationSpec(
            name="camera",
            shape=[2, 2, 3],
            dtype=pb.DTYPE_UINT8,
            kind=pb.OBSERVATION_KIND_IMAGE,
            low=[0.0],
            high=[255.0],
        ),
        pb.ObservationSpec(
            name="compass",
            shape=[2],
            dtype=pb.DTYPE_FLOAT32,
            kind=pb.OBSERVATION_KIND_GOAL,
            low=[-1.0, -_INF],
            high=[1.0, _INF],
        ),
    ],
    action=pb.ActionSpec(branches=[3, 2]),
)
"""Discrete: uint8[2, 2, 3] and float32[2] in, one of 3 and one of 2 choices out."""

DRIVER = pb.BehaviourSpec(
    name="driver",
    observations=[
        pb.ObservationSpec(name="speed", dtype=pb.DTYPE_FLOAT32),
        pb.ObservationSpec(
            name="cars",
            shape=[2, 2],
            dtype=pb.DTYPE_FLOAT32,
            kind=pb.OBSERVATION_KIND_ENTITIES,
        ),
    ],
    action=pb.ActionSpec(low=[-0.5], high=[0.5], branches=[4]),
)
"""Hybrid: a scalar (an empty shape) and float32[2, 2] in, one number and one of 4 choices out."""

SPECS = (WALKER, GUNNER, DRIVER)


def walker_rows(*rows: tuple[int, int, float, list[float]]) -> pb.BehaviourStep:
    """Rows of (agent, step type, reward, body)."""
    return pb.BehaviourStep(
        behaviour="walker",
        agent_id=_longs(*(row[0] for row in rows)),
        step_type=bytes(row[1] for row in rows),
        reward=_floats([row[2] for row in rows]),
        observations=[_floats([row[3] for row in rows])],
    )


_CAMERAS = bytes(range(24))
_GUNNERS = pb.BehaviourStep(
    behaviour="gunner",
    agent_id=_longs(1, 2),
    step_type=bytes([MID, MID]),
    reward=_floats([0.5, -0.25]),
    observations=[_CAMERAS, _floats([[1.0, 0.0], [0.0, -1.0]])],
)
_MASKED_GUNNERS = pb.BehaviourStep()
_MASKED_GUNNERS.CopyFrom(_GUNNERS)
_MASKED_GUNNERS.action_mask = bytes([1, 0, 1, 0, 1, 1, 1, 1, 1, 0])
_DRIVERS = pb.BehaviourStep(
    behaviour="driver",
    agent_id=_longs(1),
    step_type=bytes([FIRST]),
    reward=_floats([0.0]),
    observations=[_floats([2.5]), _floats([[1.0, 2.0], [0.0, 0.0]])],
)
_GROUPED = walker_rows((1, MID, 1.0, [1.0, 2.0, 3.0]), (2, MID, 0.0, [4.0, 5.0, 6.0]))
_GROUPED.group_id = _longs(7, 0)
_GROUPED.group_reward = _floats([0.5, 0.0])
_LATE = walker_rows((1, MID, 3.0, [1.0, 2.0, 3.0]), (2, MID, 0.5, [4.0, 5.0, 6.0]))
_LATE.late = bytes([1, 0])
_IN_REAL_TIME = pb.BehaviourSpec(deadline_ms=300, fallback=pb.FALLBACK_NEUTRAL)
_IN_REAL_TIME.MergeFrom(WALKER)


def _step(sequence: int, *behaviours: pb.BehaviourStep, **more: object) -> pb.ConnectRequest:
    return pb.ConnectRequest(step=pb.Step(sequence=sequence, behaviours=behaviours, **more))  # type: ignore[arg-type]


def _hello(*behaviours: pb.BehaviourSpec, **more: object) -> pb.ConnectRequest:
    said = {"min_version": 1, "max_version": 1, "simulator": "sim", "instance_id": "a1b2"} | more
    return pb.ConnectRequest(hello=pb.Hello(behaviours=behaviours, **said))  # type: ignore[arg-type]


FROM_SIMULATOR = (
    Case("hello-smallest", "One behaviour and only the fields that are needed.", _hello(WALKER)),
    Case(
        "hello-every-field",
        "Every field; three behaviours, four kinds of observations, two dtypes, a scalar, bounds "
        "with and without infinity, continuous, discrete and hybrid actions.",
        _hello(
            *SPECS,
            max_version=3,
            simulator="walker-sim",
            instance_id="0123456789abcdef",
            max_agents=300,
            resume_session_id="session-7",
            max_unanswered_steps=2,
        ),
    ),
    Case(
        "hello-resume", "Dials again after a broken stream.", _hello(WALKER, resume_session_id="x")
    ),
    Case(
        "hello-utf-8", "Text is UTF-8; lengths count bytes.", _hello(WALKER, simulator="läufer ✓")
    ),
    Case(
        "hello-real-time",
        "Waits 300 ms for actions; then its agents take none.",
        _hello(_IN_REAL_TIME),
    ),
    Case(
        "hello-evaluation",
        "Takes part in evaluations, not in training.",
        _hello(WALKER, role=pb.ROLE_EVALUATION),
    ),
    Case("hello-no-behaviour", "A simulator whose kinds of agents come later.", _hello()),
    Case(
        "step-first",
        "Step 1: two agents begin. Rewards are zero, and bytes all the same.",
        _step(1, walker_rows((1, FIRST, 0.0, [0.0, 1.0, 2.0]), (2, FIRST, 0.0, [3.0, 4.0, 5.0]))),
    ),
    Case(
        "step-mid",
        "The outcome of both agents' actions.",
        _step(2, walker_rows((1, MID, 1.5, [0.5, 1.0, -2.0]), (2, MID, -1.0, [3.0, 4.5, 5.0]))),
    ),
    Case(
        "step-end-and-beginning",
        "Agent 1's episode ends, with its true final observation, and its next one begins: two "
        "rows, the end first. Agent 2 goes on. The Act has two rows: agent 1's FIRST, agent 2.",
        _step(
            3,
            walker_rows(
                (1, TERMINATED, -5.0, [9.0, 9.0, 9.0]),
                (1, FIRST, 0.0, [0.0, 0.0, 0.0]),
                (2, MID, 1.0, [3.0, 4.0, 5.0]),
            ),
        ),
    ),
    Case(
        "step-truncated",
        "A time limit cut agent 2's episode, and no other begins: a row that needs no action.",
        _step(4, walker_rows((2, TRUNCATED, 1.0, [3.0, 4.0, 5.0]))),
    ),
    Case("step-two-dtypes", "An image of uint8 beside floats.", _step(5, _GUNNERS)),
    Case(
        "step-mask",
        "Branches of 3 and 2 choices: five bytes a row, 1 = allowed.",
        _step(6, _MASKED_GUNNERS),
    ),
    Case(
        "step-several-behaviours",
        "Rows of three behaviours; ids are a behaviour's own.",
        _step(7, walker_rows((1, FIRST, 0.0, [1.0, 2.0, 3.0])), _GUNNERS, _DRIVERS),
    ),
    Case("step-empty", "No rows at all: only the number.", _step(8)),
    Case(
        "step-behaviour-without-rows",
        "A behaviour that is named and has no rows: one observation of no bytes, which is written.",
        _step(9, pb.BehaviourStep(behaviour="walker", observations=[b""])),
    ),
    Case("step-groups", "Group 7 earned 0.5; agent 2 has no group.", _step(10, _GROUPED)),
    Case(
        "step-late",
        "Agent 1's action came too late: the fallback led to its row. Agent 2's was in time.",
        _step(13, _LATE),
    ),
    Case(
        "step-statistics",
        "Numbers for people, in each way of aggregating.",
        _step(
            11,
            statistics=[
                pb.Statistic(name="coins", aggregation=pb.AGGREGATION_SUM, values=[1.0, 2.0]),
                pb.Statistic(name="level", aggregation=pb.AGGREGATION_LAST, values=[3.0]),
                pb.Statistic(name="speed", values=[0.1, 1e300]),
                pb.Statistic(name="mean", aggregation=pb.AGGREGATION_MEAN, values=[0.0]),
                pb.Statistic(name="shots", aggregation=pb.AGGREGATION_HISTOGRAM, values=[-0.0]),
            ],
        ),
    ),
    Case(
        "step-new-behaviours",
        "A kind of agent that Hello did not name, with its first row.",
        _step(12, _DRIVERS, new_behaviours=[DRIVER]),
    ),
    Case(
        "step-extreme-numbers",
        "The largest sequence number; the smallest and largest agent id; -0, the smallest and the "
        "largest float32.",
        _step(
            2**64 - 1,
            walker_rows(
                (-(2**63), MID, -0.0, [2.0**-149, -(2.0**-126), 0.0]),
                (2**63 - 1, MID, 3.4028234663852886e38, [-3.4028234663852886e38, 0.1, 1.0]),
            ),
        ),
    ),
    Case(
        "step-many-rows",
        "A hundred rows: lengths that take two bytes.",
        _step(
            128,
            walker_rows(
                *((each, MID, each / 4.0, [each, each / 2.0, -each]) for each in range(100))
            ),
        ),
    ),
    Case("goodbye", "Leaves for good.", pb.ConnectRequest(goodbye=pb.Goodbye(reason="done"))),
    Case(
        "goodbye-without-reason",
        "An empty message within the oneof is written, with length 0.",
        pb.ConnectRequest(goodbye=pb.Goodbye()),
    ),
)
"""What a client must write, byte for byte."""


def _act(sequence: int, *behaviours: pb.BehaviourAct, **more: object) -> pb.ConnectResponse:
    return pb.ConnectResponse(act=pb.Act(sequence=sequence, behaviours=behaviours, **more))  # type: ignore[arg-type]


_WALKER_ACT = pb.BehaviourAct(
    behaviour="walker", continuous=_floats([[0.5, -7.25], [-1.0, 0.1]]), policy_version=300
)
_GUNNER_ACT = pb.BehaviourAct(behaviour="gunner", discrete=_ints([[2, 0], [0, 1]]))
_DRIVER_ACT = pb.BehaviourAct(
    behaviour="driver",
    continuous=_floats([[0.25]]),
    discrete=_ints([[3]]),
    policy_version=2**64 - 1,
)

FROM_TRAINER = (
    Case(
        "welcome-smallest",
        "What a trainer must say; the rest is 0, false or empty.",
        pb.ConnectResponse(welcome=pb.Welcome(version=1, session_id="s1", run_id="run")),
    ),
    Case(
        "welcome-every-field",
        "Every field; two environment parameters. Their order on the wire means nothing.",
        pb.ConnectResponse(
            welcome=pb.Welcome(
                version=1,
                session_id="session-7",
                run_id="walk",
                seed=2**64 - 1,
                environment_parameters={"gravity": -9.8125, "size": 0.0},
                max_unanswered_steps=2,
                resumed=True,
                grace_s=60.5,
                max_message_bytes=67_108_864,
                revision=2,
            )
        ),
    ),
    Case(
        "welcome-not-resumed",
        "The answer to a Hello that named a session which is gone: numbers begin at 1 again.",
        pb.ConnectResponse(welcome=pb.Welcome(version=1, session_id="s2", seed=9, grace_s=60.0)),
    ),
    Case("act-continuous", "Two rows of two numbers.", _act(2, _WALKER_ACT)),
    Case(
        "act-discrete",
        "Two rows of two choices. policy_version is 0 and not written.",
        _act(5, _GUNNER_ACT),
    ),
    Case("act-hybrid", "A row with one number and one choice.", _act(7, _DRIVER_ACT)),
    Case(
        "act-several-behaviours",
        "In the Step's order.",
        _act(7, _WALKER_ACT, _GUNNER_ACT, _DRIVER_ACT),
    ),
    Case("act-empty", "To a Step without rows that need an action.", _act(8)),
    Case(
        "act-behaviour-without-rows",
        "To a Step whose rows of a behaviour all end episodes.",
        _act(4, pb.BehaviourAct(behaviour="walker", policy_version=1)),
    ),
    Case(
        "act-parameters",
        "Two parameters changed, one of them to zero.",
        _act(3, _WALKER_ACT, changed_environment_parameters={"gravity": -1.5, "size": 0.0}),
    ),
    Case(
        "close-completed",
        "Training is done: send Goodbye and end.",
        pb.ConnectResponse(close=pb.Close(reason=pb.CLOSE_REASON_COMPLETED, message="done")),
    ),
    Case(
        "close-stopped",
        "The trainer stops and may come back.",
        pb.ConnectResponse(close=pb.Close(reason=pb.CLOSE_REASON_STOPPED, message="stopped")),
    ),
    Case("close-empty", "No reason given.", pb.ConnectResponse(close=pb.Close())),
    Case(
        "refusal",
        "Over WebSocket only, before the close frame 4003: INVALID_ARGUMENT.",
        pb.ConnectResponse(refusal=pb.Refusal(code=3, message="reward holds nan")),
    ),
    Case(
        "refusal-to-dial-again",
        "UNAVAILABLE, without words.",
        pb.ConnectResponse(refusal=pb.Refusal(code=14)),
    ),
)
"""What a client must read."""

INQUIRIES = (
    Case(
        "inquire-request",
        "Asks about Step 300.",
        pb.InquireRequest(session_id="session-7", instance_id="0123456789abcdef", sequence=300),
    ),
    Case("inquire-unspecified", "Nothing said.", pb.InquireResponse()),
    Case("inquire-not-held", "Dial again.", pb.InquireResponse(standing=pb.STEP_STANDING_NOT_HELD)),
    Case("inquire-held", "Wait on.", pb.InquireResponse(standing=pb.STEP_STANDING_HELD)),
    Case("inquire-answered", "Wait 5 s.", pb.InquireResponse(standing=pb.STEP_STANDING_ANSWERED)),
)
"""What the second call says."""
