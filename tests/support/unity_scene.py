"""A game of ML-Agents whose every number tells which agent it is of, and in which step.

`UnityGame` plays one of our environments; this one has what those have not: teams, groups, agents
that ask at different times or are switched off and on, and sensors of every form. An agent's first
sensor holds its `code`, from which its pictures, its mask and its rewards follow. So whoever sees a
row of a rollout can tell whether all of it belongs together, see `Row`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from entrain_envs.unity import game_codec
from entrain_envs.unity.messages import (
    STATUS_OK,
    AgentRecords,
    BrainParameters,
    Initialization,
    Observation,
    ObservationKind,
)
from support.unity_game import Exchange, GameOverError, png_of

Array: TypeAlias = npt.NDArray[np.float32]
Shower = Callable[[npt.NDArray[np.int64]], Observation]
"""What one sensor shows for the codes of K agents."""

CODE = "code"
"""The first sensor: code, agent, episode, step."""

BONUS = 1 / 64
"""Of reward for each unit of an agent's code modulo 8."""


@dataclass(frozen=True)
class Cast:
    """Agents of one team of one behaviour."""

    key: str
    count: int = 2
    continuous: int = 0
    branches: tuple[int, ...] = ()
    sensors: tuple[Shower, ...] = ()
    lifetimes: tuple[int, ...] = (5, 8, 3)
    """Ticks of an agent's episodes, in turn; another agent begins with another one."""

    period: int = 1
    """Ticks between two decisions of an agent; not all ask in the same tick."""

    begins: int = 0
    """The tick in which its agents appear."""

    pause: int | None = None
    """Ticks for which an agent is switched off after an episode, and so gets another id."""

    group: int = 0
    """0: none. A group earns a quarter of what its agents earn."""

    forbids: bool = False
    """Whether one choice of each branch is forbidden in each step."""

    @property
    def brain(self) -> BrainParameters:
        """How its agents act."""
        return BrainParameters(self.key, self.continuous, self.branches)


@dataclass
class Actor:
    """One agent, through all its lives."""

    cast: Cast
    index: int
    id: int
    born: int
    episode: int = 0
    step: int = 0
    """Decisions of this episode."""

    owed: float = 0.0
    """Reward of its last action."""

    is_open: bool = False
    """Whether it has an action without outcome."""

    earned: float = 0.0
    """In this episode."""


@dataclass
class Tally:
    """What was played, as the game counts it."""

    opened: int = 0
    closed: int = 0
    episodes: list[tuple[float, int, str]] = field(default_factory=list)
    """(return, length, ending) of each episode with at least one step."""


@dataclass(frozen=True)
class Line:
    """What is said of one agent in one message."""

    actor: Actor
    id: int
    code: tuple[int, int, int, int]
    reward: float
    done: bool
    interrupted: bool
    closes: bool
    """Whether it is the outcome of an action."""

    def forbids(self, chosen: npt.NDArray[np.int32]) -> bool:
        """Whether one of these choices is forbidden."""
        cast = self.actor.cast
        return cast.forbids and any(
            choice == forbidden(self.code[0], size)
            for choice, size in zip(chosen.tolist(), cast.branches, strict=True)
        )


class UnityScene:
    """See the module. One process of a game; `play` runs it to the end."""

    def __init__(
        self, casts: Sequence[Cast], exchange: Exchange, *, package_version: str = "3.0.0"
    ) -> None:
        """Nothing is said yet.

        Args:
            casts: who plays.
            exchange: to the trainer.
            package_version: of the game's package.
        """
        self.tallies = {cast.key.partition("?")[0]: Tally() for cast in casts}
        self._casts = tuple(casts)
        self._exchange = exchange
        self._version = package_version
        self._announced: set[str] = set()
        self._codes = self._ids = 0
        self._actors = [
            Actor(cast, index, self._new_id(), cast.begins)
            for cast in casts
            for index in range(cast.count)
        ]

    def play(self, ticks: int) -> None:
        """Say hello, play so many ticks, and leave."""
        hello = Initialization("AcademySingleton", "1.5.0", self._version)
        assert self._said(game_codec.encode_hello(hello)).seed is not None
        assert self._said(game_codec.encode_nothing()).is_reset
        for tick in range(ticks):
            self._play(tick)
        self._exchange(game_codec.encode_leaving("the scene is over"))

    def _said(self, message: bytes) -> game_codec.TrainerReply:
        reply = game_codec.decode_reply(self._exchange(message))
        if reply.status != STATUS_OK:
            raise GameOverError(reply.text)
        return reply

    def _play(self, tick: int) -> None:
        told = {cast.key: self._told(cast, tick) for cast in self._casts}
        told = {key: lines for key, lines in told.items() if lines}
        if not told:
            return
        new = [cast for cast in self._casts if cast.key in told and cast.key not in self._announced]
        self._announced.update(cast.key for cast in new)
        records = {key: _records(lines) for key, lines in told.items()}
        brains = [cast.brain for cast in new]
        reply = self._said(game_codec.encode_records(records, behaviours=brains))
        for key, lines in told.items():
            self._take(key, lines, reply)

    def _told(self, cast: Cast, tick: int) -> list[Line]:
        lines = []
        for actor in self._actors:
            if actor.cast is not cast:
                continue
            lifetime = cast.lifetimes[(actor.index + actor.episode) % len(cast.lifetimes)]
            if tick - actor.born == lifetime:
                lines.append(self._end(actor))
                actor.born = tick + (cast.pause or 0)
                if cast.pause is not None:
                    actor.id = self._new_id()
            if tick >= actor.born and (tick + actor.index) % cast.period == 0:
                lines.append(self._ask(actor))
        return lines

    def _new_id(self) -> int:
        self._ids += 1
        return self._ids

    def _end(self, actor: Actor) -> Line:
        interrupted = (actor.index + actor.episode) % 2 == 1
        line = self._line(actor, done=True, interrupted=interrupted)
        if line.closes:
            ending = "truncated" if interrupted else "terminated"
            self._tally(actor).episodes.append((actor.earned, actor.step, ending))
        actor.episode += 1
        actor.step, actor.earned, actor.is_open = 0, 0.0, False
        return line

    def _ask(self, actor: Actor) -> Line:
        return self._line(actor, done=False, interrupted=False)

    def _line(self, actor: Actor, *, done: bool, interrupted: bool) -> Line:
        self._codes += 1
        # What is earned before the first action is no step's.
        reward = actor.owed if actor.is_open else 7.0
        actor.earned += actor.owed if actor.is_open else 0.0
        self._tally(actor).closed += actor.is_open
        return Line(
            actor,
            actor.id,
            (self._codes, actor.index, actor.episode, actor.step),
            reward,
            done,
            interrupted,
            closes=actor.is_open,
        )

    def _tally(self, actor: Actor) -> Tally:
        return self.tallies[actor.cast.key.partition("?")[0]]

    def _take(self, key: str, lines: Sequence[Line], reply: game_codec.TrainerReply) -> None:
        asking = [line for line in lines if not line.done]
        if not asking:
            return
        actions = reply.actions[key]
        assert len(actions.continuous) == len(actions.discrete) == len(asking)
        assert np.abs(actions.continuous).max(initial=0.0) <= 1.0
        for row, line in enumerate(asking):
            actor, chosen = line.actor, actions.discrete[row]
            assert not line.forbids(chosen), f"{line.code}: {chosen} is forbidden"
            actor.owed = reward_of(line.code[0], actions.continuous[row], chosen)
            actor.is_open = True
            actor.step += 1
            self._tally(actor).opened += 1


