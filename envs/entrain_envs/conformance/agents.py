"""Follows the agents of one behaviour from row to row: their order, their ids, their last rows.

This module does not know bytes; it is given rows that could be read.
"""

from dataclasses import dataclass, field

from entrain_envs.conformance.arrays import Rows
from entrain_envs.conformance.results import Results
from entrain_envs.wire import trainer_pb2 as pb

_FIRST, _MID = pb.STEP_TYPE_FIRST, pb.STEP_TYPE_MID
_NAMES = {1: "FIRST", 2: "MID", 3: "TERMINATED", 4: "TRUNCATED"}

_MOVING = 10
"""So many times more rows must change than not."""

_MOST_AGENTS = 100_000
"""Agents of one behaviour that are followed."""

_STALE = 3
"""So many last rows must repeat the row before, and none differ, to be called old."""


@dataclass(slots=True)
class _Agent:
    """The rows that one agent id has had so far, as far as rules need them."""

    runs: bool = False
    """Whether it awaits the outcome of an action."""

    newest: bytes = b""
    """Its newest observation."""

    last: bytes = b""
    """The final observation of the episode that ended; empty if another one has begun."""

    step: int = 0
    """Number of the Step with its newest row."""

    before: int = -1
    """Number of the last Step before that with a row of it; -1 if there is none."""

    was_absent: bool = False
    """Whether others that were with it in that Step have had another one since."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row."""

    where: str
    """Behaviour and agent of the row, for messages."""

    step_type: int
    reward: float
    content: bytes
    before: int
    """Step type of the agent's row before it in the same Step; 0 if there is none."""


@dataclass(slots=True)
class _Evidence:
    """Last rows so far."""

    differ: int = 0
    """Last rows that differ from the first row of the next episode."""

    equal: int = 0
    stale: int = 0
    """Equal to the row before them."""

    fresh: int = 0
    moving: int = 0
    """MID rows that differ from the row before."""

    still: int = 0
    """MID rows that do not."""


