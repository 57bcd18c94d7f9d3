"""Judges Steps: their numbers, their behaviours, and what stands beside the rows.

Reads a Step into rows for `acting` to answer. Knows no streams.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from entrain_envs.conformance.agents import AgentJudge
from entrain_envs.conformance.arrays import ArrayJudge, Rows
from entrain_envs.conformance.results import Results
from entrain_envs.errors import EntrainEnvsError
from entrain_envs.spec import BehaviourSpec
from entrain_envs.spec_codec import decode_spec
from entrain_envs.wire import trainer_pb2 as pb

LONGEST_NAME = 200

_MOST_BEHAVIOURS = 1000


class UnreadableStepError(Exception):
    """A Step holds what cannot be answered. A rule has failed that says why."""


@dataclass(frozen=True)
class ReadStep:
    """A Step that was read."""

    sequence: int
    rows: Sequence[Rows]
    raw: bytes
    """The whole message."""

    @property
    def agents(self) -> set[tuple[str, int]]:
        """(behaviour, id) of all rows."""
        return {
            (rows.behaviour, agent_id) for rows in self.rows for agent_id in rows.agent_id.tolist()
        }

    @property
    def acting(self) -> set[tuple[str, int]]:
        """(behaviour, id) of those that need an action."""
        return {
            (rows.behaviour, agent_id)
            for rows in self.rows
            for agent_id in rows.agent_id[rows.step_type <= pb.STEP_TYPE_MID].tolist()
        }


def is_name(text: str) -> bool:
    """True for 1 to 200 printable characters."""
    return 0 < len(text) <= LONGEST_NAME and text.isprintable()


class StepJudge:
    """Judges all Steps of one simulator."""

    def __init__(self, hello: pb.Hello, results: Results) -> None:
        self._results = results
        self._max_agents = hello.max_agents
        self._arrays: dict[str, ArrayJudge] = {}
        self._agents: dict[str, AgentJudge] = {}
        self._count = 0
        self._next = 1
        self.ended = 0
        """Episodes so far."""

        for message in hello.behaviours:
            self._declare(decode_spec(message))

    @property
    def specs(self) -> dict[str, BehaviourSpec]:
        """All behaviours so far."""
        return {name: judge.spec for name, judge in self._arrays.items()}

    def _declare(self, spec: BehaviourSpec) -> None:
        self._arrays.setdefault(spec.name, ArrayJudge(spec, self._results))
        self._agents.setdefault(spec.name, AgentJudge(spec.name, self._results))

    def begin_anew(self) -> None:
        """The session was lost."""
        self._next = 1
        for judge in self._agents.values():
            judge.forget()

    def read(self, step: pb.Step, raw: bytes) -> ReadStep:
        """Judge a Step that comes for the first time.

        Raises:
            UnreadableStepError: no actions can be chosen for it.
        """
        self._judge_number(step)
        self._judge_statistics(step.statistics)
        self._read_new(step.new_behaviours)
        self._count += 1
        all_rows: list[Rows] = []
        for part in step.behaviours:
            judge = self._arrays.get(part.behaviour)
            if judge is None or part.behaviour in {rows.behaviour for rows in all_rows}:
                self._fail_behaviour(part.behaviour, is_known=judge is not None)
            assert judge is not None
            rows = judge.read(part)
            if rows is None:
                raise UnreadableStepError
            if not self._agents[part.behaviour].look(rows, self._count):
                raise UnreadableStepError
            self.ended += int((rows.step_type > pb.STEP_TYPE_MID).sum())
            all_rows.append(rows)
        self._results.passed("known-behaviours")
        self._judge_count()
        return ReadStep(step.sequence, all_rows, raw)

    def _judge_number(self, step: pb.Step) -> None:
        self._results.check(
            "sequence",
            step.sequence == self._next,
            f"Step {step.sequence} arrived; expected Step {self._next}",
            "number the Steps of a session 1, 2, 3, ...; one that is sent again keeps its number",
        )
        self._next = step.sequence + 1

    def _fail_behaviour(self, name: str, *, is_known: bool) -> None:
        if is_known:
            arrived = f"behaviour '{name}' has two entries in one Step; expected one"
            remedy = "put all rows of a behaviour into one entry"
        else:
            arrived = (
                f"rows of behaviour '{name[:LONGEST_NAME]}'; declared: {', '.join(self._arrays)}"
            )
            remedy = (
                "name the behaviour in Hello, or in new_behaviours of the Step with its first rows"
            )
        self._results.failed("known-behaviours", arrived, remedy)
        raise UnreadableStepError

    def _read_new(self, messages: Sequence[pb.BehaviourSpec]) -> None:
        if len(self._arrays) + len(messages) > _MOST_BEHAVIOURS:
            self._results.failed(
                "new-behaviours",
                f"more than {_MOST_BEHAVIOURS:,} behaviours are declared",
                "give agents that are alike one behaviour",
            )
            raise UnreadableStepError
        for message in messages:
            try:
                spec = decode_spec(message)
            except EntrainEnvsError as error:
                self._results.failed("new-behaviours", str(error), "correct what it declares")
                raise UnreadableStepError from None
            known = self.specs.get(spec.name)
            self._results.check(
                "new-behaviours",
                known is None or known == spec,
                f"behaviour '{spec.name}' is declared again as {spec}, and was {known}",
                "give another kind of agent another name",
            )
            self._declare(spec)

    def _judge_statistics(self, statistics: Sequence[pb.Statistic]) -> None:
        names = [each.name for each in statistics]
        if not names:
            return
        odd = next((name for name in names if not is_name(name) or names.count(name) > 1), None)
        bad = next(
            (each for each in statistics if not all(math.isfinite(value) for value in each.values)),
            None,
        )
        remedy = "give each statistic one entry with a printable name of at most 200 characters"
        if odd is not None:
            self._results.failed("statistics", f"a statistic is called {odd[:300]!r}", remedy)
        elif bad is not None:
            arrived = f"statistic '{bad.name}' holds {list(bad.values)[:8]}; expected finite values"
            self._results.failed("statistics", arrived, "leave out what is no number")
        else:
            self._results.passed("statistics")

    def _judge_count(self) -> None:
        if self._max_agents:
            running = sum(judge.num_running for judge in self._agents.values())
            self._results.check(
                "max-agents",
                running <= self._max_agents,
                f"{running} agents live; Hello's max_agents is {self._max_agents}",
                "declare the largest number of agents of all behaviours, or 0 if it is not known",
            )
