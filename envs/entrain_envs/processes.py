"""Copies of an environment in several processes, as one environment of one simulator.

For copies that take long to step. What they do is the same, bit for bit, as in one process: each
`worker` runs the same adapter over its copies, and copy i has the same seed and number in any.
Nothing here imports the environment.
"""

import argparse
import json
import logging
import multiprocessing
import signal
import weakref
from collections.abc import Iterable, Mapping, Sequence

from entrain_envs.codec import decode_timesteps, encode_actions
from entrain_envs.copies import Copies
from entrain_envs.errors import FaultyEnvironmentError
from entrain_envs.joined_environments import JoinedEnvironments
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import decode_spec
from entrain_envs.statistics import Statistic
from entrain_envs.statistics_codec import decode_statistics
from entrain_envs.timestep import ActionBatch, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb
from entrain_envs.worker import FAULT, RESET, SET_PARAMETERS, STEP, names_of, read_fault, work

logger = logging.getLogger(__name__)

CLOSE_S = 10.0
"""Longest wait for a process to close its copies, which may finish a recording."""

DEATH_S = 2.0
"""Longest wait for the exit code of a process whose pipe is closed."""


class Worker:
    """One process. Owned by the thread that made it."""

    def __init__(self, options: argparse.Namespace, parts: Sequence[Copies]) -> None:
        """Start it; its copies are made while others start.

        Args:
            options: of the command line.
            parts: its copies of each group.
        """
        self._parts = parts
        # Forked, it would have the threads' locks of gRPC, and no threads.
        spawned = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawned.Pipe()
        self._process = spawned.Process(target=work, args=(theirs, options, parts))
        self._process.start()
        theirs.close()
        # At the latest when this process ends, which waits for the other one.
        weakref.finalize(self, self._pipe.close)

    def __repr__(self) -> str:
        return f"<Worker of copies {names_of(self._parts)}>"

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative if a signal killed it."""
        return self._process.exitcode

    def ask(self, question: bytes, group: int, content: bytes) -> None:
        """Send a question of `worker`; raises as `answer` does."""
        try:
            self._pipe.send_bytes(question + bytes([group]) + content)
        except (EOFError, OSError) as error:
            raise self._death() from error

    def answer(self) -> bytes:
        """Wait for the answer to the oldest question that has none, or to being started.

        Raises:
            FaultyEnvironmentError: the process died.
            EntrainEnvsError: what the worker met.
        """
        try:
            content = self._pipe.recv_bytes()
        except (EOFError, OSError) as error:
            # As an OSError: the next start may do better.
            raise self._death() from ConnectionResetError(str(error))
        if content[:1] == FAULT:
            raise read_fault(content[1:])
        return content[1:]

    def _death(self) -> FaultyEnvironmentError:
        self._process.join(DEATH_S)
        code = self.exit_code
        how = f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        return FaultyEnvironmentError(
            f"the process that simulates copies {names_of(self._parts)} {how}; what it wrote "
            "before is above. If it was killed because memory ran out, use a smaller --count or "
            "fewer --processes"
        )

    def close(self) -> None:
        """Let it close its copies and end."""
        self._pipe.close()
        self._process.join(CLOSE_S)
        if self._process.is_alive():
            logger.warning(
                "the process that simulates copies %s did not end within %g s, so it was killed",
                names_of(self._parts),
                CLOSE_S,
            )
            self._process.kill()
            self._process.join()


class _Part:
    """The copies of one group in one process. It is an `environment.Environment`."""

    def __init__(self, worker: Worker, group: int, behaviours: Sequence[BehaviourSpec]) -> None:
        self._worker = worker
        self._group = group
        self.behaviours = behaviours
        self._specs = {spec.name: spec for spec in behaviours}
        self._statistics: list[Statistic] = []

    def ask_reset(self, *, seed: int, parameters: Mapping[str, float]) -> None:
        content = json.dumps({"seed": seed, "parameters": dict(parameters)}).encode()
        self._worker.ask(RESET, self._group, content)

    def ask_step(self, actions: Mapping[str, ActionBatch]) -> None:
        act = pb.Act(
            behaviours=[encode_actions(self._specs[name], each) for name, each in actions.items()]
        )
        self._worker.ask(STEP, self._group, act.SerializeToString())

    def rows(self) -> Mapping[str, TimestepBatch]:
        """The answer to either."""
        step = pb.Step.FromString(self._worker.answer())
        self._statistics.extend(
            Statistic(each.name, value, each.aggregation)
            for each in decode_statistics(step.statistics)
            for value in each.values.tolist()
        )
        return {
            part.behaviour: decode_timesteps(self._specs[part.behaviour], part)
            for part in step.behaviours
        }

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        self.ask_reset(seed=seed, parameters=parameters)
        return self.rows()

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        self.ask_step(actions)
        return self.rows()

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        self._worker.ask(SET_PARAMETERS, self._group, json.dumps(dict(parameters)).encode())

    def take_statistics(self) -> Iterable[Statistic]:
        taken, self._statistics = self._statistics, []
        return taken

    def close(self) -> None:
        """Its worker is closed by `ProcessedGroup`."""


class ProcessedGroup(JoinedEnvironments):
    """The copies of one group, in all processes, which step at the same time."""

    def __init__(self, parts: Sequence[_Part], workers: Sequence[Worker]) -> None:
        """Join the parts.

        Args:
            parts: of the group, one in each process.
            workers: that end with this group.
        """
        super().__init__(parts)
        self.parts = parts
        self.workers = workers

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        """Begin anew in all processes."""
        for part in self.parts:
            part.ask_reset(seed=seed, parameters=parameters)
        return self._join([part.rows() for part in self.parts])

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        """Step in all processes at the same time."""
        for part, chosen in zip(self.parts, self._divided(actions), strict=True):
            part.ask_step(chosen)
        return self._join([part.rows() for part in self.parts])

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.close()


def processed_groups(
    options: argparse.Namespace, groups: Sequence[Copies]
) -> Sequence[ProcessedGroup]:
    """The copies of each group, divided among processes; raises as `making.make_groups` does.

    Args:
        options: of the command line; `processes` is how many there are, if there are enough copies.
        groups: the copies of each.
    """
    number = min(options.processes, *(group.count for group in groups))
    options = argparse.Namespace(**{**vars(options), "processes": number})
    divided = [group.divided(number) for group in groups]
    workers = [Worker(options, [parts[index] for parts in divided]) for index in range(number)]
    try:
        hellos = [pb.Hello.FromString(worker.answer()) for worker in workers]
    except BaseException:
        for worker in workers:
            worker.close()
        raise
    behaviours = [decode_spec(spec) for spec in hellos[0].behaviours]
    return [
        ProcessedGroup(
            [_Part(worker, index, behaviours) for worker in workers],
            workers if index == 0 else (),
        )
        for index in range(len(groups))
    ]
