"""The actor against one that treats each row by itself, with dictionaries and lists.

Agents appear, leave and come back; episodes end; rows of a batch come in any order; the policy
learns at every cut. Every code is unique, so a number in a wrong place is seen.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.experience import Rollout
from entrain.policy.noise import uniform_noise
from entrain.requests import SlotTimesteps
from entrain_envs.timestep import ActionBatch, StepType

FIRST, MID = StepType.FIRST, StepType.MID
TERMINATED, TRUNCATED = StepType.TERMINATED, StepType.TRUNCATED
SEED = 7
WEIGHT_UNIT = 10_000.0
Make = Callable[..., Any]
Step = dict[str, Any]
Row = tuple[int, StepType, float, float]
Story = list[tuple[list[str], int]]

EVENTS = ("wait", "step", "end", "cut short", "end and begin", "leave", "replaced", "midway")
ENDS = {"end": TERMINATED, "cut short": TRUNCATED, "end and begin": TERMINATED}


class World:
    """Simulators with up to one agent a place; slots are given out as the server does."""

    def __init__(self) -> None:
        self.slot_of: dict[int, int] = {}
        self.running: set[int] = set()
        self.num_slots = 0
        self.code = 0

    def next_batch(
        self, events: list[str], order: int, make_batch: Callable[..., SlotTimesteps]
    ) -> SlotTimesteps:
        """Event i happens to the agent at place i; rows are shuffled by `order`."""
        released: list[int] = []
        for place, event in enumerate(events):
            if event in {"leave", "replaced"} and place in self.slot_of:
                released.append(self.slot_of.pop(place))
                self.running.discard(place)
        rows: list[Row] = []
        for place, event in enumerate(events):
            rows += self._rows(place, event)
        np.random.default_rng(order).shuffle(rows)
        # Of the two rows of one slot, the end comes first; any place will do.
        for slot in {row[0] for row in rows}:
            places = [index for index, row in enumerate(rows) if row[0] == slot]
            pair = sorted((rows[index] for index in places), key=lambda row: row[1] is FIRST)
            for index, row in zip(places, pair, strict=True):
                rows[index] = row
        return make_batch(*rows, released=released, num_slots=self.num_slots)

    def _rows(self, place: int, event: str) -> list[Row]:
        if event in {"wait", "leave"}:
            return []
        if place not in self.slot_of:
            free = set(range(self.num_slots + 1)) - set(self.slot_of.values())
            self.slot_of[place] = min(free)
            self.num_slots = max(self.num_slots, 1 + min(free))
        if place not in self.running:
            self.running.add(place)
            return [self._row(place, MID if event == "midway" else FIRST)]
        if event not in ENDS:
            return [self._row(place, MID)]
        end = self._row(place, ENDS[event])
        if event == "end and begin":
            return [end, self._row(place, FIRST)]
        self.running.discard(place)
        return [end]

    def _row(self, place: int, step_type: StepType) -> Row:
        self.code += 1
        reward = 0.0 if step_type is FIRST else self.code / 4
        return self.slot_of[place], step_type, reward, float(self.code)


@dataclass(frozen=True)
class Kind:
    """What sort of policy acts."""

    state_size: int = 0
    num_values: int = 1
    sequence_length: int = 16
    burn_in: int = 0
    history: bool = False


@dataclass(frozen=True)
class Seen:
    """What the policy makes of a row."""

    sees: float
    values: list[float]
    state: list[float]
    """After the row."""

    shown: dict[str, list[float]]
    """What the actor added to the observation."""


class RowByRow:
    """What an actor must do, one row at a time."""

    def __init__(self, rollout_steps: int, kind: Kind) -> None:
        self.rollout_steps = rollout_steps
        self.kind = kind
        self.weight = 0
        self.open: dict[int, Step] = {}
        self.columns: dict[int, list[Step]] = {}
        self.given: Counter[int] = Counter()
        self.earned: dict[int, list[float]] = {}
        self.state: dict[int, list[float]] = {}
        self.did: dict[int, list[float]] = {}
        self.episodes: list[tuple[float, int]] = []
        self.counts: Counter[str] = Counter()

    def evaluate(self, slot: int, code: float, reward: float, *, begins: bool) -> Seen:
        """With the weights of now."""
        kind, sees = self.kind, code + WEIGHT_UNIT * self.weight
        before = [0.0] * kind.state_size if begins else self.state[slot]
        # In float32, as the policy computes it, so that both round alike.
        state = [
            float(np.float32(sees) + np.float32(number) * np.float32(0.5 ** (i + 1)))
            for i, number in enumerate(before)
        ]
        shown = {}
        second = 0.5 - sees
        if kind.history:
            did = [0.0] * 5 if begins else self.did[slot]
            shown = {"previous_action": did, "previous_reward": [0.0 if begins else reward]}
            second = float(np.float32(shown["previous_reward"][0]) + np.float32(did[1]))
        return Seen(sees, [state[0] if state else sees, second][: kind.num_values], state, shown)

    def observe(self, batch: SlotTimesteps) -> list[list[Step]] | None:
        for slot in batch.released.tolist():
            self.earned.pop(slot, None)
            if slot in self.open:
                del self.open[slot]
                self.counts["dropped"] += 1
                if self.columns.get(slot):
                    self.columns[slot][-1]["boundary"] = True
        for slot, step_type, reward, code in rows_of(batch):
            if step_type == FIRST or slot not in self.open:
                continue
            values = self.evaluate(slot, code, reward, begins=False).values
            step = self.open.pop(slot)
            step["reward"] = reward
            step["next_value"] = [0.0] * len(values) if step_type == TERMINATED else values
            step["boundary"] = step_type != MID
            self.columns.setdefault(slot, []).append(step)
            self.counts["closed"] += 1
            self.earned[slot].append(reward)
            if step_type != MID:
                earned = self.earned.pop(slot)
                self.episodes.append((sum(earned), len(earned)))
        if sum(map(len, self.columns.values())) < self.rollout_steps:
            return None
        return self.cut()

    def cut(self) -> list[list[Step]]:
        columns = [self.columns[slot] for slot in sorted(self.columns)]
        for column in columns:
            column[-1]["boundary"] = True
        self.columns = {}
        return columns

    def act(self, batch: SlotTimesteps) -> list[tuple[list[float], list[int]]]:
        """(continuous, discrete) for each row that needs one."""
        actions = []
        for slot, step_type, reward, code in rows_of(batch):
            if step_type > MID:
                continue
            begins = step_type == FIRST or slot not in self.earned
            if begins:
                self.earned[slot] = []
            seen = self.evaluate(slot, code, reward, begins=begins)
            action = self._action(slot, seen.sees, int(code))
            self.open[slot] = {
                "code": code,
                **seen.shown,
                "value": seen.values,
                "log_prob": -seen.sees,
                "continuous": action[0],
                "discrete": action[1],
                "mask": allowed(int(code)),
                "reset": begins,
                "policy_version": self.weight,
                "state before": self.state.get(slot),
            }
            self.state[slot] = seen.state
            bounded = [max(-10.0, min(10.0, number)) for number in action[0]]
            self.did[slot] = bounded + [float(choice == action[1][0]) for choice in range(3)]
            self.counts["opened"] += 1
            actions.append(([2 * number for number in action[0]], action[1]))
        return actions

    def _action(self, slot: int, sees: float, code: int) -> tuple[list[float], list[int]]:
        counter = np.array([self.given[slot]])
        self.given[slot] += 1
        first, second = uniform_noise(SEED, np.array([slot]), counter, 2)[0].tolist()
        choices = [choice for choice, is_allowed in enumerate(allowed(code)) if is_allowed]
        return [sees, float(np.float32(first))], [choices[int(second * len(choices))]]


def rows_of(batch: SlotTimesteps) -> list[tuple[int, int, float, float]]:
    timesteps = batch.timesteps
    return list(
        zip(
            batch.slot.tolist(),
            timesteps.step_type.tolist(),
            timesteps.reward.tolist(),
            timesteps.observation["code"].tolist(),
            strict=True,
        )
    )


def allowed(code: int) -> list[bool]:
    mask = [bool(code >> choice & 1) for choice in range(3)]
    return mask if any(mask) else [True, False, False]


def assert_is_rollout(rollout: Rollout, columns: list[list[Step]], kind: Kind) -> None:
    assert rollout.valid.shape == (max(map(len, columns)), len(columns))
    assert rollout.valid.sum(0).tolist() == [len(column) for column in columns]
    for b, column in enumerate(columns):
        for t, step in enumerate(column):
            assert rollout.valid[t, b]
            expected = {name: value for name, value in step.items() if name != "state before"}
            assert step_of(rollout, t, b) == expected
            eyes = rollout.observation["eyes/left"][t, b].flatten().tolist()
            assert eyes == [(int(step["code"]) + corner) % 256 for corner in range(6)]

    assert_has_states(rollout, columns, kind)


def assert_has_states(rollout: Rollout, columns: list[list[Step]], kind: Kind) -> None:
    """Each sequence starts from the state that was there when its first row was acted on."""
    longest = max(map(len, columns))
    count = -(-longest // kind.sequence_length)
    assert rollout.sequence_state.shape == (count, len(columns), kind.state_size)
    for b, column in enumerate(columns):
        for q in range(-(-len(column) // kind.sequence_length)):
            start = column[max(0, q * kind.sequence_length - kind.burn_in)]
            expected = start["state before"] or [0.0] * kind.state_size
            assert rollout.sequence_state[q, b].tolist() == expected


def step_of(rollout: Rollout, t: int, b: int) -> Step:
    fields: Mapping[str, Any] = {
        **{name: seen for name, seen in rollout.observation.items() if name != "eyes/left"},
        "continuous": rollout.action["continuous"],
        "discrete": rollout.action["discrete"],
        "mask": rollout.action_mask,
        **{
            name: getattr(rollout, name)
            for name in ("value", "log_prob", "reward", "next_value", "boundary", "reset")
        },
        "policy_version": rollout.policy_version,
    }
    return {name: tensor[t, b].tolist() for name, tensor in fields.items()}


def assert_is_answer(actions: ActionBatch, expected: list[tuple[list[float], list[int]]]) -> None:
    assert actions.continuous.tolist() == [continuous for continuous, _ in expected]
    assert actions.discrete.tolist() == [discrete for _, discrete in expected]


STORIES = st.lists(
    st.tuples(st.lists(st.sampled_from(EVENTS), max_size=5), st.integers(0, 1000)), max_size=30
)


@st.composite
def kinds(draw: st.DrawFn) -> Kind:
    sequence_length = draw(st.integers(1, 6))
    return Kind(
        state_size=draw(st.sampled_from([0, 2])),
        num_values=draw(st.sampled_from([1, 2])),
        sequence_length=sequence_length,
        burn_in=draw(st.integers(0, sequence_length)),
        history=draw(st.booleans()),
    )


@settings(max_examples=200, deadline=None)
@given(story=STORIES, rollout_steps=st.integers(1, 12), kind=kinds())
def test_an_actor_agrees_with_lists_whatever_its_agents_do(
    story: Story, rollout_steps: int, kind: Kind, make_policy: Make, make_actor: Make, batch: Make
) -> None:
    policy = make_policy(**asdict(kind))
    actor = make_actor(policy, rollout_steps=rollout_steps, seed=SEED)
    live_both(story, policy, actor, RowByRow(rollout_steps, kind), batch)


@pytest.mark.parametrize(
    ("rollout_steps", "kind"),
    [
        (1, Kind()),
        (7, Kind(num_values=2, history=True)),
        (40, Kind(state_size=2, sequence_length=3)),
        (150, Kind(state_size=2, num_values=2, sequence_length=5, burn_in=2, history=True)),
        (150, Kind(state_size=1, sequence_length=4, burn_in=4)),
    ],
)
def test_an_actor_agrees_with_lists_through_long_lives(
    rollout_steps: int, kind: Kind, make_policy: Make, make_actor: Make, batch: Make
) -> None:
    rng = np.random.default_rng(rollout_steps)
    likelihood = (0.15, 0.5, 0.08, 0.07, 0.1, 0.05, 0.03, 0.02)
    events = rng.choice(EVENTS, (120, 6), p=likelihood).tolist()
    policy = make_policy(**asdict(kind))
    actor = make_actor(policy, rollout_steps=rollout_steps, seed=SEED)
    story = list(zip(events, range(120), strict=True))
    live_both(story, policy, actor, RowByRow(rollout_steps, kind), batch)
    assert actor.ledger.closed > 300
    assert actor.ledger.dropped > 20


def live_both(story: Story, policy: Any, actor: Any, rows: RowByRow, batch: Make) -> None:
    """Tell the same story to both, and compare all they say."""
    world = World()
    codes: list[float] = []
    for events, order in story:
        timesteps = world.next_batch(events, order, batch)
        rollout, columns = actor.observe(timesteps), rows.observe(timesteps)
        assert (rollout is None) == (columns is None)
        if rollout is not None and columns is not None:
            assert_is_rollout(rollout, columns, rows.kind)
            codes += rollout.observation["code"][rollout.valid].tolist()
            policy.learn()
            rows.weight += 1
            actor.publish(rows.weight)
        assert_is_answer(actor.act(), rows.act(timesteps))
        ledger = actor.ledger
        assert ledger.opened == ledger.closed + ledger.dropped + len(rows.open)
        assert ledger.state() == {
            name: rows.counts[name] for name in ("opened", "closed", "dropped")
        }
    returns, lengths = actor.episodes.take()
    assert sorted(zip(returns.tolist(), lengths.tolist(), strict=True)) == sorted(rows.episodes)
    # Each closed step was in exactly one rollout, or still waits for the next.
    codes += [step["code"] for column in rows.columns.values() for step in column]
    assert len(codes) == len(set(codes)) == actor.ledger.closed
