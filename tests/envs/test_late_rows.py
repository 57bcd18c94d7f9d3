"""Rows of several steps as one for each agent, held against lists, one agent at a time."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain_envs.late_rows import LateRows
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch

SPEC = BehaviourSpec("bug", (ObservationSpec("seen", ()),), ActionSpec(branches=(2,)))
FIRST, MID, TERMINATED, TRUNCATED = (int(each) for each in StepType)
Row = tuple[int, int, float, float]
"""(agent, step type, reward, what it sees)."""

Sent = tuple[int, int, float, float, bool]


def batch(rows: list[Row]) -> TimestepBatch:
    agents, kinds, rewards, seen = ([row[i] for row in rows] for i in range(4))
    return TimestepBatch.of(
        SPEC, agent_id=agents, step_type=kinds, reward=rewards, observation={"seen": seen}
    )


def sent(rows: TimestepBatch) -> list[Sent]:
    rows.check(SPEC)
    late = [False] * len(rows) if rows.late is None else rows.late.tolist()
    columns = (rows.agent_id, rows.step_type, rows.reward, rows.observation["seen"])
    return list(zip(*(column.tolist() for column in columns), late, strict=True))


NOBODY = np.zeros(0, np.int64)
EVERYBODY = np.arange(10)


def merged(*steps: list[Row]) -> list[Sent]:
    late = LateRows()
    for step in steps:
        late.add(batch(step), too_late=EVERYBODY)
    return sent(late.take())


def test_rewards_are_added_up_and_the_newest_observation_stays() -> None:
    steps = [[(7, MID, 1.0, 10.0), (3, MID, 0.5, 20.0)], [(7, MID, 2.0, 11.0), (3, MID, 0.0, 21.0)]]
    assert merged(*steps) == [(7, MID, 3.0, 11.0, True), (3, MID, 0.5, 21.0, True)]


def test_an_end_is_the_outcome_and_the_next_episode_begins_where_it_is_now() -> None:
    assert merged(
        [(1, MID, 1.0, 10.0)],
        [(1, TERMINATED, 4.0, 11.0), (1, FIRST, 0.0, 12.0)],
        [(1, MID, 9.0, 13.0)],
    ) == [(1, TERMINATED, 5.0, 11.0, True), (1, FIRST, 0.0, 13.0, False)]


def test_a_whole_episode_that_the_trainer_never_saw_is_left_out() -> None:
    assert merged(
        [(1, TRUNCATED, 4.0, 11.0), (1, FIRST, 0.0, 12.0)],
        [(1, TERMINATED, 9.0, 13.0), (1, FIRST, 0.0, 14.0)],
    ) == [(1, TRUNCATED, 4.0, 11.0, True), (1, FIRST, 0.0, 14.0, False)]


def test_an_agent_that_appears_has_no_outcome() -> None:
    assert merged([(5, FIRST, 0.0, 1.0)], [(5, MID, 3.0, 2.0)]) == [(5, FIRST, 0.0, 2.0, False)]


def test_an_agent_that_is_gone_keeps_its_end_alone() -> None:
    assert merged([(5, TERMINATED, 1.0, 1.0)], []) == [(5, TERMINATED, 1.0, 1.0, True)]


def test_an_agent_whose_next_row_is_not_here_is_sent_later_and_still_late() -> None:
    late = LateRows()
    late.add(batch([(1, MID, 1.0, 10.0), (2, MID, 1.0, 20.0)]), too_late=EVERYBODY)
    late.add(batch([(2, MID, 1.0, 21.0)]), too_late=EVERYBODY)
    assert sent(late.take()) == [(2, MID, 2.0, 21.0, True)]
    assert late
    late.add(batch([(1, MID, 2.0, 11.0), (2, MID, 5.0, 22.0)]), too_late=NOBODY)
    assert sent(late.take()) == [(1, MID, 3.0, 11.0, True), (2, MID, 5.0, 22.0, False)]
    assert not late


def test_the_outcome_of_an_action_in_time_is_not_late_however_long_the_fallback_acts() -> None:
    """Agent 2 acts by an earlier answer; what came too late was asked for agent 1 alone."""
    late = LateRows()
    late.add(batch([(1, MID, 1.0, 10.0), (2, MID, 2.0, 20.0)]), too_late=np.array([1]))
    late.add(batch([(1, MID, 1.0, 11.0), (2, MID, 3.0, 21.0)]), too_late=np.array([1]))
    assert sent(late.take()) == [(1, MID, 2.0, 11.0, True), (2, MID, 5.0, 21.0, False)]


def test_what_the_group_earned_is_added_up_too() -> None:
    late = LateRows()
    for reward in (1.0, 2.0):
        rows = batch([(1, MID, 0.0, 0.0)])
        late.add(replace(rows, group_reward=np.array([reward], np.float32)), too_late=EVERYBODY)
    assert late.take().group_reward.tolist() == [3.0]  # type: ignore[union-attr]


@dataclass
class Agent:
    """One agent as the trainer is to see it."""

    is_known: bool = True
    """Whether the trainer awaits the outcome of an action."""

    earned: float = 0.0
    end: tuple[int, float, float] | None = None
    now: float | None = None
    is_late: bool = False


def by_hand(agents: dict[int, Agent], rows: list[Row], *, asked: set[int]) -> None:
    """`asked`: the agents that were to have an action by the answer that came too late."""
    for agent in agents.values():
        agent.now = None
    for number, kind, reward, seen in rows:
        agent = agents.setdefault(number, Agent(is_known=kind != FIRST))
        agent.now = None
        if agent.end is None and agent.is_known and kind != FIRST:
            agent.earned += reward
            agent.is_late |= number in asked
            if kind > MID:
                agent.end = (kind, agent.earned, seen)
        if kind <= MID:
            agent.now = seen


def taken_by_hand(agents: dict[int, Agent]) -> set[Sent]:
    rows: set[Sent] = set()
    for number, agent in list(agents.items()):
        if agent.end is not None:
            rows.add((number, *agent.end, agent.is_late))
            agent.end, agent.is_known = None, False
            agent.earned, agent.is_late = 0.0, False
        if agent.now is not None:
            kind = MID if agent.is_known else FIRST
            rows.add(
                (number, kind, agent.earned if agent.is_known else 0.0, agent.now, agent.is_late)
            )
            agents[number] = Agent()
    return rows


@st.composite
def steps(draw: st.DrawFn) -> list[list[Row]]:
    """Steps of four agents, each of which is there, absent, ending or appearing as it likes."""
    lives = dict.fromkeys(range(4), True)
    lives[3] = False
    made = []
    for index in range(draw(st.integers(1, 6))):
        rows: list[Row] = []
        for number in draw(st.permutations(range(4))):
            seen, reward = float(100 * index + number), float(draw(st.integers(-3, 3)))
            what = draw(st.sampled_from(["goes on", "goes on", "begins again", "ends", "is away"]))
            if what == "is away":
                continue
            if not lives[number]:
                rows.append((number, FIRST, 0.0, seen))
                lives[number] = True
            elif what == "goes on":
                rows.append((number, MID, reward, seen))
            else:
                rows.append((number, draw(st.sampled_from([TERMINATED, TRUNCATED])), reward, seen))
                lives[number] = what == "begins again"
                if lives[number]:
                    rows.append((number, FIRST, 0.0, seen + 0.5))
        made.append(rows)
    return made


@settings(max_examples=60)
@given(made=steps(), takes=st.lists(st.booleans(), min_size=6, max_size=6))
def test_every_agent_is_told_what_became_of_it(made: list[list[Row]], takes: list[bool]) -> None:
    late, agents = LateRows(), {number: Agent() for number in range(3)}
    asked = set(agents)
    for rows, takes_now in zip(made, takes, strict=False):
        late.add(batch(rows), too_late=np.array(sorted(asked), np.int64))
        by_hand(agents, rows, asked=asked)
        if takes_now:
            asked = {row[0] for row in rows if row[1] <= MID}
            found = sent(late.take())
            assert len(set(found)) == len(found)
            assert set(found) == taken_by_hand(agents)
            needing = [row[0] for row in found if row[1] <= MID]
            in_order = [row[0] for row in rows if row[1] <= MID]
            assert needing == in_order, "actions come back in the environment's own order"


@pytest.mark.parametrize("step", [[], [(1, MID, 1.0, 2.0)]])
def test_a_step_without_late_rows_is_itself(step: list[Row]) -> None:
    late = LateRows()
    late.add(batch(step), too_late=NOBODY)
    assert sent(late.take()) == [(*row, False) for row in step]
