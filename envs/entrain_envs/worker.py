"""A process that simulates some copies of an environment for `processes`, over a pipe.

A question is one byte that says what is wanted, one for the group, and the rest; so is an answer.
Arrays travel as they do to a trainer, in messages of `wire`, and errors as their class and words.
"""

import argparse
import dataclasses
import json
import logging
import signal
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.connection import Connection

from entrain_envs import errors
from entrain_envs.codec import decode_actions, encode_timesteps
from entrain_envs.copies import Copies
from entrain_envs.environment import Environment, ReportsStatistics
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.faults import may_pass
from entrain_envs.log_lines import log_to_stderr
from entrain_envs.making import maker
from entrain_envs.spec_codec import encode_spec
from entrain_envs.statistics_codec import encode_statistics
from entrain_envs.timestep import TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb

RESET, STEP, SET_PARAMETERS = b"R", b"S", b"P"
"""Questions. The last one has no answer."""

logger = logging.getLogger(__name__)

ADVISED_STEPS = 300
"""After so many it is known how long a step takes."""

MESSAGES_MS = 1.2
"""How much longer a step takes through messages between processes; measured on two cores."""

ROWS, FAULT = b"r", b"f"
"""Answers."""


def work(pipe: Connection, options: argparse.Namespace, parts: Sequence[Copies]) -> None:
    """Make the copies of each group, say what they are, and answer until the pipe is closed.

    Args:
        pipe: to the process that asks.
        options: of the command line.
        parts: this process's copies of each group.
    """
    # Who asks is told to end, and closes the pipe.
    for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    is_first = parts[0].are_first
    log_to_stderr()
    if not is_first:
        # What holds for one copy holds for all, and is said once.
        logging.getLogger().setLevel(logging.ERROR)
        options = argparse.Namespace(**{**vars(options), "record": None})
    groups: list[Environment] = []
    try:
        make = maker(options)
        groups.extend(make(part) for part in parts)
        specs = [encode_spec(spec) for spec in groups[0].behaviours]
        pipe.send_bytes(ROWS + pb.Hello(behaviours=specs).SerializeToString())
        _answer_all(pipe, groups, Advice(options.processes) if is_first else None)
    except EntrainEnvsError as error:
        pipe.send_bytes(FAULT + written_fault(error))
    except (EOFError, ConnectionError):
        pass
    finally:
        for group in groups:
            group.close()


class Advice:
    """Says once if steps are so short that dividing them among processes loses more than it gains.

    While one process steps its copies, so do the others: this saves their part of the time.
    """

    def __init__(self, processes: int) -> None:
        """Measure steps that so many processes share."""
        self._processes = processes
        self._taken_s: list[float] = []

    def note(self, seconds: float) -> None:
        """This process has stepped its copies of one group in so many seconds."""
        if len(self._taken_s) == ADVISED_STEPS:
            return
        self._taken_s.append(seconds)
        if len(self._taken_s) < ADVISED_STEPS:
            return
        taken_ms = 1e3 * statistics.median(self._taken_s)
        saved_ms = taken_ms * (self._processes - 1)
        if saved_ms < MESSAGES_MS:
            logger.warning(
                "one of %d processes steps its copies in %.2f ms, so --processes saves %.2f ms a "
                "step, and its messages take about %g: leave --processes out, or raise --count",
                *(self._processes, taken_ms, saved_ms, MESSAGES_MS),
            )


def _answer_all(pipe: Connection, groups: Sequence[Environment], advice: Advice | None) -> None:
    """Until the pipe is closed, which raises EOFError."""
    acting: list[Mapping[str, int]] = [{} for _ in groups]
    while True:
        question = pipe.recv_bytes()
        index, content = question[1], question[2:]
        group = groups[index]
        if question[:1] == SET_PARAMETERS:
            group.set_parameters(json.loads(content))
            continue
        if question[:1] == RESET:
            rows = group.reset(**json.loads(content))
        else:
            specs = {spec.name: spec for spec in group.behaviours}
            act = pb.Act.FromString(content)
            actions = {
                part.behaviour: decode_actions(
                    specs[part.behaviour], part, acting[index][part.behaviour]
                )
                for part in act.behaviours
            }
            began_s = time.perf_counter()
            rows = group.step(actions)
            if advice is not None:
                advice.note(time.perf_counter() - began_s)
        acting[index] = {name: int(batch.needs_action.sum()) for name, batch in rows.items()}
        pipe.send_bytes(ROWS + _message(group, rows).SerializeToString())


def _message(group: Environment, rows: Mapping[str, TimestepBatch]) -> pb.Step:
    """Rows, and what is reported beside them."""
    specs = {spec.name: spec for spec in group.behaviours}
    step = pb.Step(behaviours=[encode_timesteps(specs[name], rows[name]) for name in rows])
    if isinstance(group, ReportsStatistics):
        step.statistics.extend(encode_statistics(group.take_statistics()))
    return step


@dataclasses.dataclass(frozen=True)
class _Fault:
    kind: str
    words: str
    may_pass: bool


def written_fault(error: EntrainEnvsError) -> bytes:
    """An error, for `read_fault`."""
    fault = _Fault(type(error).__name__, str(error), may_pass(error.__cause__))
    return json.dumps(dataclasses.asdict(fault)).encode()


def read_fault(content: bytes) -> EntrainEnvsError:
    """The error that a worker met."""
    fault = _Fault(**json.loads(content))
    error: EntrainEnvsError = getattr(errors, fault.kind)(fault.words)
    # Whether it would come again is read from its cause: see `faults.may_pass`.
    error.__cause__ = ConnectionError(fault.words) if fault.may_pass else None
    return error


def names_of(parts: Iterable[Copies]) -> str:
    """Which copies a worker has, for messages."""
    return ", ".join(f"{part.first} to {part.first + part.count - 1}" for part in parts)
