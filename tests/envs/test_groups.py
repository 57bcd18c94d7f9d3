"""Two groups of agents: one is simulated while the actions of the other are chosen."""

import argparse
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from entrain_envs import command_line
from entrain_envs.client import TrainerClient
from entrain_envs.copies import Copies
from entrain_envs.environment import Driver, Environment, Report, run
from entrain_envs.errors import OptionError, SessionLostError, TrainerClosed
from entrain_envs.greeting import Welcome
from entrain_envs.joined_environments import JoinedEnvironments
from entrain_envs.making import make_environment, make_groups, maker
from entrain_envs.spec import BehaviourSpec
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch

FIRST, MID, TERMINATED, TRUNCATED = StepType


def options_of(*arguments: str, kind: str = "gymnasium") -> argparse.Namespace:
    what = {
        "gymnasium": "drifting_environments:Drifting-v0",
        "pettingzoo": "drifting_environments:Pair",
    }[kind]
    return command_line.parser().parse_args([kind, what, "--connect", "trainer:1", *arguments])


def played(environment: Environment, steps: int) -> list[Mapping[str, TimestepBatch]]:
    """Rows of an environment whose agents act by their numbers and the time."""
    rows = [environment.reset(seed=5, parameters={"pull": 0.5})]
    for step in range(steps):
        actions = {}
        for spec in environment.behaviours:
            acting = rows[-1][spec.name].agent_id[rows[-1][spec.name].needs_action]
            choices = np.array(spec.action.branches)
            actions[spec.name] = ActionBatch(
                np.empty((len(acting), 0), np.float32),
                ((acting[:, None] + step) % choices).astype(np.int32),
                0,
            )
        if step == steps // 2:
            environment.set_parameters({"pull": -0.5})
        rows.append(environment.step(actions))
    return rows


def fields(batch: TimestepBatch) -> dict[str, tuple[Any, bytes]]:
    arrays: dict[str, Any] = {"id": batch.agent_id, "type": batch.step_type}
    arrays |= {"reward": batch.reward, "mask": batch.action_mask, **batch.observation}
    return {name: (array.shape, array.tobytes()) for name, array in arrays.items()}


@pytest.mark.parametrize("parts", [1, 2, 3, 5])
def test_copies_do_the_same_however_they_are_divided(parts: int) -> None:
    whole = make_environment(options_of("--count", "5"))
    options = options_of("--count", "5", "--info", "place=last")

    make = maker(options)
    divided = JoinedEnvironments([make(part) for part in Copies.all(5).divided(parts)])
    for expected, rows in zip(played(whole, 40), played(divided, 40), strict=True):
        assert fields(expected["Drifting-v0"]) == fields(rows["Drifting-v0"])


def test_parts_are_of_nearly_the_same_size_and_in_order() -> None:
    assert Copies.all(7).divided(3) == [Copies(0, 2, 7), Copies(2, 2, 7), Copies(4, 3, 7)]
    assert Copies(4, 3, 7).divided(2) == [Copies(4, 1, 7), Copies(5, 2, 7)]
    assert Copies.all(2).divided(5) == [Copies(0, 1, 2), Copies(1, 1, 2)]


def test_groups_of_a_command_line_have_half_of_the_copies_each() -> None:
    groups = make_groups(options_of("--count", "5", "--groups", "2"))
    rows = [group.reset(seed=1, parameters={})["Drifting-v0"] for group in groups]
    assert [batch.agent_id.tolist() for batch in rows] == [[0, 1], [2, 3, 4]]


def test_one_copy_is_one_group(caplog: pytest.LogCaptureFixture) -> None:
    (group,) = make_groups(options_of("--groups", "2"))
    assert len(group.reset(seed=1, parameters={})["Drifting-v0"]) == 1
    assert "there is one copy of the environment, so there is one group" in caplog.text


def test_agents_of_pettingzoo_have_numbers_of_their_own_in_each_group() -> None:
    options = ("--count", "3", "--groups", "2")
    groups = make_groups(options_of(*options, kind="pettingzoo"))
    whole = make_environment(options_of("--count", "3", kind="pettingzoo"))
    joined = JoinedEnvironments(groups)
    for expected, rows in zip(played(whole, 30), played(joined, 30), strict=True):
        assert {name: fields(batch) for name, batch in expected.items()} == {
            name: fields(batch) for name, batch in rows.items()
        }