def forbidden(code: int, size: int) -> int:
    """The choice that a branch of that size does not have in that step."""
    return code % size


def reward_of(code: int, continuous: Array, discrete: npt.NDArray[np.int32]) -> float:
    """What an action in the step of that code earns."""
    return code % 8 * BONUS + float(continuous.sum()) + float(discrete.sum())


def picture_of(code: int, height: int, width: int, channels: int) -> npt.NDArray[np.uint8]:
    """[H, W, C] one white pixel in one channel."""
    picture = np.zeros((height, width, channels), np.uint8)
    picture[code % height, code // height % width, code % channels] = 255
    return picture


def vector(codes: npt.NDArray[np.int64], *, name: str = "numbers", size: int = 2) -> Observation:
    """Numbers that follow from the codes."""
    values = np.repeat(codes[:, None] % 5, size, axis=1).astype(np.float32)
    return Observation(name, (size,), "default", (1,), values=values)


def camera(
    name: str, shape: tuple[int, int, int], *, properties: tuple[int, ...] = (), png: bool = False
) -> Shower:
    """A sensor of images of that declared shape; [C, H, W] unless `properties` say otherwise."""
    is_first = properties != (2, 2, 1)
    height, width, channels = (*shape[1:], shape[0]) if is_first else shape

    def show(codes: npt.NDArray[np.int64]) -> Observation:
        pictures = [picture_of(code, height, width, channels) for code in codes.tolist()]
        if png:
            files = tuple(png_of(each) for each in pictures)
            return Observation(name, shape, "default", properties, png=files)
        values = np.stack(pictures).astype(np.float32) / np.float32(255)
        values = np.moveaxis(values, 3, 1) if is_first else values
        return Observation(name, shape, "default", properties, values=np.ascontiguousarray(values))

    return show


def entities(codes: npt.NDArray[np.int64]) -> Observation:
    """Of at most three things, one, two or three are there."""
    values = np.zeros((len(codes), 3, 2), np.float32)
    for row, code in enumerate(codes.tolist()):
        values[row, : 1 + code % 3] = 1 + code % 4
    return Observation("things", (3, 2), "default", (4, 1), values=values)


def goal(codes: npt.NDArray[np.int64]) -> Observation:
    """Which of three goals it is."""
    values = np.eye(3, dtype=np.float32)[codes % 3]
    kind: ObservationKind = "goal"
    return Observation("goal", (3,), kind, (1,), values=values)


def _records(lines: Sequence[Line]) -> AgentRecords:
    cast = lines[0].actor.cast
    codes = np.array([line.code for line in lines], np.int64)
    rewards = np.array([line.reward for line in lines], np.float32)
    shared = rewards * np.float32(0.25 if cast.group else 0.0)
    mask = np.zeros((len(lines), sum(cast.branches)), np.bool_)
    starts = np.cumsum([0, *cast.branches])[:-1].tolist()
    for start, size in zip(starts, cast.branches, strict=True):
        mask[np.arange(len(lines)), start + codes[:, 0] % size] = True
    sensor = Observation(CODE, (4,), "default", (1,), values=codes.astype(np.float32))
    return AgentRecords(
        id=np.array([line.id for line in lines], np.int64),
        reward=rewards - shared,
        done=np.array([line.done for line in lines]),
        interrupted=np.array([line.interrupted for line in lines]),
        group_id=np.full(len(lines), cast.group, np.int64),
        group_reward=shared,
        observations=(sensor, *(show(codes[:, 0]) for show in cast.sensors)),
        mask=mask if cast.forbids else None,
    )
