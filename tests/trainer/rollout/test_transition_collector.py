"""Transitions are what agents lived through, whoever joins, ends, leaves or is late."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entrain.config.policy import PolicyConfig
from entrain.errors import CheckpointError
from entrain.inference.policy import make_inference_policy
from entrain.policy.actor_critic import make_policy
from entrain.requests import SlotTimesteps
from entrain.rollout.actor import Actor
from entrain.rollout.transition_buffer import TransitionBuffer
from entrain.rollout.transition_collector import TransitionCollector
from entrain.run.state_files import decode_state, encode_state
from entrain.transitions import Transitions
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import StepType, TimestepBatch
from made_rollouts import same_state

SPEC = BehaviourSpec(
    "coded",
    (ObservationSpec("seen", (1,)), ObservationSpec("image", (2,), dtype="uint8")),
    ActionSpec(branches=(3,)),
)
SLOTS = 5


@dataclass
class Life:
    """One transition, as somebody who watches the agent writes it down."""

    slot: int
    seen: int
    mask: tuple[bool, ...]
    action: int
    version: int
    continues: bool
    reward: float = 0.0
    following: int = 0
    next_mask: tuple[bool, ...] = ()
    terminated: bool = False
    late: bool = False


@dataclass
class Row:
    slot: int
    step_type: StepType
    seen: int
    reward: float
    mask: tuple[bool, ...]
    late: bool


@dataclass
class Watcher:
    """Drives an actor and a collector, and keeps a list of what every agent lives through."""

    actor: Actor
    collector: TransitionCollector
    random: np.random.Generator
    running: dict[int, int] = field(default_factory=dict)
    """{slot: what it sees}."""
    open: dict[int, Life] = field(default_factory=dict)
    lived: list[Life] = field(default_factory=list)
    found: list[Transitions] = field(default_factory=list)
    opened: int = 0
    dropped: int = 0
    clock: int = 0
    released: list[int] = field(default_factory=list)

    def step(self, events: Sequence[int]) -> None:
        """A batch: for each slot, 0 nothing, 1 go on or join, 2 terminate, 3 truncate, 4 leave."""
        rows: list[Row] = []
        for slot, event in enumerate(events):
            if event == 4 and slot in self.running:
                del self.running[slot]
                self.dropped += self.open.pop(slot, None) is not None
                self.released.append(slot)
            elif event and slot in self.running:
                kind = (StepType.MID, StepType.TERMINATED, StepType.TRUNCATED)[event % 4 - 1]
                rows.append(self._row(slot, kind))
                if event > 1:
                    del self.running[slot]
                    if self.random.random() < 0.5:
                        rows.append(self._row(slot, StepType.FIRST))
            elif event in {1, 2, 3} and slot not in self.released:
                rows.append(self._row(slot, StepType.FIRST))
        if rows:
            self._serve(rows)

    def _row(self, slot: int, kind: StepType) -> Row:
        self.clock += 1
        mask = tuple(bool(flag) for flag in self.random.random(3) < 0.6)
        return Row(
            slot,
            kind,
            self.clock,
            float(self.clock % 13),
            mask if any(mask) or kind > StepType.MID else (True, True, True),
            bool(self.random.random() < 0.2),
        )

    def _serve(self, rows: Sequence[Row]) -> None:
        batch = SlotTimesteps(
            slot=np.array([row.slot for row in rows], np.int64),
            timesteps=TimestepBatch.of(
                SPEC,
                agent_id=[row.slot for row in rows],
                step_type=[row.step_type for row in rows],
                reward=[row.reward for row in rows],
                observation={
                    "seen": np.array([[row.seen] for row in rows], np.float32),
                    "image": np.array([[row.seen % 256] * 2 for row in rows], np.uint8),
                },
                action_mask=np.array([row.mask for row in rows], np.bool_),
                late=np.array([row.late for row in rows], np.bool_),
            ),
            released=np.array(self.released, np.int64),
            num_slots=SLOTS,
        )
        self.released = []
        evaluation = self.actor.evaluate(batch)
        self._close(rows)
        collected = self.collector.receive(evaluation)
        if collected is not None:
            self.found.append(collected)
        actions = self.actor.act(evaluation)
        acting = [row for row in rows if row.step_type <= StepType.MID]
        for row, choice in zip(acting, actions.discrete[:, 0].tolist(), strict=True):
            continues = row.step_type == StepType.MID
            self.running[row.slot] = row.seen
            self.opened += 1
            self.open[row.slot] = Life(row.slot, row.seen, row.mask, choice, 0, continues)
        self.collector.record(evaluation, actions)

    def _close(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if row.step_type == StepType.FIRST:
                continue
            life = self.open.pop(row.slot)
            life.reward, life.following, life.late = row.reward, row.seen, row.late
            # What a truncated episode is worth at its end, it is worth with what was allowed there.
            is_over = row.step_type == StepType.TERMINATED
            left_nothing = row.step_type == StepType.TRUNCATED and not any(row.mask)
            life.next_mask = (True, True, True) if is_over or left_nothing else row.mask
            life.terminated = row.step_type == StepType.TERMINATED
            self.lived.append(life)


def made(*, steps: int = 7, seed: int = 0, reward_scale: float = 1.0) -> Watcher:
    options = PolicyConfig.model_validate(
        {"network": {"hidden_sizes": [4]}, "algorithm": {"kind": "soft_q"}}
    )
    policy = make_policy(SPEC, options, seed=1)
    return Watcher(
        Actor(make_inference_policy(policy), seed=seed),
        TransitionCollector(
            policy, steps_per_update=steps, total_steps=10**9, reward_scale=reward_scale
        ),
        np.random.default_rng(seed),
    )


def as_lives(transitions: Transitions) -> list[Life]:
    """Row by row; every observation must say the same of a row."""
    for seen in (transitions.observation, transitions.next_observation):
        assert (seen["image"] == seen["seen"].long() % 256).all()
        assert seen["image"].dtype == torch.uint8
    return [
        Life(
            slot=int(transitions.stream[row]),
            seen=int(transitions.observation["seen"][row]),
            mask=tuple(transitions.action_mask[row].tolist()),
            action=int(transitions.action["discrete"][row]),
            version=int(transitions.policy_version[row]),
            continues=bool(transitions.continues[row]),
            reward=float(transitions.reward[row]),
            following=int(transitions.next_observation["seen"][row]),
            next_mask=tuple(transitions.next_action_mask[row].tolist()),
            terminated=bool(transitions.terminated[row]),
            late=bool(transitions.late[row]),
        )
        for row in range(transitions.num_steps)
    ]


BATCHES = st.lists(
    st.lists(st.sampled_from([0, 1, 1, 1, 1, 2, 3, 4]), min_size=SLOTS, max_size=SLOTS),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(batches=BATCHES, seed=st.integers(0, 5), stop=st.integers(0, 30))
def test_transitions_are_what_agents_lived_through_also_after_a_resume(
    batches: Sequence[Sequence[int]], seed: int, stop: int
) -> None:
    watcher = made(seed=seed)
    for number, events in enumerate(batches):
        if number == stop:
            again = made(seed=seed)
            written = encode_state(watcher.collector.state())
            again.collector.load_state(decode_state(*written))
            assert encode_state(again.collector.state()) == written
            again.actor.load_state(watcher.actor.state())
            watcher.actor, watcher.collector = again.actor, again.collector
        watcher.step(events)
        for slot in watcher.released:
            # As the policy's loop does before the next batch, if there is time.
            watcher.actor.release(np.array([slot]))
            watcher.collector.release(np.array([slot]))
    found = [life for each in watcher.found for life in as_lives(each)]
    found += as_lives(watcher.collector.cut())
    assert sorted(found, key=lambda it: it.following) == watcher.lived
    ledger = watcher.collector.ledger
    assert ledger.opened == watcher.opened
    assert (ledger.closed, ledger.open) == (len(watcher.lived), len(watcher.open))
    assert ledger.dropped == watcher.dropped
    # Who continues sees what followed its stream's step before.
    latest: dict[int, int] = {}
    for life in found:
        assert not life.continues or latest[life.slot] == life.seen
        latest[life.slot] = life.following


def test_a_collection_is_complete_with_its_steps_and_never_changes() -> None:
    watcher = made(steps=6)
    for _ in range(3):
        watcher.step([1, 1, 1, 0, 0])
    (first,) = watcher.found
    assert first.num_steps == 6
    before = {name: each.copy() for name, each in first.state()["observation"].items()}
    for _ in range(3):
        watcher.step([1, 1, 1, 0, 0])
    assert same_state(first.state()["observation"], before)
    assert repr(watcher.collector) == (
        "<TransitionCollector: <TransitionBuffer: 3 closed, 3 open steps>>"
    )


def test_rewards_are_scaled_and_episodes_count_them_as_they_came() -> None:
    watcher = made(steps=1, reward_scale=0.5)
    watcher.step([1, 0, 0, 0, 0])
    watcher.step([2, 0, 0, 0, 0])
    (transitions,) = watcher.found
    # The second row's reward is 2.
    assert transitions.reward.tolist() == [1.0]
    assert watcher.collector.episodes.statistics.count == 1
    assert watcher.collector.episodes.measure()["rollout/episode_return_mean"] == 2.0


def test_a_state_of_another_behaviour_is_refused() -> None:
    watcher = made()
    watcher.step([1, 1, 0, 0, 0])
    state = watcher.collector.state()
    state["buffer"]["open"]["observation"][1] = np.zeros((SLOTS, 3), np.uint8)
    with pytest.raises(CheckpointError, match="observation 'image' is uint8"):
        made().collector.load_state(state)


def test_what_another_program_has_collected_counts() -> None:
    collector = made().collector
    collector.begin_at(400)
    assert (collector.env_steps, collector.ledger.open) == (400, 0)


def test_a_truncated_end_keeps_its_mask_if_each_branch_has_a_choice() -> None:
    buffer = TransitionBuffer(
        BehaviourSpec("two", (ObservationSpec("seen", (1,)),), ActionSpec(branches=(2, 3)))
    )
    slots = np.arange(4)
    sent = np.array(
        [
            [True, False, True, False, True],
            [True, False, False, False, False],  # nothing of the second branch
            [True, False, True, False, True],
            [False, True, False, True, False],
        ]
    )
    seen = {"seen": np.zeros((4, 1), np.float32)}
    buffer.grow(4)
    buffer.open(
        slots,
        observation=seen,
        action={"discrete": np.zeros((4, 2), np.int32)},
        action_mask=np.ones((4, 5), np.bool_),
        continues=np.zeros(4, np.bool_),
        policy_version=0,
    )
    kinds = [StepType.TRUNCATED, StepType.TRUNCATED, StepType.TERMINATED, StepType.MID]
    buffer.close(
        slots,
        step_type=np.array(kinds, np.uint8),
        reward=np.zeros(4, np.float32),
        observation=seen,
        action_mask=sent,
    )
    everything = np.ones((2, 5), np.bool_)
    assert (buffer.cut().next_action_mask.numpy() == [sent[0], *everything, sent[3]]).all()
