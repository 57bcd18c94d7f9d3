"""ML-Agents' own Python package decodes the stand-in game as we do, field by field."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from entrain_envs.environment import Environment
from entrain_envs.simulators.balance_ball import BalanceBall
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.statistics import Statistic
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from entrain_envs.unity import codec, game_codec
from entrain_envs.unity.images import read_images
from entrain_envs.unity.messages import AgentRecords, Observation
from entrain_envs.unity.side_channels import write_statistic
from support.ports import free_port
from support.unity_game import GameOverError, Style, UnityGame
from support.unity_player import dialled
from support.unity_scene import Cast, UnityScene, camera, entities, goal

pytestmark = pytest.mark.interop

STEPS = 120
HERE = Path(__file__).parent
PYTHON = "ENTRAIN_MLAGENTS_PYTHON"


@pytest.fixture
def stock_python() -> str:
    """The Python in which ML-Agents' package is installed; `make interop` says which."""
    if PYTHON not in os.environ:
        pytest.fail(f"${PYTHON} is not set; run these tests with `make interop`")
    return os.environ[PYTHON]


@pytest.fixture
def port() -> int:
    """One that nobody listens on."""
    return free_port()


class Everything:
    """Agents that see every kind of observation and act in both ways, with masks.

    What they see and when they end is drawn anew at each step, whatever they do.
    """

    def __init__(self, *, count: int = 5) -> None:
        self._spec = BehaviourSpec(
            "Every Thing",
            (
                ObservationSpec("velocity", (3,)),
                ObservationSpec("wish", (2,), kind="goal"),
                ObservationSpec("others", (4, 3), kind="entities"),
                ObservationSpec("eye", (3, 20, 22), kind="image"),
            ),
            ActionSpec((-1.0, -1.0), (1.0, 1.0), (3, 2)),
        )
        self._count = count
        self._random = np.random.default_rng(0)
        self.taken: list[ActionBatch] = []

    @property
    def behaviours(self) -> Sequence[BehaviourSpec]:
        return (self._spec,)

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        """There are none."""

    def close(self) -> None:
        """Nothing is open."""

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        self._random = np.random.default_rng(seed)
        return self._rows(np.arange(self._count), np.full(self._count, StepType.FIRST))

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        self.taken.append(actions[self._spec.name])
        luck = self._random.random(self._count)
        kind = np.select(
            [luck < 0.1, luck < 0.2],
            [int(StepType.TERMINATED), int(StepType.TRUNCATED)],
            int(StepType.MID),
        )
        again = np.flatnonzero(kind != StepType.MID)
        agent = np.concatenate([np.arange(self._count), again])
        return self._rows(agent, np.concatenate([kind, np.full(len(again), StepType.FIRST)]))

    def _rows(self, agent: Any, kind: Any) -> Mapping[str, TimestepBatch]:
        count = len(agent)
        mask = self._random.random((count, 5)) < 0.7
        mask[:, 0] = mask[:, 3] = True
        reward = np.where(kind == StepType.FIRST, 0.0, self._random.normal(size=count))
        batch = TimestepBatch.of(
            self._spec,
            agent_id=agent,
            step_type=kind,
            reward=reward,
            observation={
                each.name: self._random.random((count, *each.shape))
                for each in self._spec.observations
            },
            action_mask=mask,
        )
        return {self._spec.name: batch}


class Overheard:
    """A game's exchange, and all that was said on it."""

    def __init__(self, port: int) -> None:
        self._exchange, self.hang_up = dialled(port)
        self.requests: list[bytes] = []
        self.replies: list[bytes] = []

    def __call__(self, request: bytes) -> bytes:
        self.requests.append(request)
        reply = self._exchange(request)
        self.replies.append(reply)
        return reply


@pytest.mark.parametrize(
    "environment",
    [BalanceBall(count=12, behaviour="3DBall"), Everything()],
    ids=["balls", "everything"],
)
@pytest.mark.parametrize("changes_ids", [False, True])
def test_both_decode_the_same(
    environment: Environment, changes_ids: bool, stock_python: str, port: int, tmp_path: Path
) -> None:
    seen, heard = played(environment, Style(changes_ids=changes_ids), stock_python, port, tmp_path)
    require_same(heard, seen)
    assert seen["statistics"] == {"Score": [[2.5, 0]], "Deaths": [[1.0, 2]]}


