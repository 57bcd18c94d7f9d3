"""A simulator whose agents join, die, return and are replaced, the same in every run.

It depends on its seed and on the actions that it is given, bit for bit, and not on how it is
connected. `breaks` says at which steps its connection is to break.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

CAT = BehaviourSpec("cat", (ObservationSpec("eyes", (3,)),), ActionSpec(low=(-1.0,), high=(1.0,)))
DOG = BehaviourSpec("dog", (ObservationSpec("nose", (2,)),), ActionSpec(branches=(3,)))
SPECS = {spec.name: spec for spec in (CAT, DOG)}

Rows = Mapping[str, TimestepBatch]


@dataclass
class Agent:
    """One agent; it lives `lifetime` steps, and is away for `pause` steps between two lives."""

    id: int
    seen: np.ndarray[tuple[int], np.dtype[np.float32]]
    lifetime: int
    pause: int
    age: int = -1
    """-1: it begins now; below that: it is away."""


@dataclass
class Life:
    """One simulator's whole life."""

    name: str
    breaks: Mapping[int, str] = field(default_factory=dict)
    """{step: "before" or "after" its actions are received}."""

    def begin(self, seed: int) -> Rows:
        """The first rows."""
        chance = np.random.default_rng(seed)
        self._agents = {
            name: [
                Agent(
                    id=int(agent),
                    seen=chance.normal(size=spec.observations[0].shape).astype(np.float32),
                    lifetime=int(chance.integers(2, 9)),
                    pause=int(chance.integers(0, 4)),
                )
                for agent in chance.permutation(9)[:3]
            ]
            for name, spec in SPECS.items()
        }
        self._acting: dict[str, list[Agent]] = {}
        return self._rows()

    def step(self, actions: Mapping[str, ActionBatch]) -> Rows:
        """What comes of these actions."""
        for name, agents in self._acting.items():
            batch = actions[name]
            chosen = batch.continuous if name == "cat" else batch.discrete
            for agent, action in zip(agents, chosen, strict=True):
                agent.seen = np.tanh(agent.seen * 0.9 + np.float32(action[0])).astype(np.float32)
        return self._rows()

    def _rows(self) -> Rows:
        self._acting = {}
        batches = {name: self._batch(name) for name in SPECS}
        return {name: batch for name, batch in batches.items() if len(batch)}

    def _batch(self, name: str) -> TimestepBatch:
        rows: list[tuple[int, StepType, float, np.ndarray[tuple[int], np.dtype[np.float32]]]] = []
        acting = self._acting[name] = []
        for agent in self._agents[name]:
            is_over = agent.age >= agent.lifetime
            if agent.age >= 0:
                end = StepType.TERMINATED if agent.id % 2 else StepType.TRUNCATED
                reward = float(agent.seen.sum())
                rows.append((agent.id, end if is_over else StepType.MID, reward, agent.seen.copy()))
            if is_over:
                # Away for so long; without a pause the next life begins in the same message.
                agent.age = -1 - agent.pause
                agent.id += 10 if agent.pause == 2 else 0
            if agent.age == -1:
                agent.seen = (agent.seen[::-1] * 0.5).astype(np.float32)
                rows.append((agent.id, StepType.FIRST, 0.0, agent.seen.copy()))
            if agent.age >= -1 and not (is_over and agent.pause):
                acting.append(agent)
            agent.age += 1
        if not acting:
            del self._acting[name]
        spec = SPECS[name]
        return TimestepBatch.of(
            spec,
            agent_id=[row[0] for row in rows],
            step_type=[row[1] for row in rows],
            reward=[row[2] for row in rows],
            observation={
                spec.observations[0].name: np.array([row[3] for row in rows], np.float32).reshape(
                    len(rows), *spec.observations[0].shape
                )
            },
        )


def three_lives() -> list[Life]:
    """Simulators whose connections break at different moments."""
    return [
        Life("left"),
        Life("middle", breaks={4: "before", 21: "after", 22: "before"}),
        Life("right", breaks={4: "after", 9: "before"}),
    ]
