"""A trainer for tests of the simulator's side: says what a script tells it to, and nothing else."""

from collections.abc import Callable, Iterator

import grpc
import numpy as np

from entrain_envs.codec import encode_actions
from entrain_envs.errors import RefusedError
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb
from entrain_envs.wire import trainer_pb2_grpc

RowsOf = Callable[..., TimestepBatch]
"""The fixture `rows_of`."""

Talk = Callable[[Iterator[pb.ConnectRequest], grpc.ServicerContext], Iterator[pb.ConnectResponse]]
"""One stream: reads requests, yields responses."""

Serve = Callable[..., str]
"""Serves one `Talk` after another, the last one for ever; returns the address."""


class ScriptedTrainer(trainer_pb2_grpc.TrainerServicer):
    """Answers stream n by talk n, and those beyond the last talk by the last."""

    def __init__(self, talks: tuple[Talk, ...]) -> None:
        self._talks = list(talks)

    def Connect(
        self, request_iterator: Iterator[pb.ConnectRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.ConnectResponse]:
        talk = self._talks.pop(0) if len(self._talks) > 1 else self._talks[0]
        return talk(request_iterator, context)


class NeverSilent:
    """What a stand-in for a connection has of one that is asked about its silence."""

    def inquire(self, request: pb.InquireRequest, *, timeout_s: float) -> pb.InquireResponse:
        raise RefusedError("a stand-in is not asked")

    def give_up(self, words: str) -> None:
        raise AssertionError(f"a stand-in is never silent: {words}")


def actions_for(spec: BehaviourSpec, rows: int, *, policy_version: int = 7) -> ActionBatch:
    """Row i of the answer says i in every number, of a branch with n choices i modulo n."""
    number = np.arange(rows)[:, None]
    return ActionBatch(
        continuous=np.tile(number, spec.action.continuous_size).astype(np.float32),
        discrete=(number % np.array(spec.action.branches, np.int64)).astype(np.int32),
        policy_version=policy_version,
    )


def welcome(session_id: str = "session", *, seed: int = 5, **fields: object) -> pb.ConnectResponse:
    """A Welcome of protocol 1."""
    return pb.ConnectResponse(
        welcome=pb.Welcome(
            version=1,
            session_id=session_id,
            run_id="run",
            seed=seed,
            **fields,  # type: ignore[arg-type]
        )
    )


def act(spec: BehaviourSpec, step: pb.Step, **fields: object) -> pb.ConnectResponse:
    """An Act for a step whose only behaviour, if any, is `spec`'s."""
    return pb.ConnectResponse(
        act=pb.Act(
            sequence=step.sequence,
            behaviours=[
                encode_actions(spec, actions_for(spec, num_acting(part)))
                for part in step.behaviours
            ],
            **fields,  # type: ignore[arg-type]
        )
    )


def close(reason: pb.CloseReason, message: str = "") -> pb.ConnectResponse:
    """The trainer's Close."""
    return pb.ConnectResponse(close=pb.Close(reason=reason, message=message))


def num_acting(part: pb.BehaviourStep) -> int:
    """Rows that need an action."""
    return sum(step_type <= StepType.MID for step_type in part.step_type)