def test_both_decode_images_teams_groups_and_agents_that_ask_seldom_as_the_same(
    stock_python: str, port: int, tmp_path: Path
) -> None:
    acting = Cast("Seeing?team=0", continuous=1, branches=(3, 2), forbids=True)
    casts = (
        replace(
            acting,
            sensors=(
                camera("floats", (3, 20, 22)),
                camera("grey", (1, 20, 20), png=True),
                camera("colours", (3, 20, 22), png=True),
                camera("stacked", (7, 20, 22), png=True),
            ),
        ),
        replace(acting, key="Group?team=0", group=1, sensors=(entities, goal)),
        replace(acting, key="Group?team=1", group=2, sensors=(entities, goal), pause=1),
        replace(acting, key="Seldom?team=3", period=3, begins=5),
    )
    file = tmp_path / "seen.json"
    with stock_trainer(stock_python, port, file), overheard(port) as heard:
        scene = UnityScene(casts, heard)
        with pytest.raises((grpc.RpcError, GameOverError)):
            scene.play(10 * STEPS)
    require_same(heard, json.loads(file.read_text()))
    assert all(tally.episodes for tally in scene.tallies.values())


def require_same(heard: Overheard, seen: Mapping[str, Any]) -> None:
    """Both decoded the same of each message with records."""
    read = [message.agents for message in map(codec.decode, heard.requests) if message.agents]
    assert len(read) >= STEPS
    for ours, stock in zip(read, seen["steps"], strict=False):
        assert set(ours) == {key for key, told in stock.items() if any(ids(told))}
        for key, records in ours.items():
            same(records, np.flatnonzero(~records.done), stock[key]["decisions"])
            ends = np.flatnonzero(records.done)
            same(records, ends, stock[key]["ends"])
            assert records.interrupted[ends].tolist() == stock[key]["ends"]["interrupted"]


def test_the_game_acts_alike_on_both_replies(stock_python: str, port: int, tmp_path: Path) -> None:
    environment = Everything()
    _, heard = played(environment, Style(), stock_python, port, tmp_path)
    key = "Every Thing?team=0"
    replies = [game_codec.decode_reply(reply) for reply in heard.replies]
    acting = [reply for reply in replies if reply.actions]
    assert len(acting) >= STEPS - 1
    for reply, taken in zip(acting, environment.taken, strict=False):
        ours = game_codec.decode_reply(codec.encode_actions({key: taken})).actions[key]
        stock = reply.actions[key]
        assert ours.continuous.tolist() == stock.continuous.tolist()
        assert ours.discrete.tolist() == stock.discrete.tolist()
        assert ours.deprecated.tolist() == stock.deprecated.tolist()
    first = codec.encode_initialization(seed=11, package_version="1.1.0")
    begin = game_codec.decode_reply(first)
    assert (begin.status, begin.seed, begin.communication_version, begin.num_areas) == (
        replies[0].status,
        replies[0].seed,
        replies[0].communication_version,
        replies[0].num_areas,
    )


def ids(told: Mapping[str, Any]) -> Iterator[bool]:
    return (bool(told[part]["id"]) for part in ("decisions", "ends"))


def same(records: AgentRecords, rows: Any, stock: Mapping[str, Any]) -> None:
    """Whether these records are what the other package made of them."""
    assert records.id[rows].tolist() == stock["id"]
    assert records.reward[rows].tolist() == pytest.approx(stock["reward"])
    assert records.group_id[rows].tolist() == stock["group_id"]
    assert records.group_reward[rows].tolist() == stock["group_reward"]
    for ours, theirs in zip(records.observations, stock["observations"], strict=True):
        expected = np.array(theirs, np.float32).reshape(-1, *ours.shape)
        np.testing.assert_allclose(values_of(ours)[rows], expected, atol=1e-6)
    if stock["mask"] is not None and records.mask is not None:
        assert records.mask[rows].tolist() == stock["mask"]


def values_of(observation: Observation) -> Any:
    """[K, *shape] as floats, those of images too."""
    if observation.values is not None:
        return observation.values
    pixels = read_images(observation, channels_first=True, where=observation.name)
    scale = 255.0 if pixels.dtype == np.uint8 else 1.0
    return np.moveaxis(pixels, 3, 1) / scale


@contextmanager
def stock_trainer(python: str, port: int, file: Path) -> Iterator[None]:
    """The other package as a trainer, which writes down what it decodes."""
    trainer = subprocess.Popen([python, HERE / "stock_trainer.py", str(port), str(STEPS), file])
    try:
        yield
    finally:
        assert trainer.wait(timeout=60) == 0


@contextmanager
def overheard(port: int) -> Iterator[Overheard]:
    """An exchange on that port, which is ended before its trainer."""
    heard = Overheard(port)
    try:
        yield heard
    finally:
        heard.hang_up()


def played(
    environment: Environment, style: Style, python: str, port: int, folder: Path
) -> tuple[Mapping[str, Any], Overheard]:
    """What the other package decoded of a game, and what was said."""
    file = folder / "seen.json"
    with stock_trainer(python, port, file), overheard(port) as heard:
        game = UnityGame(environment, heard, style=style)
        game.statistics = write_statistic(Statistic("Score", 2.5, "mean")) + write_statistic(
            Statistic("Deaths", 1.0, "sum")
        )
        try:
            game.play()
        except grpc.RpcError as error:
            # It stops its server at once when it has said that it ends.
            assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    return json.loads(file.read_text()), heard
