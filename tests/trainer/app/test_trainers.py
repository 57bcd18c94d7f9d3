"""The trainers of a run: which policies are missing, and what is said of it."""

import logging
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from entrain.app.trainers import Trainers
from entrain.config.load import load_config
from entrain.trainer import Trainer, Update
from entrain_envs.spec import ActionSpec, BehaviourSpec, ObservationSpec


class NoRecorder:
    def record(self, update: Update) -> None: ...

    def note_completion(self) -> None: ...


@pytest.fixture
def learners() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def trainers_of(learners: Executor, *policies: str, bring_all: bool = True) -> Trainers:
    steps = [f"policies.{name}.total_steps=10000" for name in policies]
    config = load_config(None, [f"simulators.bring_all={str(bring_all).lower()}", *steps])
    trainers = Trainers(config, learners=learners, recorder=NoRecorder())
    observation = ObservationSpec("seen", (2,))
    trainers.make_all([BehaviourSpec("walker", (observation,), ActionSpec(branches=(2,)))])
    return trainers


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "walkr",
            "no simulator has brought the behaviour of policy 'walkr' yet (they brought: "
            "'walker'); did you mean 'walker'? The run does not end before this policy is "
            "trained, too",
        ),
        (
            "zebra",
            "no simulator has brought the behaviour of policy 'zebra' yet (they brought: "
            "'walker'). The run does not end before this policy is trained, too",
        ),
    ],
)
def test_a_policy_that_no_simulator_brings_is_named_with_what_was_probably_meant(
    learners: Executor, caplog: pytest.LogCaptureFixture, name: str, expected: str
) -> None:
    trainers = trainers_of(learners, "*", name)
    with caplog.at_level(logging.WARNING):
        trainers.warn_of_missing()
    assert [record.getMessage() for record in caplog.records] == [expected]


def test_nothing_is_said_if_every_named_policy_has_a_simulator(
    learners: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    trainers = trainers_of(learners, "*", "walker")
    with caplog.at_level(logging.WARNING):
        trainers.warn_of_missing()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("bring_all", "words"),
    [(True, "The run does not end before this policy is trained"), (False, "does not wait for it")],
)
def test_a_policy_that_nobody_brings_is_waited_for_only_if_the_file_says_so(
    bring_all: bool,
    words: str,
    learners: Executor,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainers = trainers_of(learners, "walker", "zebra", bring_all=bring_all)
    trainers.warn_of_missing()
    assert words in caplog.text
    assert not trainers.are_all_complete()
    monkeypatch.setattr(Trainer, "is_complete", True)
    assert trainers.are_all_complete() is not bring_all
    assert ("the run waits" in caplog.text) is bring_all
