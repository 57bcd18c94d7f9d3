"""An ML-Agents game that stands in for Unity: any environment of ours, speaking ML-Agents' wire.

It says and expects, step by step, what a player does that was built with the engine's package:

    hello -> seed -> nothing -> RESET -> records and new behaviours -> actions -> records ...

Records of agents whose episode ended come before those that need an action. `Ledger` counts the
steps as the game sees them, to be compared with the trainer's.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from entrain_envs.environment import Environment
from entrain_envs.spec import BehaviourSpec, ObservationSpec
from entrain_envs.timestep import (
    ActionBatch,
    Array,
    Float32Array,
    Int64Array,
    StepType,
    TimestepBatch,
    UInt8Array,
)
from entrain_envs.unity import game_codec
from entrain_envs.unity.messages import (
    STATUS_OK,
    AgentRecords,
    BrainParameters,
    Initialization,
    Observation,
    ObservationKind,
)

Exchange = Callable[[bytes], bytes]
"""Sends a request and waits for the reply."""


class GameOverError(Exception):
    """The trainer said that it says nothing more."""


@dataclass
class Ledger:
    """Steps as the game counts them: opened == closed + unanswered + open."""

    exchanges: int = 0
    opened: int = 0
    """Actions received, also those of rows that were never followed by an outcome."""

    closed: int = 0
    """Outcomes whose message was answered."""

    unanswered: int = 0
    """Outcomes in a message that was not answered."""

    episodes: int = 0


@dataclass(frozen=True)
class Style:
    """What differs between games."""

    package_version: str = "3.0.0"
    communication_version: str = "1.5.0"
    team: int = 0
    changes_ids: bool = False
    """Whether an agent is switched off and on between episodes, and so gets a new id."""

    as_png: bool = False
    """Whether uint8 images are compressed."""

    is_old: bool = False
    """Whether it is older than API 1.3."""

    one_sensor: bool = False
    """Whether all vectors of an agent are one sensor, as they are in most games."""


class UnityGame:
    """See the module. One process of a game; `play` runs it to the end."""

    def __init__(
        self, environment: Environment, exchange: Exchange, *, style: Style = Style()
    ) -> None:
        """Nothing is said yet.

        Args:
            environment: what is played.
            exchange: to the trainer.
            style: see `Style`.
        """
        self.ledger = Ledger()
        self.style = style
        self.side_channels: list[bytes] = []
        """What the trainer sent over it."""
        self.told: list[tuple[bool, bytes]] = []
        """(whether it was a reset, side channels) of replies that have one of both."""
        self.statistics = b""
        """Sent with the next records."""
        self._environment = environment
        self._specs = {spec.name: spec for spec in environment.behaviours}
        self._exchange = exchange
        self._announced: set[str] = set()
        self._seed = 0
        self._lives: dict[tuple[str, int], int] = {}
        self._next_id = 1

    def begin(self) -> Mapping[str, TimestepBatch]:
        """Say hello, wait for the reset, and begin all episodes."""
        hello = Initialization(
            "AcademySingleton", self.style.communication_version, self.style.package_version
        )
        reply = self._said(game_codec.encode_hello(hello))
        assert reply.seed is not None, "the first reply has no seed"
        self._seed = reply.seed
        reply = self._said(game_codec.encode_nothing())
        assert reply.has_orders, "without orders a game falls back to inference"
        assert reply.is_reset
        return self._environment.reset(seed=abs(self._seed), parameters={})

    def play(self, *, exchanges: int | None = None) -> Ledger:
        """Until the trainer ends it, or so many exchanges of records; then leave."""
        try:
            rows = self.begin()
            while exchanges is None or self.ledger.exchanges < exchanges:
                rows = self.step(rows)
            self.leave()
        except GameOverError:
            pass
        finally:
            self._environment.close()
        return self.ledger

    def step(self, rows: Mapping[str, TimestepBatch]) -> Mapping[str, TimestepBatch]:
        """Send rows, and let the environment go on with the actions."""
        shown = {name: batch for name, batch in rows.items() if len(batch)}
        message = self._message(shown)
        outcomes = sum(int(np.count_nonzero(b.step_type != StepType.FIRST)) for b in shown.values())
        self.ledger.unanswered += outcomes
        reply = self._said(message)
        self.ledger.unanswered -= outcomes
        self.ledger.closed += outcomes
        self.ledger.exchanges += 1
        if reply.is_reset:
            return self._environment.reset(seed=abs(self._seed), parameters={})
        actions = {name: self._actions(name, batch, reply) for name, batch in rows.items()}
        self.ledger.opened += sum(map(len, actions.values()))
        return self._environment.step(actions)

    def leave(self) -> None:
        """Say that nothing more will be said."""
        self._exchange(game_codec.encode_leaving("the game was closed"))

    def _said(self, message: bytes) -> game_codec.TrainerReply:
        reply = game_codec.decode_reply(self._exchange(message))
        if reply.status != STATUS_OK:
            raise GameOverError(reply.text)
        self.side_channels.append(reply.side_channel)
        if reply.is_reset or reply.side_channel:
            self.told.append((reply.is_reset, reply.side_channel))
        return reply

    def _message(self, rows: Mapping[str, TimestepBatch]) -> bytes:
        new = [name for name in rows if name not in self._announced]
        self._announced.update(new)
        side_channel, self.statistics = self.statistics, b""
        return game_codec.encode_records(
            {self._key(name): self._records(name, batch) for name, batch in rows.items()},
            behaviours=[brain_of(self._specs[name], self._key(name)) for name in new],
            side_channel=side_channel,
            is_old=self.style.is_old,
        )

    def _key(self, name: str) -> str:
        return f"{name}?team={self.style.team}"

    def _records(self, name: str, batch: TimestepBatch) -> AgentRecords:
        order = ends_first(batch.step_type)
        step_type = batch.step_type[order]
        done = step_type >= StepType.TERMINATED
        self.ledger.episodes += int(np.count_nonzero(done))
        spec = self._specs[name]
        mask = batch.action_mask[order]
        return AgentRecords(
            id=self._ids(name, batch.agent_id[order], done),
            reward=batch.reward[order],
            done=done,
            interrupted=step_type == StepType.TRUNCATED,
            group_id=np.zeros(len(batch), np.int64),
            group_reward=np.zeros(len(batch), np.float32),
            observations=self._sensors(spec, batch, order),
            mask=None if mask.all() else ~mask,
        )

    def _ids(self, name: str, agent_id: Int64Array, done: Array) -> Int64Array:
        """The engine's ids: from a counter of the process, taken when an agent is switched on."""
        ids = []
        for agent, ends in zip(agent_id.tolist(), done.tolist(), strict=True):
            if (name, agent) not in self._lives:
                self._lives[name, agent] = self._next_id
                self._next_id += 1
            ids.append(self._lives[name, agent])
            if ends and self.style.changes_ids:
                del self._lives[name, agent]
        return np.array(ids, np.int64)

    def _sensors(
        self, spec: BehaviourSpec, batch: TimestepBatch, order: Int64Array
    ) -> tuple[Observation, ...]:
        observed = [(each, batch.observation[each.name][order]) for each in spec.observations]
        if not self.style.one_sensor:
            return tuple(self._sensor(each, values) for each, values in observed)
        rows = [values.reshape(len(batch), -1) for _, values in observed]
        values = np.concatenate(rows, axis=1, dtype=np.float32)
        return (Observation("VectorSensor", values.shape[1:], "default", (1,), values=values),)

    def _sensor(self, spec: ObservationSpec, values: Array) -> Observation:
        kind: ObservationKind = "goal" if spec.kind == "goal" else "default"
        properties = {"entities": (4, 1), "image": (1, 2, 2) if _is_chw(spec) else (2, 2, 1)}.get(
            spec.kind, (1,) * len(spec.shape)
        )
        if spec.kind == "image" and spec.dtype == "uint8":
            if self.style.as_png:
                pngs = tuple(png_of(each) for each in values)
                return Observation(spec.name, spec.shape, kind, properties, png=pngs)
            values = values.astype(np.float32) / np.float32(255.0)
        numbers = values.astype(np.float32)
        shape = spec.shape or (1,)
        return Observation(spec.name, shape, kind, properties, values=numbers.reshape(-1, *shape))

    def _actions(
        self, name: str, batch: TimestepBatch, reply: game_codec.TrainerReply
    ) -> ActionBatch:
        """Of the rows that need one, in their order; within the bounds of the environment."""
        spec = self._specs[name]
        count = int(np.count_nonzero(batch.needs_action))
        said = reply.actions.get(self._key(name))
        if said is None:
            assert count == 0, f"{count} agents of '{name}' got no actions"
            return _no_actions(spec)
        chosen = said.deprecated if self.style.is_old else said.continuous
        continuous = chosen[:, : spec.action.continuous_size]
        assert len(said.continuous) == count, f"{len(said.continuous)} actions for {count} agents"
        assert np.abs(continuous).max(initial=0.0) <= 1.0
        return ActionBatch(
            continuous=_within(spec, continuous),
            discrete=said.discrete.reshape(count, len(spec.action.branches)),
            policy_version=0,
        )


