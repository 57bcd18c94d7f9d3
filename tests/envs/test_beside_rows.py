"""What a simulator says beside its usual rows: new behaviours, groups, statistics."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from entrain_envs.client import TrainerClient
from entrain_envs.environment import Driver
from entrain_envs.errors import MisfitError, OptionError, SpecError
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec
from entrain_envs.statistics import MOST_VALUES, Aggregation, Statistic
from entrain_envs.statistics_codec import decode_statistics, encode_statistics
from entrain_envs.timestep import ActionBatch, StepType, TimestepBatch
from entrain_envs.wire import trainer_pb2 as pb
from scripted_trainer import NeverSilent, act, close, welcome

CAT = BehaviourSpec("cat", (ObservationSpec("eye", (1,)),), ActionSpec(branches=(2,)))
DOG = BehaviourSpec("dog", CAT.observations, CAT.action)


class Recorded(NeverSilent):
    """A connection that answers every Step, and keeps what it was sent."""

    def __init__(self, *, revision: int = 1, most: int = 100) -> None:
        self.sent: list[pb.ConnectRequest] = []
        self._revision = revision
        self._most = most

    def send(self, request: pb.ConnectRequest) -> None:
        copy = pb.ConnectRequest()
        copy.CopyFrom(request)
        self.sent.append(copy)

    def receive(self, *, timeout_s: float = 0.0) -> pb.ConnectResponse:
        last = self.sent[-1]
        if last.HasField("hello"):
            return welcome(revision=self._revision)
        if len(self.steps) > self._most:
            return close(pb.CLOSE_REASON_COMPLETED, "trained")
        answer = act(CAT, last.step)
        for part, asked in zip(answer.act.behaviours, last.step.behaviours, strict=True):
            part.behaviour = asked.behaviour
        return answer

    def end(self, *, timeout_s: float) -> None:
        pass

    @property
    def steps(self) -> list[pb.Step]:
        return [each.step for each in self.sent if each.HasField("step")]


@contextmanager
def connected(connection: Recorded, *specs: BehaviourSpec) -> Iterator[TrainerClient]:
    client = TrainerClient(
        "trainer:1", specs or (CAT,), simulator="sim", open_connection=lambda: connection
    )
    with client:
        client.connect()
        yield client


def rows_of(spec: BehaviourSpec = CAT, **fields: object) -> TimestepBatch:
    """Two agents that begin."""
    return TimestepBatch.of(
        spec,
        agent_id=[1, 2],
        step_type=StepType.FIRST,
        reward=[0.25, 0.5],
        observation={"eye": [[0.0], [0.0]]},
        **fields,  # type: ignore[arg-type]
    )


def test_values_of_a_name_go_with_the_next_step_once() -> None:
    connection = Recorded()
    with connected(connection) as client:
        client.note("coins", 1)
        client.note("level", 3.0, "last")
        client.note("coins", 2)
        client.exchange({"cat": rows_of()})
        client.exchange({"cat": rows_of()})
    coins, level = connection.steps[0].statistics
    assert (coins.name, coins.aggregation, list(coins.values)) == (
        "coins",
        pb.AGGREGATION_MEAN,
        [1.0, 2.0],
    )
    assert (level.aggregation, list(level.values)) == (pb.AGGREGATION_LAST, [3.0])
    assert not connection.steps[1].statistics


@pytest.mark.parametrize("how", ["mean", "last", "sum", "histogram"])
def test_statistics_are_read_as_they_were_written(how: Aggregation) -> None:
    (read,) = decode_statistics(encode_statistics([Statistic("x", 0.1, how)]))
    assert (read.name, read.aggregation, read.values.tolist()) == ("x", how, [0.1])


def test_an_aggregation_of_a_newer_simulator_is_read_as_the_mean() -> None:
    message = pb.Statistic(name="x", values=[1.0])
    message.aggregation = 77  # type: ignore[assignment]
    (read,) = decode_statistics([message])
    assert read.aggregation == "mean"


def test_what_is_no_number_and_what_is_too_much_is_left_out_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection = Recorded()
    with connected(connection) as client, caplog.at_level(logging.WARNING):
        for _ in range(2):
            client.note("coins", math.nan)
        for _ in range(MOST_VALUES + 2):
            client.note("coins", 1.0)
        client.exchange({"cat": rows_of()})
    (coins,) = connection.steps[0].statistics
    assert len(coins.values) == MOST_VALUES
    assert [record.message.split(":")[0] for record in caplog.records] == [
        "statistic 'coins' is nan",
        "more than 10,000 values of statistics in one exchange",
    ]


@pytest.mark.parametrize(("name", "how"), [("", "mean"), ("x" * 201, "mean"), ("x", "median")])
def test_a_name_or_aggregation_that_cannot_be_is_an_error(name: str, how: Aggregation) -> None:
    with connected(Recorded()) as client, pytest.raises(SpecError, match="statistic"):
        client.note(name, 1.0, how)


def test_a_behaviour_may_be_added_and_is_declared_with_its_first_rows() -> None:
    connection = Recorded()
    with connected(connection) as client:
        client.exchange({"cat": rows_of()})
        client.add_behaviours([CAT, DOG])
        client.exchange({"dog": rows_of(DOG)})
        client.exchange({"dog": rows_of(DOG)})
        assert client.behaviours == (CAT, DOG)
    declared = [[each.name for each in step.new_behaviours] for step in connection.steps]
    assert declared == [[], ["dog"], []]


def test_a_hello_after_it_names_the_behaviour() -> None:
    connection = Recorded()
    with connected(connection) as client:
        client.add_behaviours([DOG])
        client.connect()
    hellos = [each.hello for each in connection.sent if each.HasField("hello")]
    assert [len(hello.behaviours) for hello in hellos] == [1, 2]


def test_a_behaviour_is_not_added_with_another_spec_of_a_name() -> None:
    with connected(Recorded()) as client, pytest.raises(SpecError, match="declared otherwise"):
        client.add_behaviours([BehaviourSpec("cat", CAT.observations, ActionSpec(branches=(9,)))])


def test_an_older_trainer_is_sent_none_of_it_and_groups_rewards_within_rewards() -> None:
    connection = Recorded(revision=0)
    with connected(connection) as client:
        with pytest.raises(MisfitError, match=r"'dog' after it has joined.*too old"):
            client.add_behaviours([DOG])
        client.note("coins", 1.0)
        client.exchange({"cat": rows_of(group_id=[4, 0], group_reward=[1.0, 2.0])})
    (step,) = connection.steps
    assert not step.statistics
    assert not step.new_behaviours
    (part,) = step.behaviours
    assert (part.group_id, part.group_reward) == (b"", b"")
    assert np.frombuffer(part.reward, np.float32).tolist() == [1.25, 2.5]


def test_groups_are_sent_as_they_are() -> None:
    connection = Recorded()
    with connected(connection) as client:
        client.exchange({"cat": rows_of(group_id=4, group_reward=[1.0, 2.0])})
    (part,) = connection.steps[0].behaviours
    assert np.frombuffer(part.group_id, np.int64).tolist() == [4, 4]
    assert np.frombuffer(part.group_reward, np.float32).tolist() == [1.0, 2.0]
    assert np.frombuffer(part.reward, np.float32).tolist() == [0.25, 0.5]


class Zoo:
    """An environment to which dogs come at its second step, and which counts."""

    def __init__(self) -> None:
        self.behaviours: Sequence[BehaviourSpec] = (CAT,)
        self._waiting = [Statistic("visitors", 9.0, "last")]

    def reset(self, *, seed: int, parameters: Mapping[str, float]) -> Mapping[str, TimestepBatch]:
        return {"cat": rows_of()}

    def step(self, actions: Mapping[str, ActionBatch]) -> Mapping[str, TimestepBatch]:
        self._waiting.append(Statistic("meals", 1.0, "sum"))
        self.behaviours = (CAT, DOG)
        return {"cat": rows_of(), "dog": rows_of(DOG)}

    def take_statistics(self) -> Sequence[Statistic]:
        taken, self._waiting = self._waiting, []
        return taken

    def set_parameters(self, parameters: Mapping[str, float]) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_driver_declares_what_is_new_and_reports_what_its_environment_counts() -> None:
    connection = Recorded(most=2)
    client = TrainerClient("trainer:1", (CAT,), simulator="sim", open_connection=lambda: connection)
    Driver(Zoo(), client).run()
    first, second, third = connection.steps
    assert [each.name for each in first.statistics] == ["visitors"]
    assert [each.name for each in second.statistics] == ["meals"]
    assert [each.name for each in second.new_behaviours] == ["dog"]
    assert not third.new_behaviours


def test_a_simulator_of_evaluations_leaves_a_trainer_that_would_learn_from_it() -> None:
    connection = Recorded(revision=2)
    client = TrainerClient(
        "trainer:1",
        [CAT],
        simulator="sim",
        role="evaluation",
        open_connection=lambda: connection,
    )
    with pytest.raises(MisfitError, match=r"revision 2, which would learn from this simulator"):
        client.connect()
    hello, goodbye = connection.sent
    assert hello.hello.role == pb.ROLE_EVALUATION
    assert goodbye.HasField("goodbye")


def test_the_role_is_what_the_environment_says_unless_a_simulator_names_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def role_of(role: str | None = None) -> int:
        connection = Recorded(revision=3)
        client = TrainerClient(
            "trainer:1", [CAT], simulator="sim", role=role, open_connection=lambda: connection
        )
        with client:
            client.connect()
        return connection.sent[0].hello.role

    assert role_of() == pb.ROLE_UNSPECIFIED
    monkeypatch.setenv("ENTRAIN_ROLE", "evaluation")
    assert role_of() == pb.ROLE_EVALUATION
    assert role_of("training") == pb.ROLE_UNSPECIFIED
    monkeypatch.setenv("ENTRAIN_ROLE", "judge")
    with pytest.raises(OptionError, match=r"role is 'judge'; it must be training or evaluation"):
        role_of()