class Halves(TrainerClient):
    """Answers Steps with zeros, in their order, until the script says otherwise."""

    def __init__(
        self, specs: Sequence[BehaviourSpec], *failures: tuple[int, BaseException], allowed: int = 2
    ) -> None:
        super().__init__("trainer:1", specs, simulator="sim", max_unanswered_steps=2)
        self._failures = dict(failures)
        self._allowed = allowed
        self._answered = 0
        self.in_flight: deque[Mapping[str, TimestepBatch]] = deque()
        self.sent: list[list[int]] = []

    @property
    def max_unanswered_steps(self) -> int:
        return self._allowed

    @property
    def environment_parameters(self) -> Mapping[str, float]:
        return {}

    @property
    def welcome(self) -> Welcome:
        return Welcome(1, "session", "run", 4, {}, resumed=False)

    def connect(self) -> Welcome:
        return self.welcome

    def send(self, timesteps: Mapping[str, TimestepBatch]) -> None:
        assert len(self.in_flight) < self._allowed
        self.in_flight.append(timesteps)
        self.sent.append(timesteps["Drifting-v0"].agent_id.tolist())

    def receive(self) -> Mapping[str, ActionBatch]:
        self._answered += 1
        if self._answered in self._failures:
            self.in_flight.clear()
            raise self._failures[self._answered]
        count = int(self.in_flight.popleft()["Drifting-v0"].needs_action.sum())
        zeros = ActionBatch(np.empty((count, 0), np.float32), np.zeros((count, 1), np.int32), 0)
        return {"Drifting-v0": zeros}

    def exchange(self, timesteps: Mapping[str, TimestepBatch]) -> Mapping[str, ActionBatch]:
        self.send(timesteps)
        return self.receive()

    def close(self, *, reason: str = "") -> None:
        pass


def groups_of(count: int) -> Sequence[Environment]:
    return make_groups(options_of("--count", str(count), "--groups", "2"))


def first_agents(client: Halves) -> list[int]:
    return [agents[0] for agents in client.sent]


def test_steps_of_the_groups_alternate_and_two_are_in_flight() -> None:
    groups = groups_of(4)
    client = Halves(groups[0].behaviours, (7, TrainerClosed("trained")))
    report = run(groups, client)
    # Six Steps were answered, and the two after them were not.
    assert first_agents(client) == [0, 2, 0, 2, 0, 2, 0, 2]
    assert report.exchanges == 6
    assert report.opened == 12
    assert report.opened == report.closed + report.unanswered + report.dropped
    assert (report.closed, report.unanswered, report.dropped) == (8, 4, 0)


def test_a_trainer_that_allows_one_is_obeyed_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    groups = groups_of(4)
    client = Halves(
        groups[0].behaviours,
        (3, SessionLostError("who?")),
        (6, TrainerClosed("trained")),
        allowed=1,
    )
    report = run(groups, client)
    assert all(set(agents) == {0, 1, 2, 3} for agents in client.sent)
    assert report.exchanges == 4
    lines = [line for line in caplog.messages if "allows 1 unanswered step" in line]
    assert len(lines) == 1
    assert "server.max_unanswered_steps" in lines[0]


def test_a_forgotten_session_begins_both_groups_anew() -> None:
    groups = groups_of(2)
    client = Halves(
        groups[0].behaviours, (4, SessionLostError("who?")), (7, TrainerClosed("trained"))
    )
    report = run(groups, client)
    # Answered: three, of which one has an outcome; lost: two, with an outcome each; after that the
    # groups begin: two answers without outcomes, and two Steps with one each are never answered.
    assert first_agents(client) == [0, 1, 0, 1, 0, 0, 1, 0, 1]
    assert report == Report(exchanges=5, opened=5, closed=1, unanswered=4, dropped=0, episodes=0)


def test_leaving_after_enough_episodes_leaves_the_other_group_unanswered() -> None:
    groups = groups_of(2)
    report = Driver(groups, Halves(groups[0].behaviours), episodes=3).run()
    assert report.episodes == 3
    assert report.opened == report.closed + report.unanswered + report.dropped
    assert report.unanswered > 0


@pytest.mark.parametrize(
    ("number", "asked", "words"),
    [
        (3, 3, "3 groups of agents were given; expected 1 or 2"),
        (0, 1, "0 groups of agents were given; expected 1 or 2"),
        (2, 1, "the client asks for 1 unanswered step; make it with max_unanswered_steps=2"),
    ],
)
def test_groups_that_cannot_be_are_refused(number: int, asked: int, words: str) -> None:
    groups = groups_of(2)
    client = TrainerClient(
        "trainer:1", groups[0].behaviours, simulator="sim", max_unanswered_steps=asked
    )
    with pytest.raises(OptionError, match=words):
        Driver([groups[0]] * number, client)