def ends_first(step_type: UInt8Array) -> Int64Array:
    """Order of rows: ends of episodes, then rows that need an action; each in its old order."""
    order: Int64Array = np.argsort(step_type < StepType.TERMINATED, kind="stable")
    return order


def brain_of(spec: BehaviourSpec, key: str) -> BrainParameters:
    """How agents of a behaviour act."""
    return BrainParameters(key, spec.action.continuous_size, spec.action.branches)


def png_of(pixels: Array) -> bytes:
    """[H, W, C] pixels as PNGs of up to three channels, one after another."""
    from PIL import Image

    written = []
    for first in range(0, pixels.shape[2], 3):
        part = np.zeros((*pixels.shape[:2], 3), np.uint8)
        channels = pixels[:, :, first : first + 3]
        part[:, :, : channels.shape[2]] = channels
        if pixels.shape[2] == 1:
            part[:] = channels
        file = io.BytesIO()
        Image.fromarray(part).save(file, format="PNG")
        written.append(file.getvalue())
    return b"".join(written)


def _is_chw(spec: ObservationSpec) -> bool:
    return len(spec.shape) == 3 and spec.shape[0] < spec.shape[2]


def _within(spec: BehaviourSpec, continuous: Float32Array) -> Float32Array:
    """From [-1, 1] to the environment's own bounds, where it has any."""
    low, high = np.array(spec.action.low), np.array(spec.action.high)
    is_bounded = np.isfinite(low) & np.isfinite(high)
    middle = np.where(is_bounded, (low + high) / 2, 0.0)
    half = np.where(is_bounded, (high - low) / 2, 1.0)
    scaled: Float32Array = (middle + half * continuous).astype(np.float32)
    return scaled


def _no_actions(spec: BehaviourSpec) -> ActionBatch:
    return ActionBatch(
        continuous=np.empty((0, spec.action.continuous_size), np.float32),
        discrete=np.empty((0, len(spec.action.branches)), np.int32),
        policy_version=0,
    )