@dataclass(slots=True)
class AgentJudge:
    """The agents of one behaviour, in one session."""

    behaviour: str
    results: Results
    _agents: dict[int, _Agent] = field(default_factory=dict)
    _ends: _Evidence = field(default_factory=_Evidence)

    @property
    def num_running(self) -> int:
        """How many await an outcome."""
        return sum(agent.runs for agent in self._agents.values())

    def forget(self) -> None:
        """The session was lost: none is there any more."""
        self._agents.clear()

    def look(self, rows: Rows, step: int) -> bool:
        """Judge the rows of one Step; false if they have no meaning, which has failed a rule.

        Args:
            rows: as they came.
            step: a number that grows by one with each Step.
        """
        agent_ids, step_types = rows.agent_id.tolist(), rows.step_type.tolist()
        unknown = sorted(set(step_types) - set(_NAMES))
        if unknown:
            self.results.failed(
                "step-types",
                f"behaviour '{self.behaviour}', step_type holds {unknown[0]}",
                "use 1 FIRST, 2 MID, 3 TERMINATED, 4 TRUNCATED; counting begins with 1",
            )
            return False
        if step_types:
            self.results.passed("step-types")
        if not self._have_room(len(agent_ids)):
            return False
        self._judge_order(agent_ids, step_types)
        seen: dict[int, int] = {}
        # Ends first, whatever their place, so that a wrong order breaks its own rule alone.
        for index in sorted(range(len(agent_ids)), key=lambda each: step_types[each] <= _MID):
            row = _Row(
                f"behaviour '{self.behaviour}', agent {agent_ids[index]}",
                step_types[index],
                float(rows.reward[index]),
                rows.content(index),
                seen.get(agent_ids[index], 0),
            )
            self._look_at(self._agents.setdefault(agent_ids[index], _Agent()), row, step)
            seen[agent_ids[index]] = row.step_type
        self._note_absent(set(agent_ids), step)
        self._judge_ends()
        return True

    def _have_room(self, rows: int) -> bool:
        """Whether so many more agents can be followed; those that ended are forgotten for it."""
        if len(self._agents) + rows <= _MOST_AGENTS:
            return True
        self._agents = {each: agent for each, agent in self._agents.items() if agent.runs}
        if len(self._agents) + rows <= _MOST_AGENTS:
            return True
        self.results.failed(
            "max-agents",
            f"more than {_MOST_AGENTS:,} agents live; the check follows no more",
            "end agents that will not come back with a last row, or check with fewer of them",
        )
        return False

    def _note_absent(self, present: set[int], step: int) -> None:
        """Mark agents that have no row in this Step, while others of their newest Step have one."""
        steps = {self._agents[each].before for each in present}
        for agent in self._agents.values():
            if agent.step != step and agent.step in steps:
                agent.was_absent = True

    def _judge_order(self, agent_ids: list[int], step_types: list[int]) -> None:
        begun: set[int] = set()
        for agent_id, step_type in zip(agent_ids, step_types, strict=True):
            if step_type == _FIRST:
                begun.add(agent_id)
            elif step_type > _MID and agent_id in begun:
                self.results.failed(
                    "two-rows",
                    f"behaviour '{self.behaviour}', agent {agent_id}: FIRST before "
                    f"{_NAMES.get(step_type)} in one Step; expected the end first",
                    "write the row that ends the episode before the FIRST row of the next one",
                )

    def _look_at(self, agent: _Agent, row: _Row, step: int) -> None:
        """Judge one row of Step `step`."""
        if row.step_type == _FIRST:
            self._judge_first(agent, row)
        elif row.before:
            self.results.failed(
                "agent-ids",
                f"{row.where}: two rows in one Step, {_NAMES[row.before]} and "
                f"{_NAMES[row.step_type]}; expected one, or an end and then FIRST",
                "give each agent of a behaviour a number of its own, and send one row for each "
                "action",
            )
        elif agent.runs:
            self.results.passed("row-order", "agent-ids")
            if agent.was_absent:
                self.results.passed("leave-and-return")
            self._note_end(agent, row)
        elif agent.last:
            self.results.failed(
                "respawn",
                f"{row.where}: {_NAMES[row.step_type]} after its episode ended; expected FIRST",
                "begin each episode with a FIRST row",
            )
        else:
            self.results.failed(
                "row-order",
                f"{row.where}: {_NAMES[row.step_type]} although no episode of it has begun; "
                "expected FIRST",
                "begin each episode with a FIRST row, and keep an agent's number while it lives",
            )
        agent.runs = row.step_type <= _MID
        if agent.step != step:
            agent.before, agent.step, agent.was_absent = agent.step, step, False
        agent.newest = row.content
        if not agent.runs:
            agent.last = row.content

    def _judge_first(self, agent: _Agent, row: _Row) -> None:
        self.results.check(
            "first-reward",
            row.reward == 0.0,
            f"{row.where}: reward {row.reward:g} in a FIRST row; expected 0",
            "give the last action's reward in the row that ends the episode, and 0 in FIRST",
        )
        if agent.runs:
            self.results.failed(
                "leave-and-return" if agent.was_absent else "agent-ids",
                f"{row.where}: FIRST while its episode runs; expected MID, TERMINATED or TRUNCATED",
                "give a new agent a number that no living one has, and end an episode with a last "
                "row before the next one's FIRST; an agent that was away goes on with MID",
            )
            return
        self.results.passed("row-order", "agent-ids")
        if row.before:
            self.results.passed("two-rows")
        elif agent.last:
            self.results.passed("respawn")
        if agent.last:
            self._ends.equal += agent.last == row.content
            self._ends.differ += agent.last != row.content
            agent.last = b""

    def _note_end(self, agent: _Agent, row: _Row) -> None:
        is_same = agent.newest == row.content
        if row.step_type == _MID:
            self._ends.moving += not is_same
            self._ends.still += is_same
        elif is_same:
            self._ends.stale += 1
        else:
            self._ends.fresh += 1

    def _judge_ends(self) -> None:
        ends = self._ends
        if ends.equal and not ends.differ:
            self.results.failed(
                "final-observation",
                f"behaviour '{self.behaviour}': the observation of an episode's last row is that "
                "of the next one's FIRST row",
                "take the last observation before the reset; many engines and vector environments "
                "keep it apart (Gymnasium: final_obs)",
            )
        elif ends.stale >= _STALE and not ends.fresh and ends.moving > _MOVING * (1 + ends.still):
            self.results.failed(
                "final-observation",
                f"behaviour '{self.behaviour}': the observation of each episode's last row is "
                "that of the row before",
                "observe once more after the last action, before the reset",
            )
        elif ends.differ:
            self.results.passed("final-observation")
